package world

import (
	"context"
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// checks holds the invariants, by their numbers in docs/architecture.md, and is
// asked after every event. Its fields are guarded by the world's mutex.
type checks struct {
	w      *World
	index  uint64         // of the newest ledger that was seen anywhere
	now    ledger.Cluster // of that ledger
	opened map[topology.Addr]time.Time
	must   map[*proxy]uint64 // the epoch that must be known before a proxy is opened
}

func newChecks(w *World) *checks {
	return &checks{w: w, opened: map[topology.Addr]time.Time{}, must: map[*proxy]uint64{}}
}

// known is how old a fact must be before a sidecar is held to know it.
const known = 3 * time.Second

// follow watches what a process's ledger says.
func (c *checks) follow(p *process) {
	for {
		state, changed := p.raft.Watch()
		c.w.mu.Lock()
		if state.Index > c.index {
			c.agreed(state)
		}
		c.w.mu.Unlock()
		select {
		case <-changed:
		case <-p.ctx.Done():
			return
		}
	}
}

// agreed looks at a newer ledger.
func (c *checks) agreed(state *ledger.State) {
	before, last := c.now.Route.Writer, c.now.Last()
	c.index, c.now = state.Index, state.Clusters[Cluster]
	writer := c.now.Route.Writer
	if r := c.now.Last(); r != nil && (last == nil || last.Intent.ID != r.Intent.ID) && r.Outcome == failover.RolledBack {
		if from := c.w.server(r.Intent.From); from.up && from.readOnly && from.closed {
			c.w.failLocked("invariant 8: the %s to %s was rolled back, and %s was left read-only", r.Intent.Kind, r.Intent.To, from.addr)
		}
	}
	if before == "" || writer == before {
		return
	}
	// A route opens only what was promoted. (Who died since is another matter.)
	if _, ok := c.opened[writer]; !ok {
		c.w.failLocked("invariant 8: the route to %s was committed at epoch %d and nobody had promoted it", writer, c.now.Route.Epoch)
	}
	c.opened = map[topology.Addr]time.Time{}
}

// look holds invariant 1: never are two instances both writable and routed. One
// that waits for acknowledgements and has too few replicas left takes no writes.
func (c *checks) look(format string, args ...any) {
	var open []topology.Addr
	for _, s := range c.w.servers {
		if s.up && !s.readOnly && c.routed(s) && c.canCommit(s) {
			open = append(open, s.addr)
		}
	}
	if len(open) > 1 {
		c.w.eventLocked(format, args...)
		c.w.failLocked("invariant 1: %s are all writable and routed as writer", topology.JoinAddrs(open))
	}
}

// canCommit says whether a server could tell a client that a write is done.
func (c *checks) canCommit(s *server) bool {
	acking := 0
	for _, r := range c.w.servers {
		if r != s && r.up && r.semiRepl && r.source == s.addr && r.ioStop != nil {
			acking++
		}
	}
	return !s.semiSource || acking >= s.semiWait
}

// routed says whether a proxy sends writes to a server by Remora's hand.
func (c *checks) routed(s *server) bool {
	return slices.ContainsFunc(c.w.nodes, func(n *node) bool {
		return n.proxy.up && !n.proxy.foreign && n.proxy.rows[s.addr] == online
	})
}

// applied is called when a proxy takes a route; its new rows are in place.
func (c *checks) applied(x *proxy, route topology.Route) {
	if route.Epoch < x.newest {
		c.w.failLocked("invariant 2: the proxy of %s went from epoch %d back to %d", x.name, x.newest, route.Epoch)
	}
	if route.Mode == topology.Open && route.Epoch < c.must[x] {
		c.w.failLocked("invariant 10: the proxy of %s was opened at epoch %d, and when it or its sidecar started epoch %d was committed", x.name, route.Epoch, c.must[x])
	}
	c.w.eventLocked("%s: proxy at epoch %d, %s %s", x.name, route.Epoch, route.Writer, route.Mode)
	c.look("%s routes %s", x.name, route.Writer)
}

// started notes what is committed when a sidecar starts: without a lease it must
// learn all of that. A proxy that restarts under a lease needs no more than what
// the lease holds for.
func (c *checks) started(x *proxy) { c.must[x] = c.now.Desired().Epoch }

func (c *checks) restarted(x *proxy) {
	if p := c.w.node(x.name).running; p != nil {
		c.must[x] = max(c.must[x], p.raft.State().Clusters[Cluster].Desired().Epoch)
	}
}

// leads says that a server is or is to be the primary.
func (c *checks) leads(s *server) bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	in := c.now.Intent
	return c.now.Route.Writer == s.addr || !s.readOnly || in != nil && in.To == s.addr
}

