package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// semiSyncRepairs set semi-sync as the policy says on servers that keep their
// roles. Replicas come first, one at a time, for each connects anew; the primary
// follows.
func (f *facts) semiSyncRepairs() []Step {
	if f.p.Durability != SemiSync || !f.p.SemiSync.Manage || !f.prim.Fresh() || !f.prim.State.Writable() || f.prim.State.IsReplica() || member(f.prim) != "" {
		return nil
	}
	for _, r := range f.direct {
		if why := f.mute(r); why != "" && f.mayReconnect(r) && !f.needed(r) {
			return []Step{{Do: SetSemiSync, Target: r.Addr, SemiSync: f.replicaSemiSync(r), Why: why}}
		}
	}
	if f.prim.State.SemiSync.NoSource {
		return nil // it cannot be set: see PolicyMismatch
	}
	plan, why := f.adjustedSource()
	if plan.Unmet(f.prim.State) == "" {
		return nil
	}
	return []Step{{Do: SetSemiSync, Target: f.primary, SemiSync: plan, Why: why}}
}

// adjustedSource is how the primary is to be set now, and why; nil leaves it. It
// waits for as many acknowledgements as the policy says when so many replicas are
// ready. With fewer, the policy's semi_sync.blocked says: wait never lowers what a
// commit is worth, and lets none be acknowledged by a primary that waits for nobody;
// degrade lowers it when commits have stood still for its patience, and raises it
// again by each replica that returns.
func (f *facts) adjustedSource() (*SemiSyncPlan, string) {
	have, want, ready := 0, f.waitCount(f.prim), len(f.acknowledgers())
	s := f.prim.State.SemiSync
	if s.SourceEnabled {
		have = s.WaitCount
	}
	attached := min(ready, s.Clients)
	switch {
	case ready >= want && f.blocked() == "":
		plan := f.sourceSemiSync(want)
		return plan, fmt.Sprintf("primary %s is not set as the policy says: %s; %s", f.primary, plan.Unmet(f.prim.State), readyWords(ready))
	case f.p.SemiSync.Blocked != BlockedDegrade && !s.SourceEnabled && !f.forcedOpen():
		return f.sourceSemiSync(want), fmt.Sprintf("primary %s acknowledges alone, for semi-sync is off, and semi_sync.blocked is wait: its commits wait from now on; %s", f.primary, readyWords(ready))
	case f.p.SemiSync.Blocked != BlockedDegrade:
		return nil, ""
	case f.blocked() != "" && attached < have && f.lasts(blockedCode, f.primary) >= f.p.SemiSync.Patience.D():
		why := fmt.Sprintf("commits on primary %s have stood still for %s, and semi_sync.blocked is degrade: it waits for %s from now on, and what it acknowledges may be lost with it",
			f.primary, f.p.SemiSync.Patience, plural(attached, "acknowledgement", "acknowledgements"))
		if attached == 0 {
			return &SemiSyncPlan{}, why
		}
		return f.sourceSemiSync(attached), why
	case have < ready && ready < want:
		return f.sourceSemiSync(ready), fmt.Sprintf("primary %s waits for %d acknowledgements, and %s", f.primary, have, readyWords(ready))
	}
	return nil, ""
}

// forcedOpen says that an operator forced the promotion of the primary: then it may
// wait for fewer until enough replicas have returned.
func (f *facts) forcedOpen() bool {
	last := f.c.Last
	return last != nil && last.Outcome == Succeeded && last.To == f.primary && last.Intent.Forced
}

// needed says that a delayed replica acknowledges still, and that commits would stand
// still without it.
func (f *facts) needed(r *topology.Instance) bool {
	return delayed(r.State) && r.State.SemiSync.ReplicaEnabled && len(f.acknowledgers()) < f.waitCount(f.prim)
}

// blockedCode is the finding whose duration is the patience of degrade.
const blockedCode = "PrimarySemiSyncBlocked"

// blocked says that commits stand still on the primary for want of
// acknowledgements; empty when they do not.
func (f *facts) blocked() string {
	if !f.prim.Fresh() {
		return ""
	}
	s, receivers := f.prim.State.SemiSync, len(f.receivers(f.primary))
	if !s.SourceEnabled || !s.SourceActive || s.Waiting == 0 || s.Clients >= s.WaitCount && receivers > 0 {
		return ""
	}
	return fmt.Sprintf("primary %s is blocked: %s for %s, %s attached and %s", f.primary,
		plural(s.Waiting, "session waits", "sessions wait"), plural(s.WaitCount, "acknowledgement", "acknowledgements"),
		plural(s.Clients, "semi-sync replica is", "semi-sync replicas are"), plural(receivers, "replica receives", "replicas receive"))
}

// resolution says what becomes of a blocked primary.
func (f *facts) resolution() string {
	rest := f.p.SemiSync.Patience.D() - f.lasts(blockedCode, f.primary)
	switch {
	case f.p.Durability != SemiSync || !f.p.SemiSync.Manage:
		return "Remora does not manage its semi-sync: bring replicas back"
	case f.p.SemiSync.Blocked == BlockedWait:
		return "writes wait until replicas return, for semi_sync.blocked is wait: nothing acknowledged is lost"
	case rest > 0:
		return fmt.Sprintf("it goes on with fewer in %s, for semi_sync.blocked is degrade", span(rest))
	default:
		return "it goes on with fewer, for semi_sync.blocked is degrade"
	}
}

// mute says why a replica of the primary does not acknowledge what it receives, or
// waits itself for others to do so; empty when it is set as the policy says.
func (f *facts) mute(r *topology.Instance) string {
	if !r.Fresh() || member(r) != "" {
		return ""
	}
	have, plan := r.State.SemiSync, f.replicaSemiSync(r)
	if unmet := plan.Unmet(r.State); unmet != "" && delayed(r.State) {
		return fmt.Sprintf("replica %s is not set as the policy says: %s, and it is delayed: what it alone acknowledged could not be had from it in time", r.Addr, unmet)
	} else if unmet != "" {
		return fmt.Sprintf("replica %s is not set as the policy says: %s", r.Addr, unmet)
	}
	if plan != nil && plan.Replica && f.receives(r, f.primary) && !have.ReplicaActive && f.prim.State.SemiSync.SourceEnabled {
		return fmt.Sprintf("replica %s does not acknowledge: it connected before semi-sync was on", r.Addr)
	}
	return ""
}

// mayReconnect says that a replica can do without its source for a moment.
func (f *facts) mayReconnect(r *topology.Instance) bool {
	src := f.s.ChannelTo(r, f.primary)
	lag, known := f.lag(r)
	return f.receives(r, f.primary) && src.SQL == topology.ThreadYes && f.downtime(r.Addr) == nil && known && lag-src.Delay.D() <= f.p.Lag.Max.D()
}

// acknowledgers are the replicas that certainly acknowledge what the primary writes.
func (f *facts) acknowledgers() []*topology.Instance {
	var list []*topology.Instance
	for _, r := range f.direct {
		if r.Fresh() && !delayed(r.State) && r.State.SemiSync.ReplicaEnabled && f.receives(r, f.primary) {
			list = append(list, r)
		}
	}
	return list
}

func readyWords(n int) string {
	return plural(n, "replica is ready", "replicas are ready") + " to acknowledge"
}
