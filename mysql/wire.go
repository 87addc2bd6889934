package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// wire is a connection that notices its end while nobody reads from it. The
// driver reads only when it expects an answer, so the end of an idle connection
// would be seen at its next use; here a goroutine reads always, and keeps what it
// read for the driver.
//
// The wire also reads the server's greeting as it passes: the version chooses the
// dialect before the first statement is sent.
type wire struct {
	net.Conn // the socket

	mu      sync.Mutex
	filled  sync.Cond // data, err, closed or room changed
	data    *chunk    // read from the socket, not yet taken; nil for nothing
	head    []byte    // the first bytes ever read, until the greeting is complete
	greeted bool
	hello   greeting
	err     error  // what ended the socket; nil while it lives
	closed  bool   // by us
	notify  func() // called once when the socket ends by itself

	flags  uint32 // the capabilities that our side chose
	spoken bool   // flags are known
}

// greeting is what a server says first.
type greeting struct {
	version string // "5.5.5-10.11.6-MariaDB-log"; empty until it arrived
	id      uint32 // the connection's, for KILL
}

const (
	wireLimit     = 1 << 20 // unread bytes kept: more than any answer that we ask for
	greetingMax   = 1 << 12
	errorPacket   = 0xff
	shortGreeting = 15      // after the version: id, challenge, capabilities, as the oldest servers send it
	withTLS       = 1 << 11 // among the capabilities
	withoutEOF    = 1 << 24
	longGreeting  = 44 // with the second parts of capabilities and challenge
)

// errGarbled is returned where what answers does not speak the protocol.
var errGarbled = errors.New("what answers is not a MySQL or MariaDB server")

func newWire(socket *net.TCPConn) (*wire, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: socket}
	w.filled.L = &w.mu
	go w.pump(raw)
	return w, nil
}

// pump reads until the socket ends. It waits only when the reader is far behind.
func (w *wire) pump(raw syscall.RawConn) {
	for {
		c, err := receive(w.Conn, raw)
		if !w.take(c, err) {
			return
		}
	}
}

// take keeps what was read, nil for nothing.
func (w *wire) take(c *chunk, err error) (more bool) {
	w.mu.Lock()
	if c != nil && !w.greeted {
		if greetErr := w.greet(c.b); greetErr != nil {
			err = greetErr
		}
	}
	switch {
	case c == nil:
	case w.data == nil:
		w.data = c
	default:
		if w.data.from > len(w.data.b)/2 { // so that it does not grow without end
			w.data.b, w.data.from = append(w.data.b[:0], w.data.b[w.data.from:]...), 0
		}
		w.data.b = append(w.data.b, c.b...)
		c.free()
	}
	if err != nil && w.err == nil {
		w.err = err
	}
	w.filled.Broadcast()
	for w.err == nil && !w.closed && w.unread() > wireLimit {
		w.filled.Wait()
	}
	more = w.err == nil && !w.closed
	var notify func()
	if w.err != nil && !w.closed {
		notify, w.notify = w.notify, nil
	}
	w.mu.Unlock()
	if notify != nil {
		notify()
	}
	return more
}

// greet reads the greeting: a packet with the protocol's version (10, or 255 for an
// error in its place), the server's version as a string, the connection's id and
// more. What is too short is not shown to the driver, which would panic.
func (w *wire) greet(b []byte) error {
	w.head = append(w.head, b[:min(len(b), greetingMax)]...)
	if len(w.head) < 5 {
		return nil
	}
	size, kind := int(w.head[0])|int(w.head[1])<<8|int(w.head[2])<<16, w.head[4]
	switch {
	case kind != 10 && kind != errorPacket, size > greetingMax/2:
		return errGarbled
	case len(w.head) < 4+size:
		return nil
	}
	body := w.head[5 : 4+size]
	w.head, w.greeted = nil, true
	if kind == errorPacket {
		// A number, a mark and five letters of state, which a server in haste leaves out.
		if len(body) < 3 || body[2] == '#' && len(body) < 8 {
			return errGarbled
		}
		return nil
	}
	end := bytes.IndexByte(body, 0)
	if end <= 0 {
		return errGarbled
	}
	rest := body[end+1:]
	if len(rest) != shortGreeting && len(rest) < longGreeting {
		return errGarbled
	}
	w.hello = greeting{version: string(body[:end]), id: binary.LittleEndian.Uint32(rest)}
	return nil
}

// Read gives what the pump read.
func (w *wire) Read(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.unread() == 0 || !w.greeted && w.err == nil || errors.Is(w.err, errGarbled) {
		switch {
		case w.closed:
			return 0, net.ErrClosed
		case w.err != nil:
			return 0, w.err
		}
		w.filled.Wait()
	}
	n := copy(b, w.data.b[w.data.from:])
	if w.data.from += n; w.unread() == 0 {
		w.data.free()
		w.data = nil
	}
	w.filled.Broadcast()
	return n, nil
}

// unread is how many bytes wait to be taken; the lock is held.
func (w *wire) unread() int {
	if w.data == nil {
		return 0
	}
	return len(w.data.b) - w.data.from
}

// Write notes what ended the socket when it is the first to see it, and what the
// log-in, which is written first, says that our side can.
func (w *wire) Write(b []byte) (int, error) {
	if !w.spoken {
		w.spoken = true
		if len(b) >= 8 {
			w.flags = binary.LittleEndian.Uint32(b[4:])
		}
	}
	n, err := w.Conn.Write(b)
	if err != nil {
		w.mu.Lock()
		if w.err == nil && !w.closed {
			w.err = err
			w.filled.Broadcast()
		}
		w.mu.Unlock()
	}
	return n, err
}

// Close ends the connection; the notice of a break is not given for it.
func (w *wire) Close() error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.filled.Broadcast()
	w.mu.Unlock()
	if already {
		return nil
	}
	return w.Conn.Close()
}

// SetDeadline bounds writing only, as the pump must read on: a reader is bounded
// by Close.
func (w *wire) SetDeadline(t time.Time) error { return w.SetWriteDeadline(t) }

// SetReadDeadline does nothing, see SetDeadline.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// onEnd has f called once when the socket ends by itself, at once if it has already.
func (w *wire) onEnd(f func()) {
	w.mu.Lock()
	ended := w.err != nil && !w.closed
	if !ended {
		w.notify = f
	}
	w.mu.Unlock()
	if ended && f != nil {
		f()
	}
}

// disarm forgets the notice: the end that comes is ours.
func (w *wire) disarm() {
	w.mu.Lock()
	w.notify = nil
	w.mu.Unlock()
}

// cause is what ended the socket by itself, nil when it lives or we closed it first.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(w.err, net.ErrClosed) {
		return nil
	}
	if errors.Is(w.err, io.EOF) {
		return errHungUp
	}
	return w.err
}

// greeting is what the server said first.
func (w *wire) greeting() greeting {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hello
}

// plain says that what travels is the protocol itself, not encrypted.
func (w *wire) plain() bool { return w.spoken && w.flags&withTLS == 0 }

// endsWithEOF says that results end in the old way.
func (w *wire) endsWithEOF() bool { return w.flags&withoutEOF == 0 }

// errHungUp is the orderly end of a connection by the other side.
var errHungUp = errors.New("the server closed the connection")
