package failover

import (
	"fmt"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// switchover plans the change from a living primary. Until the target is opened
// every failure leads back to the old primary.
func (p *planner) switchover() {
	p.target = p.in.To
	if !p.passed() {
		if why := p.giveUp(); why != "" {
			p.rollBack(why)
			return
		}
		if p.in.Regroups() {
			p.gatherFollowers()
		}
		p.pause()
		p.handOver()
	} else {
		p.fence()
		if p.fromOpen() {
			step := p.closeFrom()
			step.Optional = false
			p.add(step)
		}
	}
	p.promote()
	p.commit()
	p.afterRoute()
}

// giveUp says why the switchover cannot go on; empty when it can.
func (p *planner) giveUp() string {
	if !p.in.Deadline.IsZero() && !p.s.Taken.Before(p.deadline()) {
		return fmt.Sprintf("not done within %s", span(p.in.Deadline.Sub(p.in.At)))
	}
	to := p.s.Instance(p.in.To)
	if p.in.Regroups() {
		if why := p.regroupFails(); why != "" {
			return why
		}
	}
	switch silent := p.silent(); {
	case len(silent) > 0 && p.fromOpen() && !p.in.Forced:
		return fmt.Sprintf("%s was not heard of for its lease, and clients of its proxy would be turned away by %s", joinNames(silent), p.in.From)
	case to == nil:
		return fmt.Sprintf("%s is not part of the cluster", p.in.To)
	case to.Reach == topology.Down:
		return fmt.Sprintf("%s cannot be reached any more", p.in.To)
	case !to.Fresh():
		return "" // may come back before the deadline
	}
	w := p.wish()
	w.want = p.in.To
	if x := find(p.choose(w).ranked, p.in.To); x != nil && !x.fit(w.forced) {
		return x.refusals[0].Sentence
	}
	return ""
}

// silent names the sidecars whose lease ran out before their proxies had paused.
// That is a fence, but no pause: those proxies hold nothing back.
func (p *planner) silent() []string {
	var nodes []string
	for _, x := range p.s.Proxies {
		if x.LeaseOver && !x.Off() && x.Epoch < p.in.Epoch {
			nodes = append(nodes, x.Node)
		}
	}
	return nodes
}

// pause waits until every proxy holds its writes and has none in progress.
// Transactions that do not end within the policy's time are ended by SetReadOnly.
func (p *planner) pause() {
	overdue := !p.s.Taken.Before(p.begun().Add(p.p.Switchover.Drain.D()))
	missing := p.missing(!overdue)
	if len(missing) == 0 {
		return
	}
	p.add(Step{
		Do: CloseProxies, Mode: topology.Paused, Wait: p.p.Switchover.Drain,
		Why: fmt.Sprintf("%s may still send writes to %s", joinNames(missing), p.in.From),
	})
}

// handOver closes the old primary and lets the target reach its last transaction.
// What that is can be known only after it is closed; until then the forecast has
// a CatchUp without a set.
func (p *planner) handOver() {
	from, to := p.s.Instance(p.in.From), p.s.Instance(p.in.To)
	left := Duration(0)
	if d := p.deadline().Sub(p.s.Taken); !p.in.Deadline.IsZero() && d > 0 {
		left = Duration(d)
	}
	if p.positions {
		if !p.anchored() {
			p.receive(to, left)
		}
		if !from.Fresh() || !closed(from.State) {
			p.add(Step{Do: SetReadOnly, Target: p.in.From, Wait: left, Why: fmt.Sprintf("%s takes no more writes", p.in.From)})
		}
		p.locate(p.in.From, left)
		return
	}
	until := gtid.Set{}
	shut := from.Fresh() && closed(from.State)
	if shut {
		until = from.State.Executed
		if to.Fresh() && to.State.HasApplied(until) {
			return
		}
	}
	p.receive(to, left)
	if !shut {
		p.add(Step{Do: SetReadOnly, Target: p.in.From, Wait: left, Why: fmt.Sprintf("%s takes no more writes", p.in.From)})
	}
	p.add(Step{Do: CatchUp, Target: p.in.To, Until: until, Wait: left, Why: fmt.Sprintf("%s must have all that %s wrote", p.in.To, p.in.From)})
}

// receive starts the target's receiver where it stands still without an error, as a
// repair leaves it that was broken off before it could start it again: it would never
// have what the old primary wrote.
func (p *planner) receive(to *topology.Instance, wait Duration) {
	src := p.s.ChannelTo(to, p.in.From)
	if !to.Fresh() || src == nil || src.IO != topology.ThreadNo || src.IOError != "" || src.SQLError != "" {
		return
	}
	p.add(Step{Do: StartReplica, Target: to.Addr, Source: src.Addr, Wait: wait, Why: fmt.Sprintf("%s stands still and must have all that %s wrote", to.Addr, p.in.From)})
}
