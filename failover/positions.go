package failover

import (
	"fmt"
	"strconv"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// Without GTID positioning a replica says where it stands in the binary log of its
// source, and in no other: coordinates of two servers have nothing to do with each
// other. So the replicas of one source can be compared, and none of them can tell
// where in the log of a sibling it would have to go on.
//
// One place is known in both logs: where the new primary stands when it has applied
// all, has stopped and takes no writes yet. That is the anchor. Whoever stands at the
// same place of the old primary's log goes on at that place of the new one's. Nobody
// else can follow: what is missing could not be found, and is not guessed.

// Anchor is one place in the history of a cluster, as it is called in the binary logs
// of the old primary and of the new one.
type Anchor struct {
	Target topology.Addr        `json:"target"` // the new primary
	Source topology.Coordinates `json:"source"` // in the log of the intent's From: what Target had executed of it
	At     topology.Coordinates `json:"at"`     // in Target's own log: what comes after it From never had
	// Whole says that From's log ended at Source, and From took no writes.
	Whole bool `json:"whole,omitempty"`
}

// byPosition says that the cluster replicates by file and position: none of its
// replicas positions by GTID. For an open recovery that was decided when it began.
func (f *facts) byPosition() bool {
	if f.c.Intent != nil {
		return f.c.Intent.Positions
	}
	replicas := 0
	for _, i := range f.members() {
		if src := i.State.Source(); src != nil && !f.mayBeDrained(i, src) {
			if src.GTID {
				return false
			}
			replicas++
		}
	}
	switch last := f.c.Last; {
	case replicas > 0:
		return true
	case last != nil && last.Intent.Positions && last.To == f.primary:
		return true
	default:
		return f.prim != nil && f.prim.State != nil && f.prim.State.GTIDMode == "OFF"
	}
}

// mayBeDrained says that a channel may position by file only since a recovery by GTID
// drained it: on MariaDB that turns GTIDs off until the next repoint.
func (f *facts) mayBeDrained(i *topology.Instance, src *topology.Source) bool {
	last := f.c.Last
	return last != nil && !last.Intent.Positions && i.State.Flavor == "mariadb" && !src.GTID && src.IO == topology.ThreadNo
}

// channel is how an instance replicates directly from another by position; nil when it
// does not.
func (f *facts) channel(i *topology.Instance, source topology.Addr) *topology.Source {
	if src := f.s.ChannelTo(i, source); f.positions && src != nil && !src.GTID {
		return src
	}
	return nil
}

// held is how much of the primary's binary log an instance has got; the zero value
// when that cannot be told. A target whose promotion was cut short has forgotten its
// source and stands where the anchor says.
func (f *facts) held(i *topology.Instance) topology.Coordinates {
	if in := f.c.Intent; in != nil && in.Anchor != nil && in.From == f.primary && in.Anchor.Target == i.Addr && i.State != nil && !i.State.IsReplica() {
		return in.Anchor.Source
	}
	if src := f.channel(i, f.primary); src != nil && f.sameSource(src, f.primary) {
		return src.Held()
	}
	return topology.Coordinates{}
}

// sameSource says that what a replica knows of who wrote its source's log does not
// speak against an instance: another server may have got its address.
func (f *facts) sameSource(src *topology.Source, source topology.Addr) bool {
	st := f.s.State(source)
	return src.SourceID == "" || st == nil || src.SourceID == identity(st)
}

// identity is what a replica calls the server that wrote what it received.
func identity(st *topology.State) string {
	if st.ServerUUID != "" {
		return st.ServerUUID
	}
	return strconv.FormatUint(uint64(st.ServerID), 10)
}

// incomparable says why an instance cannot be compared by position; empty when it
// can be, or need not be any more.
func (f *facts) incomparable(x *contender) string {
	if !f.positions || !x.inst.Fresh() {
		return ""
	}
	if !x.st.IsReplica() {
		return when(f.opened(x.addr()) && x.held.IsZero(), "%s has no source any more, and nothing says how much of the binary log of %s it has: without GTID it cannot be compared", x.addr(), f.primary)
	}
	src := f.channel(x.inst, f.primary)
	switch {
	case src == nil:
		return fmt.Sprintf("%s replicates from %s, not from primary %s itself: without GTID its position cannot be compared", x.addr(), f.s.SourceOf(x.addr()), f.primary)
	case !f.sameSource(src, f.primary):
		return fmt.Sprintf("%s received from server %s, and primary %s is %s: without GTID its position means nothing", x.addr(), src.SourceID, f.primary, identity(f.prim.State))
	case src.Held().Compare(src.Held()) != gtid.Equal:
		return fmt.Sprintf("%s does not say where it stands in the binary log of %s, and has no GTID", x.addr(), f.primary)
	}
	return ""
}

// behind says that one certainly lacks what another has executed, so that it could
// not follow it; how, in a sentence, or empty. In a switchover all of them catch up.
func (f *facts) behind(o, x *contender, w wish) string {
	if !f.positions || w.kind == KindSwitchover || !x.inst.Fresh() {
		return ""
	}
	src := f.channel(x.inst, f.primary)
	if src == nil || o.held.Compare(src.AppliedTo) != gtid.Behind {
		return ""
	}
	return fmt.Sprintf("%s received up to %s of the binary log of %s, and %s has executed up to %s: without GTID it cannot fetch there what it lacks",
		o.addr(), o.held, f.primary, x.addr(), src.AppliedTo)
}

// wouldLoseByPosition finds what others received and the chosen one did not.
func (f *facts) wouldLoseByPosition(ch *choice) {
	for _, x := range ch.ranked {
		if x == ch.best || x.held.Compare(ch.best.held) != gtid.Ahead {
			continue
		}
		ch.lost = append(ch.lost, fmt.Sprintf("what %s received (read %s) up to %s of the binary log of %s; %s received up to %s",
			x.addr(), f.ago(x.inst.ReadAt), x.held, f.primary, ch.best.addr(), ch.best.held))
		if !x.inst.Fresh() {
			ch.unread = x.addr()
		}
	}
}

// locate has the target apply all, stop, and tell both names of the place where it
// stands, which is committed before it opens. With a source, that one is closed, and
// the target must have all of its log.
func (p *planner) locate(source topology.Addr, wait Duration) {
	if p.anchored() {
		return
	}
	why := fmt.Sprintf("%s applies all that it received, and where it stands then is where the others follow it", p.target)
	if source != "" {
		why = fmt.Sprintf("%s must have all that %s wrote, and where it stands then is where the others follow it", p.target, source)
	}
	p.add(Step{Do: Locate, Target: p.target, Source: source, Wait: wait, Why: why})
}

// anchored says that the anchor is the target's, and that the target has not moved
// from it.
func (p *planner) anchored() bool {
	an, to := p.in.Anchor, p.s.Instance(p.target)
	if an == nil || an.Target != p.target || to == nil || to.State == nil {
		return false
	}
	src := to.State.Source()
	return src == nil || src.IO == topology.ThreadNo && src.SQL == topology.ThreadNo && src.AppliedTo == an.Source
}

// errWorkersStopped is what MySQL's SQL thread with parallel workers says when it was
// killed: a start goes on from where it stands.
const errWorkersStopped = 1756

// endedHalfway says that an error of an instance's SQL thread is how it was ended in the
// middle of a transaction that never came whole: it was located, or can be.
func (f *facts) endedHalfway(i *topology.Instance) bool {
	src, in := f.channel(i, f.primary), f.c.Intent
	if src == nil {
		return false
	}
	located := in != nil && in.Anchor != nil && in.Anchor.Target == i.Addr && src.AppliedTo == in.Anchor.Source
	return located || src.SQLErrno == errWorkersStopped
}

// joins is the step that brings a replica, or the old primary, under the target: a
// repoint for one that stands at the anchor; for one that may yet come there, the
// wait for it. The old primary of a failover is not waited for: who comes back later
// is looked at by Repairs.
func (p *planner) joins(i *topology.Instance) (Step, bool) {
	an, from := p.in.Anchor, i.Addr == p.in.From
	src := p.channel(i, p.in.From)
	if !p.anchored() {
		forecast := p.planned(Locate, p.target) && (from && !p.takeOver || src != nil && p.held(i).Compare(p.applied(p.target)) != gtid.Behind)
		return p.repoint(i.Addr, p.target), forecast
	}
	// It was pointed there already: not so a From whose log may go on after the anchor,
	// which nobody points. That one replicated from the target before, in a ring.
	if src := p.s.ChannelTo(i, p.target); src != nil && (!from || an.Whole) {
		step := p.repoint(i.Addr, src.Addr)
		step.Do = StartReplica
		return step, true
	}
	switch {
	case !p.covers(p.s.State(p.target), i.State):
		return Step{}, false
	case from:
		return p.repointAt(i.Addr, p.target, an.At, an.Source), an.Whole && !i.State.IsReplica()
	case src == nil || !p.sameSource(src, p.in.From):
		return Step{}, false
	case src.AppliedTo == an.Source:
		return p.repointAt(i.Addr, p.target, an.At, an.Source), true
	default:
		return p.comes(i, src)
	}
}

// comes is the wait for a replica of the old primary that is before the anchor and may
// yet come there.
func (p *planner) comes(i *topology.Instance, src *topology.Source) (Step, bool) {
	an := p.in.Anchor
	comes := src.AppliedTo.Compare(an.Source) == gtid.Behind && !delayed(i.State) &&
		!p.planned(CatchUp, i.Addr) && (src.Held().Compare(an.Source) != gtid.Behind || src.IO == topology.ThreadYes && !p.takeOver)
	return Step{
		Do: CatchUp, Target: i.Addr, At: an.Source, Wait: joinWait, Optional: true,
		Why: fmt.Sprintf("%s can follow %s from %s of the binary log of %s on", i.Addr, p.target, an.Source, p.in.From),
	}, comes
}

// applied is how much of the primary's binary log an instance has executed.
func (f *facts) applied(a topology.Addr) topology.Coordinates {
	if src := f.channel(f.s.Instance(a), f.primary); src != nil {
		return src.AppliedTo
	}
	return topology.Coordinates{}
}

// joinWait bounds one attempt of a replica to come to the anchor.
const joinWait = Duration(2e9)

// repointAt is a repoint by position: to `at` in the log of the source, if the target
// stands at `stands`.
func (f *facts) repointAt(a, source topology.Addr, at, stands topology.Coordinates) Step {
	return Step{
		Do: Repoint, Target: a, Source: source, At: at, Stands: stands, SemiSync: f.replicaSemiSync(f.s.Instance(a)), Optional: true,
		Why: fmt.Sprintf("%s stands where %s has %s", a, source, at),
	}
}

// lostByPosition is what is known of what the new primary of a recovery does not have,
// and who cannot follow it.
func (f *facts) lostByPosition(in *Intent) []string {
	lost := f.leftOut(in)
	if unknown := f.unknowable(in); unknown != "" && (in.Anchor == nil || !in.Anchor.Whole) {
		lost = append(lost, unknown)
	}
	return lost
}

// leftOut says of each replica that cannot follow the target where it stands.
func (f *facts) leftOut(in *Intent) []string {
	an := in.Anchor
	if an == nil {
		return nil
	}
	var list []string
	for _, i := range f.members() {
		src := f.s.ChannelTo(i, in.From)
		if src == nil || src.GTID || i.Addr == an.Target {
			continue
		}
		held := src.Held()
		switch {
		case held.Compare(an.Source) == gtid.Ahead:
			list = append(list, fmt.Sprintf("what %s received (read %s) from %s of the binary log of %s up to %s, and %s does not have", i.Addr, f.ago(i.ReadAt), an.Source, in.From, held, an.Target))
		case src.AppliedTo != an.Source:
			list = append(list, fmt.Sprintf("%s is left out: %s", i.Addr, astrayWords(src.AppliedTo, in)))
		}
	}
	return list
}

// astrayWords says why a replica cannot follow the new primary of a recovery.
func astrayWords(stands topology.Coordinates, in *Intent) string {
	return fmt.Sprintf("it stands at %s of the binary log of %s, and %s took over at %s; without GTID it can follow only from there, so it has to be cloned",
		stands, in.From, in.Anchor.Target, in.Anchor.Source)
}

// lastAnchor is the last recovery's, where it was one between the primary and
// another; nil without one.
func (f *facts) lastAnchor() *Intent {
	last := f.c.Last
	if last == nil || last.Intent.Anchor == nil || f.primary != last.Intent.Anchor.Target && f.primary != last.Intent.From {
		return nil
	}
	return &last.Intent
}

// joinsAgain is the repoint of an instance that stands at the anchor of the last
// recovery, and why not, in a sentence; both are empty for one that is at its place. Of
// one without a source that is checked in its own binary log when it is done.
func (f *facts) joinsAgain(i *topology.Instance) (step Step, why string) {
	if f.s.Under(i.Addr, f.primary) && !f.leftBehind(i.Addr, f.s.SourceOf(i.Addr)) {
		return Step{}, ""
	}
	in := f.lastAnchor()
	if in == nil {
		return Step{}, "it does not use GTID positioning, and no recovery noted where it would have to go on"
	}
	an := in.Anchor
	other, at, stands := in.From, an.At, an.Source
	if f.primary == in.From {
		other, at, stands = an.Target, an.Source, an.At
	}
	src := i.State.Source()
	switch {
	case src == nil && i.Addr != other || src != nil && f.s.SourceOf(i.Addr) != other:
		return Step{}, fmt.Sprintf("without GTID only what stands at %s of the binary log of %s can follow primary %s", stands, other, f.primary)
	case src != nil && src.AppliedTo != stands:
		return Step{}, astrayWords(src.AppliedTo, in)
	case !f.covers(f.prim.State, i.State):
		return Step{}, fmt.Sprintf("it holds transactions that primary %s lacks", f.primary)
	}
	return f.repointAt(i.Addr, f.primary, at, stands), ""
}

// unproved says that the old primary of the last recovery replicates from the new one,
// and not since a repoint, which looks into its binary log: it has executed nothing
// after the anchor. They were a ring, and what it alone has is not known.
func (f *facts) unproved(i *topology.Instance) bool {
	in := f.lastAnchor()
	if in == nil || i.Addr != in.From || f.primary != in.Anchor.Target || in.Anchor.Whole {
		return false
	}
	src := f.channel(i, f.primary)
	return src != nil && src.AppliedTo.Compare(in.Anchor.At) != gtid.Ahead
}

// whyAstray adds to a finding why a replica is not moved.
func (f *facts) whyAstray(i *topology.Instance) string {
	if !f.positions {
		return ""
	}
	_, why := f.joinsAgain(i)
	return colon(why)
}
