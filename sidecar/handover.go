package sidecar

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

const (
	// fitEvery is how often the leader compares itself with the others.
	fitEvery = 200 * time.Millisecond
	// unfitFor is how long another node must have been better placed before the
	// leadership goes there: one view that comes late is no news.
	unfitFor = time.Second
	// unfitAtMost is for how long at most, where much is going on everywhere in a large fleet.
	unfitAtMost = 30 * time.Second
	// handoverTime bounds one handing over.
	handoverTime = 2 * time.Second
	// handoverPause is how long a node that handed over waits until it does so again:
	// the leadership must not wander while a network flaps. One that tried in vain
	// tries again after handoverRetry.
	handoverPause = 30 * time.Second
	handoverRetry = 5 * time.Second
)

// fitness is how well a node is placed to lead.
type fitness struct {
	node    string
	heard   bool            // within its lease
	trouble []string        // what it says of itself
	blind   []topology.Addr // what it cannot reach and others do
}

// namedMost is how many instances a sentence names that stands beside every cluster.
const namedMost = 3

// someOf names instances, and counts those beyond the first few.
func someOf(addrs []topology.Addr) string {
	if len(addrs) <= namedMost {
		return topology.JoinAddrs(addrs)
	}
	return fmt.Sprintf("%s and %d more", topology.JoinAddrs(addrs[:namedMost]), len(addrs)-namedMost)
}

// words say what speaks against the node; empty when nothing does.
func (f *fitness) words() string {
	switch {
	case len(f.trouble) > 0:
		return f.trouble[0]
	case len(f.blind) > 0:
		return fmt.Sprintf("it cannot reach %s, which others reach", someOf(f.blind))
	case !f.heard:
		return "it is not heard"
	}
	return ""
}

// successor is who is better placed to lead than self; nil when nobody is. A node
// whose disk hangs can commit nothing, so that everybody who can is better; else
// it takes one that sees more of the servers.
func successor(self fitness, others []fitness) *fitness {
	var best *fitness
	for i := range others {
		o := &others[i]
		if !o.heard || len(o.trouble) > 0 || len(self.trouble) == 0 && len(o.blind) >= len(self.blind) {
			continue
		}
		if best == nil || len(o.blind) < len(best.blind) {
			best = o
		}
	}
	return best
}

// fitnesses are how well each node is placed, this one first, by what the last cycle of
// each cluster saw.
func (t *term) fitnesses() (self fitness, others []fitness) {
	now := time.Now()
	blind := map[string][]topology.Addr{}
	for name := range t.cfg.Clusters {
		for node, addrs := range t.deciders[name].whoIsBlind() {
			blind[node] = topology.SortAddrs(append(blind[node], addrs...))
		}
	}
	self = fitness{node: t.cfg.Node, heard: true, trouble: t.troubles(), blind: blind[t.cfg.Node]}
	for _, n := range t.cfg.Nodes {
		if n.Name == t.cfg.Node {
			continue
		}
		heard, trouble, _, ok := t.evidence.node(n.Name)
		others = append(others, fitness{
			node: n.Name, heard: ok && now.Sub(heard) < t.cfg.Lease.TTL.D(), trouble: trouble, blind: blind[n.Name],
		})
	}
	return self, others
}

// yield hands the leadership to a node that is better placed, for as long as
// there is one, until the term ends.
func (t *term) yield(ctx context.Context) {
	tick := time.NewTicker(fitEvery)
	defer tick.Stop()
	var since time.Time
	missed := map[topology.Addr]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		self, others := t.fitnesses()
		self.blind = slices.DeleteFunc(self.blind, t.observer.reaches) // by now
		self.blind = stillMissed(self.blind, missed, time.Now(), t.unfitFor(&self))
		to := successor(self, others)
		switch {
		case to == nil:
			since = time.Time{}
			continue
		case since.IsZero():
			since = time.Now()
		}
		if (len(self.blind) > 0 || time.Since(since) >= unfitFor) && t.mayHandOver(&self) {
			t.resign(ctx, self, to.node)
		}
	}
}

// stillMissed are those of the instances that have been missed at each look for some time. Of thousands one or the other is missed
// all the time where this node gets too little CPU, and no other node would do better. missed is since when, by the looks
// before.
func stillMissed(blind []topology.Addr, missed map[topology.Addr]time.Time, now time.Time, atLeast time.Duration) (list []topology.Addr) {
	maps.DeleteFunc(missed, func(a topology.Addr, _ time.Time) bool { return !slices.Contains(blind, a) })
	for _, a := range blind {
		if _, known := missed[a]; !known {
			missed[a] = now
		}
		if now.Sub(missed[a]) >= atLeast {
			list = append(list, a)
		}
	}
	return list
}

// unfitFor is how long another node must have been better placed. Of one that has died
// the leader knows first, and what the others saw of it last says for a while that they
// reach it: that is no news before it has gone stale. Where much goes on everywhere, as when a term begins in a fleet of thousands, this
// node may be late itself; the next term would begin in the same way.
func (t *term) unfitFor(self *fitness) time.Duration {
	if len(self.trouble) > 0 {
		return unfitFor
	}
	fresh := time.Duration(0)
	for _, c := range t.cfg.Clusters {
		fresh = max(fresh, c.Policy.Detection.Fresh.D())
	}
	enough := max(unfitFor, fresh+unfitFor/2)
	return max(enough, min(unfitAtMost, enough*time.Duration(t.storms())))
}

