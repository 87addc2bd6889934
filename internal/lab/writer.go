package lab

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sort"
	"sync"
	"time"
)

// writer is one client of a load. It holds the driver's connection itself: a pool would connect again and repeat a
// statement unseen.
type writer struct {
	load      *Load
	id        int
	connector driver.Connector
	patience  time.Duration // with one answer

	mu      sync.Mutex
	acked   []ack
	unknown []int64
}

// ack is an acknowledged write; instants are since the load's begin.
type ack struct {
	seq      int64
	sent, at time.Duration
}

func (w *writer) run(ctx context.Context, offset time.Duration) {
	var conn driver.Conn
	defer func() { drop(conn) }()
	next := time.Now().Add(offset)
	for seq := int64(1); w.wait(ctx, next); {
		next = time.Now().Add(w.load.opts.Pace)
		if conn == nil {
			var err error
			if conn, err = w.connect(ctx); err != nil {
				w.failed(ctx, 0, ConnectFailed, err)
				next = time.Now().Add(retryPause)
				continue
			}
		}
		sent := time.Since(w.load.begin)
		err := w.write(ctx, conn, seq)
		if err == nil {
			w.mu.Lock()
			w.acked = append(w.acked, ack{seq: seq, sent: sent, at: time.Since(w.load.begin)})
			w.mu.Unlock()
		} else {
			class := classify(err)
			w.failed(ctx, seq, class, err)
			if class != ServerError && class != Doubled {
				drop(conn)
				conn = nil
			}
		}
		seq++
	}
}

// wait is true when an instant has come and the load goes on.
func (w *writer) wait(ctx context.Context, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-w.load.stop:
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	select {
	case <-w.load.stop: // it may have been closed with the timer due already
		return false
	default:
		return ctx.Err() == nil
	}
}

func (w *writer) connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	return w.connector.Connect(ctx)
}

func (w *writer) write(ctx context.Context, conn driver.Conn, seq int64) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return fmt.Errorf("the driver's %T cannot execute", conn)
	}
	_, err := execer.ExecContext(ctx, fmt.Sprintf("INSERT INTO lab.writes (writer, seq) VALUES (%d, %d)", w.id, seq), nil)
	return err
}

// failed remembers an error, unless it comes from the load's own end.
func (w *writer) failed(ctx context.Context, seq int64, class Class, err error) {
	if seq > 0 {
		w.mu.Lock()
		w.unknown = append(w.unknown, seq)
		w.mu.Unlock()
	}
	if ctx.Err() == nil {
		w.load.fail(w, seq, class, err)
	}
}

// firstSentAfter finds the first acknowledgement of a write sent after an instant.
func (w *writer) firstSentAfter(from time.Duration) (at time.Duration, found bool) {
	acked := w.snapshot().acked
	i := sort.Search(len(acked), func(i int) bool { return acked[i].sent > from })
	if i == len(acked) {
		return 0, false
	}
	return acked[i].at, true
}

// records are what a writer remembers; both slices only ever grow, so that they may be read while it goes on.
type records struct {
	acked   []ack
	unknown []int64
}

func (w *writer) snapshot() records {
	w.mu.Lock()
	defer w.mu.Unlock()
	return records{acked: w.acked, unknown: w.unknown}
}

func drop(conn driver.Conn) {
	if conn != nil {
		_ = conn.Close() // it is broken, or no longer wanted
	}
}
