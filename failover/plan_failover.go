package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// failover plans the change from a primary that is dead, or given up by force.
// Nothing is promoted before every proxy holds, or the durability fence does.
func (p *planner) failover() {
	p.fence()
	w := p.wish()
	w.kind = KindFailover
	if p.in.Kind == KindSwitchover || p.reach(p.in.To) == topology.Down {
		w.want = "" // who was asked for is gone, or the question has changed
	}
	ch := p.choose(w)
	p.target = p.in.To
	if !p.passed() && !p.retarget(&ch, w) {
		return
	}
	if !p.passed() {
		if p.positions {
			p.locate("", p.drainWait())
		} else {
			p.gather(&ch, w)
		}
		if !p.attach() {
			return
		}
	}
	p.promote()
	if len(p.stages) > 0 && p.fromOpen() && !p.planned(SetReadOnly, p.in.From) {
		p.stages[0] = append(p.stages[0], p.closeFrom())
	}
	p.commit()
	p.afterRoute()
}

// fence closes the proxies and, where it answers, the old primary itself; under
// semi_sync it also takes the old primary's replicas away.
func (p *planner) fence() {
	awaited, why := p.awaited()
	stops := p.stops()
	switch {
	case len(awaited) > 0:
		p.add(append([]Step{{Do: CloseProxies, Mode: p.in.Mode(), Why: why}}, stops...)...)
	case p.early():
		p.add(stops...) // a replica is not moved while it is being stopped
	}
	if len(p.stages) > 0 && p.fromOpen() {
		p.stages[0] = append(p.stages[0], p.closeFrom())
	}
}

// retarget takes another one in To's place when To cannot be promoted, or not
// without a loss, or when somebody fit received more. It says whether there is
// anybody to promote; if not, the plan ends in going back to From, where that is
// alive, or in waiting.
func (p *planner) retarget(ch *choice, w wish) bool {
	to := p.s.Instance(p.in.To)
	kept := p.keep(ch.ranked, p.in.To, w)
	// Whether a To that cannot be read was opened is not known: it is waited for
	// until it answers or is down.
	settled := to == nil || to.Fresh() || to.Reach == topology.Down
	switch {
	case ch.ok() && ch.best.addr() != p.in.To && settled && (!kept.ok() || p.ahead(ch.best, kept.best)):
		p.target = ch.best.addr()
		p.add(Step{Do: Retarget, Target: p.target, Why: p.whyRetarget(kept.ok())})
		return true
	case kept.ok():
		return true
	case p.s.Instance(p.in.From).Fresh() && settled:
		p.stages = nil // nobody takes over, so nobody is fenced off
		p.rollBack(fmt.Sprintf("%s cannot be promoted, nobody else is fit, and %s answers again", p.in.To, p.in.From))
	case p.p.Durability == SemiSync && settled && (!ch.missing.Empty() || ch.unread != ""):
		p.add(p.awaitLost(ch))
	default:
		why := fmt.Sprintf("%s cannot be read (%s) and it is not known whether it was promoted", p.in.To, p.reach(p.in.To))
		if len(ch.refusals) > 0 && settled {
			why = ch.refusals[0].String()
		}
		p.add(Step{Do: Drain, Target: p.in.To, Wait: p.p.Lag.Wait, Why: waiting + why})
	}
	return false
}

// awaitLost waits for what alone would make a promotion lose nothing: that somebody
// can be read, or that the target has what it lacks by another's hand.
func (p *planner) awaitLost(ch *choice) Step {
	target := p.in.To
	if ch.unread != "" {
		target = ch.unread
	}
	return Step{Do: CatchUp, Target: target, Until: ch.missing, Wait: Duration(time.Second), Why: waiting + ch.refusals[0].String()}
}

func (p *planner) whyRetarget(fit bool) string {
	if fit {
		return fmt.Sprintf("%s received more than %s, which would be lost", p.target, p.in.To)
	}
	return fmt.Sprintf("%s cannot be promoted any more, %s can", p.in.To, p.target)
}

func find(list []*contender, a topology.Addr) *contender {
	for _, x := range list {
		if x.addr() == a {
			return x
		}
	}
	return nil
}

// gather lets the target have all that was received, by others and by itself.
func (p *planner) gather(ch *choice, w wish) {
	x := find(ch.ranked, p.target)
	if donor := p.pickDonor(x, p.dataSources(ch.ranked, w)); donor != nil {
		if src := p.s.ChannelTo(x.inst, donor.addr()); src == nil || src.IO == topology.ThreadNo { // whose receiver nobody else would start
			step := p.repoint(p.target, donor.addr())
			step.Optional, step.Why = false, fmt.Sprintf("%s received more than %s and is not fit itself", donor.addr(), p.target)
			p.add(step)
		}
		p.add(Step{
			Do: CatchUp, Target: p.target, Until: donor.st.Received(), Wait: p.drainWait(),
			Why: fmt.Sprintf("%s takes over what only %s has", p.target, donor.addr()),
		})
	} else if p.drained(x) {
		return
	}
	p.add(Step{Do: Drain, Target: p.target, Wait: p.drainWait(), Why: fmt.Sprintf("%s applies all that it received", p.target)})
}

