package sidecar

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// mending is a repair that is under way. Repairs run beside the cycle: one that hangs
// on a server which does not answer must not keep the cycle from beginning a failover.
type mending struct {
	step   failover.Step
	broken bool // broken off, for a recovery goes first; guarded by the decider's mu
	cancel context.CancelFunc
	ended  chan struct{} // closed when nothing more is sent for it
}

// lasting are repairs that take minutes or hours and change no replication that a
// recovery touches: nobody waits for them, and no recovery breaks them off.
func lasting(step failover.Step) bool {
	return step.Do == failover.SaveExtra || step.Do == failover.Clone
}

// collides says that two repairs are not to go on at once: one at a time on each
// server, and one of semi-sync in the cluster, for replicas connect anew by it.
func (m *mending) collides(step failover.Step) bool {
	switch {
	case m.step.String() == step.String():
		return true
	case lasting(m.step) || lasting(step):
		return false
	}
	return m.step.Target == step.Target || m.step.Do == failover.SetSemiSync && step.Do == failover.SetSemiSync
}

// repair begins what converges the topology without an intent.
func (d *decider) repair(ctx context.Context, c *failover.Case, steps []failover.Step) {
	for _, step := range steps {
		if !d.attempted(c, step) {
			d.repairBeside(ctx, c.Policy.Repair, step)
		}
	}
}

// attempted says that a repair waits, for what was tried. The case may be older than
// the end of the last attempt.
func (d *decider) attempted(c *failover.Case, step failover.Step) bool {
	now := *c
	d.mu.Lock()
	now.Tries = d.memory.tries
	d.mu.Unlock()
	return !failover.Due(&now, step)
}

// repairBeside does a repair beside everything else, unless one goes on that it would
// collide with: that one's end wakes the cycle.
func (d *decider) repairBeside(ctx context.Context, policy failover.Repair, step failover.Step) {
	ctx, m := d.enter(ctx, step)
	if m == nil {
		return
	}
	if step.Do == failover.Clone {
		d.setRejoining(failover.Rejoining{Instance: step.Target, Doing: step.String(), Since: time.Now(), By: "the policy"})
	}
	d.background.Go(func() {
		failure := d.repairOne(ctx, policy, m)
		if step.Do == failover.Clone {
			d.endRejoining(step.Target, failure)
		}
		d.leave(m)
	})
}

// repairOne says why a repair failed; empty when it succeeded. One that was broken off
// is no attempt.
func (d *decider) repairOne(ctx context.Context, policy failover.Repair, m *mending) string {
	res := d.execute(ctx, m.step)
	d.mu.Lock()
	broken, tried := m.broken && res.Error != "", 0
	if !broken {
		tried = d.memory.tried(m.step, res, policy)
	}
	d.mu.Unlock()
	switch {
	case broken:
		d.log.Info("a repair was broken off: a recovery goes first", "cluster", d.cluster, "step", m.step.String(), "why", m.step.Why, "error", res.Error)
	case res.Error != "":
		d.log.Warn("a repair failed", "cluster", d.cluster, "step", m.step.String(), "why", m.step.Why, "attempt", tried, "error", res.Error)
	default:
		d.log.Info("repaired", "cluster", d.cluster, "step", m.step.String(), "why", m.step.Why, "attempt", tried, "took", res.Took)
	}
	return res.Error
}

// enter notes that a repair begins, and gives the context that it may be broken off
// by; nil where it would collide.
func (d *decider) enter(ctx context.Context, step failover.Step) (context.Context, *mending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.ContainsFunc(d.mending, func(m *mending) bool { return m.collides(step) }) {
		return ctx, nil
	}
	m := &mending{step: step, ended: make(chan struct{})}
	ctx, m.cancel = context.WithCancel(ctx)
	d.mending = append(d.mending, m)
	return ctx, m
}

// leave notes that a repair has ended, and has the cycle look again.
func (d *decider) leave(m *mending) {
	m.cancel()
	d.mu.Lock()
	d.mending = slices.DeleteFunc(d.mending, func(o *mending) bool { return o == m })
	close(m.ended)
	d.mu.Unlock()
	d.evidence.changed.notify(d.cluster)
}

// breakOff ends the repairs that are under way, for a recovery goes first. It waits
// for none: see alone.
func (d *decider) breakOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.mending {
		if !lasting(m.step) {
			m.broken = true
			m.cancel()
		}
	}
}

// alone waits until no repair goes on at a server that a recovery acts on: what a
// repair had sent there must not be executed after the act.
func (d *decider) alone(ctx context.Context, a topology.Addr) error {
	d.mu.Lock()
	under := slices.DeleteFunc(slices.Clone(d.mending), func(m *mending) bool { return lasting(m.step) || m.step.Target != a })
	d.mu.Unlock()
	for _, m := range under {
		select {
		case <-m.ended:
		case <-ctx.Done():
			return fmt.Errorf("nothing was sent to %s: the repair %q was broken off for it and has not ended; look whether the server answers: %w", a, m.step, ctx.Err())
		}
	}
	return nil
}
