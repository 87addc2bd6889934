package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// semiSyncRepairs set semi-sync as the policy says on servers that keep their
// roles. Replicas come first, one at a time, for each connects anew; the primary
// follows when enough of them acknowledge, or it would wait for nobody.
func (f *facts) semiSyncRepairs() []Step {
	if f.p.Durability != SemiSync || !f.p.SemiSync.Manage || !f.prim.Fresh() || !f.prim.State.Writable() || f.prim.State.IsReplica() || member(f.prim) != "" {
		return nil
	}
	for _, r := range f.direct {
		if why := f.mute(r); why != "" && f.mayReconnect(r) {
			return []Step{{Do: SetSemiSync, Target: r.Addr, SemiSync: f.replicaSemiSync(), Why: why}}
		}
	}
	want := f.waitCount(f.prim)
	plan := f.sourceSemiSync(want)
	unmet, ready := plan.Unmet(f.prim.State), len(f.acknowledgers())
	if unmet == "" || ready < want {
		return nil
	}
	why := fmt.Sprintf("primary %s is not set as the policy says: %s; %s", f.primary, unmet, readyWords(ready))
	return []Step{{Do: SetSemiSync, Target: f.primary, SemiSync: plan, Why: why}}
}

// mute says why a replica of the primary does not acknowledge what it receives, or
// waits itself for others to do so; empty when it is set as the policy says.
func (f *facts) mute(r *topology.Instance) string {
	if !r.Fresh() || member(r) != "" {
		return ""
	}
	have := r.State.SemiSync
	if unmet := f.replicaSemiSync().Unmet(r.State); unmet != "" {
		return fmt.Sprintf("replica %s is not set as the policy says: %s", r.Addr, unmet)
	}
	if f.receives(r, f.primary) && !have.ReplicaActive && f.prim.State.SemiSync.SourceEnabled {
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
		if r.Fresh() && r.State.SemiSync.ReplicaEnabled && f.receives(r, f.primary) {
			list = append(list, r)
		}
	}
	return list
}

func readyWords(n int) string {
	return plural(n, "replica is ready", "replicas are ready") + " to acknowledge"
}
