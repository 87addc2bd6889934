package failover

import (
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

// A planned change under semi-sync regroups before it holds writes back: replicas that
// the old primary can do without are moved under the target, so that somebody
// acknowledges the target's first commit as soon as it is opened. Clients notice nothing
// meanwhile, and where it does not come about they have lost nothing.
//
// Each replica is stopped first, and moved when it and the target have executed all that
// it received. So whatever it acknowledged to the old primary the target has too, and
// what the old primary commits from then on is acknowledged by those who were left to
// it, of whom the target is one.

// regroupMost bounds the regrouping; half of a shorter time-out is for what follows.
const regroupMost = 10 * time.Second

// Regroups says that the intent does not hold the writes yet, for replicas are still
// being moved.
func (i *Intent) Regroups() bool { return i != nil && len(i.Regroup) > 0 }

// regroup chooses who is moved under the target before writes are held: as many as the
// target's commits will wait for. Nobody where so many cannot be spared.
func (f *facts) regroup(to *topology.Instance) []topology.Addr {
	req, half := f.c.Request, f.switchoverTimeout().D()/2
	if f.p.Durability != SemiSync || f.positions || f.co != nil || half < stopWait.D() || req != nil && req.Force || !to.Fresh() || !f.prim.Fresh() {
		return nil
	}
	need := f.waitCount(to)
	for _, r := range f.members() {
		if f.acknowledgesTo(r, to.Addr) {
			need--
		}
	}
	acking := f.acknowledgers()
	if need <= 0 || min(len(acking), f.prim.State.SemiSync.Clients)-need < f.binding() {
		return nil
	}
	var list []topology.Addr
	for _, r := range acking {
		if len(list) < need && r.Addr != to.Addr && f.movable(r, to) {
			list = append(list, r.Addr)
		}
	}
	if len(list) < need {
		return nil
	}
	return list
}

// binding is how many acknowledgements the primary's commits wait for, by the policy or
// by what it is set to.
func (f *facts) binding() int { return max(f.waitCount(f.prim), f.prim.State.SemiSync.WaitCount) }

// movable says that a replica of the primary can follow an instance at once.
func (f *facts) movable(r, to *topology.Instance) bool {
	lag, known := f.lag(r)
	src := f.s.ChannelTo(r, f.primary)
	return src.SQL == topology.ThreadYes && r.State.SemiSync.ReplicaActive && !r.State.LeftAlone() && known && lag <= f.p.Lag.Max.D() &&
		f.downtime(r.Addr) == nil && f.errant(r).Empty() && f.purged(to.State, r.State).Empty() &&
		r.State.Flavor == to.State.Flavor && !older(r.State, to.State) && !rowOverStatement(to.State, r.State)
}

// acknowledgesTo says that a replica will acknowledge what an instance writes.
func (f *facts) acknowledgesTo(r *topology.Instance, to topology.Addr) bool {
	return f.receives(r, to) && r.State.SemiSync.ReplicaEnabled && !delayed(r.State)
}

// mayAcknowledge counts the replicas of which nothing says that they do not acknowledge
// to the primary: one that was not heard for a moment is among them.
func (f *facts) mayAcknowledge() int {
	n := 0
	for _, r := range f.direct {
		gone := r.Reach == topology.Down || r.Fresh() && !f.receives(r, f.primary)
		if !gone && r.State.SemiSync.ReplicaEnabled && !delayed(r.State) {
			n++
		}
	}
	return n
}

// unmoved are those of the regrouping who do not follow the target yet.
func (p *planner) unmoved() []topology.Addr {
	return slices.DeleteFunc(slices.Clone(p.in.Regroup), func(a topology.Addr) bool {
		r := p.s.Instance(a)
		return r != nil && p.acknowledgesTo(r, p.in.To)
	})
}

// regroupOver says that it has lasted long enough.
func (p *planner) regroupOver() bool {
	half := p.in.Deadline.Sub(p.in.At) / 2
	return !p.s.Taken.Before(p.deadline().Add(-max(half, 2*half-regroupMost)))
}

// unready says why writes cannot be held now, for they would be for long; empty when
// they can.
func (p *planner) unready() string {
	from, to := p.s.Instance(p.in.From), p.s.Instance(p.in.To)
	if !from.Fresh() || !to.Fresh() {
		return fmt.Sprintf("%s and %s cannot both be read", p.in.From, p.in.To)
	}
	if lag, known := p.lag(to); !known || lag > p.p.Switchover.MaxLag.D() {
		return fmt.Sprintf("%s lags by %s, more than %s", p.in.To, span(lag), p.p.Switchover.MaxLag)
	}
	return ""
}

// regroupFails says why the regrouping cannot go on; empty when it can.
func (p *planner) regroupFails() string {
	from, to := p.s.Instance(p.in.From), p.s.Instance(p.in.To)
	switch why := p.unready(); {
	case to.Fresh() && to.State.Writable():
		return fmt.Sprintf("%s takes writes, which nobody has routed to it", p.in.To)
	case from.Fresh() && p.mayAcknowledge() < p.binding():
		return fmt.Sprintf("too few replicas are left to acknowledge what %s writes", p.in.From)
	case p.regroupOver() && why != "":
		return why
	}
	return ""
}

// gatherFollowers is the regrouping: it ends with the commit that has the proxies hold the
// writes. What has not come about in time is left to what moves replicas beside the
// promotion.
func (p *planner) gatherFollowers() {
	unmoved, unready := p.unmoved(), p.unready()
	hold := Step{Do: Pause, Target: p.in.From, Why: fmt.Sprintf("%s is followed by who will acknowledge its writes, so those to %s are held now", p.in.To, p.in.From)}
	if len(unmoved) > 0 && p.regroupOver() {
		hold.Why = fmt.Sprintf("%s could not be moved to %s in time and will be beside its promotion; writes to %s are held now", topology.JoinAddrs(unmoved), p.in.To, p.in.From)
		unmoved = nil
	}
	var stops, waits, moves []Step
	for _, a := range unmoved {
		stop, wait, move := p.bring(a)
		stops, waits, moves = append(stops, stop...), append(waits, wait...), append(moves, move...)
	}
	if len(unmoved) == 0 && unready != "" {
		waits = append(waits, p.standBy(unready))
	}
	p.add(stops...)
	p.add(waits...)
	p.add(moves...)
	p.add(hold)
}

// bring is what is to be done with one that is to be moved: stop it, wait, move it.
func (p *planner) bring(a topology.Addr) (stop, wait, move []Step) {
	r, to := p.s.Instance(a), p.s.Instance(p.in.To)
	if r == nil || !r.Fresh() || !to.Fresh() {
		return nil, []Step{p.standBy(fmt.Sprintf("%s and %s cannot both be read", a, p.in.To))}, nil
	}
	step := p.repoint(a, p.in.To)
	step.Why = fmt.Sprintf("%s will acknowledge the first writes of %s", a, p.in.To)
	move = []Step{step}
	old, src := p.s.ChannelTo(r, p.in.From), p.s.ChannelTo(r, p.in.To)
	switch {
	case src != nil && src.IO == topology.ThreadNo && src.IOError == "" && src.SQLError == "":
		return nil, nil, move // it was moved, and did not start
	case src != nil:
		return nil, []Step{p.standBy(fmt.Sprintf("%s does not receive from %s yet", a, p.in.To))}, nil
	case old == nil || r.State.LeftAlone() || old.SQLError != "" || old.IO == topology.ThreadNo && old.IOError != "":
		return nil, []Step{p.standBy(fmt.Sprintf("%s is not as it was when it was chosen", a))}, nil
	case old.IO != topology.ThreadNo || p.unsettled(r):
		stop = []Step{{
			Do: StopReceiving, Target: a, Source: old.Addr, Wait: stopWait, Optional: true,
			Why: fmt.Sprintf("%s is moved to %s, and acknowledges nothing that %s writes from now on", a, p.in.To, p.in.From),
		}}
	}
	return stop, p.level(r, to), move
}

// level waits until a replica that is to be moved and its new source have both executed
// all that it received.
func (p *planner) level(r, to *topology.Instance) []Step {
	all := r.State.Received()
	if p.covers(to.State, r.State) && to.State.HasApplied(all) && r.State.HasApplied(all) {
		return nil
	}
	behind := to.Addr
	if to.State.HasApplied(all) {
		behind = r.Addr
	}
	return []Step{{
		Do: CatchUp, Target: behind, Until: all, Wait: Duration(time.Second), Optional: true,
		Why: fmt.Sprintf("%s and %s must have executed all that %s received, before it is moved", to.Addr, r.Addr, r.Addr),
	}}
}

// standBy waits for what nobody does anything about here.
func (p *planner) standBy(why string) Step {
	return Step{Do: CatchUp, Target: p.in.To, Wait: Duration(time.Second), Why: waiting + why}
}