// mayHandOver says whether enough time has passed since this node's last handing
// over, and no clone or discard would be cut down by it. A disk that hangs waits for
// nothing.
func (t *term) mayHandOver(self *fitness) bool {
	return len(self.trouble) > 0 || !time.Now().Before(t.nextHandover) && t.rejoinUnderWay() == ""
}

// resign gives the leadership to another node because of what speaks against
// this one. Until it is over no recovery is begun here.
func (t *term) resign(ctx context.Context, self fitness, to string) {
	why := fmt.Sprintf("%s hands the leadership to %s: %s", t.cfg.Node, to, self.words())
	t.log.Warn(why)
	t.handing.Store(&why)
	defer t.handing.Store(nil)
	t.nextHandover = time.Now().Add(handoverPause)
	bounded, cancel := context.WithTimeout(ctx, handoverTime)
	defer cancel()
	err := t.ports.Consensus.TransferLeadership(bounded, to)
	if err == nil {
		<-ctx.Done() // raft tells at once
		return
	}
	if ctx.Err() != nil {
		return // it is over, however it went
	}
	if len(t.troubles()) == 0 {
		t.log.Warn("the leadership was not handed over; this node leads on, and tries again", "to", to, "after", handoverRetry, "error", err)
		t.nextHandover = time.Now().Add(handoverRetry)
		return
	}
	// Raft itself hangs with the disk and goes on sending heartbeats, which keep the
	// others from electing anybody.
	t.log.Error("the leadership could not be handed over while the disk hangs: this node leaves the fleet until the disk answers", "to", to, "error", err)
	_ = t.ports.Consensus.Close(bounded) // it cuts the node off at once, and may not end before the disk answers
}

// resigning is the sentence on a handing over that is under way; empty when
// none is.
func (t *term) resigning() string {
	if why := t.handing.Load(); why != nil {
		return *why
	}
	return ""
}

// TransferLeadership hands the leadership over as an operator asks, to the node
// that is best placed where none is named.
func (s *Sidecar) TransferLeadership(ctx context.Context, r api.LeaderRequest) (api.LeaderReply, error) {
	t := s.leading()
	if t == nil {
		return api.LeaderReply{}, s.errFollower("transfer the leadership")
	}
	if _, ok := s.member(r.To); r.To != "" && !ok {
		return api.LeaderReply{}, fmt.Errorf("transfer the leadership to %q: %w; the nodes are %s", r.To, api.ErrNotFound, strings.Join(t.cfg.observers(), ", "))
	}
	if r.To == s.cfg.Node {
		return api.LeaderReply{From: s.cfg.Node, To: s.cfg.Node}, nil
	}
	to, err := t.chooseLeader(r)
	if err != nil {
		return api.LeaderReply{}, err
	}
	s.log.Info("handing the leadership over, as asked", "to", to, "by", r.By)
	bounded, cancel := context.WithTimeout(ctx, handoverTime)
	defer cancel()
	if err := s.ports.Consensus.TransferLeadership(bounded, to); err != nil {
		return api.LeaderReply{}, fmt.Errorf("%w; `remora status` shows who leads", err)
	}
	return api.LeaderReply{From: s.cfg.Node, To: to}, nil
}

// chooseLeader is who takes over on an operator's request, or the refusal.
func (t *term) chooseLeader(r api.LeaderRequest) (string, error) {
	for name, cl := range t.ports.Consensus.State().Clusters {
		if cl.Intent != nil {
			return "", &api.RefusedError{Sentence: fmt.Sprintf("the leadership stays with %s: %s %s of cluster %s is under way; ask again when it has ended", t.cfg.Node, cl.Intent.Kind, cl.Intent.ID, name)}
		}
	}
	if under := t.rejoinUnderWay(); under != "" {
		return "", &api.RefusedError{Sentence: fmt.Sprintf("the leadership stays with %s: %s, which would end halfway; ask again when it has ended (`remora status`)", t.cfg.Node, under)}
	}
	_, others := t.fitnesses()
	slices.SortStableFunc(others, func(a, b fitness) int { return cmp.Compare(len(a.blind), len(b.blind)) })
	var against []string
	for _, o := range others {
		if r.To != "" && r.To != o.node {
			continue
		}
		words := o.words()
		switch {
		case words == "":
			return o.node, nil
		case r.To != "":
			return "", &api.RefusedError{Sentence: fmt.Sprintf("the leadership stays with %s: %s would be a worse leader: %s; mend that, or name another node", t.cfg.Node, o.node, words)}
		}
		against = append(against, o.node+": "+words)
	}
	return "", &api.RefusedError{Sentence: fmt.Sprintf("the leadership stays with %s: no other node is heard and well (%s); `remora status` shows them", t.cfg.Node, strings.Join(against, "; "))}
}
