package failover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// structureProblems make a failover harder, or impossible, before it is needed.
var structureProblems = []Problem{
	{
		Code: "StatementAndMixedLoggingReplicasStructureWarning", Priority: advice,
		Explain: "Replicas log statements and mixed: not every one can take over from every other.",
		match:   formats("STATEMENT", "MIXED"),
	},
	{
		Code: "StatementAndRowLoggingReplicasStructureWarning", Priority: advice,
		Explain: "Replicas log statements and rows: one that logs statements cannot replicate from one that logs rows.",
		match:   formats("STATEMENT", "ROW"),
	},
	{
		Code: "MixedAndRowLoggingReplicasStructureWarning", Priority: advice,
		Explain: "Replicas log mixed and rows.",
		match:   formats("MIXED", "ROW"),
	},
	{
		Code: "MultipleMajorVersionsLoggingReplicasStructureWarning", Priority: advice,
		Explain: "Replicas run different release series: an older one cannot replicate from a newer one.",
		match: func(f *facts) []hit {
			groups := f.group(f.logging(), func(st *topology.State) string { return release(st) })
			return hits(len(groups) > 1, func() hit {
				return hit{f.primary, "the replicas run different release series: " + strings.Join(groups, "; "), nil}
			})
		},
	},
	{
		Code: "NoLoggingReplicasStructureWarning", Priority: advice,
		Explain: "No replica writes its own binary log of what it replicates: none can be promoted.",
		match: func(f *facts) []hit {
			return hits(f.prim.Fresh() && f.readable() > 0 && len(f.logging()) == 0, func() hit {
				return hit{f.primary, "no replica has log_bin and log_replica_updates on: none can be promoted", nil}
			})
		},
	},
	{
		Code: "DifferentGTIDModesStructureWarning", Priority: advice,
		Explain: "Instances run with different gtid_mode.",
		match: func(f *facts) []hit {
			groups := f.group(f.members(), func(st *topology.State) string { return st.GTIDMode })
			return hits(len(groups) > 1, func() hit {
				return hit{f.primary, "instances have different gtid_mode: " + strings.Join(groups, "; "), nil}
			})
		},
	},
	{
		Code: "NoFailoverSupportStructureWarning", Priority: weak,
		Explain: "A replica does not position by GTID. Beside others that do, it can neither be promoted nor repointed. Where none does, they are compared by file and position, and whoever has not got all that the new primary has is left out of a failover.",
		match: func(f *facts) []hit {
			words := "it can neither be promoted nor repointed"
			if f.positions {
				words = "it follows a new primary only where both stand at the same position, and has to be cloned else"
			}
			return each(f.direct, func(r *topology.Instance) (string, bool) {
				return fmt.Sprintf("replica %s does not use GTID positioning: %s", r.Addr, words),
					r.Fresh() && !f.s.ChannelTo(r, f.primary).GTID
			})
		},
	},
	{
		Code: "MultiSourceReplica", Priority: advice,
		Explain: "An instance replicates from several sources. It is left alone: it is not promoted unless that is forced, and not repointed, so after a failover its channel from the old primary has to be moved by hand.",
		match: func(f *facts) []hit {
			return each(f.members(), func(i *topology.Instance) (string, bool) {
				if !i.Fresh() || !i.State.MultiSource() || i.State.Member != "" {
					return "", false
				}
				return fmt.Sprintf("%s replicates from several sources (%s): it is not promoted, and its channels are left as they are", i.Addr, channelsOf(i.State)), true
			})
		},
	},
	{
		Code: "OpenAtBoot", Priority: weak,
		Explain: "A variable is persisted that lets a server take writes when it starts, whatever its configuration file says: a primary that crashes and comes back would take writes beside the next one.",
		match: func(f *facts) []hit {
			return each(f.members(), func(i *topology.Instance) (string, bool) {
				if !i.Fresh() || len(i.State.PersistedOpen) == 0 {
					return "", false
				}
				names := strings.Join(i.State.PersistedOpen, " and ")
				return fmt.Sprintf("%s has persisted %s=OFF and takes writes after its next start; RESET PERSIST IF EXISTS %s there", i.Addr, names, i.State.PersistedOpen[0]), true
			})
		},
	},
	{
		Code: "RingOfPrimaries", Priority: advice,
		Explain: "The primary replicates from one of its own replicas. What is written there by mistake comes to the primary. It is taken apart where the policy's repair.ring says so.",
		match: func(f *facts) []hit {
			return hits(f.co != nil && f.prim.Fresh() && f.c.Intent == nil, func() hit {
				return hit{f.primary, fmt.Sprintf("primary %s replicates from %s, which replicates from it; repair.ring is %s", f.primary, f.co.Addr, f.p.Repair.Ring), nil}
			})
		},
	},
	{
		Code: "RepairFailing", Priority: broken,
		Explain: "A repair was tried as often as the policy's repair.attempts allows, and is still needed.",
		match:   failing,
	},
	{
		Code: "PolicyMismatch", Priority: weak,
		Explain: "A server is not set up as the policy presumes.",
		match:   policyMismatch,
	},
}

