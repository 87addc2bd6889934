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

func removeAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}
