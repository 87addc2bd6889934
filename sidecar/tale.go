package sidecar

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

// wholeEvery is how long a view that stays the same in what decisions look at goes without
// being told wholly: its GTID sets move on meanwhile.
const wholeEvery = 20 * time.Second

// maxWhole is how many whole views a heartbeat of a sidecar that shares the watching has at most,
// those first that the leader acts upon; the next one follows at once. Thousands in one would come too
// late on a busy machine, and be sent again for good.
const maxWhole = 500

// tale is what the leader is known to hold of this node, so that a heartbeat of a large
// fleet's sidecar need not repeat it. It tells a view wholly when it says something else
// than the one that the leader holds, and now and then; of all others only that they
// were read again. A view that was sent and not acknowledged is taken to be unknown there.
//
// What was only confirmed keeps the age of its last whole reading at the leader, which
// asks for a new one before it does anything upon it (decider.current).
type tale struct {
	leader  string
	upTo    uint64 // the leader holds all that was told up to this heartbeat; 0: nobody knows what it holds
	views   map[topology.Addr]*heldView
	proxies map[string]topology.Proxy
	acked   map[string]uint64

	seen         []reading       // room for what is watched, used again by the next heartbeat
	whole, again []topology.View // of the heartbeat under way
	more         bool            // it had no room for all
}

// heldView is a view that the leader holds.
type heldView struct {
	view  topology.View // as it was told wholly
	at    time.Time     // of the newest reading that was told
	until time.Time     // when it is to be told wholly once more
}

// reading is a view to be reported.
type reading struct {
	topology.View
	close bool // the leader looks at it closely now: it is told wholly
}

// compose fills a heartbeat with what the leader does not hold.
func (t *tale) compose(h *api.Heartbeat, leader string, seen []reading, now time.Time) {
	if leader != t.leader {
		*t = tale{leader: leader}
	}
	if t.upTo == 0 {
		t.views = map[topology.Addr]*heldView{}
	}
	if len(t.views) > len(seen) {
		t.forget(seen)
	}
	h.Since = t.upTo
	proxies, acked := h.Proxies, h.Acknowledged
	if h.Since > 0 {
		h.Proxies = difference(proxies, t.proxies, func(a, b topology.Proxy) bool { return reflect.DeepEqual(a, b) })
		h.Acknowledged = difference(acked, t.acked, func(a, b uint64) bool { return a == b })
	}
	t.proxies, t.acked = proxies, acked
	t.whole, t.again, t.more = t.whole[:0], t.again[:0], false
	for _, urgent := range []bool{true, false} {
		for i := range seen {
			if r := &seen[i]; urgent == (r.close || r.Reach != topology.Answered) {
				t.tell(h, r, now)
			}
		}
	}
}

// tell puts what is new of a view into a heartbeat.
func (t *tale) tell(h *api.Heartbeat, r *reading, now time.Time) {
	held := t.views[r.Instance]
	switch {
	case held != nil && !held.at.Before(r.At): // it was not read again
	case held != nil && !r.close && (now.Before(held.until) || !r.StateAt.After(held.view.StateAt)) && !moved(held.view, r.View):
		t.again = append(t.again, r.View)
		h.Again = append(h.Again, api.Again{Instance: r.Instance, Age: max(0, now.Sub(r.At))})
	case h.Shares != "" && len(t.whole) == maxWhole:
		t.more = true
	default:
		delete(t.views, r.Instance) // until it is acknowledged
		t.whole = append(t.whole, r.View)
		h.Views = append(h.Views, api.Age(r.View, now))
	}
}

// forget drops what is watched no more.
func (t *tale) forget(seen []reading) {
	watched := map[topology.Addr]bool{}
	for i := range seen {
		watched[seen[i].Instance] = true
	}
	maps.DeleteFunc(t.views, func(a topology.Addr, _ *heldView) bool { return !watched[a] })
}

// lost is called when the heartbeat was not answered: it may have been taken or not.
func (t *tale) lost() { // a view that was sent wholly is none that is held, and will be sent again; so will the rest
	t.proxies, t.acked = nil, nil
}

