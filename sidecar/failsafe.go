package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
)

// holds says that the cluster's proxies stay as they are without a lease. A new
// writer then needs the word of every one of them, so that whatever the local
// ledger has is safe to route: nothing newer can have been opened.
func (s *Sidecar) holds(cluster string) bool {
	return s.cfg.Clusters[cluster].Policy.OnLeaseLoss == failover.LeaseLossHold
}

// allHeld are the clusters, sorted, whose proxy stays as it is without a lease.
func (c *Config) allHeld() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		if c.Clusters[name].Policy.OnLeaseLoss == failover.LeaseLossHold {
			names = append(names, name)
		}
	}
	return names
}

// holdOn is the failsafe: while this node's lease runs down and nobody renews it, as
// when raft has no quorum though all nodes live, every node is asked. If each of
// them confirms, the lease holds for another TTL from before the question.
//
// Why that is safe. A writer is changed by a leader only, who first waits out every
// lease: for TTL and fence time from the last one that it granted, but at least from
// the beginning of its term. Each leader to come is one of the nodes that
// confirmed, for only they are voters. A node confirms only while it does not lead,
// so its next term begins after its answer, hence after the question: it waits for
// longer than the prolonged lease lasts, for a node whose TTL is shorter than the asker's does not confirm. Nothing needs to be remembered for that,
// not even through a restart. A leader of before, whose term is over, has changed
// nothing behind this node's back, because the lease never stopped holding: one
// that has run out is not revived. A leader who is there says so, and one that
// cannot be reached does not confirm. So all must answer, and one missing is enough
// to close the proxies.
func (s *Sidecar) holdOn(ctx context.Context) {
	ttl := s.cfg.Lease.TTL.D()
	tick := time.NewTicker(ttl / 8)
	defer tick.Stop()
	var said string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		left := s.lease.left()
		if left > ttl/2 {
			said = ""
		}
		if left <= 0 || left > ttl/2 {
			continue
		}
		now := "no leader grants a lease; it holds on, for every node confirms that none leads"
		if err := s.confirmAll(ctx); err != nil {
			now = fmt.Sprintf("no leader grants a lease, and it does not hold on: %v", err)
		}
		if now != said && ctx.Err() == nil {
			said = now
			s.log.Warn(now)
		}
	}
}

// confirmAll asks every node, and prolongs the lease if all of them confirm.
func (s *Sidecar) confirmAll(ctx context.Context) error {
	state := s.ports.Consensus.State()
	for name := range state.Nodes {
		if _, ok := s.member(name); !ok {
			return fmt.Errorf("node %s is registered and not in this node's configuration, so not everybody can be asked", name)
		}
	}
	asked := s.lease.ask()
	r := api.ConfirmRequest{Node: s.cfg.Node, Epochs: map[string]uint64{}, TTL: s.cfg.Lease.TTL}
	for name, cl := range state.Clusters {
		r.Epochs[name] = cl.Desired().Epoch
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Lease.TTL.D()/4)
	defer cancel()
	failed := make([]error, len(s.cfg.Nodes))
	var asking sync.WaitGroup
	for i, n := range s.cfg.Nodes {
		asking.Go(func() {
			confirm := s.Confirm
			if n.Name != s.cfg.Node {
				confirm = s.ports.Peer(n.Name).Confirm
			}
			reply, err := confirm(ctx, r)
			switch {
			case err != nil:
				failed[i] = fmt.Errorf("%s did not answer: %w", n.Name, err)
			case reply.Node != n.Name:
				failed[i] = fmt.Errorf("%q answered in the place of %s", reply.Node, n.Name)
			case !reply.Confirmed:
				failed[i] = fmt.Errorf("%s does not confirm: %s", n.Name, reply.Why)
			}
		})
	}
	asking.Wait()
	if err := errors.Join(failed...); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if !s.lease.prolong(asked, s.cfg.Lease.TTL.D()) {
		return errors.New("the answers came when it was over")
	}
	return nil
}

// Confirm answers a sidecar that no leader answers. See [Sidecar.holdOn] for what
// the answer promises.
func (s *Sidecar) Confirm(_ context.Context, r api.ConfirmRequest) (api.ConfirmReply, error) {
	reply := api.ConfirmReply{Node: s.cfg.Node}
	if _, ok := s.member(r.Node); !ok {
		return reply, fmt.Errorf("%w: confirm for %q, which is not in this node's configuration", api.ErrBadInput, r.Node)
	}
	reply.Why = s.newer(r.Epochs)
	// A term that begins after this lock is released begins after this answer: see setTerm.
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.cfg.Lease.Failsafe:
		reply.Why = "its lease.failsafe is off"
	case s.term != nil:
		reply.Why = "it leads"
	case r.TTL > s.cfg.Lease.TTL:
		reply.Why = fmt.Sprintf("its lease.ttl is %s, and %s are asked for", s.cfg.Lease.TTL, r.TTL)
	}
	reply.Confirmed = reply.Why == ""
	return reply, nil
}

// newer says which newer epoch this node knows than somebody else; "" is none.
func (s *Sidecar) newer(epochs map[string]uint64) string {
	state := s.ports.Consensus.State()
	names := state.ClusterNames()
	i := slices.IndexFunc(names, func(name string) bool { return state.Clusters[name].Desired().Epoch > epochs[name] })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("it knows epoch %d of %s", state.Clusters[names[i]].Desired().Epoch, names[i])
}