// actBegins holds invariant 3: every act follows a quorum round of its own.
func (c *checks) actBegins(ctx context.Context, p *process, step failover.Step) {
	p.mu.Lock()
	ok, dead := p.verified[ctx], p.dead
	p.mu.Unlock()
	if !ok && !dead {
		c.w.fail("invariant 3: %s began %q without a quorum round for it", p.node.name, step)
	}
}

// verified holds what a quorum round means: when it began nobody led a newer term.
func (c *checks) verified(p *process, before map[string]uint64) {
	term := p.raft.Stats().Term
	for name, other := range before {
		if name != p.node.name && other > term {
			c.w.fail("invariant 3: %s verified its leadership of term %d, and %s led term %d before", p.node.name, term, name, other)
		}
	}
}

// granted holds the rule of leases: each after a quorum round that began after
// the request came.
func (c *checks) granted(p *process, to string, asked bool) {
	if !asked {
		c.w.fail("leases: %s granted one to %s without a quorum round since it was asked", p.node.name, to)
	}
}

// promoted is called before a server is opened; the caller holds the mutex.
func (c *checks) promoted(p *process, s *server) {
	c.opened[s.addr] = time.Now()
	in := c.now.Intent
	if in == nil || in.Forced || in.From == s.addr {
		return
	}
	from := c.w.server(in.From)
	for i := range min(len(from.log), len(s.log)) {
		if from.log[i] != s.log[i] && time.Since(s.got[s.log[i]]) > known {
			c.w.failLocked("invariant 5: %s promotes %s, which has %s where %s has %s", p.node.name, s.addr, s.log[i].gtid(), from.addr, from.log[i].gtid())
			break
		}
	}
	for _, t := range s.log {
		if _, ok := from.at[t]; t.errant && !ok && time.Since(s.got[t]) > known {
			c.w.failLocked("invariant 5: %s promotes %s with the errant transaction %s", p.node.name, s.addr, t.gtid())
		}
	}
	c.durabilityFence(s, from)
}

// durabilityFence holds invariant 7: the new primary opens when no proxy sends
// writes to the old one, or when that can commit nothing any more.
func (c *checks) durabilityFence(s, from *server) {
	if from.up && !from.readOnly && c.routed(from) && c.canCommit(from) {
		c.w.failLocked("invariant 7: %s opens while %s is routed and can commit", s.addr, from.addr)
	}
}

// repointed is called before a server is made a replica; the caller holds the
// mutex. What it has and its source lacks would be lost or break it.
func (c *checks) repointed(s *server, to topology.Addr) {
	source := c.w.server(to)
	if source == nil || !source.up {
		return
	}
	for _, t := range source.lacks(s) {
		if time.Since(s.got[t]) > known {
			c.w.failLocked("invariant 5: %s is made a replica of %s, which lacks its %s", s.addr, to, t.gtid())
			return
		}
	}
}

// acknowledged is called when a client learns that its write was done. Under
// semi-sync the word may come late; that the write is not lost is seen at the end.
func (c *checks) acknowledged(id int, by *server) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if by.semiSource {
		return
	}
	for _, s := range c.w.servers {
		if s != by && s.up && !s.readOnly && c.routed(s) && c.canCommit(s) {
			c.w.failLocked("invariant 1: write %d was acknowledged by %s while %s is open", id, by.addr, s.addr)
		}
	}
}
