package failover

import (
	"fmt"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// rule is one reason why an instance may not become primary. check returns the
// sentence of the refusal, empty when the rule does not speak against it.
type rule struct {
	name        string
	overridable bool
	change      string
	check       func(f *facts, x *contender, all []*contender, w wish) string
}

// rules are asked in this order; each that refuses is listed. What depends on
// all contenders together (lag, divergence) is in choose.
var rules = []rule{
	{"stale", false, "it is considered again as soon as it can be read", func(f *facts, x *contender, _ []*contender, _ wish) string {
		return when(!x.inst.Fresh(), "%s has no fresh reading (%s, last read %s)", x.addr(), x.inst.Reach, f.ago(x.inst.ReadAt))
	}},
	{"member", false, "change its primary with the tools of that cluster", func(_ *facts, x *contender, _ []*contender, _ wish) string {
		return when(x.st.Member != "", "%s is managed by %s, which elects its own primary", x.addr(), x.st.Member)
	}},
	{"busy", false, "wait until that has ended", func(f *facts, x *contender, _ []*contender, _ wish) string {
		return when(f.rejoining(x.addr()) != nil, "%s is being brought back", x.addr())
	}},
	{"no_replica", false, "it has to replicate from the primary", func(f *facts, x *contender, _ []*contender, _ wish) string {
		switch {
		case !x.inst.Fresh() || f.opened(x.addr()):
			return ""
		case !x.st.IsReplica():
			return fmt.Sprintf("%s is no replica", x.addr())
		default:
			return when(!f.related(x.addr()), "%s replicates from %s, not from primary %s", x.addr(), f.s.SourceOf(x.addr()), f.primary)
		}
	}},
	{"gtid", false, "set it up with GTID positioning", func(f *facts, x *contender, _ []*contender, _ wish) string {
		src := x.st.Source()
		return when(!f.positions && src != nil && !src.GTID, "%s does not use GTID positioning", x.addr())
	}},
	{"position", false, "make it replicate from the primary itself, or set the cluster up with GTID positioning", func(f *facts, x *contender, _ []*contender, _ wish) string {
		return f.incomparable(x)
	}},
	{"log_bin", false, "turn on log_bin and log_replica_updates (log_slave_updates) on it", func(_ *facts, x *contender, _ []*contender, _ wish) string {
		return when(x.inst.Fresh() && (!x.st.LogBin || !x.st.LogReplicaUpdates), "%s keeps no binary log of what it replicates, so nobody could follow it", x.addr())
	}},
	{"channels", true, "leave it the channel from the primary alone, or force it", func(_ *facts, x *contender, _ []*contender, _ wish) string {
		return when(x.st.MultiSource(), "%s replicates from several sources (%s), and its promotion would make it forget them all", x.addr(), channelsOf(x.st))
	}},
	{"sql_error", false, "mend its replication", func(f *facts, x *contender, _ []*contender, _ wish) string {
		src := x.st.Source()
		return when(src != nil && src.SQL == topology.ThreadNo && src.SQLError != "" && !f.drained(x.st) && !f.endedHalfway(x.inst), "%s cannot apply what it received%s", x.addr(), colon(errorOf(src)))
	}},
	{"must_not", true, "change its promotion rule, or force it", func(_ *facts, x *contender, _ []*contender, _ wish) string {
		return when(x.rule.Promotion == MustNot, "%s has promotion rule must_not", x.addr())
	}},
	{"downtime", true, "end its downtime, or force it", func(f *facts, x *contender, _ []*contender, _ wish) string {
		return f.downtimeWords(x.addr())
	}},
	{"filters", true, "remove its replication filters, or force it", func(_ *facts, x *contender, _ []*contender, _ wish) string {
		src := x.st.Source()
		return when(src != nil && src.Filters != "", "%s replicates with filters%s: it lacks data", x.addr(), colon(filtersOf(src)))
	}},
	{"delayed", true, "remove its delay, or force it", func(_ *facts, x *contender, _ []*contender, _ wish) string {
		return when(delayed(x.st), "%s is delayed by %s on purpose", x.addr(), delayOf(x.st))
	}},
	{"errant", true, "inject the transactions as empty ones on the primary, clone it again, set errant to tolerate, or force it", func(f *facts, x *contender, _ []*contender, _ wish) string {
		return when(!f.spared(wish{}) && !x.errant.Empty(), "%s holds %s that primary %s did not write: %s", x.addr(), count(x.errant.Count()), f.primary, clip(x.errant))
	}},
	{"purged", false, "clone it again", func(f *facts, x *contender, _ []*contender, w wish) string {
		if w.kind != KindSwitchover || w.open || !f.prim.Fresh() || !x.inst.Fresh() {
			return ""
		}
		gap := f.purged(f.prim.State, x.st)
		return when(!gap.Empty(), "%s lacks %s that primary %s has purged, so it cannot catch up: %s", x.addr(), count(gap.Count()), f.primary, clip(gap))
	}},
	{"data_center", true, "set data_center.cross to last_resort or allow, or force it", func(f *facts, x *contender, _ []*contender, _ wish) string {
		from := f.p.Server(f.primary).DataCenter
		return when(crosses(from, x.rule.DataCenter) && f.p.DataCenter.Cross == Forbid, "%s is in data centre %s, primary %s in %s", x.addr(), x.rule.DataCenter, f.primary, from)
	}},
	{"region", true, "set data_center.cross_region to last_resort or allow, or force it", func(f *facts, x *contender, _ []*contender, _ wish) string {
		from := f.p.Server(f.primary).Region
		return when(crosses(from, x.rule.Region) && f.p.DataCenter.CrossRegion == Forbid, "%s is in region %s, primary %s in %s", x.addr(), x.rule.Region, f.primary, from)
	}},
	{"version", true, "upgrade the others first, or force it", func(f *facts, x *contender, all []*contender, _ wish) string {
		below, others := 0, 0
		for _, o := range all {
			if o == x || !f.follower(o) || !x.inst.Fresh() {
				continue
			}
			others++
			if older(o.st, x.st) {
				below++
			}
		}
		return when(2*below > others, "%s runs %s, newer than most of the other replicas: %d of %d could not follow it", x.addr(), x.st.Version, below, others)
	}},
	{"binlog_format", true, "set the same binlog_format everywhere, or force it", func(f *facts, x *contender, all []*contender, _ wish) string {
		for _, o := range all {
			if o != x && f.follower(o) && x.inst.Fresh() && rowOverStatement(x.st, o.st) {
				return fmt.Sprintf("%s logs rows and %s logs statements, which cannot replicate from it", x.addr(), o.addr())
			}
		}
		return ""
	}},
	{"durability", true, "bring up more replicas, lower wait_count, or force it", func(f *facts, x *contender, all []*contender, w wish) string {
		if f.p.Durability != SemiSync || w.open || !x.inst.Fresh() {
			return ""
		}
		ackers, lost := f.ackers(x, all, w)
		have, want := len(ackers), f.waitCount(x.inst)
		return when(have < want, "%s would have %d replicas to acknowledge its writes and durability needs %d%s", x.addr(), have, want, colon(strings.Join(lost, "; ")))
	}},
	{"semi_sync_plugin", true, "install it, as `remora doctor` says, or force it: then its commits wait for nobody", func(f *facts, x *contender, _ []*contender, _ wish) string {
		return when(f.p.Durability == SemiSync && x.inst.Fresh() && x.st.SemiSync.NoSource,
			"%s has no plugin to wait for acknowledgements with (rpl_semi_sync_source), and the policy's durability is semi_sync", x.addr())
	}},
	{"indirect", false, "repoint it to the primary first", func(f *facts, x *contender, _ []*contender, w wish) string {
		return when(w.kind == KindSwitchover && !w.open && x.inst.Fresh() && !x.direct, "%s does not replicate directly from primary %s", x.addr(), f.primary)
	}},
	{"stopped", false, "start its replication", func(_ *facts, x *contender, _ []*contender, w wish) string {
		src := x.st.Source()
		return when(w.kind == KindSwitchover && !w.open && src != nil && (src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes),
			"%s does not replicate: %s", x.addr(), threadsOf(src))
	}},
}

func (f *facts) applyRules(x *contender, all []*contender, w wish) {
	for _, r := range rules {
		if sentence := r.check(f, x, all, w); sentence != "" {
			x.refusals = append(x.refusals, Refusal{Rule: r.name, Subject: x.addr(), Sentence: sentence, Change: r.change, Overridable: r.overridable})
		}
	}
	// What may be crossed only as the last resort does not refuse; it ranks below.
	home := f.p.Server(f.primary)
	if crosses(home.DataCenter, x.rule.DataCenter) && f.p.DataCenter.Cross == LastResort {
		x.resort = 1
	}
	if crosses(home.Region, x.rule.Region) && f.p.DataCenter.CrossRegion == LastResort {
		x.resort = 2
	}
}

// ackers are the readable replicas that can acknowledge what x would write. One
// with errant transactions that x lacks will not be able to follow it, and one that
// is delayed, or has no plugin for it, does not acknowledge. Without GTID neither will one that is behind; where
// those stand, in sentences, is `behind`.
func (f *facts) ackers(x *contender, all []*contender, w wish) (list []topology.Addr, behind []string) {
	for _, o := range all {
		if o == x || !f.follower(o) || o.st.LeftAlone() || !canAcknowledge(o.st) || older(o.st, x.st) || o.st.Flavor != x.st.Flavor || !x.st.Executed.Contains(o.errant) {
			continue
		}
		if words := f.behind(o, x, w); words != "" {
			behind = append(behind, words)
			continue
		}
		list = append(list, o.addr())
	}
	return list, behind
}

// crosses says that two places are known and differ.
func crosses(from, to string) bool { return from != "" && to != "" && from != to }

// when makes a sentence if the condition holds.
func when(cond bool, format string, args ...any) string {
	if !cond {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func (f *facts) downtimeWords(a topology.Addr) string {
	d := f.downtime(a)
	if d == nil {
		return ""
	}
	words := fmt.Sprintf("%s is in downtime for another %s", a, span(d.Until.Sub(f.s.Taken)))
	if d.By != "" {
		words += ", set by " + d.By
	}
	return words + colon(d.Reason)
}

// channelsOf lists the sources of a replica, each with the name of its channel.
func channelsOf(st *topology.State) string {
	var list []string
	for _, src := range st.Sources {
		name := "the default channel"
		if src.Channel != "" {
			name = "channel " + src.Channel
		}
		list = append(list, fmt.Sprintf("%s on %s", src.Addr, name))
	}
	return strings.Join(list, ", ")
}

func errorOf(src *topology.Source) string {
	if src == nil {
		return ""
	}
	return src.SQLError
}

func filtersOf(src *topology.Source) string {
	if src == nil {
		return ""
	}
	return src.Filters
}

func delayOf(st *topology.State) topology.Duration {
	if src := st.Source(); src != nil {
		return src.Delay
	}
	return 0
}

func threadsOf(src *topology.Source) string {
	if src == nil {
		return "no source"
	}
	return fmt.Sprintf("IO thread %s, SQL thread %s", orUnknown(src.IO), orUnknown(src.SQL))
}
