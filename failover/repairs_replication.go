package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// restart starts the replication of a replica that stands at the right place, was
// stopped by an error that may have passed, or without any.
func (f *facts) restart(i *topology.Instance) (Step, bool) {
	src := i.State.Source()
	if src == nil || src.IO != topology.ThreadNo && src.SQL != topology.ThreadNo {
		return Step{}, false
	}
	numbers := stoppedBy(src)
	step := Step{Do: StartReplica, Target: i.Addr, Source: src.Addr, SemiSync: f.replicaSemiSync(i)}
	switch why := f.whyNotRestart(i, src); {
	case why != "":
		return Step{}, false
	case len(numbers) == 0:
		step.Why = fmt.Sprintf("replication of %s was stopped without an error", i.Addr)
	default:
		step.Why = fmt.Sprintf("replication of %s was stopped by %s, which may have passed", i.Addr, explainError(numbers[0]))
	}
	if remedyOf(numbers) == refetchIt {
		step.Do, step.Source = Repoint, f.s.SourceOf(i.Addr)
		step.Why = fmt.Sprintf("replication of %s was stopped by %s; its source has all of it", i.Addr, explainError(numbers[0]))
	}
	return step, true
}

// whyNotRestart says why stopped replication is left as it is; empty when it is to
// be started. A start may throw the relay log away (on MariaDB it does so where
// both threads are stopped), so the source must be well and have what is in it.
func (f *facts) whyNotRestart(i *topology.Instance, src *topology.Source) string {
	numbers := stoppedBy(src)
	source := f.s.Instance(f.s.SourceOf(i.Addr))
	switch {
	case f.downtime(i.Addr) != nil:
		return f.downtimeWords(i.Addr)
	case i.State.MultiSource():
		return "it replicates from several sources, and such a replica is left alone"
	case f.hopeless(i, numbers):
		return "it would stop again, or hide that the data differ"
	case byAHand(src) && f.p.Repair.Stopped != StoppedStart:
		return "somebody stopped it, and the policy's repair.stopped is leave"
	case byAHand(src) && max(f.lasts("ReplicationStopped", i.Addr), f.lasts("ReplicationBroken", i.Addr)) < f.p.Repair.Grace.D():
		return fmt.Sprintf("somebody stopped it; it is started when that has lasted for %s", f.p.Repair.Grace)
	case len(numbers) > 0 && !f.p.Repair.BrokenReplication:
		return "the policy's repair.broken_replication is off"
	case f.positions && remedyOf(numbers) == refetchIt:
		return "without GTID it is not pointed anew"
	case f.unproved(i):
		return fmt.Sprintf("it was the primary, and whether its own binary log goes on after %s of it, where %s took over, is not known: without GTID it is not started", f.lastAnchor().Anchor.Source, f.primary)
	case !f.positions && !src.GTID:
		return "it does not use GTID positioning"
	case !f.s.Under(i.Addr, f.primary):
		return fmt.Sprintf("its source does not lead to primary %s", f.primary)
	case !source.Fresh():
		return fmt.Sprintf("its source %s cannot be read", src.Addr)
	case !f.stillHas(source, i):
		return fmt.Sprintf("it received transactions that its source %s does not have", source.Addr)
	}
	return ""
}

// hopeless says that errors stopped a replica which a start does not mend. An
// intermediate primary that could not send what comes next may have been behind its
// replica; the primary was not.
func (f *facts) hopeless(i *topology.Instance, numbers []int) bool {
	if len(numbers) == 0 {
		return false
	}
	remedy := remedyOf(numbers)
	return remedy == byHand || remedy == awaitIt && f.s.SourceOf(i.Addr) == f.primary
}

// stillHas says that a source has all that a replica received. What the primary
// wrote is no gap: the replica may have been read a moment later.
func (f *facts) stillHas(source, replica *topology.Instance) bool {
	extra := beyond(replica.State, source.State.Received())
	if f.prim != nil && f.prim.State != nil {
		extra = dropOrigin(extra, f.prim.State)
	}
	return extra.Empty()
}

// openPrimary lets writes in again on a routed writer that is read-only.
func (f *facts) openPrimary() (Step, bool) {
	st := f.prim.State
	if st.Writable() || f.whyNotOpen() != "" {
		return Step{}, false
	}
	step := Step{
		Do: SetWritable, Target: f.primary,
		Why: fmt.Sprintf("%s is the routed writer at epoch %d and read-only, no other takes writes, and no replica has anything that it lacks", f.primary, f.s.Route.Epoch),
	}
	if f.p.Durability == SemiSync {
		step.SemiSync = f.sourceSemiSync(f.waitCount(f.prim))
	} else if started := f.prim.ReadAt.Add(-st.Uptime.D()); started.After(f.s.Route.At) {
		step.Why += "; it has restarted: what it told clients of and had not synced to its disk, if its machine went down, cannot be known"
	}
	return step, true
}

