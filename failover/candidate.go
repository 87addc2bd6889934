package failover

import (
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// wish is what a choice is made for.
type wish struct {
	kind   Kind
	forced bool
	want   topology.Addr // only this one may be chosen; empty: the best
	open   bool          // an intent is open: what was decided before it is not asked again
}

func (f *facts) wish() wish {
	switch in, req := f.c.Intent, f.c.Request; {
	case in != nil:
		w := wish{kind: in.Kind, forced: in.Forced, open: true}
		if in.Chosen {
			w.want = in.To
		}
		return w
	case req != nil:
		return wish{kind: req.Kind, forced: req.Force, want: req.To}
	default:
		return wish{kind: KindFailover}
	}
}

// contender is an instance with everything that speaks for and against its
// promotion.
type contender struct {
	inst     *topology.Instance
	st       *topology.State // never nil; zero when it was never read
	rule     Server
	errant   gtid.Set
	received gtid.Set             // all that arrived; without errant ones where they are tolerated
	held     topology.Coordinates // the same without GTID, in the primary's binary log
	lag      time.Duration
	lagKnown bool
	backlog  uint64          // transactions that arrived and are not applied yet
	lost     []topology.Addr // replicas that could not follow it
	resort   int             // 1: crosses a data centre, 2: a region, as the last resort
	direct   bool            // replicates from the primary without a chain
	refusals []Refusal
	level    int // how many received strictly more
}

func (x *contender) addr() topology.Addr { return x.inst.Addr }

// fit says that nothing speaks against the promotion; a forced one overrides what
// may be overridden.
func (x *contender) fit(forced bool) bool {
	for _, r := range x.refusals {
		if !forced || !r.Overridable {
			return false
		}
	}
	return true
}

// refused says whether a rule speaks against it.
func (x *contender) refused(rule string) bool {
	for _, r := range x.refusals {
		if r.Rule == rule {
			return true
		}
	}
	return false
}

// contenders weighs every instance but the primary.
func (f *facts) contenders(w wish) []*contender {
	var list []*contender
	for _, i := range f.members() {
		if i.Addr == f.primary {
			continue
		}
		x := &contender{inst: i, st: i.State, rule: f.p.Server(i.Addr), errant: f.errant(i)}
		if x.st == nil {
			x.st = &topology.State{}
		}
		x.received = x.st.Received()
		x.backlog = position(x.st, x.received).Beyond(x.st.Executed).Count()
		if f.spared(w) {
			x.received = x.received.Subtract(x.errant)
		}
		x.lag, x.lagKnown = f.lag(&topology.Instance{State: x.st})
		x.direct = f.s.ChannelTo(i, f.primary) != nil
		x.held = f.held(i)
		list = append(list, x)
	}
	for _, x := range list {
		x.lost = f.cannotFollow(x, list, w)
	}
	for _, x := range list {
		f.applyRules(x, list, w)
	}
	return list
}

// related says that an instance belongs under the primary, or under the one that
// an open intent promotes; or did under the primary before, or when the intent was
// decided: it may have been moved to a target that died since.
func (f *facts) related(a topology.Addr) bool {
	orphan := func(o *topology.Instance) bool { return o.Addr == a }
	if f.s.Under(a, f.primary) || f.promoting(a) || slices.ContainsFunc(f.orphans, orphan) {
		return true
	}
	in := f.c.Intent
	if in == nil {
		return false
	}
	return f.s.Under(a, in.To) || slices.ContainsFunc(in.Replicas, func(r topology.Addr) bool { return a == r || f.s.Under(a, r) })
}

// opened says that an instance without a source may be one that the open intent
// promotes, or was to promote before another took its place.
func (f *facts) opened(a topology.Addr) bool {
	return f.promoting(a) || f.c.Intent != nil && slices.Contains(f.c.Intent.Replicas, a)
}

// cannotFollow lists the readable replicas that could not replicate from x:
// older release series, another flavor, statement logging under a source that
// logs rows (MySQL's ER_BINLOG_ROW_INJECTION_AND_STMT_MODE), or lacking what x has
// purged; without GTID, what x has executed.
func (f *facts) cannotFollow(x *contender, all []*contender, w wish) []topology.Addr {
	var lost []topology.Addr
	for _, o := range all {
		if o != x && f.follower(o) && x.inst.Fresh() && (older(o.st, x.st) || o.st.Flavor != x.st.Flavor || rowOverStatement(x.st, o.st) || !f.purged(x.st, o.st).Empty() || f.behind(o, x, w) != "") {
			lost = append(lost, o.addr())
		}
	}
	return lost
}

// follower says that an instance could be moved under a new primary.
func (f *facts) follower(x *contender) bool {
	return x.inst.Fresh() && x.st.IsReplica() && f.related(x.addr())
}

func older(a, b *topology.State) bool {
	aMajor, aMinor := a.MajorVersion()
	bMajor, bMinor := b.MajorVersion()
	return aMajor < bMajor || aMajor == bMajor && aMinor < bMinor
}

func rowOverStatement(source, replica *topology.State) bool {
	return source.BinlogFormat == "ROW" && replica.BinlogFormat == "STATEMENT" && replica.LogBin && replica.LogReplicaUpdates
}

// candidate puts a contender into words.
func (f *facts) candidate(x *contender, w wish) Candidate {
	c := Candidate{Addr: x.addr(), Fit: x.fit(w.forced), Refusals: x.refusals}
	if !c.Fit {
		return c
	}
	switch {
	case w.kind == KindSwitchover:
	case x.level == 0:
		c.Rank = append(c.Rank, "nobody received more")
	default:
		c.Rank = append(c.Rank, fmt.Sprintf("%s received more", plural(x.level, "instance", "instances")))
	}
	c.Rank = append(c.Rank, "promotion rule "+string(x.rule.Promotion))
	if x.rule.DataCenter != "" {
		words := "data centre " + x.rule.DataCenter
		if f.p.Server(f.primary).DataCenter == x.rule.DataCenter {
			words += ", the primary's"
		}
		c.Rank = append(c.Rank, words)
	}
	c.Rank = append(c.Rank, "version "+x.st.Version)
	if len(x.lost) > 0 {
		c.Rank = append(c.Rank, topology.JoinAddrs(x.lost)+" could not follow it")
	}
	if x.lagKnown {
		c.Rank = append(c.Rank, "lag "+span(x.lag))
	} else {
		c.Rank = append(c.Rank, "lag unknown")
	}
	if x.backlog > 0 {
		c.Rank = append(c.Rank, fmt.Sprintf("%d still to apply", x.backlog))
	}
	return c
}
