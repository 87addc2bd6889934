package failover

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// choice is who becomes primary, from whom it takes what it lacks, and what is
// lost; or why nobody does.
type choice struct {
	ranked   []*contender  // the fit ones first, best first
	best     *contender    // nil when nobody is fit
	donor    *contender    // received more than best and is not fit itself; nil without one
	lost     []string      // what would be lost, in sentences
	missing  gtid.Set      // the same as a set
	unread   topology.Addr // who has to be read before it can be known or had; empty: nobody
	refusals []Refusal     // why the best is not promoted
	wait     bool          // time alone may change it
}

// ok says that the best may be promoted.
func (ch *choice) ok() bool { return ch.best != nil && len(ch.refusals) == 0 }

// choose ranks the contenders and picks one.
//
// What was received comes first, for a relay log survives its source. It is a
// partial order: where two contenders each hold what the other lacks there is no
// best, and the choice refuses instead of sorting. A replica that received the
// most and is not fit is a donor: the chosen one catches up from it.
//
// A switchover ranks without it: its primary lives, and all of them catch up.
func (f *facts) choose(w wish) choice {
	all := f.contenders(w)
	ch := choice{ranked: all}
	f.judgeLag(&ch, w)
	sources := f.dataSources(all, w)
	for _, x := range all {
		for _, o := range sources {
			if w.kind != KindSwitchover && o != x && f.compareReceived(o, x) == gtid.Ahead {
				x.level++
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *contender) int { return f.compare(a, b, w) })
	for _, x := range all {
		if x.fit(w.forced) && (w.want == "" || w.want == x.addr()) {
			ch.best = x
			break
		}
	}
	if ch.best == nil {
		f.refuseNobody(&ch, w)
		return ch
	}
	f.weigh(&ch, sources, w)
	return ch
}

// weigh finds the donor of the best and says what would be lost with it.
func (f *facts) weigh(ch *choice, sources []*contender, w wish) {
	if w.kind != KindFailover {
		return
	}
	f.refuseDivergent(ch, sources, w)
	ch.donor = f.pickDonor(ch.best, sources)
	f.wouldLose(ch)
	f.refuseLoss(ch, w)
}

// keep is the choice of one who was chosen before.
func (f *facts) keep(ranked []*contender, a topology.Addr, w wish) choice {
	ch := choice{ranked: ranked, best: find(ranked, a)}
	if ch.best != nil && !ch.best.fit(w.forced) {
		ch.best = nil
	}
	if ch.best != nil {
		f.weigh(&ch, f.dataSources(ranked, w), w)
	}
	return ch
}

// dataSources are the contenders whose transactions count: readable, of this
// cluster, and without errant transactions unless those are tolerated.
func (f *facts) dataSources(all []*contender, w wish) []*contender {
	var list []*contender
	for _, x := range all {
		if x.inst.Fresh() && !x.refused("no_replica") && !x.refused("member") && !x.refused("position") && (!x.refused("errant") || w.forced) {
			list = append(list, x)
		}
	}
	return list
}

// judgeLag decides about lag before anything is touched. While one does not lag
// the lagging ones are refused; where all lag, the policy says.
func (f *facts) judgeLag(ch *choice, w wish) {
	if w.open {
		return
	}
	limit := f.p.Lag.Max
	if w.kind == KindSwitchover {
		limit = f.p.Switchover.MaxLag
	}
	lags := func(x *contender) bool { return x.lagKnown && x.lag > limit.D() }
	inTime := slices.ContainsFunc(ch.ranked, func(x *contender) bool { return x.fit(w.forced) && !lags(x) })
	if !inTime && w.kind == KindFailover && f.p.Lag.WhenAll != WhenAllFail {
		return
	}
	for _, x := range ch.ranked {
		if x.inst.Fresh() && lags(x) {
			ch.wait = ch.wait || x.fit(w.forced)
			x.refusals = append(x.refusals, Refusal{
				Rule: "lag", Subject: x.addr(), Overridable: true,
				Sentence: fmt.Sprintf("%s lags by %s, more than %s", x.addr(), span(x.lag), limit),
				Change:   "wait until it has caught up, raise the limit, or force it",
			})
		}
	}
}

// compare ranks two contenders; negative puts a first.
func (f *facts) compare(a, b *contender, w wish) int {
	home := f.p.Server(f.primary).DataCenter
	series := f.commonRelease()
	return cmp.Or(
		falseFirst(!a.fit(w.forced), !b.fit(w.forced)),
		cmp.Compare(a.resort, b.resort),
		cmp.Compare(a.level, b.level),
		falseFirst(a.inst != f.co, b.inst != f.co), // break a ring by promoting its other half
		cmp.Compare(promotionOrder[a.rule.Promotion], promotionOrder[b.rule.Promotion]),
		falseFirst(crosses(home, a.rule.DataCenter), crosses(home, b.rule.DataCenter)),
		falseFirst(release(a.st) != series, release(b.st) != series),
		cmp.Compare(len(a.lost), len(b.lost)),
		falseFirst(!a.direct, !b.direct),
		falseFirst(!a.lagKnown, !b.lagKnown),
		cmp.Compare(a.lag, b.lag),
		cmp.Compare(a.backlog, b.backlog), // writes wait until it is applied
		cmp.Compare(a.addr(), b.addr()),
	)
}

var promotionOrder = map[Promotion]int{Must: 0, Prefer: 1, Neutral: 2, PreferNot: 3, MustNot: 4}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// commonRelease is the release series that most readable replicas run; of equally
// common ones the newer.
func (f *facts) commonRelease() string {
	counts := map[string]int{}
	var best *topology.State
	for _, i := range f.members() {
		if i.Addr == f.primary || !i.Fresh() {
			continue
		}
		counts[release(i.State)]++
	}
	for _, i := range f.members() {
		if i.Addr == f.primary || !i.Fresh() {
			continue
		}
		if n := counts[release(i.State)]; best == nil || n > counts[release(best)] || n == counts[release(best)] && older(best, i.State) {
			best = i.State
		}
	}
	if best == nil {
		return ""
	}
	return release(best)
}

// refuseDivergent refuses when any two contenders hold what the other lacks. Who
// forces it has to say for whom: the choice is between losses.
func (f *facts) refuseDivergent(ch *choice, sources []*contender, w wish) {
	if w.forced && w.want != "" || f.p.GTID == GTIDDeclarative {
		return
	}
	for n, a := range sources {
		for _, b := range sources[n+1:] {
			if f.compareReceived(a, b) != gtid.Divergent {
				continue
			}
			if f.positions {
				ch.refusals = append(ch.refusals, Refusal{
					Rule: "divergent", Subject: a.addr(), Overridable: true,
					Sentence: fmt.Sprintf("%s received up to %s and %s up to %s of the binary log of %s: these are not of one log, and without GTID nobody can tell who has more", a.addr(), a.held, b.addr(), b.held, f.primary),
					Change:   "a forced failover that names its target loses what the other one has",
				})
				continue
			}
			onlyA := position(a.st, a.received).Beyond(b.received)
			onlyB := position(b.st, b.received).Beyond(a.received)
			ch.refusals = append(ch.refusals, Refusal{
				Rule: "divergent", Subject: a.addr(), Overridable: true,
				Sentence: fmt.Sprintf("%s and %s have diverged: only %s has %s, only %s has %s", a.addr(), b.addr(), a.addr(), clip(onlyA), b.addr(), clip(onlyB)),
				Change:   "a forced failover that names its target loses what the other one has",
			})
		}
	}
}

// pickDonor finds who can give the best what it lacks; nobody without GTID.
func (f *facts) pickDonor(best *contender, sources []*contender) *contender {
	if f.positions {
		return nil // nobody knows where in its log the best would have to go on
	}
	var donor *contender
	for _, o := range sources {
		serves := o.st.LogBin && o.st.LogReplicaUpdates && !o.refused("sql_error") && !o.refused("gtid") && !delayed(o.st) &&
			!older(best.st, o.st) && o.errant.Empty() && !rowOverStatement(o.st, best.st) && f.purged(o.st, best.st).Empty()
		if o == best || !serves || f.compareReceived(o, best) != gtid.Ahead {
			continue
		}
		if donor == nil || o.level < donor.level || o.level == donor.level && o.addr() < donor.addr() {
			donor = o
		}
	}
	return donor
}

// refuseNobody says why nobody is fit.
func (f *facts) refuseNobody(ch *choice, w wish) {
	if w.want != "" {
		for _, x := range ch.ranked {
			if x.addr() == w.want {
				ch.refusals = append(ch.refusals, x.refusals...)
				return
			}
		}
		sentence := fmt.Sprintf("%s is not an instance of cluster %s", w.want, f.s.Cluster)
		switch {
		case w.want == f.primary:
			sentence = fmt.Sprintf("%s is the primary already", w.want)
		case f.p.Server(w.want).Ignore:
			sentence = fmt.Sprintf("%s is ignored by a server rule", w.want)
		}
		ch.refusals = append(ch.refusals, Refusal{Rule: "target", Subject: w.want, Sentence: sentence, Change: "name one of its replicas"})
		return
	}
	change := "nothing can be promoted until a replica can be read"
	if len(ch.ranked) > 0 {
		change = "see the refusals of each instance"
	}
	if ch.wait {
		change += "; it is decided again while they catch up"
	}
	ch.refusals = append(ch.refusals, Refusal{Rule: "no_candidate", Sentence: fmt.Sprintf("no instance of cluster %s is fit to be promoted", f.s.Cluster), Change: change})
	for _, x := range ch.ranked {
		ch.refusals = append(ch.refusals, x.refusals...)
	}
}

// Candidates lists all instances but the primary: the fit ones first, the best
// of them on top, each with what speaks for or against it.
func Candidates(c *Case) []Candidate {
	f := newFacts(c)
	w := f.wish()
	ch := f.choose(w)
	return f.listed(&ch, w)
}

func (f *facts) listed(ch *choice, w wish) []Candidate {
	list := make([]Candidate, len(ch.ranked))
	for i, x := range ch.ranked {
		list[i] = f.candidate(x, w)
		if x == ch.best && ch.donor != nil {
			list[i].Rank = append(list[i].Rank, fmt.Sprintf("catches up from %s, which received more and is not fit itself", ch.donor.addr()))
		}
	}
	return list
}
