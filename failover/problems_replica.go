package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// replicaProblems are those of single replicas.
var replicaProblems = []Problem{
	{
		Code: "ReplicaDead", Priority: weak,
		Explain: "A replica cannot be reached by a majority of the sidecars.",
		match: func(f *facts) []hit {
			return withViews(f, each(f.strangers(), func(i *topology.Instance) (string, bool) {
				return fmt.Sprintf("%s cannot be reached by %d of %d sidecars; last read %s", i.Addr, len(f.blamers(i)), len(f.s.Observers), f.ago(i.ReadAt)),
					i.Reach == topology.Down
			}))
		},
	},
	{
		Code: "ConnectedToWrongPrimary", Priority: broken,
		Explain: "A replica follows an instance that does not follow the primary.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				return fmt.Sprintf("replica %s replicates from %s, which does not lead to primary %s", i.Addr, f.s.SourceOf(i.Addr), f.primary),
					i.Fresh() && f.c.Intent == nil && i.State.IsReplica() && !f.s.Under(i.Addr, f.primary)
			})
		},
	},
	{
		Code: "ReplicationStopped", Priority: weak,
		Explain: "A thread of a replica is stopped. This never speaks against the primary.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				if !i.Fresh() {
					return "", false
				}
				for _, src := range i.State.Sources {
					if words := stoppedWords(src); words != "" {
						return fmt.Sprintf("replica %s: %s", i.Addr, words), true
					}
				}
				return "", false
			})
		},
	},
	{
		Code: "ReplicaLagging", Priority: weak,
		Explain: "A replica is behind by more than the policy's lag.max, beyond its configured delay.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				if !i.Fresh() || !i.State.IsReplica() {
					return "", false
				}
				lag, known := f.lag(i)
				lag -= i.State.Source().Delay.D()
				return fmt.Sprintf("replica %s lags by %s; lag.max is %s", i.Addr, span(lag), f.p.Lag.Max), known && lag > f.p.Lag.Max.D()
			})
		},
	},
	{
		Code: "ErrantGTIDStructureWarning", Priority: broken,
		Explain: "A replica holds transactions that were not written on the primary. It is no candidate while errant is refuse.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				extra := f.errant(i)
				return fmt.Sprintf("replica %s holds %s that primary %s did not write: %s", i.Addr, count(extra.Count()), f.primary, clip(extra)),
					i.Fresh() && i.State.IsReplica() && f.s.Under(i.Addr, f.primary) && !extra.Empty()
			})
		},
	},
}

func stoppedWords(src topology.Source) string {
	switch {
	case src.SQL == topology.ThreadNo && src.IO == topology.ThreadNo && src.SQLError == "" && src.IOError == "":
		return "replication is stopped"
	case src.SQL == topology.ThreadNo:
		return "its SQL thread is stopped" + colon(src.SQLError)
	case src.IO == topology.ThreadNo:
		return "its IO thread is stopped" + colon(src.IOError)
	}
	return ""
}

// withViews adds to each hit who saw what.
func withViews(f *facts, found []hit) []hit {
	for n := range found {
		found[n].evidence = f.saw(f.s.Instance(found[n].instance))
	}
	return found
}