// taken is called with the answer. It says whether the next heartbeat is due at once: there is more to
// tell, or all of it, for the leader lacks what the heartbeat built upon.
func (t *tale) taken(h *api.Heartbeat, upTo uint64, now time.Time) (repeat bool) {
	if t.upTo = upTo; upTo == 0 {
		return h.Since > 0
	}
	for _, v := range t.whole {
		// Not all of them in one heartbeat.
		until := now.Add(wholeEvery - rand.N(wholeEvery/2)) //nolint:gosec // it only spreads the load
		t.views[v.Instance] = &heldView{view: v, at: v.At, until: until}
	}
	for _, v := range t.again {
		t.views[v.Instance].at = v.At
	}
	return t.more
}

// difference is what is new in a map.
func difference[V any](now, before map[string]V, same func(a, b V) bool) map[string]V {
	changed := map[string]V{}
	for key, v := range now {
		if old, ok := before[key]; !ok || !same(old, v) {
			changed[key] = v
		}
	}
	return changed
}

// moved says whether a view says something else than an older one to those who decide. Not
// looked at are what moves with each transaction, GTID sets and positions, and what a clock moves.
func moved(a, b topology.View) bool {
	if a.Reach != b.Reach || a.Failures != b.Failures || a.Error != b.Error || (a.State == nil) != (b.State == nil) {
		return true
	}
	if a.State == nil {
		return false
	}
	x, y := a.State, b.State
	booted := b.StateAt.Add(-y.Uptime.D()).Sub(a.StateAt.Add(-x.Uptime.D()))
	return booted.Abs() > 2*time.Second || // uptimes are told in seconds
		(x.Connections >= x.MaxConnections) != (y.Connections >= y.MaxConnections) || !sameState(x, y)
}

func sameState(x, y *topology.State) bool {
	return x.Flavor == y.Flavor && x.Version == y.Version && x.ServerID == y.ServerID && x.ServerUUID == y.ServerUUID &&
		x.ReportedAs == y.ReportedAs && x.ReadOnly == y.ReadOnly && x.SuperReadOnly == y.SuperReadOnly &&
		x.LogBin == y.LogBin && x.LogReplicaUpdates == y.LogReplicaUpdates && x.BinlogFormat == y.BinlogFormat &&
		x.GTIDMode == y.GTIDMode && x.GTIDStrict == y.GTIDStrict && x.MaxConnections == y.MaxConnections && slices.Equal(x.PersistedOpen, y.PersistedOpen) && x.Member == y.Member &&
		slices.Equal(x.Replicas, y.Replicas) && sameSemiSync(x.SemiSync, y.SemiSync) &&
		slices.EqualFunc(x.Sources, y.Sources, func(a, b topology.Source) bool { return sameSource(&a, &b) })
}

func sameSemiSync(x, y topology.SemiSync) bool {
	if (x.Waiting > 0) != (y.Waiting > 0) {
		return false
	}
	x.Waiting, y.Waiting = 0, 0
	return x == y
}

func sameSource(x, y *topology.Source) bool {
	return x.Channel == y.Channel && x.Addr == y.Addr && x.IO == y.IO && x.SQL == y.SQL && x.IOError == y.IOError && x.SQLError == y.SQLError &&
		x.IOErrno == y.IOErrno && x.SQLErrno == y.SQLErrno && x.Untried == y.Untried && x.Delay == y.Delay && x.GTID == y.GTID &&
		x.Filters == y.Filters && x.SourceID == y.SourceID && x.Heartbeat == y.Heartbeat && near(x.Lag, y.Lag) && (x.Silence == nil) == (y.Silence == nil) &&
		!silent(x) && !silent(y)
}

// near says that two lags differ by no more than their unit.
func near(x, y *topology.Duration) bool {
	if x == nil || y == nil {
		return x == y
	}
	return (*x - *y).D().Abs() <= time.Second
}

// silent says that a source has been silent for longer than its heartbeat allows: how long then matters.
func silent(s *topology.Source) bool {
	period := s.Heartbeat.D()
	if period == 0 {
		period = time.Second
	}
	return s.Silence != nil && s.Silence.D() > period
}

// merged is a map with what is new put in; the map itself stays as it is, for readers hold it.
func merged[V any](before, changed map[string]V) map[string]V {
	if len(changed) == 0 {
		return before
	}
	all := maps.Clone(before)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, changed)
	return all
}
