package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// The durability fence. A source under semi-sync tells no client of a commit that
// fewer replicas acknowledged than it waits for. So once fewer are left that might
// acknowledge, its clients can do no harm, and a proxy that may still send it
// writes need not be waited for. What was acknowledged before is held by at least
// one of the replicas that were stopped, and is counted in their readings.

// promptly is how long a failover under semi_sync waits for those who are heard and
// could be faster: proxies to acknowledge, replicas to stop, a primary that still
// answers to be closed.
const promptly = 500 * time.Millisecond

// stopWait bounds one attempt to stop a replica.
const stopWait = Duration(2 * time.Second)

// early says that the recovery has only just begun.
func (p *planner) early() bool { return p.s.Taken.Before(p.begun().Add(promptly)) }

// stops are the steps by which replicas leave the old primary, so that it commits
// nothing any more. One that answers is first given time to be closed itself: then
// its replicas receive its last transactions, and it can come back as one of them.
// A replica whose SQL thread stopped at an error keeps receiving, for a stop could
// cost it its relay log. One that is unsettled is stopped whatever was read of it: the
// act ends what may yet start it.
func (p *planner) stops() []Step {
	if p.p.Durability != SemiSync || p.passed() || p.early() && p.s.Instance(p.in.From).Fresh() {
		return nil
	}
	var steps []Step
	for _, i := range p.members() {
		if step, may := p.stop(i); may && (p.tied(i) || p.unsettled(i)) {
			steps = append(steps, step)
		}
	}
	return steps
}

// tied says that by its last reading a replica receives from the old primary, or tries to.
func (p *planner) tied(i *topology.Instance) bool {
	src := p.s.ChannelTo(i, p.in.From)
	return src != nil && src.IO != topology.ThreadNo
}

// stop is the step by which one replica leaves the old primary; false for one that
// cannot be stopped, or not without a risk.
func (p *planner) stop(i *topology.Instance) (Step, bool) {
	src, source := p.s.ChannelTo(i, p.in.From), p.in.From
	if src != nil {
		source = src.Addr
	}
	if i.Addr == p.in.From || !i.Fresh() || src != nil && src.SQL == topology.ThreadNo && src.SQLError != "" {
		return Step{}, false
	}
	return Step{
		Do: StopReceiving, Target: i.Addr, Source: source, Wait: stopWait, Optional: true,
		Why: fmt.Sprintf("%s acknowledges nothing that %s writes any more", i.Addr, p.in.From),
	}, true
}

// mayCommit says why the old primary might still tell clients that it committed;
// empty when the durability fence holds.
func (p *planner) mayCommit() string {
	if p.p.Durability != SemiSync {
		return "its commits wait for nobody"
	}
	ref, want := p.reference(), p.waitCount(p.prim)
	if ref == nil {
		return "it was never read as primary"
	}
	switch s := ref.SemiSync; {
	case !s.SourceEnabled || !s.SourceActive:
		return "semi-sync was off when it was last read"
	case !s.Timeout.Endless():
		return fmt.Sprintf("it waits only %s for an acknowledgement", s.Timeout)
	case !s.WaitsAlone:
		return "it waits for nobody while too few replicas are attached"
	case p.p.SemiSync.Manage && p.p.SemiSync.Blocked == BlockedDegrade:
		return "it may have been degraded since it was read"
	case s.WaitCount < want:
		return fmt.Sprintf("it waits for %d acknowledgements and not for %d", s.WaitCount, want)
	}
	might, unknown := p.mightAcknowledge(ref)
	if len(might)+unknown < ref.SemiSync.WaitCount {
		return ""
	}
	words := topology.JoinAddrs(might)
	if unknown > 0 {
		words = plural(unknown, "replica that is not known here", "replicas that are not known here")
		if len(might) > 0 {
			words = topology.JoinAddrs(might) + " and " + words
		}
	}
	return words + " might acknowledge what it writes"
}

// mightAcknowledge lists who might acknowledge what the old primary writes, and
// counts those whom it had attached and nobody here knows. That is everybody of
// whom no reading since the intent says that it does not receive from there; one
// that was stopped, restarted and receives again is among them.
func (p *planner) mightAcknowledge(from *topology.State) (known []topology.Addr, unknown int) {
	for _, i := range p.members() {
		if i.Addr != p.in.From && !p.left(i) {
			known = append(known, i.Addr)
		}
	}
	for _, a := range from.Replicas {
		if p.s.Instance(p.s.Resolve(a)) == nil {
			unknown++
		}
	}
	return known, max(unknown, from.SemiSync.Clients-(len(p.s.Instances)-1))
}

// left says that an instance is readable and has left the old primary.
func (p *planner) left(i *topology.Instance) bool { return i.Fresh() && p.hasLeft(i) }

// hasLeft says that the last reading of an instance was made since the intent and
// shows it not receiving from the old primary, under whatever name, and that nothing
// can start it any more that was sent before.
func (f *facts) hasLeft(i *topology.Instance) bool {
	in := f.c.Intent
	if in == nil || i.State == nil || !i.ReadAt.After(f.begun()) || f.unsettled(i) {
		return false
	}
	for _, src := range i.State.Sources {
		source := f.s.Resolve(src.Addr)
		if src.IO != topology.ThreadNo && (source == in.From || f.s.Instance(source) == nil) {
			return false
		}
	}
	return true
}

// awaited names the proxies that the failover waits for, and says why. Under the
// durability fence that is only who is heard, and not for long. A proxy that holds
// on without a lease would keep its clients waiting at the old primary without end,
// so where the policy says hold the fence does not stand in for it.
func (p *planner) awaited() (nodes []string, why string) {
	missing := p.missing(false)
	if len(missing) == 0 {
		return nil, ""
	}
	words := fmt.Sprintf("%s may still send writes to %s", joinNames(missing), p.in.From)
	switch {
	case p.p.Durability != SemiSync || !p.takeOver:
		return missing, words
	case p.p.OnLeaseLoss == LeaseLossHold:
		return missing, words + "; on_lease_loss is hold, so each of them is waited for"
	}
	if why := p.mayCommit(); why != "" {
		return missing, fmt.Sprintf("%s; the durability fence does not hold yet: %s", words, why)
	}
	if !p.early() {
		return nil, ""
	}
	for _, x := range p.s.Proxies {
		if !x.Holds(p.in.Epoch) && !x.Silent {
			nodes = append(nodes, x.Node)
		}
	}
	return nodes, fmt.Sprintf("%s may still send writes to %s", joinNames(nodes), p.in.From)
}
