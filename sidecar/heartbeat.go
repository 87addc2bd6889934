package sidecar

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/ledger"
)

// report sends heartbeats: on every tick, and at once after a change.
func (s *Sidecar) report(ctx context.Context) {
	views, stopViews := s.observer.changed.watch("")
	defer stopViews()
	acks, stopAcks := s.proxies.changed.watch()
	defer stopAcks()
	tick := time.NewTicker(s.cfg.Lease.Heartbeat.D())
	defer tick.Stop()
	var seq uint64
	var failed string
	var t tale
	for {
		seq++
		repeat, err := s.beat(ctx, seq, &t)
		_ = notify("WATCHDOG=1") // systemd restarts a sidecar whose loop hangs; a lost word is followed by the next
		if now := fmt.Sprint(err); now != failed && ctx.Err() == nil {
			failed = now
			if err != nil {
				s.log.Warn("no lease from the leader", "error", err)
			} else if seq > 1 {
				s.log.Info("the leader grants the lease again")
			}
		}
		if s.sharing.Load() {
			pause(ctx, shareBeats)
		}
		if repeat {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-views:
		case <-acks:
		}
	}
}

// shareBeats is how long changes are gathered between two heartbeats of a large fleet's sidecar.
const shareBeats = 10 * time.Millisecond

// beat sends one heartbeat to the leader, which may be this node. It says whether the next is
// due at once.
func (s *Sidecar) beat(ctx context.Context, seq uint64, t *tale) (repeat bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.cfg.Lease.TTL.D()/4, s.cfg.Lease.Heartbeat.D()))
	defer cancel()
	leader, ok := s.ports.Consensus.Leader()
	if !ok {
		return false, fmt.Errorf("heartbeat: %w is known to %s", api.ErrNoLeader, s.cfg.Node)
	}
	asked, now := s.lease.ask(), time.Now()
	h := api.Heartbeat{Node: s.cfg.Node, Seq: seq, Started: s.started, Proxies: s.proxies.all(), Files: s.files(), Trouble: s.troubles(),
		Acknowledged: s.acked.all(), Index: s.ports.Consensus.State().Index, Proxy: s.ports.Proxy != nil,
		TTL: s.cfg.Lease.TTL, FenceTime: s.cfg.Lease.FenceTime, Holds: s.holding}
	if s.sharing.Load() {
		h.Shares = s.fellowship
	}
	if !s.sharing.Load() {
		*t = tale{} // all is told
	}
	if leader != s.cfg.Node { // which has its own views at hand
		t.seen = s.observer.all(t.seen[:0])
		t.compose(&h, leader, t.seen, now)
	}
	var reply api.HeartbeatReply
	if leader == s.cfg.Node {
		reply, err = s.Heartbeat(ctx, h)
	} else {
		reply, err = s.ports.Peer(leader).Heartbeat(ctx, h)
	}
	if err != nil {
		t.lost()
		return false, fmt.Errorf("heartbeat to %s: %w", leader, err)
	}
	s.lease.renew(asked, reply)
	s.shareWith(reply.Fellows)
	s.observer.look(reply.Ask)
	if leader == s.cfg.Node {
		return false, nil
	}
	return t.taken(&h, reply.Held, time.Now()), nil
}

