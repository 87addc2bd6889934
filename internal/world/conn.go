package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// exchange is where the raft listeners of all nodes are found. It makes every
// node a [consensus.Network] of its own, by its host.
type exchange struct {
	net *network

	mu        sync.Mutex
	listeners map[string]*listener // by address
	conns     map[*conn]bool
}

func newExchange(n *network) *exchange {
	return &exchange{net: n, listeners: map[string]*listener{}, conns: map[*conn]bool{}}
}

// raftNet is the exchange as one process sees it.
type raftNet struct {
	*exchange
	host string
}

// raftAddr is where a host's raft listens.
func raftAddr(host string) string { return host + ":7000" }

func (r raftNet) Listen(addr string) (net.Listener, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners[addr] != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &listener{exchange: r.exchange, addr: addr, backlog: make(chan *conn, 16), ended: make(chan struct{})}
	r.listeners[addr] = l
	return l, nil
}

func (r raftNet) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	to, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if err := r.net.pass(ctx, r.host, to, RaftPort); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	r.mu.Lock()
	l := r.listeners[addr]
	r.mu.Unlock()
	if err := r.net.pass(ctx, to, r.host, RaftPort); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if l == nil {
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	there, back := newStream(r.net, r.host, to), newStream(r.net, to, r.host)
	mine := &conn{exchange: r.exchange, in: back, out: there, local: r.host, remote: to}
	theirs := &conn{exchange: r.exchange, in: there, out: back, local: to, remote: r.host}
	select {
	case l.backlog <- theirs:
	case <-l.ended:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	r.mu.Lock()
	r.conns[mine], r.conns[theirs] = true, true
	r.mu.Unlock()
	return mine, nil
}

// kill ends all of a host's connections and its listener, as the end of a
// process does.
func (e *exchange) kill(host string) {
	e.mu.Lock()
	l := e.listeners[raftAddr(host)]
	var mine []*conn
	for c := range e.conns {
		if c.local == host {
			mine = append(mine, c)
		}
	}
	e.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	for _, c := range mine {
		_ = c.Close()
	}
}

type listener struct {
	exchange *exchange
	addr     string
	backlog  chan *conn
	once     sync.Once
	ended    chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.ended)
		l.exchange.mu.Lock()
		delete(l.exchange.listeners, l.addr)
		l.exchange.mu.Unlock()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.addr) }

type address string

func (address) Network() string  { return "world" }
func (a address) String() string { return string(a) }

// conn is one end of a connection.
type conn struct {
	exchange      *exchange
	in, out       *stream
	local, remote string
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *conn) Close() error {
	c.out.close()
	c.in.abandon()
	c.exchange.mu.Lock()
	delete(c.exchange.conns, c)
	c.exchange.mu.Unlock()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return address(c.local) }
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

// SetDeadline bounds reading; writing never waits.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	c.in.deadline = t
	c.in.mu.Unlock()
	c.in.poke()
	return nil
}

func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// stream is one direction of a connection: bytes on their way.
type stream struct {
	net      *network
	from, to string
	wake     chan struct{}

	mu       sync.Mutex
	queue    []chunk
	deadline time.Time
	ended    bool // the sender closed it: what is on its way still arrives
	gone     bool // the reader closed it
}

type chunk struct {
	bytes []byte
	at    time.Time // when it arrives
}

func newStream(n *network, from, to string) *stream {
	return &stream{net: n, from: from, to: to, wake: make(chan struct{}, 1)}
}

func (s *stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) write(b []byte) (int, error) {
	_, takes, _ := s.net.ready(s.from, s.to, RaftPort)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.gone {
		return 0, errors.Join(net.ErrClosed, syscall.EPIPE)
	}
	at := time.Now().Add(takes)
	if n := len(s.queue); n > 0 && s.queue[n-1].at.After(at) {
		at = s.queue[n-1].at // in order
	}
	s.queue = append(s.queue, chunk{append([]byte(nil), b...), at})
	s.poke()
	return len(b), nil
}

func (s *stream) close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.poke()
}

func (s *stream) abandon() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.poke()
}

func (s *stream) read(b []byte) (int, error) {
	for {
		up, _, changed := s.net.ready(s.from, s.to, RaftPort)
		s.mu.Lock()
		now := time.Now()
		var wait time.Duration = -1
		switch {
		case s.gone:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case !s.deadline.IsZero() && !now.Before(s.deadline):
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case up && len(s.queue) > 0 && !s.queue[0].at.After(now):
			n := copy(b, s.queue[0].bytes)
			if s.queue[0].bytes = s.queue[0].bytes[n:]; len(s.queue[0].bytes) == 0 {
				s.queue = s.queue[1:]
			}
			s.mu.Unlock()
			return n, nil
		case up && len(s.queue) > 0:
			wait = s.queue[0].at.Sub(now)
		case up && s.ended:
			s.mu.Unlock()
			return 0, io.EOF
		}
		if !s.deadline.IsZero() {
			if left := s.deadline.Sub(now); wait < 0 || left < wait {
				wait = left
			}
		}
		s.mu.Unlock()
		s.await(wait, changed)
	}
}

// await waits for news of the stream or of the network, or for a time; -1: for ever.
func (s *stream) await(wait time.Duration, changed <-chan struct{}) {
	if wait < 0 {
		select {
		case <-s.wake:
		case <-changed:
		}
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-changed:
	case <-timer.C:
	}
}