// logging are the readable direct replicas that keep a binary log of what they apply.
func (f *facts) logging() []*topology.Instance {
	var list []*topology.Instance
	for _, r := range f.direct {
		if r.Fresh() && r.State.LogBin && r.State.LogReplicaUpdates {
			list = append(list, r)
		}
	}
	return list
}

func (f *facts) readable() int {
	n := 0
	for _, r := range f.direct {
		if r.Fresh() {
			n++
		}
	}
	return n
}

// group names who has which value, "ROW: a:1 and b:1"; instances without a value
// are left out.
func (f *facts) group(list []*topology.Instance, value func(*topology.State) string) []string {
	by := map[string][]topology.Addr{}
	for _, i := range list {
		if !i.Fresh() {
			continue
		}
		if v := value(i.State); v != "" {
			by[v] = append(by[v], i.Addr)
		}
	}
	groups := make([]string, 0, len(by))
	for v, who := range by {
		groups = append(groups, v+": "+topology.JoinAddrs(who))
	}
	slices.Sort(groups)
	return groups
}

func release(st *topology.State) string {
	major, minor := st.MajorVersion()
	if major == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", major, minor)
}

func formats(a, b string) func(*facts) []hit {
	return func(f *facts) []hit {
		var with [2][]topology.Addr
		for _, r := range f.logging() {
			switch r.State.BinlogFormat {
			case a:
				with[0] = append(with[0], r.Addr)
			case b:
				with[1] = append(with[1], r.Addr)
			}
		}
		return hits(len(with[0]) > 0 && len(with[1]) > 0, func() hit {
			return hit{f.primary, fmt.Sprintf("%s log %s, %s log %s", topology.JoinAddrs(with[0]), a, topology.JoinAddrs(with[1]), b), nil}
		})
	}
}

func policyMismatch(f *facts) []hit {
	var found []hit
	add := func(a topology.Addr, format string, args ...any) {
		found = append(found, hit{instance: a, sentence: fmt.Sprintf(format, args...)})
	}
	if f.p.Durability == SemiSync && f.prim.Fresh() {
		f.semiSyncMismatch(add)
	}
	for _, i := range f.members() {
		if m := member(i); m != "" {
			add(i.Addr, "%s is managed by %s, which elects its own primary: Remora does not promote it", i.Addr, m)
		}
	}
	for _, r := range f.direct {
		src := f.s.ChannelTo(r, f.primary)
		if want := f.p.Detection.Heartbeat; r.Fresh() && want > 0 && src.Heartbeat > want {
			add(r.Addr, "replica %s has a heartbeat period of %s, the policy asks for %s: a frozen primary is seen that much later", r.Addr, src.Heartbeat, want)
		}
	}
	return found
}

// semiSyncMismatch says in what semi-sync is not set as the policy wants it.
func (f *facts) semiSyncMismatch(add func(a topology.Addr, format string, args ...any)) {
	s, want := f.prim.State.SemiSync, f.waitCount(f.prim)
	switch {
	case s.NoSource:
		add(f.primary, "the policy's durability is semi_sync, and primary %s has no plugin for it (rpl_semi_sync_source): acknowledged transactions can be lost; `remora doctor` has the statement", f.primary)
	case !s.SourceEnabled:
		add(f.primary, "the policy's durability is semi_sync, and semi-sync is off on primary %s: acknowledged transactions can be lost", f.primary)
	case !s.SourceActive:
		add(f.primary, "semi-sync has fallen back to asynchronous on primary %s: acknowledged transactions can be lost", f.primary)
	default:
		if unmet := f.sourceSemiSync(want).Unmet(f.prim.State); unmet != "" {
			add(f.primary, "primary %s is not set as the policy says: %s", f.primary, unmet)
		}
	}
	for _, r := range f.direct {
		if why := f.mute(r); why != "" {
			add(r.Addr, "%s", why)
		} else if r.Fresh() && member(r) == "" && r.State.SemiSync.NoReplica {
			add(r.Addr, "replica %s has no plugin to acknowledge with (rpl_semi_sync_replica): no commit waits for it; `remora doctor` has the statement", r.Addr)
		}
	}
	if want != f.p.WaitCount {
		add(f.primary, "the policy's wait_count is %d, and MariaDB waits for one acknowledgement only", f.p.WaitCount)
	}
}
