package failover

import (
	"fmt"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// primaryProblems are those of a primary that cannot be reached or does not answer.
var primaryProblems = []Problem{
	{
		Code: "DeadMaster", Priority: urgent, Recovery: KindFailover,
		Explain: "A majority of the sidecars cannot reach the primary, and none of its replicas receives from it. All replicas can be read.",
		match: deadPrimary(false, func(t tally) bool { return t.all > 0 && t.valid == t.all },
			"all of its replicas can be read and none receives from it"),
	},
	{
		Code: "DeadMasterAndSomeReplicas", Priority: urgent, Recovery: KindFailover,
		Explain: "As DeadMaster, and some replicas cannot be read either.",
		match: deadPrimary(false, func(t tally) bool { return 0 < t.valid && t.valid < t.all },
			"some of its replicas cannot be read either, and no other receives from it"),
	},
	{
		Code: "DeadMasterAndReplicas", Priority: urgent,
		Explain: "The primary and all of its replicas cannot be reached: a whole data centre, or the network to it. There is nobody to promote.",
		match: deadPrimary(false, func(t tally) bool { return t.all > 0 && t.valid == 0 },
			"nor can any of its replicas be read: there is nobody to promote"),
	},
	{
		Code: "DeadMasterWithoutReplicas", Priority: urgent,
		Explain: "The primary cannot be reached and has no replica: there is nobody to promote.",
		match: deadPrimary(false, func(t tally) bool { return t.all == 0 },
			"it has no replica: there is nobody to promote"),
	},
	{
		Code: "UnreachableMaster", Priority: serious,
		Explain: "The sidecars cannot reach the primary, but too few of them say so, or a replica still receives from it. It is not dead, and there is no failover.",
		match:   func(f *facts) []hit { return unreachable(f, false, false) },
	},
	{
		Code: "UnreachableMasterWithLaggingReplicas", Priority: serious,
		Explain: "As UnreachableMaster, and all of its replicas lag: what they receive may be old.",
		match:   func(f *facts) []hit { return unreachable(f, false, true) },
	},
	{
		Code: "PrimaryTooManyConnections", Priority: serious,
		Explain: "The primary lives, but all of its connections are taken. A failover would not help: the clients would follow.",
		match:   tooManyConnections,
	},
	{
		Code: "PrimaryStuck", Priority: serious,
		Explain: "Something answers at the primary's address, and no sidecar can make use of it: wrong credentials, or not a database. It lives, so there is no failover.",
		match: func(f *facts) []hit {
			return hits(f.stuck() && !f.crowded(), func() hit {
				return hit{f.primary, fmt.Sprintf("primary %s lives but answers no sidecar usefully%s", f.primary, f.firstError()), f.saw(f.prim)}
			})
		},
	},
	{
		Code: "DeadReplicationGroupMemberWithReplicas", Priority: serious,
		Explain: "A member of a replication group is dead, and replicas outside of the group depend on it.",
		match: func(f *facts) []hit {
			return each(f.members(), func(i *topology.Instance) (string, bool) {
				n := len(f.replicasOf(i.Addr))
				return fmt.Sprintf("%s of a %s cluster is dead, and %s from it", i.Addr, member(i), plural(n, "replica replicates", "replicas replicate")),
					member(i) != "" && n > 0 && f.dead(i.Addr)
			})
		},
	},
}

// coPrimaryProblems are those of a ring of two primaries.
var coPrimaryProblems = []Problem{
	{
		Code: "DeadCoMaster", Priority: urgent, Recovery: KindFailover,
		Explain: "The writing one of two co-primaries is dead. All replicas can be read.",
		match: deadPrimary(true, func(t tally) bool { return t.valid == t.all },
			"its co-primary and all replicas can be read and none receives from it"),
	},
	{
		Code: "DeadCoMasterAndSomeReplicas", Priority: urgent, Recovery: KindFailover,
		Explain: "As DeadCoMaster, and some replicas, or the co-primary, cannot be read either.",
		match: deadPrimary(true, func(t tally) bool { return t.valid < t.all },
			"some of its replicas cannot be read either, and no other receives from it"),
	},
	{
		Code: "UnreachableCoMaster", Priority: serious,
		Explain: "As UnreachableMaster, where the primary has a co-primary.",
		match:   func(f *facts) []hit { return unreachable(f, true, false) },
	},
	{
		Code: "AllCoMasterReplicasNotReplicating", Priority: broken,
		Explain: "The primary of a ring can be reached and none of its replicas replicates.",
		match: func(f *facts) []hit {
			t := f.tally(f.primary)
			return hits(f.prim.Fresh() && f.co != nil && t.valid == t.all && t.running == 0, func() hit {
				return hit{f.primary, fmt.Sprintf("primary %s answers, but neither its co-primary nor any replica replicates from it", f.primary), f.heard(f.primary)}
			})
		},
	},
}

// deadPrimary matches a dead primary, in a ring or not, by the count of its replicas.
func deadPrimary(ring bool, count func(tally) bool, and string) func(*facts) []hit {
	return func(f *facts) []hit {
		return hits(f.dead(f.primary) && (f.co != nil) == ring && count(f.tally(f.primary)), func() hit {
			return hit{
				f.primary,
				fmt.Sprintf("primary %s is dead: %d of %d sidecars cannot reach it, %s", f.primary, len(f.blamers(f.prim)), len(f.s.Observers), and),
				append(f.saw(f.prim), f.heard(f.primary)...),
			}
		})
	}
}

func unreachable(f *facts, ring, lagging bool) []hit {
	if f.prim == nil || f.dead(f.primary) || (f.co != nil) != ring {
		return nil
	}
	t := f.tally(f.primary)
	allLag := t.receiving > 0 && t.lagging == t.valid
	if allLag != lagging && !ring {
		return nil
	}
	switch f.prim.Reach {
	case topology.Down:
		return []hit{{f.primary, f.stillReceives(), append(f.saw(f.prim), f.heard(f.primary)...)}}
	case topology.Partial:
		sentence := fmt.Sprintf("%s cannot reach primary %s: %d of %d sidecars, a majority is needed to call it dead",
			joinNames(f.blamers(f.prim)), f.primary, len(f.blamers(f.prim)), len(f.s.Observers))
		if len(f.blamers(f.prim)) > len(f.s.Observers)/2 {
			sentence += ", and the others are yet to look at it"
		}
		return []hit{{f.primary, sentence, append(f.saw(f.prim), f.heard(f.primary)...)}}
	}
	return nil
}

// stillReceives says why an unreachable primary is not dead, and when it would be.
func (f *facts) stillReceives() string {
	sentence := fmt.Sprintf("%d of %d sidecars cannot reach primary %s, but %s from it",
		len(f.blamers(f.prim)), len(f.s.Observers), f.primary, receiversWords(f.receivers(f.primary)))
	for _, r := range f.receivers(f.primary) {
		src := f.s.ChannelTo(r, f.primary)
		limit := f.silenceLimit(src)
		switch {
		case limit == 0:
			sentence += fmt.Sprintf("; %s has no heartbeat by which to tell a silent source", r.Addr)
		case src.Silence == nil:
			sentence += fmt.Sprintf("; %s has not been watched long enough: it is dead when nothing comes for %s", r.Addr, span(limit))
		default:
			sentence += fmt.Sprintf("; %s last heard from it %s ago: it is dead when nothing comes for another %s",
				r.Addr, span(src.Silence.D()), span(limit-src.Silence.D()))
		}
	}
	return sentence
}

func receiversWords(list []*topology.Instance) string {
	verb := " still receives"
	if len(list) > 1 {
		verb = " still receive"
	}
	return topology.JoinAddrs(addrs(list)) + verb
}

func (f *facts) stuck() bool { return f.prim != nil && f.prim.Reach == topology.Stuck }

// crowded says that a stuck primary has no connection left: MySQL's errors 1040
// (ER_CON_COUNT_ERROR) and 1203 (ER_TOO_MANY_USER_CONNECTIONS).
func (f *facts) crowded() bool {
	for _, v := range f.prim.Views {
		for _, mark := range []string{"1040", "1203", "oo many connections", "max_user_connections"} {
			if v.Alive() && strings.Contains(v.Error, mark) {
				return true
			}
		}
	}
	return false
}

func (f *facts) firstError() string {
	for _, v := range f.prim.Views {
		if v.Error != "" {
			return ": " + v.Error
		}
	}
	return ""
}

func tooManyConnections(f *facts) []hit {
	switch {
	case f.stuck() && f.crowded():
		return []hit{{f.primary, fmt.Sprintf("primary %s lives but has no connection left for a probe%s; this is not a failure of the server", f.primary, f.firstError()), f.saw(f.prim)}}
	case f.prim.Fresh() && f.prim.State.MaxConnections > 0 && f.prim.State.Connections >= f.prim.State.MaxConnections:
		return []hit{{f.primary, fmt.Sprintf("primary %s has %d of %d connections taken", f.primary, f.prim.State.Connections, f.prim.State.MaxConnections), nil}}
	}
	return nil
}

func member(i *topology.Instance) string {
	if i == nil || i.State == nil {
		return ""
	}
	return i.State.Member
}
