package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// writerProblems are those of who can be written to.
var writerProblems = []Problem{
	{
		Code: "TwoWriters", Priority: urgent,
		Explain: "An instance that is neither the routed writer nor a replica accepts writes. It is put read-only at once.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				return fmt.Sprintf("%s accepts writes and is no replica, while the writer is %s", i.Addr, f.primary),
					i.Fresh() && i.State.Writable() && !i.State.IsReplica()
			})
		},
	},
	{
		Code: "NoWriteableMaster", Priority: serious,
		Explain: "The primary can be reached and has replicas, and it is read-only. One that restarted and has not been open since is opened again, for its configuration closed it; one that somebody closed is not: see the policy's repair.read_only_primary.",
		match: func(f *facts) []hit {
			return hits(f.c.Intent == nil && f.prim.Fresh() && !f.prim.State.Writable(), func() hit {
				return hit{f.primary, f.readOnlyPrimary(), nil}
			})
		},
	},
	{
		Code: "ReplicaIsWritable", Priority: broken,
		Explain: "A replica accepts writes: whoever reaches it makes errant transactions. It is put read-only at once.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				return fmt.Sprintf("replica %s accepts writes", i.Addr), i.Fresh() && i.State.Writable() && i.State.IsReplica()
			})
		},
	},
	{
		Code: "OldPrimaryDiverged", Priority: broken,
		Explain: "An instance without a source holds transactions that the primary never received. It is kept out, and its extra transactions are saved as SQL; `remora rejoin` brings it back.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				if !f.prim.Fresh() || !i.Fresh() || f.promoting(i.Addr) || f.s.Under(i.Addr, f.primary) {
					return "", false
				}
				extra := f.prim.State.Extra(i.State)
				if extra.Empty() {
					return "", false
				}
				words := fmt.Sprintf("%s holds %s that primary %s never received: %s; it is kept out", i.Addr, count(extra.Count()), f.primary, clip(extra))
				if !i.State.Writable() {
					words += "; " + f.rescueWords(i, extra)
				}
				return words, true
			})
		},
	},
}

// strangers are all instances that must not be written to: every one but the
// primary and the one that an open intent is about to open.
func (f *facts) strangers() []*topology.Instance {
	var list []*topology.Instance
	for _, i := range f.members() {
		if f.primary != "" && i.Addr != f.primary && !f.promoting(i.Addr) {
			list = append(list, i)
		}
	}
	return list
}

// promoting says that an open intent makes a the primary.
func (f *facts) promoting(a topology.Addr) bool { return f.c.Intent != nil && f.c.Intent.To == a }

func (f *facts) readOnlyPrimary() string {
	words := fmt.Sprintf("primary %s is read-only (%s): nobody can write", f.primary, readOnlyWords(f.prim.State))
	if why := f.whyNotOpen(); why != "" {
		return fmt.Sprintf("%s; it is not opened: %s; if nobody means that, SET GLOBAL read_only=0 on it, or switch over", words, why)
	}
	return words + "; it is opened again"
}

func readOnlyWords(st *topology.State) string {
	if st.SuperReadOnly {
		return "super_read_only=1"
	}
	return "read_only=1"
}

func count(n uint64) string {
	if n == 1 {
		return "1 transaction"
	}
	return fmt.Sprintf("%d transactions", n)
}
