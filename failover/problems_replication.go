package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// replicationProblems are those of a living primary whose replicas do not follow.
var replicationProblems = []Problem{
	{
		Code: "MasterSingleReplicaNotReplicating", Priority: broken,
		Explain: "The primary's only replica does not replicate.",
		match: following(func(t tally) bool { return t.all == 1 && t.valid == 1 && t.running == 0 },
			"its only replica does not replicate"),
	},
	{
		Code: "MasterSingleReplicaDead", Priority: broken,
		Explain: "The primary's only replica cannot be read.",
		match: following(func(t tally) bool { return t.all == 1 && t.valid == 0 },
			"its only replica cannot be read"),
	},
	{
		Code: "AllMasterReplicasNotReplicating", Priority: broken,
		Explain: "The primary can be reached and none of its replicas replicates.",
		match: following(func(t tally) bool { return t.all > 1 && t.valid == t.all && t.running == 0 },
			"none of its replicas replicates"),
	},
	{
		Code: "AllMasterReplicasNotReplicatingOrDead", Priority: broken,
		Explain: "The primary can be reached; of its replicas some cannot be read and the others do not replicate.",
		match: following(func(t tally) bool { return t.all > 1 && 0 < t.valid && t.valid < t.all && t.running == 0 },
			"some of its replicas cannot be read and the others do not replicate"),
	},
	{
		Code: "FirstTierReplicaFailingToConnectToMaster", Priority: broken,
		Explain: "A replica cannot connect to its primary, which the sidecars reach: credentials, TLS or the network between the two.",
		match: func(f *facts) []hit {
			return each(f.direct, func(r *topology.Instance) (string, bool) {
				src := f.s.ChannelTo(r, f.primary)
				return fmt.Sprintf("replica %s cannot connect to primary %s, which the sidecars reach%s", r.Addr, f.primary, colon(src.IOError)),
					f.prim.Fresh() && r.Fresh() && src.IO == topology.ThreadConnecting
			})
		},
	},
}

// semiSyncProblems are those of a primary that waits for acknowledgements.
var semiSyncProblems = []Problem{
	{
		Code: "LockedSemiSyncMaster", Priority: serious,
		Explain: "Semi-sync is on, fewer replicas are attached than a commit waits for, and sessions wait.",
		match: semiSync(func(s topology.SemiSync) bool { return s.Clients < s.WaitCount && s.Waiting > 0 },
			func(a topology.Addr, s topology.SemiSync) string {
				return fmt.Sprintf("primary %s is locked: %s for an acknowledgement, %d needed, %d semi-sync replicas attached",
					a, plural(s.Waiting, "session waits", "sessions wait"), s.WaitCount, s.Clients)
			}),
	},
	{
		Code: "LockedSemiSyncMasterHypothesis", Priority: weak,
		Explain: "Semi-sync is on and fewer replicas are attached than a commit waits for: the next write will hang.",
		match: semiSync(func(s topology.SemiSync) bool { return s.Clients < s.WaitCount && s.Waiting == 0 },
			func(a topology.Addr, s topology.SemiSync) string {
				return fmt.Sprintf("the next commit on primary %s will wait: %d acknowledgements needed, %d semi-sync replicas attached", a, s.WaitCount, s.Clients)
			}),
	},
	{
		Code: "PrimarySemiSyncBlocked", Priority: serious,
		Explain: "Sessions wait for acknowledgements, and too few semi-sync replicas are attached, or none receives. The policy's semi_sync.blocked says what becomes of it.",
		match: func(f *facts) []hit {
			words := f.blocked()
			return hits(words != "", func() hit { return hit{f.primary, words + "; " + f.resolution(), f.heard(f.primary)} })
		},
	},
	{
		Code: "NotEnoughValidSemiSyncReplicasStructureWarning", Priority: weak,
		Explain: "The policy asks for semi-sync, and fewer replicas are ready to acknowledge than a commit waits for.",
		match: func(f *facts) []hit {
			ready, want := len(f.acknowledgers()), f.waitCount(f.prim)
			return hits(f.p.Durability == SemiSync && f.prim.Fresh() && ready < want, func() hit {
				return hit{f.primary, fmt.Sprintf("%s ready to acknowledge what primary %s writes; the policy waits for %d",
					plural(ready, "semi-sync replica is", "semi-sync replicas are"), f.primary, want), nil}
			})
		},
	},
}

// following matches a living primary, not of a ring, by the count of its replicas.
func following(count func(tally) bool, words string) func(*facts) []hit {
	return func(f *facts) []hit {
		return hits(f.prim.Fresh() && f.co == nil && count(f.tally(f.primary)), func() hit {
			return hit{f.primary, fmt.Sprintf("primary %s answers, but %s", f.primary, words), f.heard(f.primary)}
		})
	}
}

func semiSync(match func(topology.SemiSync) bool, words func(topology.Addr, topology.SemiSync) string) func(*facts) []hit {
	return func(f *facts) []hit {
		if !f.prim.Fresh() {
			return nil
		}
		s := f.prim.State.SemiSync
		return hits(s.SourceEnabled && s.SourceActive && match(s), func() hit { return hit{f.primary, words(f.primary, s), f.heard(f.primary)} })
	}
}

// waitCount is how many acknowledgements a commit waits for on an instance.
// MariaDB knows no count: it always waits for one.
func (f *facts) waitCount(i *topology.Instance) int {
	if i != nil && i.State != nil && i.State.Flavor == "mariadb" {
		return 1
	}
	return max(f.p.WaitCount, 1)
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
