package consensus

import (
	"errors"
	"net"
	"sync"
	"time"
)

// network is the wires between nodes; a node can be cut off.
type network struct {
	mu    sync.Mutex
	cut   map[string]bool
	wires map[*wire]bool
	held  string        // what the others answer to this node is not read
	free  chan struct{} // closed when it is
	wrote int           // by the held node

	refused int // dials, for a node was cut off
}

type wire struct {
	net.Conn
	from, to string
	in       *network
}

func newNetwork() *network { return &network{cut: map[string]bool{}, wires: map[*wire]bool{}} }

var errCut = errors.New("the wire is cut")

// dialFunc is TCP with its own way to connect.
type dialFunc func(addr string, timeout time.Duration) (net.Conn, error)

func (dialFunc) Listen(addr string) (net.Listener, error) { return tcp{}.Listen(addr) }
func (d dialFunc) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	return d(addr, timeout)
}

func (w *network) dialer(from string, peers []Peer) func(string, time.Duration) (net.Conn, error) {
	names := map[string]string{}
	for _, p := range peers {
		names[p.Addr] = p.Name
	}
	return func(addr string, timeout time.Duration) (net.Conn, error) {
		to := names[addr]
		w.mu.Lock()
		blocked := w.cut[from] || w.cut[to]
		if blocked {
			w.refused++
		}
		w.mu.Unlock()
		if blocked {
			return nil, errCut
		}
		conn, err := net.DialTimeout("tcp", addr, timeout)
		if err != nil {
			return nil, err
		}
		wr := &wire{Conn: conn, from: from, to: to, in: w}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cut[from] || w.cut[to] {
			return nil, errors.Join(errCut, conn.Close())
		}
		w.wires[wr] = true
		return wr, nil
	}
}

// Write counts what a held node asks.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	if w.from == w.in.held {
		w.in.wrote++
	}
	return n, err
}

// Read keeps back what came in while the node was held, and hands it out after.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.in.mu.Lock()
	held, free := w.from == w.in.held, w.in.free
	w.in.mu.Unlock()
	if held {
		<-free
	}
	return n, err
}

// hold stops a node from reading answers, as if its process were stopped.
func (w *network) hold(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held, w.free = name, make(chan struct{})
}

// asked is how many messages the held node has written.
func (w *network) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote
}

// refusals is how often a node was not reached, for one was cut off.
func (w *network) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

func (w *network) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = ""
	close(w.free)
}

func (w *wire) Close() error {
	w.in.mu.Lock()
	delete(w.in.wires, w)
	w.in.mu.Unlock()
	return w.Conn.Close()
}

// isolate cuts a node off from all others.
func (w *network) isolate(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[name] = true
	for wr := range w.wires {
		if wr.from == name || wr.to == name {
			_ = wr.Conn.Close()
		}
	}
}

func (w *network) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
}