// whyNotOpen says why a read-only writer stays so; empty when it is to be opened.
// Everybody else must be known to be closed, and to have nothing that it may have lost.
func (f *facts) whyNotOpen() string {
	hand := f.closedByHand()
	switch policy := f.p.Repair.ReadOnlyPrimary; {
	case policy == ReadOnlyLeave:
		return "the policy's repair.read_only_primary is leave"
	case policy == ReadOnlyRestarted && hand != "":
		return hand
	case f.s.Route.Mode != topology.Open:
		return fmt.Sprintf("its route is %s", f.s.Route.Mode)
	case f.downtime(f.primary) != nil:
		return f.downtimeWords(f.primary)
	case f.prim.State.IsReplica():
		return fmt.Sprintf("it replicates from %s", f.s.SourceOf(f.primary))
	}
	for _, i := range f.members() {
		switch {
		case i.Addr == f.primary:
		case i.Reach == topology.Down && i.State != nil:
			// It answers nobody. What it holds beyond the primary is looked at like the others'.
		case !i.Fresh():
			return fmt.Sprintf("%s cannot be read (%s), and might take writes", i.Addr, i.Reach)
		case i.State.Writable():
			return fmt.Sprintf("%s takes writes", i.Addr)
		}
		if i.Addr == f.primary || i.State == nil {
			continue
		}
		if why := f.hasMore(i); why != "" {
			return why
		}
	}
	return ""
}

// hasMore says that another has, or may have, what the primary may have lost; empty when it is
// known to have no such thing. What it lacked before, and is saved whole, it has not lost: a replica's
// own transactions do not keep everybody from writing. Without GTID it is known of one that receives, for the primary
// sends nothing to who asks for what comes after the end of its binary log.
func (f *facts) hasMore(i *topology.Instance) string {
	if src := f.channel(i, f.primary); src != nil && i.Fresh() && src.IO != topology.ThreadYes {
		return fmt.Sprintf("%s does not receive from it, and without GTID nothing else shows that %s has no more than it", i.Addr, i.Addr)
	}
	if extra := f.lackedBy(f.prim.State, i.State).Subtract(f.savedBefore(i.Addr, f.served())); !extra.Empty() {
		return fmt.Sprintf("%s has %s that it lacks: %s", i.Addr, count(extra.Count()), clip(extra))
	}
	return ""
}

// served is when the writer was last known to be in service: what it lacked then it has not lost since. A restart
// shows nothing of the kind, for the writer may have been closed before it, and since it lost something. Zero: not known.
func (f *facts) served() time.Time {
	var last time.Time
	if r := f.c.Last; r != nil && r.To == f.primary && r.Outcome == Succeeded {
		last = r.Routed
	}
	if w := f.c.Watch; w.Writer == f.primary && w.Open.After(last) {
		last = w.Open
	}
	return last
}

// unwatched is how long before a leader's term a restart may be for the leader to
// take it that nobody has opened and closed the server since. It covers a fleet that
// lost its power with its servers.
const unwatched = 10 * time.Minute

// closedByHand says why somebody's hand may have closed the writer; empty when it was
// its configuration, at a restart after which it has not been open.
func (f *facts) closedByHand() string {
	restart, w := f.prim.ReadAt.Add(-f.prim.State.Uptime.D()), f.c.Watch
	routed := f.s.Route.At
	if last := f.c.Last; last != nil && last.To == f.primary {
		routed = last.Ended // what was committed since were other readers
		if !last.Routed.IsZero() {
			routed = last.Routed
		}
	}
	switch {
	case f.closedLate():
		return ""
	case !restart.After(routed):
		return fmt.Sprintf("it has not restarted since it was routed %s, so somebody closed it", f.ago(routed))
	case w.Writer == f.primary && w.Open.After(restart):
		return fmt.Sprintf("it took writes after its restart %s, so somebody closed it", f.ago(restart))
	case restart.Before(w.Since.Add(-unwatched)):
		return fmt.Sprintf("it restarted %s, long before this leader's term began, and somebody may have closed it since", f.ago(restart))
	}
	return ""
}

// lateFor is how long after a roll-back a statement of the leader that began the recovery may close the primary: it waits
// there for the end of a transaction, and its leader was killed. No act waits for nearly as long.
const lateFor = time.Minute

// closedLate says that the writer was closed just after a recovery that was rolled back to it: by the recovery's own
// statement, most likely, which came too late.
func (f *facts) closedLate() bool {
	last, w := f.c.Last, f.c.Watch
	return last != nil && last.Outcome == RolledBack && last.To == f.primary && w.Writer == f.primary &&
		!w.Open.Before(last.Ended) && w.Open.Before(last.Ended.Add(lateFor))
}

// lackedBy is what another has received or executed and st has not. A read-only
// server writes nothing, so here nothing is excused.
func (f *facts) lackedBy(st, other *topology.State) gtid.Set { return beyond(other, st.Executed) }

// breakRing takes the primary's source away where that is one of its own replicas,
// closed, and has nothing that the primary lacks.
func (f *facts) breakRing() (Step, bool) {
	co := f.co
	if f.positions || f.prim.State.MultiSource() || f.p.Repair.Ring != RingBreak || !co.Fresh() || !closed(co.State) || f.downtime(f.primary) != nil || !f.covers(f.prim.State, co.State) {
		return Step{}, false
	}
	return Step{
		Do: Detach, Target: f.primary,
		Why: fmt.Sprintf("primary %s replicates from its own replica %s: what is written there by mistake would come to the primary", f.primary, co.Addr),
	}, true
}