// Heartbeat is the leader's side: it keeps the report and grants the lease, but
// only to a sidecar whose membership is committed, for the leader waits for the
// acknowledgements of registered proxies only.
func (s *Sidecar) Heartbeat(ctx context.Context, h api.Heartbeat) (api.HeartbeatReply, error) {
	t := s.leading()
	if t == nil {
		return api.HeartbeatReply{}, s.errFollower("heartbeat")
	}
	node, ok := s.member(h.Node)
	if !ok {
		return api.HeartbeatReply{}, fmt.Errorf("%w: heartbeat from %q, which is not in this node's configuration", api.ErrBadInput, h.Node)
	}
	if !t.evidence.take(h, time.Now()) {
		return api.HeartbeatReply{}, fmt.Errorf("%w: heartbeat %d of %q was overtaken by a newer one", api.ErrBadInput, h.Seq, h.Node)
	}
	reply := api.HeartbeatReply{Leader: s.cfg.Node, Term: t.number, Held: t.evidence.held(h.Node)}
	state := s.ports.Consensus.State()
	have := state.Nodes[h.Node]
	want := t.registration(node, h, have)
	newest := newestEpoch(h)
	if !reflect.DeepEqual(want, have) || newest > state.Base+state.Index { // the ledger was lost, and begins anew
		if err := t.register(ctx, want, newest); err != nil {
			return reply, err
		}
	}
	if why := t.withheld(h); why != "" {
		return api.HeartbeatReply{}, &api.RefusedError{Sentence: fmt.Sprintf("%s grants %s no lease: %s", s.cfg.Node, h.Node, why)}
	}
	// A quorum round that began after the request came: a leader that was deposed, or
	// frozen, and does not know it must not prolong what another one waits out.
	if err := s.ports.Consensus.Verify(ctx); err != nil {
		return api.HeartbeatReply{}, fmt.Errorf("heartbeat of %s: no lease is granted, for %w: %w", h.Node, api.ErrNotLeader, err)
	}
	reply.Index = s.ports.Consensus.State().Index
	reply.Lease = s.cfg.Lease.TTL
	if h.Shares != "" {
		reply.Fellows = t.evidence.fellows(h.Shares, t.cfg.observers(), time.Now())
	}
	reply.Ask = t.evidence.unasked(h.Node, time.Now())
	t.evidence.grant(h.Node, s.ports.Clock().Boot)
	return reply, nil
}

// registration is what the ledger should have of a node that sent a heartbeat. Addresses
// are those of this node's file; what leaders count on is what the sender was started with.
func (t *term) registration(node NodeConfig, h api.Heartbeat, have ledger.Node) ledger.Node {
	want := ledger.Node{
		Name: node.Name, Raft: node.Raft, API: node.API, Proxy: !node.Witness || h.Proxy, Since: have.Since,
		TTL: h.TTL, FenceTime: h.FenceTime, Holds: h.Holds,
	}
	// Before it was started anew it may have led, and what it granted lasts for as long as its TTL was.
	if t.evidence.inherits(t.ports.Clock().Boot) {
		want.TTL = max(want.TTL, have.TTL)
	}
	return want
}

// withheld says why a node is granted no lease; "" when it is. While an intent is open its
// proxy has to acknowledge it or to be closed. A node whose disk hangs, or whose ledger stands still, does
// not come to know of the intent, and with leases it would not close its proxy for good either. A trouble
// that is over before the lease is closes nothing.
func (t *term) withheld(h api.Heartbeat) string {
	state := t.ports.Consensus.State()
	behind := t.evidence.behind(h.Node, h.Index, state.Index, t.ports.Clock().Boot)
	open := state.OpenIntent()
	switch {
	case open == "":
		return ""
	case len(h.Trouble) > 0:
		return fmt.Sprintf("%s waits for its proxy, and %s", open, strings.Join(h.Trouble, "; "))
	case behind > t.cfg.Lease.TTL.D():
		return fmt.Sprintf("%s waits for its proxy, and its ledger is behind, for %s now", open, behind.Round(100*time.Millisecond))
	}
	return ""
}

// newestEpoch is the highest epoch of any cluster that a node's disk or its proxy
// remembers. It says where the ledger's count has to go on; within one cluster
// [evidence.newest] is compared.
func newestEpoch(h api.Heartbeat) (epoch uint64) {
	for _, e := range h.Acknowledged {
		epoch = max(epoch, e)
	}
	for _, p := range h.Proxies {
		epoch = max(epoch, p.Epoch)
	}
	return epoch
}

func (s *Sidecar) member(name string) (NodeConfig, bool) {
	for _, n := range s.cfg.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return NodeConfig{}, false
}

// Probe reads instances now, for a leader that asks all vantage points.
func (s *Sidecar) Probe(ctx context.Context, r api.ProbeRequest) (api.ProbeReply, error) {
	reply := api.ProbeReply{Node: s.cfg.Node}
	views := s.observer.now(ctx, r.Instances, r.Again)
	now := time.Now()
	for _, v := range views {
		reply.Views = append(reply.Views, api.Age(v, now))
	}
	return reply, nil
}