// drained says that nothing is left in the target's relay log and nothing more
// arrives. An IO thread that tries in vain to reach a dead source brings nothing; under
// semi_sync that is not taken for granted, for what it brings after all it acknowledges.
func (p *planner) drained(x *contender) bool {
	src := x.st.Source()
	if src == nil {
		return true
	}
	source := p.s.Resolve(src.Addr)
	vain := src.IO == topology.ThreadConnecting && p.reach(source) == topology.Down && p.p.Durability != SemiSync
	quiet := src.IO == topology.ThreadNo || p.planned(StopReceiving, x.addr()) || vain
	return quiet && p.facts.drained(x.st)
}

func (p *planner) drainWait() Duration {
	if p.p.Lag.WhenAll == WhenAllPromote {
		return Duration(24 * time.Hour) // as long as it takes
	}
	return p.p.Lag.Wait
}

// attach moves replicas to the target before it opens, under semi_sync only: its
// first commit will wait for them, and those that leave the old primary cannot
// acknowledge there any more. Who still receives there by its last reading is stopped
// and read again first: since then it may have acknowledged what the target lacks, and
// a move could cost it its relay log. It goes on without them when patience ends, but
// not without GTID: who has not come by then never will, and every commit would wait.
// It says whether the target may be opened after that.
func (p *planner) attach() bool {
	impatient := !p.s.Taken.Before(p.begun().Add(patience))
	if p.p.Durability != SemiSync || impatient && (!p.positions || p.in.Forced) {
		return true
	}
	attached, acking := p.attached()
	required := max(p.waitCount(p.s.Instance(p.target))-attached, acking-(p.waitCount(p.s.Instance(p.in.From))-1))
	if required <= 0 {
		return true
	}
	var stops, steps []Step
	counted := 0
	for _, step := range p.repoints(false) {
		if step.Do == SetReadOnly || step.Target == p.in.From {
			continue
		}
		if !canAcknowledge(p.s.State(step.Target)) {
			step.Optional = true
			steps = append(steps, step)
			continue
		}
		step.Optional = counted >= required
		counted++
		i := p.s.Instance(step.Target)
		if stop, may := p.stop(i); may && p.tied(i) && !step.Optional && !p.planned(StopReceiving, i.Addr) {
			stop.Optional = false
			stops = append(stops, stop)
		}
		step.Why = fmt.Sprintf("%s cannot acknowledge what %s writes any more, and will acknowledge what %s writes", step.Target, p.in.From, p.target)
		steps = append(steps, step)
	}
	if p.positions && attached+counted < p.waitCount(p.s.Instance(p.target)) && !p.in.Forced {
		p.awaitFollowers()
		return false
	}
	p.add(stops...)
	p.add(steps...)
	return true
}

// attached counts the replicas that follow the target already and can acknowledge, and
// those that still acknowledge to the old primary.
func (p *planner) attached() (attached, acking int) {
	for _, i := range p.members() {
		if !i.Fresh() || i.Addr == p.target {
			continue
		}
		if src := p.s.ChannelTo(i, p.target); src != nil && src.IO != topology.ThreadNo && canAcknowledge(i.State) {
			attached++
		}
		if p.tied(i) && i.State.SemiSync.ReplicaEnabled {
			acking++
		}
	}
	return attached, acking
}

// awaitFollowers waits, without GTID, for replicas that the target's commits would
// wait for. Those that are behind cannot follow it; what would change that is the old
// primary, which is given the writes back when it answers.
func (p *planner) awaitFollowers() {
	an, to := p.in.Anchor, p.s.Instance(p.target)
	why := fmt.Sprintf("%s would have too few replicas to acknowledge its writes, durability needs %d", p.target, p.waitCount(to))
	waits := p.target
	for _, i := range p.members() {
		if src := p.channel(i, p.in.From); src != nil && i.Addr != p.target && i.Fresh() && an != nil && src.AppliedTo != an.Source {
			why += fmt.Sprintf("; %s: %s", i.Addr, astrayWords(src.AppliedTo, p.in))
			waits = i.Addr
		}
	}
	if p.s.Instance(p.in.From).Fresh() {
		p.stages = nil
		p.rollBack(why + fmt.Sprintf("; %s answers again", p.in.From))
		return
	}
	step := Step{Do: CatchUp, Target: waits, Wait: Duration(time.Second), Why: waiting + why}
	if waits != p.target && an != nil {
		step.At = an.Source
	}
	p.add(step)
}
