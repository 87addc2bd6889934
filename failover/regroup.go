package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// A planned change under semi-sync regroups before it holds writes back: replicas that
// the old primary can do without are moved under the target, so that somebody
// acknowledges the target's first commit as soon as it is opened. Clients notice nothing
// meanwhile, and where it does not come about they have lost nothing.
//
// Each replica is stopped first, and moved when the target has all that it received. So
// whatever it acknowledged to the old primary the target has too, and what the old
// primary commits from then on is acknowledged by those who were left to it, of whom the
// target is one.

// regroups says that a switchover to an instance begins with moving replicas under it.
func (f *facts) regroups(to *topology.Instance) bool {
	req := f.c.Request
	if f.p.Durability != SemiSync || f.positions || f.co != nil || req != nil && req.Force {
		return false
	}
	need := f.toJoin(to)
	return need > 0 && len(f.spare(to)) >= need
}

// toJoin is how many more replicas have to follow an instance until its first commit
// waits for nobody who is still to come.
func (f *facts) toJoin(to *topology.Instance) int {
	need := f.waitCount(to)
	for _, r := range f.receivers(to.Addr) {
		if r.State.SemiSync.ReplicaEnabled && !delayed(r.State) {
			need--
		}
	}
	return need
}

// spare are the replicas that could follow an instance and that the primary can do
// without: it keeps as many to acknowledge as its commits wait for.
func (f *facts) spare(to *topology.Instance) []*topology.Instance {
	if !to.Fresh() || !f.prim.Fresh() {
		return nil
	}
	acking := f.acknowledgers()
	free := len(acking) - max(f.waitCount(f.prim), f.prim.State.SemiSync.WaitCount)
	var list []*topology.Instance
	for _, r := range acking {
		src := f.s.ChannelTo(r, f.primary)
		able := f.errant(r).Empty() && r.State.Flavor == to.State.Flavor && !older(r.State, to.State) && !rowOverStatement(to.State, r.State)
		if len(list) < free && r.Addr != to.Addr && able && !r.State.MultiSource() && src.SQL == topology.ThreadYes {
			list = append(list, r)
		}
	}
	return list
}

// regroupOver is when an open switchover gives up regrouping: half of its time is for
// what follows.
func (f *facts) regroupOver() time.Time {
	in := f.c.Intent
	return f.deadline().Add(-in.Deadline.Sub(in.At) / 2)
}

// regroup moves replicas under the target until its commits need nobody else; then the
// proxies are to hold the writes.
func (p *planner) regroup() {
	to := p.s.Instance(p.in.To)
	if need := p.toJoin(to); need > 0 {
		p.join(to, need)
	}
	p.add(Step{Do: Pause, Target: p.in.From, Why: fmt.Sprintf("%s has the replicas that acknowledge its writes, so those to %s are held now", p.in.To, p.in.From)})
}

// join brings replicas under the target: first those that were stopped for it.
func (p *planner) join(to *topology.Instance, need int) {
	var stops, moves []Step
	until, behind := gtid.Set{}, []topology.Addr(nil)
	take := func(r *topology.Instance, stopped bool) {
		need--
		moves = append(moves, p.joinStep(r))
		if p.covers(to.State, r.State) && to.State.HasApplied(r.State.Received()) {
			return
		}
		behind = append(behind, r.Addr)
		if stopped { // before that it goes on receiving, and only a forecast is made
			until = until.Union(r.State.Received())
		}
	}
	for _, r := range p.stoppedFor(to) {
		if need > 0 {
			take(r, true)
		}
	}
	for _, r := range p.spare(to) {
		if need > 0 {
			take(r, false)
			stops = append(stops, p.leaveStep(r))
		}
	}
	if need > 0 {
		stops = append(stops, Step{Do: CatchUp, Target: to.Addr, Wait: Duration(time.Second), Why: waiting + fmt.Sprintf("%s has %s too few to acknowledge its writes", to.Addr, plural(need, "replica", "replicas"))})
	}
	p.add(stops...)
	if len(behind) > 0 {
		left := Duration(max(0, p.regroupOver().Sub(p.s.Taken)))
		p.add(Step{Do: CatchUp, Target: to.Addr, Until: until, Wait: left, Why: fmt.Sprintf("%s must have all that %s received, before it is followed", to.Addr, topology.JoinAddrs(behind))})
	}
	p.add(moves...)
}

// leaveStep stops a replica that is to be moved.
func (p *planner) leaveStep(r *topology.Instance) Step {
	return Step{
		Do: StopReceiving, Target: r.Addr, Source: p.s.ChannelTo(r, p.in.From).Addr, Wait: stopWait, Optional: true,
		Why: fmt.Sprintf("%s is moved to %s, and acknowledges nothing that %s writes from now on", r.Addr, p.in.To, p.in.From),
	}
}

func (p *planner) joinStep(r *topology.Instance) Step {
	step := p.repoint(r.Addr, p.in.To)
	step.Why = fmt.Sprintf("%s will acknowledge the first writes of %s", r.Addr, p.in.To)
	return step
}

// stoppedFor are the replicas that have left the primary for the target and do not
// follow it yet.
func (p *planner) stoppedFor(to *topology.Instance) []*topology.Instance {
	var list []*topology.Instance
	for _, r := range p.direct {
		src := p.s.ChannelTo(r, p.in.From)
		if r.Addr != to.Addr && r.Fresh() && src.IO == topology.ThreadNo && src.IOError == "" && src.SQLError == "" && !r.State.MultiSource() {
			list = append(list, r)
		}
	}
	return list
}
