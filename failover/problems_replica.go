package failover

import (
	"fmt"
	"slices"

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
		Explain: "A replica follows an instance that does not follow the primary, or was left under another one by the last recovery.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				if !i.Fresh() || f.c.Intent != nil || !i.State.IsReplica() {
					return "", false
				}
				if source := f.s.SourceOf(i.Addr); f.leftBehind(i.Addr, source) {
					return fmt.Sprintf("replica %s replicates from %s%s", i.Addr, f.leftWords(source), f.whyAstray(i)), true
				}
				if f.s.Under(i.Addr, f.primary) {
					return "", false
				}
				return fmt.Sprintf("replica %s replicates from %s, which does not lead to primary %s%s", i.Addr, f.s.SourceOf(i.Addr), f.primary, f.whyAstray(i)), true
			})
		},
	},
	{
		Code: "ReplicationBroken", Priority: broken,
		Explain: "An error stopped a thread of a replica. Where the error may pass, replication is started again; where the data differ it is left to people.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				src, numbers := f.stoppedChannel(i)
				if src == nil || len(numbers) == 0 {
					return "", false
				}
				return fmt.Sprintf("replica %s: %s", i.Addr, f.brokenWords(i, src, numbers)), true
			})
		},
	},
	{
		Code: "ReplicationStopped", Priority: weak,
		Explain: "A thread of a replica is stopped, without an error: by hand, or by a start that did not happen. This never speaks against the primary.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				src, numbers := f.stoppedChannel(i)
				if src == nil || len(numbers) > 0 || f.c.Intent.Regroups() && slices.Contains(f.c.Intent.Regroup, i.Addr) {
					return "", false
				}
				words := fmt.Sprintf("replica %s: %s", i.Addr, stoppedWords(src))
				if why := f.whyNotRestart(i, src); why != "" && f.c.Intent == nil {
					words += "; " + why
				}
				return words, true
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
		Code: "SourceHasPurged", Priority: broken,
		Explain: "A replica lacks transactions that the primary no longer keeps in its binary logs: it cannot fetch them there, and is to be cloned again.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				if !f.prim.Fresh() || !i.Fresh() || !i.State.IsReplica() {
					return "", false
				}
				gap := notKept(f.prim.State, i.State)
				return fmt.Sprintf("replica %s lacks %s that primary %s has purged: %s; it has to be cloned again", i.Addr, count(gap.Count()), f.primary, clip(gap)), !gap.Empty()
			})
		},
	},
	{
		Code: "ErrantGTIDStructureWarning", Priority: broken,
		Explain: "A replica holds transactions that were not written on the primary. It is no candidate while errant is refuse.",
		match: func(f *facts) []hit {
			return each(f.strangers(), func(i *topology.Instance) (string, bool) {
				if !i.Fresh() || !i.State.IsReplica() || i.State.MultiSource() || !f.s.Under(i.Addr, f.primary) {
					return "", false
				}
				extra := f.errant(i)
				words := fmt.Sprintf("replica %s holds %s that primary %s did not write: %s", i.Addr, count(extra.Count()), f.primary, clip(extra))
				if f.prim.Fresh() && !i.State.Writable() {
					words += "; " + f.rescueWords(i, extra)
				}
				if why := f.whyNotInject(i); f.p.Errant == ErrantInject && why != "" {
					words += "; they are not injected: " + why
				}
				return words, !extra.Empty()
			})
		},
	},
}

// stoppedChannel is the first channel of a readable replica that does not run, and
// the errors that stopped it.
func (f *facts) stoppedChannel(i *topology.Instance) (*topology.Source, []int) {
	if !i.Fresh() {
		return nil, nil
	}
	for n := range i.State.Sources {
		if src := &i.State.Sources[n]; src.IO == topology.ThreadNo || src.SQL == topology.ThreadNo {
			return src, stoppedBy(src)
		}
	}
	return nil, nil
}

func stoppedWords(src *topology.Source) string {
	switch {
	case src.SQL == topology.ThreadNo && src.IO == topology.ThreadNo:
		return "replication is stopped"
	case src.SQL == topology.ThreadNo:
		return "its SQL thread is stopped"
	default:
		return "its IO thread is stopped"
	}
}

// brokenWords says which error stopped a channel, and what is done about it.
func (f *facts) brokenWords(i *topology.Instance, src *topology.Source, numbers []int) string {
	words := fmt.Sprintf("%s by %s", stoppedWords(src), explainError(numbers[0]))
	if !f.hopeless(i, numbers) && f.c.Intent == nil {
		if why := f.whyNotRestart(i, src); why != "" {
			words += "; it is not started: " + why
		} else {
			words += "; it is started again"
		}
	}
	if advice := replicationErrors[numbers[0]].advice; advice != "" {
		words += "; " + advice
	} else if _, known := replicationErrors[numbers[0]]; !known {
		words += "; it is not started again by itself: mend what the message names, then start it"
	}
	if src.SQLError != "" && src.SQL == topology.ThreadNo {
		words += ": " + src.SQLError
	}
	if src.IOError != "" && src.IO == topology.ThreadNo {
		words += ": " + src.IOError
	}
	return words
}

// withViews adds to each hit who saw what.
func withViews(f *facts, found []hit) []hit {
	for n := range found {
		found[n].evidence = f.saw(f.s.Instance(found[n].instance))
	}
	return found
}
