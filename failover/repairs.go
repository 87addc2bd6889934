package failover

import (
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Repairs are the steps of convergence while no intent is open, as the policy's
// `repair` allows: whatever is not the routed writer takes no writes, follows the
// writer if its history allows, and replicates. Nothing that the writer lacks is
// overwritten, and nobody but the routed writer is ever opened. What was tried in
// vain as often as the policy says is left out; [Due] says whether the rest may be
// attempted at once.
func Repairs(c *Case) []Step { return newFacts(c).repairs() }

func (f *facts) repairs() []Step {
	return slices.DeleteFunc(f.wantedRepairs(), func(s Step) bool { return !s.untiring() && f.exhausted(s) })
}

// wantedRepairs are those that the policy allows, however often they were tried.
func (f *facts) wantedRepairs() []Step {
	if f.c.Intent != nil || f.primary == "" {
		return nil
	}
	var steps []Step
	add := func(s Step, wanted bool) {
		if wanted {
			steps = append(steps, s)
		}
	}
	for _, i := range f.members() {
		if !i.Fresh() || i.State.Member != "" {
			continue
		}
		switch {
		case i.Addr == f.primary:
			add(f.openPrimary())
			add(f.breakRing())
		case i.State.Writable():
			add(f.closeStranger(i))
		case f.rejoining(i.Addr) != nil, i.State.MultiSource():
		default:
			add(f.saveExtra(i))
			add(f.autoClone(i))
			add(f.inject(i))
			if step, yes := f.repointStranger(i); yes {
				add(step, true)
				continue
			}
			add(f.restart(i))
		}
	}
	return append(steps, f.semiSyncRepairs()...)
}

// closeStranger: one that takes writes and is no replica is closed whatever the
// policy says, for there is one writer.
func (f *facts) closeStranger(i *topology.Instance) (Step, bool) {
	return Step{Do: SetReadOnly, Target: i.Addr, Why: fmt.Sprintf("%s takes writes and is not the writer, %s is", i.Addr, f.primary)},
		f.p.Repair.WritableReplica || !i.State.IsReplica()
}

// repointStranger makes a closed instance a replica of the primary, or of who
// stands in for its dead source.
func (f *facts) repointStranger(i *topology.Instance) (Step, bool) {
	if f.positions {
		return f.repointByPosition(i)
	}
	source, why := f.belongsUnder(i)
	return Step{Do: Repoint, Target: i.Addr, Source: source, SemiSync: f.replicaSemiSync(i), Why: why}, why != ""
}

// repointByPosition is the same without GTID.
func (f *facts) repointByPosition(i *topology.Instance) (Step, bool) {
	wanted := f.p.Rejoin != RejoinManual
	if i.State.IsReplica() {
		wanted = f.p.Repair.WrongSource
	}
	if !wanted || !f.prim.Fresh() || f.downtime(i.Addr) != nil {
		return Step{}, false
	}
	step, _ := f.joinsAgain(i)
	return step, step.Do != ""
}

// belongsUnder says whom a closed instance is to be made a replica of, and why;
// without a reason it is to be left alone.
func (f *facts) belongsUnder(i *topology.Instance) (source topology.Addr, why string) {
	if !f.prim.Fresh() || f.downtime(i.Addr) != nil || !f.covers(f.prim.State, i.State) {
		return "", ""
	}
	if !i.State.IsReplica() {
		return f.primary, when(f.p.Rejoin != RejoinManual, "%s has no source, and primary %s has all that it has", i.Addr, f.primary)
	}
	source = f.s.SourceOf(i.Addr)
	known := f.s.Instance(source)
	switch src := f.s.ChannelTo(i, f.primary); {
	case src != nil && src.Untried && src.SQL == topology.ThreadNo && src.SQLError == "":
		return f.primary, fmt.Sprintf("%s was pointed at primary %s and never started: a repoint was cut short", i.Addr, f.primary)
	case known == nil || source == f.primary:
		return "", "" // a source outside of the cluster is somebody's intention
	case f.wrongSource(i, known) != "":
		return f.primary, when(f.p.Repair.WrongSource, "%s replicates from %s", i.Addr, f.wrongSource(i, known))
	case f.dead(source) && f.p.Failover == Automatic && f.downtime(source) == nil && f.p.Repair.Orphans:
		return f.guardianOf(i, known), fmt.Sprintf("%s replicates from %s, which is dead", i.Addr, source)
	}
	return "", ""
}

// wrongSource says what is wrong with the source of a replica that has the primary's
// history; empty where it leads to the primary by somebody's intention.
func (f *facts) wrongSource(i, source *topology.Instance) string {
	switch {
	case !f.s.Under(i.Addr, f.primary) && !(source.Fresh() && source.State.IsReplica()):
		return fmt.Sprintf("%s, which does not follow primary %s", source.Addr, f.primary)
	case f.leftBehind(i.Addr, source.Addr):
		return f.leftWords(source.Addr)
	}
	return ""
}

// leftBehind says that the last recovery ended before a replica of the primary's was
// moved, or moved back: it replicates from the other of its two, or from one that was to become primary. A chain of another
// origin is somebody's intention.
func (f *facts) leftBehind(replica, source topology.Addr) bool {
	last := f.c.Last
	if last == nil || last.To != f.primary || source == f.primary || !slices.Contains(last.Left, replica) {
		return false
	}
	return source == last.Intent.From || source == last.Intent.To || slices.Contains(last.Intent.Replicas, source)
}

func (f *facts) leftWords(source topology.Addr) string {
	return fmt.Sprintf("%s, and replicated from the primary before the %s of %s", source, f.c.Last.Intent.Kind, f.c.Last.Ended.UTC().Format(time.DateTime))
}

// guardianOf says who takes in an orphan of a dead intermediate primary. That is
// the primary, unless it is elsewhere and another replica at the orphan's place
// follows it, has all that the orphan has and keeps a binary log: an intermediate
// primary is there to spare the way between places.
func (f *facts) guardianOf(orphan, dead *topology.Instance) topology.Addr {
	home := f.p.Server(orphan.Addr).DataCenter
	if !crosses(f.p.Server(f.primary).DataCenter, home) {
		return f.primary
	}
	for _, i := range f.members() {
		src := i.State.Source()
		switch {
		case i == orphan || i == dead || i.Addr == f.primary || !i.Fresh() || f.downtime(i.Addr) != nil:
		case f.p.Server(i.Addr).DataCenter != home || f.s.ChannelTo(i, f.primary) == nil:
		case src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes || !i.State.LogBin || !i.State.LogReplicaUpdates:
		case f.covers(i.State, orphan.State) && f.errant(i).Empty():
			return i.Addr
		}
	}
	return f.primary
}
