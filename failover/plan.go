package failover

import (
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

// patience is how long steps that a recovery can do without are tried before it
// goes on without them and leaves them to Repairs.
const patience = 30 * time.Second

// Remaining is the work that c.Intent still needs, derived by comparing the
// snapshot with it; nil when no intent is open. Only the first stage is to be
// executed: then read the servers again and ask again. The later stages are a
// forecast for people, and may come out differently.
//
// The point of no return is passed when the intent's To is writable and has no
// source. Before it a switchover is rolled back when its deadline has passed or
// To is not fit any more; after it everything goes forward. A switchover whose
// primary dies turns into a failover: the proxies hold already, and To is
// promoted with what it has received (with asynchronous replication that may
// lack the primary's last transactions).
func Remaining(c *Case) []Stage { return newFacts(c).plan() }

func (f *facts) plan() []Stage {
	if f.c.Intent == nil {
		return nil
	}
	p := &planner{facts: f, in: f.c.Intent}
	switch {
	case f.routed():
		p.target = p.in.To
		p.afterRoute()
	case p.in.Kind == KindFailover || f.dead(p.in.From):
		if p.in.Regroups() {
			p.add(Step{Do: Pause, Target: p.in.From, Why: fmt.Sprintf("%s died, and no proxy may send it writes any more", p.in.From)})
		}
		p.takeOver = true
		p.failover()
	default:
		p.switchover()
	}
	return p.stages
}

// planner builds the stages of one intent.
type planner struct {
	*facts
	in     *Intent
	target topology.Addr // who becomes primary: in.To, or who takes its place
	// takeOver: From is dead or given up, so that what To received is all there is.
	takeOver bool
	stages   []Stage
}

func (p *planner) add(steps ...Step) {
	if len(steps) > 0 {
		p.stages = append(p.stages, Stage(steps))
	}
}

// planned says that an earlier stage does this already.
func (p *planner) planned(do Act, target topology.Addr) bool {
	for _, stage := range p.stages {
		for _, step := range stage {
			if step.Do == do && step.Target == target {
				return true
			}
		}
	}
	return false
}

// passed says that the point of no return is passed: To takes writes. A To that
// a majority calls down never had a client, for the route to it is not committed;
// it is given up, and Repairs closes it when it comes back.
func (p *planner) passed() bool {
	to := p.s.Instance(p.in.To)
	return !p.in.Regroups() && to != nil && to.Reach != topology.Down && to.State.Writable() && !to.State.IsReplica()
}

// missing names the proxies that may still send writes to From.
func (p *planner) missing(drained bool) []string {
	var nodes []string
	for _, x := range p.s.Proxies {
		if !x.Holds(p.in.Epoch) || drained && !x.Drained && !x.LeaseOver && !x.Off() {
			nodes = append(nodes, x.Node)
		}
	}
	return nodes
}

// promote opens the target unless it is open as planned. Both kinds of plan come
// here only after From was closed, at every proxy or by itself, or can commit
// nothing any more.
func (p *planner) promote() {
	to := p.s.Instance(p.target)
	plan := p.primarySemiSync(to)
	if p.target == p.in.To && to.Fresh() && p.passed() && plan.Unmet(to.State) == "" {
		return
	}
	why := fmt.Sprintf("%s takes over from %s", p.target, p.in.From)
	if missing := p.missing(false); p.takeOver && len(missing) > 0 && !p.planned(CloseProxies, "") {
		why += fmt.Sprintf("; %s did not acknowledge, but too few replicas are left to %s for it to commit anything", joinNames(missing), p.in.From)
	}
	p.add(append([]Step{{Do: Promote, Target: p.target, SemiSync: plan, Why: why}}, p.followBeside(to)...)...)
}

// followBeside moves, in a planned change under semi-sync, who will acknowledge the first
// commit of the target while it is being opened: writes are held until both are done.
// A roll-back moves them back, see receiveAgain.
func (p *planner) followBeside(to *topology.Instance) []Step {
	if p.in.Kind != KindSwitchover || p.p.Durability != SemiSync || p.positions || !to.Fresh() {
		return nil
	}
	var steps []Step
	for _, step := range p.repoints(false) {
		if i := p.s.Instance(step.Target); step.Do == Repoint && step.Target != p.in.From && (p.planned(CatchUp, p.target) || p.covers(to.State, i.State)) {
			steps = append(steps, step)
		}
	}
	return steps
}

// primarySemiSync is how the policy wants a primary; nil leaves it as it is. A
// forced promotion without enough replicas waits for as many as there are, so
// that the operator who forced it gets a primary that can commit.
func (p *planner) primarySemiSync(to *topology.Instance) *SemiSyncPlan {
	if p.p.Durability != SemiSync {
		return nil
	}
	n := p.waitCount(to)
	if p.in.Forced {
		others := 0
		for _, i := range p.members() {
			if i.Fresh() && i.Addr != p.target && !i.State.LeftAlone() && canAcknowledge(i.State) && (i.State.IsReplica() || i.Addr == p.in.From) {
				others++
			}
		}
		if n = min(n, others); n == 0 || to != nil && to.State != nil && to.State.SemiSync.NoSource {
			return &SemiSyncPlan{}
		}
	}
	return p.sourceSemiSync(n)
}

// canAcknowledge says that a replica can, once it receives: it has what that takes, and is
// not delayed, for what a delayed one alone has could not be had from it before its delay is over.
func canAcknowledge(st *topology.State) bool { return !delayed(st) && !st.SemiSync.NoReplica }

// sourceSemiSync is a source that waits for n acknowledgements, as the policy says.
func (f *facts) sourceSemiSync(n int) *SemiSyncPlan {
	plan := &SemiSyncPlan{Source: true, WaitCount: n}
	if f.p.SemiSync.Manage {
		plan.Timeout = Duration(f.p.SemiSync.Timeout)
	}
	return plan
}

// replicaSemiSync is how the policy wants a replica. One that cannot acknowledge follows
// all the same.
func (f *facts) replicaSemiSync(i *topology.Instance) *SemiSyncPlan {
	if f.p.Durability != SemiSync {
		return nil
	}
	return &SemiSyncPlan{Replica: i == nil || canAcknowledge(i.State)}
}

// commit routes to the target, and under semi_sync moves the replicas at the
// same time, for the first commit waits for one of them.
func (p *planner) commit() {
	steps := []Step{{Do: CommitRoute, Target: p.target, Why: fmt.Sprintf("every proxy may send writes to %s", p.target)}}
	if p.p.Durability == SemiSync {
		steps = append(steps, p.repoints(false)...)
	}
	p.add(steps...)
}

// afterRoute is what remains when the new primary is routed: the other replicas,
// the delayed ones last, for as long as patience lasts; then the end.
func (p *planner) afterRoute() {
	since := p.c.Seen.Route
	if since.IsZero() {
		since = p.s.Route.At
	}
	if begun := p.begun(); since.Before(begun) {
		since = begun
	}
	patient := !p.routed() || p.s.Taken.Before(since.Add(patience))
	switch to := p.s.Instance(p.in.To); {
	case p.routed() && p.dead(p.in.To):
		p.add(Step{Do: Conclude, Target: p.target, Why: fmt.Sprintf("%s; who is to follow it is the next recovery's", cutShort(p.in))})
		return
	case p.routed() && !to.Fresh() && patient:
		// Its death would be this recovery's, not the next one's: it is looked at first.
		p.add(Step{Do: CatchUp, Target: p.in.To, Wait: Duration(time.Second), Why: waiting + fmt.Sprintf("%s cannot be read (%s), and may have died", p.in.To, p.reach(p.in.To))})
	}
	if patient {
		p.add(p.repoints(false)...)
		p.add(p.repoints(true)...)
	}
	p.add(Step{Do: Conclude, Target: p.target, Why: "the recovery has ended"})
}

// CutShort is, for the end of a recovery, that its new primary is dead already;
// empty when it is not. See [Recovery.CutShort].
func CutShort(c *Case) string {
	if f := newFacts(c); c.Intent != nil && f.routed() && f.dead(c.Intent.To) {
		return cutShort(c.Intent)
	}
	return ""
}

func cutShort(in *Intent) string {
	return fmt.Sprintf("%s died before the %s had ended", in.To, in.Kind)
}

// repoints moves every replica that the target covers and that does not follow
// it yet. What the target does not cover stays where it is: it is lost to the
// cluster, and the findings name it.
func (p *planner) repoints(late bool) []Step {
	var steps []Step
	to := p.s.Instance(p.target)
	for _, i := range p.members() {
		if i.Addr == p.target || !i.Fresh() || delayed(i.State) != late || to == nil || to.State == nil {
			continue
		}
		returns := i.Addr != p.in.From || p.fromReturns(i)
		switch {
		case i.Addr == p.in.From && !closed(i.State) && !p.planned(SetReadOnly, i.Addr):
			steps = append(steps, p.closeFrom())
		case returns && p.astray(i) && !p.planned(Repoint, i.Addr):
			if step, may := p.follows(to.State, i); may {
				steps = append(steps, step)
			}
		}
	}
	return steps
}

// follows is the step that brings an instance under the target; false for one that
// cannot follow it.
func (p *planner) follows(target *topology.State, i *topology.Instance) (Step, bool) {
	if p.positions {
		return p.joins(i)
	}
	return p.repoint(i.Addr, p.target), p.mayFollow(target, i.State)
}

// mayFollow says that a replica can follow the target without losing anything. In
// the forecast of a switchover, or with a donor, the target has yet to catch up.
func (p *planner) mayFollow(target, replica *topology.State) bool {
	switchover := !p.takeOver && !p.routed() && !p.passed()
	return switchover || p.planned(CatchUp, p.target) || p.covers(target, replica)
}

// fromReturns says that the old primary becomes a replica now: always after a
// switchover, after a failover as the policy says.
func (p *planner) fromReturns(from *topology.Instance) bool {
	return from.State.Member == "" && (p.in.Kind == KindSwitchover || p.p.Rejoin != RejoinManual)
}

// astray says that an instance has to be moved to the target: the old primary,
// who follows it, or who was moved already and did not start.
func (p *planner) astray(i *topology.Instance) bool {
	if i.State.LeftAlone() {
		return false
	}
	if src := p.s.ChannelTo(i, p.target); src != nil {
		idle := src.IO == topology.ThreadNo && src.IOError == "" && src.SQLError == ""
		plan := p.replicaSemiSync(i)
		return idle || plan != nil && plan.Replica && !i.State.SemiSync.ReplicaEnabled
	}
	if i.Addr == p.in.From {
		return !p.s.Under(i.Addr, p.target)
	}
	if p.movedTo(i) != "" {
		return true // to a target that another one has taken the place of
	}
	if !i.State.IsReplica() || p.s.Under(i.Addr, p.target) && p.s.SourceOf(i.Addr) != p.in.From {
		return false
	}
	source := p.s.SourceOf(i.Addr)
	known := p.s.Instance(source)
	// One that follows a living replica moves with it.
	return source == p.in.From || known != nil && (!known.Fresh() || !known.State.IsReplica())
}

// movedTo is another replica of the old primary under which a recovery has moved one of
// them; empty where it has not.
func (p *planner) movedTo(i *topology.Instance) topology.Addr {
	if source := p.s.SourceOf(i.Addr); slices.Contains(p.in.Replicas, i.Addr) && slices.Contains(p.in.Replicas, source) {
		return source
	}
	return ""
}

func (p *planner) repoint(a, source topology.Addr) Step {
	return Step{Do: Repoint, Target: a, Source: source, SemiSync: p.replicaSemiSync(p.s.Instance(a)), Optional: true, Why: fmt.Sprintf("%s follows the new primary", a)}
}

// closeFrom fences the old primary at the server, as far as it answers.
func (p *planner) closeFrom() Step {
	return Step{Do: SetReadOnly, Target: p.in.From, Optional: true, Why: fmt.Sprintf("%s answers and takes writes", p.in.From)}
}

func (p *planner) fromOpen() bool {
	from := p.s.Instance(p.in.From)
	return from.Fresh() && !closed(from.State)
}

// rollBack puts everything back. The target is made sure to be closed first,
// unless it is down: two may never take writes. Closing the old primary may have
// cost it its semi-sync, also where it was withdrawn: it gets it back before writes
// return. Where it does not take it, one that is open is not kept from its clients
// for longer than patience lasts.
func (p *planner) rollBack(why string) {
	from, to := p.s.Instance(p.in.From), p.s.Instance(p.in.To)
	if to != nil && to.Reach != topology.Down && (!to.Fresh() || to.State.Writable()) {
		p.add(Step{Do: SetReadOnly, Target: p.in.To, Why: fmt.Sprintf("rolled back: %s; %s must not take writes", why, p.in.To)})
	}
	plan := p.returningSemiSync(from)
	lacking := from.Fresh() && plan.Unmet(from.State) != "" && p.s.Taken.Before(p.begun().Add(patience))
	untouched := p.in.Regroups() && !from.Fresh() // it was not closed
	if !untouched && (!from.Fresh() || !from.State.Writable() || lacking) {
		p.add(Step{Do: SetWritable, Target: p.in.From, SemiSync: plan, Why: fmt.Sprintf("rolled back: %s; %s takes writes again", why, p.in.From)})
	}
	again := p.receiveAgain()
	few := p.p.Durability == SemiSync && len(p.acknowledgers()) < p.waitCount(from)
	if len(again) > 0 && (few || p.in.Regroups()) && p.s.Taken.Before(p.begun().Add(patience)) {
		p.add(again...) // its first commit waits for them; or it is open, and the end of the recovery can wait
		again = nil
	}
	steps := []Step{{Do: RollBack, Target: p.in.From, Why: fmt.Sprintf("rolled back: %s; %s stays primary", why, p.in.From)}}
	steps = append(steps, again...)
	p.add(append(steps, p.followAgain(from, to)...)...)
}

// followAgain makes the target a replica of the old primary as before, where it
// has nothing that the old primary lacks.
func (p *planner) followAgain(from, to *topology.Instance) []Step {
	if !to.Fresh() || p.s.ChannelTo(to, p.in.From) != nil || from == nil || from.State == nil || !p.covers(from.State, to.State) {
		return nil
	}
	back := p.repoint(p.in.To, p.in.From)
	if p.positions {
		if p.in.Anchor == nil || p.in.Anchor.Target != p.in.To || to.State.IsReplica() {
			return nil
		}
		back = p.repointAt(p.in.To, p.in.From, p.in.Anchor.Source, p.in.Anchor.At)
	}
	back.Why = fmt.Sprintf("%s follows %s again", p.in.To, p.in.From)
	return []Step{back}
}

// returningSemiSync is how the old primary is opened again.
func (p *planner) returningSemiSync(from *topology.Instance) *SemiSyncPlan {
	if p.p.Durability != SemiSync || from != nil && from.State != nil && from.State.SemiSync.NoSource {
		return nil // it was open without, and cannot be opened otherwise
	}
	return p.sourceSemiSync(p.waitCount(from))
}

// parted says that a replica has what the old primary lacks. While that takes writes a
// replica which was read a moment later has more than it, and need have nothing of its own.
func (p *planner) parted(i, from *topology.Instance) bool {
	if p.in.Regroups() {
		return !p.errant(i).Empty()
	}
	return from.Fresh() && !p.covers(from.State, i.State)
}

// receiveAgain lets replicas that were stopped for the fence, or moved to the target
// already, receive from the old primary as before, but for one that has got a history
// of its own meanwhile.
func (p *planner) receiveAgain() []Step {
	var steps []Step
	from := p.s.Instance(p.in.From)
	for _, i := range p.members() {
		src := p.s.ChannelTo(i, p.in.From)
		stopped := src != nil && src.IO == topology.ThreadNo && src.SQLError == ""
		moved := !p.positions && i.Addr != p.in.To && p.movedTo(i) != ""
		if i.Addr == p.in.From || !i.Fresh() || !stopped && !moved {
			continue
		}
		if p.parted(i, from) || p.in.Regroups() && src != nil && src.IOError != "" {
			continue
		}
		step := p.repoint(i.Addr, p.in.From)
		if stopped && (p.positions || i.State.LeftAlone()) {
			step.Do, step.Source = StartReplica, src.Addr // that channel alone, where it stands
		}
		step.Why = fmt.Sprintf("%s receives from %s again", i.Addr, p.in.From)
		steps = append(steps, step)
	}
	return steps
}
