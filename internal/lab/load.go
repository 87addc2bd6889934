package lab

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// LoadOptions describe a load.
type LoadOptions struct {
	// Addrs are what the writers connect to, in turn: proxies' ClientAddr, or a server's Addr.
	Addrs []string
	// Hosts are where the writers run, in turn, as many as Addrs; none for the machine itself.
	Hosts []*Host
	// Writers is how many there are, each with a connection of its own; 0 for 4.
	Writers int
	// Pace is the time from the start of a writer's write to that of its next one; 0 for as fast as they go.
	Pace time.Duration
	// Timeout is how long a writer waits for an answer before it gives the connection up; 0 for 15 s, which is more
	// than a proxy holds a query.
	Timeout time.Duration
	// Timeouts, where given, are in its place for one writer each, in turn.
	Timeouts []time.Duration
	// User is whom the writers connect as; the zero value for AppUser.
	User User
}

// Load is a number of clients that write, as applications do: each inserts rows (writer, seq) into lab.writes, one
// after the other, without transactions and without ever sending a row twice. What is acknowledged is remembered with
// its time. After an error a writer goes on with the next row, on a new connection where the error broke the old one;
// whether the row of the failed write is there is unknown until Verify looks.
type Load struct {
	opts    LoadOptions
	begin   time.Time
	writers []*writer
	stop    chan struct{} // closed to let the writers finish
	cancel  context.CancelFunc
	done    sync.WaitGroup
	stopped sync.Once

	mu       sync.Mutex
	failures []Failure
}

const (
	retryPause = 20 * time.Millisecond // between attempts to connect
	stopGrace  = time.Second           // for the writes under way at Stop
)

// Load starts a load and waits until each writer was acknowledged once. Its writers have numbers of their own among all
// loads of the lab, so that several may share the table. It stops with the lab.
func (l *Lab) Load(ctx context.Context, opts LoadOptions) (*Load, error) {
	if len(opts.Addrs) == 0 {
		return nil, errors.New("start a load: no address to write to")
	}
	opts.Writers = orDefault(opts.Writers, 4)
	opts.Timeout = orDefault(opts.Timeout, 15*time.Second)
	if opts.User.Name == "" {
		opts.User = AppUser
	}
	load := &Load{opts: opts, begin: time.Now(), stop: make(chan struct{})}
	first := int(l.writers.Add(int64(opts.Writers))) - opts.Writers + 1
	for i := range opts.Writers {
		var host *Host
		if len(opts.Hosts) > 0 {
			host = opts.Hosts[i%len(opts.Hosts)]
		}
		cfg := host.dsn(opts.Addrs[i%len(opts.Addrs)], opts.User, "")
		patience := opts.Timeout
		if len(opts.Timeouts) > 0 {
			patience = opts.Timeouts[i%len(opts.Timeouts)]
		}
		cfg.Timeout = patience
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, fmt.Errorf("start a load: %w", err)
		}
		load.writers = append(load.writers, &writer{load: load, id: first + i, connector: connector, patience: patience})
	}
	runCtx, cancel := context.WithCancel(l.ctx)
	load.cancel = cancel
	for i, w := range load.writers {
		load.done.Add(1)
		// Spread over one pace, so that an outage is not measured with all writers' clocks in step.
		offset := opts.Pace * time.Duration(i) / time.Duration(opts.Writers)
		go func() {
			defer load.done.Done()
			w.run(runCtx, offset)
		}()
	}
	if err := l.onClose(func() error { load.Stop(); return nil }); err != nil {
		return nil, fmt.Errorf("start a load: %w", err)
	}
	if _, err := load.Back(ctx, load.begin); err != nil {
		load.Stop()
		return nil, fmt.Errorf("start a load: %w", err)
	}
	return load, nil
}

// Stop lets every writer finish the write under way, and returns when all have ended. What does not finish within a
// second is broken off; its row is unknown, and it counts as no error.
func (ld *Load) Stop() {
	ld.stopped.Do(func() {
		close(ld.stop)
		timer := time.AfterFunc(stopGrace, ld.cancel)
		ld.done.Wait()
		timer.Stop()
		ld.cancel()
	})
}

// First waits until any writer was acknowledged a write that it sent after an instant, and gives the time of that
// acknowledgement: writes are back.
func (ld *Load) First(ctx context.Context, since time.Time) (time.Time, error) {
	return ld.acknowledged(ctx, since, 1)
}

// Back waits until every writer was acknowledged a write that it sent after an instant, and gives the time of the first
// of these acknowledgements.
func (ld *Load) Back(ctx context.Context, since time.Time) (time.Time, error) {
	return ld.acknowledged(ctx, since, len(ld.writers))
}

// Backs are the times at which each writer was first acknowledged a write that it sent after an instant; zero for one that
// was not yet.
func (ld *Load) Backs(since time.Time) []time.Time {
	backs := make([]time.Time, len(ld.writers))
	for i, w := range ld.writers {
		if at, found := w.firstSentAfter(since.Sub(ld.begin)); found {
			backs[i] = ld.begin.Add(at)
		}
	}
	return backs
}

// Acked are all writes that were acknowledged, those of a writer together and in their order.
func (ld *Load) Acked() []Write {
	var all []Write
	for _, w := range ld.writers {
		for _, a := range w.snapshot().acked {
			all = append(all, Write{Writer: w.id, Seq: a.seq, At: ld.begin.Add(a.at)})
		}
	}
	return all
}

func (ld *Load) acknowledged(ctx context.Context, since time.Time, writers int) (time.Time, error) {
	from, first := since.Sub(ld.begin), time.Duration(0)
	err := Eventually(ctx, fmt.Sprintf("%d writers to be acknowledged", writers), 10*time.Millisecond, func() (bool, string) {
		back := 0
		first = 0
		for _, w := range ld.writers {
			if at, found := w.firstSentAfter(from); found {
				if back++; first == 0 || at < first {
					first = at
				}
			}
		}
		return back >= writers, fmt.Sprintf("%d still wait, %s", len(ld.writers)-back, ld.lastFailure())
	})
	return ld.begin.Add(first), err
}

// Snapshot is the state of a load at an instant, for a live line.
type Snapshot struct {
	At time.Time
	// Acked and Errors are totals.
	Acked, Errors int
	// PerSecond is how many writes were acknowledged in the last second.
	PerSecond int
	// Idle is the time since the last acknowledgement of any writer.
	Idle time.Duration
}

// Snapshot says how the load does now.
func (ld *Load) Snapshot() Snapshot {
	now := time.Since(ld.begin)
	s := Snapshot{At: ld.begin.Add(now), Idle: now}
	for _, w := range ld.writers {
		acked := w.snapshot().acked
		s.Acked += len(acked)
		s.PerSecond += len(acked) - sort.Search(len(acked), func(i int) bool { return acked[i].at > now-time.Second })
		if n := len(acked); n > 0 {
			s.Idle = min(s.Idle, max(0, now-acked[n-1].at))
		}
	}
	ld.mu.Lock()
	s.Errors = len(ld.failures)
	ld.mu.Unlock()
	return s
}

func (ld *Load) fail(w *writer, seq int64, class Class, err error) {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	ld.failures = append(ld.failures, Failure{At: time.Now(), Writer: w.id, Seq: seq, Class: class, Err: err})
}

func (ld *Load) lastFailure() string {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	if len(ld.failures) == 0 {
		return "no error yet"
	}
	return "last error: " + ld.failures[len(ld.failures)-1].String()
}
