package world

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// unsettled says what is not as it should be when all faults have ended; empty
// when everything is.
func (w *World) unsettled() string {
	if len(w.leaders()) != 1 {
		return fmt.Sprintf("%d nodes lead", len(w.leaders()))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var index uint64
	for _, n := range w.nodes {
		if n.running == nil {
			return n.name + " does not run"
		}
		state := n.running.raft.State()
		if index != 0 && state.Index != index {
			return n.name + " has another ledger"
		}
		index = state.Index
	}
	cl := w.nodes[0].running.raft.State().Clusters[Cluster]
	switch {
	case cl.Intent != nil:
		return fmt.Sprintf("%s %s from %s to %s is still open", cl.Intent.Kind, cl.Intent.ID, cl.Intent.From, cl.Intent.To)
	case cl.Route.Writer == "":
		return "nothing is routed"
	}
	primary := w.server(cl.Route.Writer)
	if primary == nil || !primary.up || primary.readOnly || primary.source != "" {
		return fmt.Sprintf("%s is routed and takes no writes", cl.Route.Writer)
	}
	for _, n := range w.nodes {
		if open := n.proxy.writers(); len(open) != 1 || open[0] != primary.addr || n.proxy.applied != cl.Desired().Epoch {
			return fmt.Sprintf("the proxy of %s routes %s at epoch %d, want %s at %d", n.name, topology.JoinAddrs(open), n.proxy.applied, primary.addr, cl.Desired().Epoch)
		}
	}
	for _, s := range w.servers {
		if why := w.unsettledReplica(s, primary); why != "" {
			return why
		}
	}
	return ""
}

func (w *World) unsettledReplica(s, primary *server) string {
	switch {
	case s == primary:
		return ""
	case !s.up:
		return fmt.Sprintf("%s is down", s.addr)
	case !s.readOnly:
		return fmt.Sprintf("%s takes writes and is not the primary", s.addr)
	case !primary.has(s):
		return "" // diverged: it is kept out until somebody decides
	case s.sqlError != "":
		return "" // broken, and a finding; somebody has to look at it
	case s.source != primary.addr && !w.follows(s, primary):
		return fmt.Sprintf("%s replicates from %q and not from %s", s.addr, s.source, primary.addr)
	case s.io != topology.ThreadYes || !s.sql:
		return fmt.Sprintf("%s does not replicate: IO %s (%s), SQL %t", s.addr, s.io, s.ioError, s.sql)
	}
	return ""
}

// follows says whether a chain of sources leads to the primary.
func (w *World) follows(s, primary *server) bool {
	for range w.servers {
		if s = w.server(s.source); s == nil || s == primary {
			break
		}
	}
	return s == primary
}

// Finish demands that the world converges within the limit, and then that every
// acknowledged write is accounted for.
func (w *World) Finish() {
	settled := func() bool { return w.unsettled() == "" }
	if !w.await(convergence/2, settled) && !(w.openByHand() && w.await(convergence/2, settled)) {
		w.fail("invariant 6: not converged %s after all faults had ended: %s; the leader says: %s", convergence, w.unsettled(), w.sentence())
		return
	}
	before := w.history.acknowledged()
	write := func() bool { return w.history.acknowledged() >= before+2*len(w.nodes) }
	if !w.await(convergence/2, write) && !(w.cloneByHand() && w.await(convergence/2, write)) {
		w.fail("invariant 6: converged, and yet clients cannot write: %s", w.sentence())
		return
	}
	if !w.await(convergence, func() bool { return w.unsettled() == "" }) {
		w.fail("invariant 6: did not stay converged: %s; the leader says: %s", w.unsettled(), w.sentence())
		return
	}
	w.account()
}

// openByHand does what an operator does who reads that a routed primary is
// read-only and why it is not opened: to open it may lose what a replica has and it
// lacks, and Remora leaves that to people.
func (w *World) openByHand() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.server(w.checks.now.Route.Writer)
	if w.checks.now.Intent != nil || s == nil || !s.up || !s.readOnly || s.source != "" {
		return false
	}
	w.eventLocked("an operator opens %s", s.addr)
	w.opened = true
	s.readOnly = false
	s.notify()
	return true
}

// cloneByHand does what an operator does who reads that a primary waits for
// acknowledgements and no replica can follow it: to clone those that have diverged.
func (w *World) cloneByHand() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	primary := w.server(w.checks.now.Route.Writer)
	if !w.options.SemiSync || primary == nil {
		return false
	}
	cloned := false
	for _, s := range w.servers {
		if s == primary || !s.up || primary.has(s) && s.sqlError == "" {
			continue
		}
		w.eventLocked("an operator clones %s from %s", s.addr, primary.addr)
		s.forget()
		s.become(primary)
		cloned = true
	}
	return cloned
}

// become copies another server's data and replicates from it; the caller holds
// the mutex.
func (s *server) become(o *server) {
	s.log, s.at, s.counted, s.heads = nil, map[*txn]int{}, 0, nil
	for _, t := range o.log {
		if o.commits[t] == nil {
			s.append(t)
		}
	}
	s.synced, s.readOnly, s.source, s.semiSource, s.semiRepl = len(s.log), true, o.addr, false, true
	s.startSQL()
	s.startIO()
}

// sentence is what the leader says of its last cycle.
func (w *World) sentence() string {
	n := w.leading()
	if n == nil || n.running == nil {
		return "nobody leads"
	}
	for _, c := range n.running.sidecar.Status().Clusters {
		return c.Sentence
	}
	return ""
}

// account finds every acknowledged write in the primary's history. Under async
// the loss of some is said in a recovery; what a primary that kept its role had
// not synced before its machine lost power is its own, and nobody knows of it.
func (w *World) account() {
	w.mu.Lock()
	cl := w.checks.now
	primary := w.server(cl.Route.Writer)
	held := map[int]bool{}
	for _, t := range primary.log {
		held[t.write] = true
	}
	var lost, own []int
	for _, a := range w.history.attempts {
		if !a.ended.IsZero() && !held[a.id] {
			lost = append(lost, a.id)
			if !w.options.SemiSync && primary.unsynced[a.id] || w.vouchersLost(a.id) {
				own = append(own, a.id)
			}
		}
	}
	named := w.opened
	for _, r := range cl.Recoveries {
		named = named || len(r.Lost) > 0
	}
	switch {
	case len(lost) > len(own) && w.options.SemiSync && !w.opened:
		w.failLocked("invariant 4: acknowledged writes %v are not in the history of %s", lost, primary.addr)
	case len(lost) > len(own) && !named:
		w.failLocked("invariant 4: acknowledged writes %v are not in the history of %s, and no recovery says that something was lost", lost, primary.addr)
	}
	w.mu.Unlock()
	if len(lost) == 0 && !w.history.linearizable(func(id int) bool { return held[id] }) {
		w.fail("invariant 4: the register's history is not linearizable")
	}
}

// vouchersLost says that every replica which acknowledged a write lost its disk
// afterwards: no wait count promises anything then.
func (w *World) vouchersLost(id int) bool {
	acks, known := w.vouchers[id]
	return known && len(acks) == 0
}

// convergence is how long a world without faults may take.
const convergence = time.Minute
