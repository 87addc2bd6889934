package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// intermediateProblems are those of replicas that have replicas themselves.
// Convergence (see Repairs) moves the orphans; there is no recovery.
var intermediateProblems = []Problem{
	{
		Code: "DeadIntermediateMaster", Priority: broken,
		Explain: "An intermediate primary is dead. All of its replicas can be read.",
		match:   intermediate(true, func(t tally) bool { return t.all > 1 && t.valid == t.all }),
	},
	{
		Code: "DeadIntermediateMasterWithSingleReplica", Priority: broken,
		Explain: "An intermediate primary is dead, and so is the IO thread of its only replica.",
		match:   intermediate(true, func(t tally) bool { return t.all == 1 && t.valid == 1 && t.connecting == 0 }),
	},
	{
		Code: "DeadIntermediateMasterWithSingleReplicaFailingToConnect", Priority: broken,
		Explain: "An intermediate primary is dead, and its only replica tries in vain to connect.",
		match:   intermediate(true, func(t tally) bool { return t.all == 1 && t.valid == 1 && t.connecting == 1 }),
	},
	{
		Code: "DeadIntermediateMasterAndSomeReplicas", Priority: broken,
		Explain: "An intermediate primary is dead and some of its replicas cannot be read.",
		match:   intermediate(true, func(t tally) bool { return t.all > 1 && 0 < t.valid && t.valid < t.all }),
	},
	{
		Code: "DeadIntermediateMasterAndReplicas", Priority: broken,
		Explain: "An intermediate primary and all of its replicas cannot be reached.",
		match:   intermediate(true, func(t tally) bool { return t.all > 0 && t.valid == 0 }),
	},
	{
		Code: "UnreachableIntermediateMaster", Priority: weak,
		Explain: "The sidecars cannot reach an intermediate primary, but a replica still receives from it.",
		match: func(f *facts) []hit {
			return each(f.intermediates(), func(i *topology.Instance) (string, bool) {
				receivers := f.receivers(i.Addr)
				return fmt.Sprintf("the sidecars cannot reach intermediate primary %s, but %s from it", i.Addr, receiversWords(receivers)),
					i.Reach == topology.Down && len(receivers) > 0
			})
		},
	},
	{
		Code: "AllIntermediateMasterReplicasFailingToConnectOrDead", Priority: broken,
		Explain: "An intermediate primary answers the sidecars, and its replicas cannot connect to it or cannot be read.",
		match: intermediate(false, func(t tally) bool {
			return t.all > 0 && t.connecting == t.valid && t.valid > 0
		}),
	},
	{
		Code: "AllIntermediateMasterReplicasNotReplicating", Priority: broken,
		Explain: "An intermediate primary answers, and none of its replicas replicates.",
		match: intermediate(false, func(t tally) bool {
			return t.all > 0 && t.valid == t.all && t.running == 0 && t.connecting < t.valid
		}),
	},
}

// intermediates are the replicas that have replicas; the primary and its
// co-primary are none.
func (f *facts) intermediates() []*topology.Instance {
	var list []*topology.Instance
	for _, i := range f.members() {
		if i.Addr != f.primary && i != f.co && i.State.IsReplica() && len(f.replicasOf(i.Addr)) > 0 {
			list = append(list, i)
		}
	}
	return list
}

func intermediate(dead bool, count func(tally) bool) func(*facts) []hit {
	return func(f *facts) []hit {
		var found []hit
		for _, i := range f.intermediates() {
			t := f.tally(i.Addr)
			if f.dead(i.Addr) != dead || !dead && !i.Fresh() || !count(t) {
				continue
			}
			words := fmt.Sprintf("intermediate primary %s answers, but of %s %d can be read and %d replicate",
				i.Addr, plural(t.all, "replica", "replicas"), t.valid, t.running)
			if dead {
				words = fmt.Sprintf("intermediate primary %s is dead; of %s %d can be read",
					i.Addr, plural(t.all, "replica", "replicas"), t.valid)
			}
			found = append(found, hit{i.Addr, words, append(f.saw(i), f.heard(i.Addr)...)})
		}
		return found
	}
}
