package proxysql

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// watchedConn tells at once when the other side is gone, though nobody reads: a
// goroutine of its own is the only reader of the socket.
type watchedConn struct {
	net.Conn
	in      *io.PipeReader
	closing atomic.Bool
	pumped  chan struct{} // closed when the pump has ended
}

// watch begins to pump. onBreak is called once, from the pump, if the connection
// ends without Close having been called.
func watch(conn net.Conn, onBreak func()) *watchedConn {
	in, out := io.Pipe()
	w := &watchedConn{Conn: conn, in: in, pumped: make(chan struct{})}
	go func() {
		defer close(w.pumped)
		_, err := io.Copy(out, conn)
		if err == nil {
			err = io.EOF
		}
		_ = out.CloseWithError(err)
		if !w.closing.Swap(true) {
			_ = conn.Close()
			onBreak()
		}
	}()
	return w
}

func (w *watchedConn) Read(p []byte) (int, error) { return w.in.Read(p) }

// SetDeadline and SetReadDeadline leave the pump alone: statements are bounded by
// their contexts, which close the connection.
func (w *watchedConn) SetDeadline(t time.Time) error   { return w.SetWriteDeadline(t) }
func (w *watchedConn) SetReadDeadline(time.Time) error { return nil }

// broken says that nothing will come any more.
func (w *watchedConn) broken() bool {
	select {
	case <-w.pumped:
		return true
	default:
		return w.closing.Load()
	}
}

func (w *watchedConn) Close() error {
	w.closing.Store(true)
	_ = w.in.Close()
	return w.Conn.Close()
}

// dial connects to the admin interface and watches.
func dial(ctx context.Context, addr string, onBreak func()) (*watchedConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return watch(conn, onBreak), nil
}
