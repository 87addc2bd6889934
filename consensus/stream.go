package consensus

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream is raft's StreamLayer over a Network. It knows every connection, so that
// closing it silences the node at once: raft's transport would leave those open
// that the others have dialled.
type stream struct {
	net.Listener
	advertise addr
	dial      func(addr string, timeout time.Duration) (net.Conn, error)

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

// addr is an address as it was configured: a name stays a name.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func listen(cfg Config) (*stream, error) {
	l, err := cfg.Network.Listen(cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("listen for raft on %s: %w", cfg.Bind, err)
	}
	return &stream{Listener: l, advertise: addr(cfg.Advertise), dial: cfg.Network.Dial, conns: map[net.Conn]bool{}}, nil
}

// Addr implements net.Listener with what the others are told.
func (s *stream) Addr() net.Addr { return s.advertise }

// Accept implements net.Listener.
func (s *stream) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(c)
}

// Dial implements raft.StreamLayer.
func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := s.dial(string(to), timeout)
	if err != nil {
		return nil, err
	}
	return s.track(c)
}

// Close implements net.Listener. It ends every connection; none comes after it.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	return s.Listener.Close()
}

func (s *stream) track(c net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	s.conns[c] = true
	return &tracked{Conn: c, in: s}, nil
}

// tracked is a connection that its stream forgets when it is closed.
type tracked struct {
	net.Conn
	in *stream
}

func (t *tracked) Close() error {
	t.in.mu.Lock()
	delete(t.in.conns, t.Conn)
	t.in.mu.Unlock()
	return t.Conn.Close()
}
