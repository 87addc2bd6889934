package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

func TestMain(m *testing.M) {
	// When raft ends it forgets who waits for an entry that it has just committed.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"))
}

// patience is how long a test waits for what must come. It is far above what it
// takes, for machines are busy.
const patience = 20 * time.Second

// cluster is some nodes in this process, on loopback.
type cluster struct {
	t     *testing.T
	net   *network
	peers []Peer
	conf  func(*Config) // further settings of every node
	dirs  map[string]string
	nodes map[string]*Node
}

// newCluster has the nodes n1, n2, ...; none is started.
func newCluster(t *testing.T, size int, conf func(*Config)) *cluster {
	c := &cluster{t: t, net: newNetwork(), conf: conf, dirs: map[string]string{}, nodes: map[string]*Node{}}
	for i := range size {
		c.peers = append(c.peers, Peer{Name: fmt.Sprintf("n%d", i+1), Addr: freeAddr(t)})
	}
	t.Cleanup(func() {
		for name := range c.nodes {
			c.stop(name)
		}
	})
	return c
}

// onDisk gives every node a directory.
func (c *cluster) onDisk() *cluster {
	for _, p := range c.peers {
		c.dirs[p.Name] = c.t.TempDir()
	}
	return c
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (c *cluster) config(name string) Config {
	cfg := Config{Name: name, Dir: c.dirs[name], Peers: c.peers, Log: testLog(c.t, name)}
	cfg.Network = dialFunc(c.net.dialer(name, c.peers))
	if c.conf != nil {
		c.conf(&cfg)
	}
	return cfg
}

// testLog shows warnings where the test fails or -v is given.
func testLog(t *testing.T, name string) *slog.Logger {
	var w bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, w.String())
		}
	})
	return slog.New(slog.NewTextHandler(&lockedWriter{w: &w}, nil)).With("node", name)
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (c *cluster) start(names ...string) *cluster {
	c.t.Helper()
	if len(names) == 0 {
		for _, p := range c.peers {
			names = append(names, p.Name)
		}
	}
	for _, name := range names {
		n, err := Start(c.config(name))
		if err != nil {
			c.t.Fatal(err)
		}
		c.nodes[name] = n
	}
	return c
}

// stop ends a node without a word to the others, as a kill would.
func (c *cluster) stop(name string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.nodes[name].Close(ctx); err != nil {
		c.t.Errorf("close %s: %v", name, err)
	}
	delete(c.nodes, name)
}

// leader waits for the next usable term of any node that the test can reach.
func (c *cluster) leader() (*Node, Term) {
	c.t.Helper()
	type found struct {
		n    *Node
		term Term
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	all := make(chan found)
	var asked sync.WaitGroup
	for _, n := range c.nodes {
		asked.Go(func() {
			select {
			case term, ok := <-n.Terms():
				if !ok {
					return
				}
				select {
				case all <- found{n, term}:
				case <-ctx.Done():
				}
			case <-ctx.Done():
			}
		})
	}
	defer asked.Wait()
	defer cancel()
	select {
	case f := <-all:
		return f.n, f.term
	case <-ctx.Done():
		c.t.Fatal("nobody came to lead")
		return nil, Term{}
	}
}

// followers are the running nodes but one.
func (c *cluster) followers(leader *Node) []*Node {
	var list []*Node
	for _, p := range c.peers {
		if n := c.nodes[p.Name]; n != nil && n != leader {
			list = append(list, n)
		}
	}
	return list
}

// apply sends a command to whoever leads until it is applied, as a sidecar would.
func (c *cluster) apply(cmd ledger.Command) ledger.Result {
	c.t.Helper()
	var result ledger.Result
	eventually(c.t, "apply "+cmd.ID, func() bool {
		for _, n := range c.nodes {
			if !n.IsLeader() {
				continue
			}
			r, err := n.Apply(bounded(c.t), cmd)
			if err == nil {
				result = r
				return true
			}
			if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrAmbiguous) {
				c.t.Fatal(err)
			}
		}
		return false
	})
	if err := result.Err(); err != nil {
		c.t.Fatal(err)
	}
	return result
}

// discover is a command that makes one more instance known.
func discover(i int) ledger.Command {
	return ledger.Command{ID: fmt.Sprintf("d%d", i), Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{host(i)}}}
}

func host(i int) topology.Addr { return topology.Addr(fmt.Sprintf("h%d:3306", i)) }

// knows waits until a node knows the instance.
func knows(t *testing.T, n *Node, a topology.Addr) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		s, superseded := n.Watch()
		for _, known := range s.Clusters["main"].Known {
			if known == a {
				return
			}
		}
		select {
		case <-superseded:
		case <-deadline.C:
			t.Fatalf("%s has not learned of %s; it knows %v, %+v", n.cfg.Name, a, s.Clusters["main"].Known, n.Stats())
		}
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func ended(t *testing.T, term Term) {
	t.Helper()
	select {
	case <-term.Ctx.Done():
	case <-time.After(patience):
		t.Fatal("the term has not ended")
	}
}

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

func removeAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}
