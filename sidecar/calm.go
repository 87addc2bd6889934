package sidecar

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// calmCycle is how often a cluster of a large fleet is looked at where nothing is going on.
	calmCycle = 2 * time.Second
	// stillFor is how long one is only glanced at of which nothing was found: meanwhile GTID sets moved on.
	stillFor = 20 * time.Second
	// gatherFor is how long news of a cluster is gathered for each restlessAtOnce clusters where something is going on, and mostGathering
	// for how long at most.
	gatherFor     = 30 * time.Millisecond
	mostGathering = 2 * time.Second
	// restlessAtOnce is how many clusters of a large fleet are looked at every idleCycle where something is
	// going on; of more, as when a term begins, each is looked at the less often.
	restlessAtOnce = 50
)

// calm is how a cluster of a large fleet was when it was looked at last.
type calm struct {
	now     bool // nothing is going on which a cycle could bring forward: what changes, changes by something that is told
	well    bool // nothing was found either
	at      time.Time
	fresh   int    // views that counted
	company string // who was heard, see evidence.company
}

// calmness says how a cluster is, as of a cycle; never calm where not all of it is watched by others as well.
func (d *decider) calmness(c *failover.Case, v *failover.Verdict, may bool) calm {
	if !may || c.Intent != nil || v.Decision.Intent != nil || v.Decision.Wait || !d.readersAt.IsZero() ||
		slices.ContainsFunc(v.Findings, func(f failover.Finding) bool { return f.Recovery != "" }) {
		return calm{}
	}
	state := calm{now: true, well: len(v.Findings) == 0 && len(v.Repairs) == 0 && len(c.Tries) == 0 && len(c.Rejoins) == 0, at: c.Snapshot.Taken}
	if state.well {
		state.company = d.evidence.company(state.at, d.ports.Clock().Boot)
		for i := range c.Snapshot.Instances {
			for _, w := range c.Snapshot.Instances[i].Views {
				if w.Reach == topology.Answered {
					state.fresh++
				}
			}
		}
	}
	return state
}

// unsettle has the cluster looked at soon though nothing was found: something is to be done that waits for an answer, which may be lost.
func (d *decider) unsettle() {
	d.calm, d.waits = calm{}, true
	d.restless.set(d.shared())
}

// pace is when the cluster is looked at again if nobody tells of a change. Thousands of them
// are not looked at in one instant, nor all the time.
func (d *decider) pace() time.Duration {
	if d.calm.now {
		return calmCycle - rand.N(calmCycle/4) //nolint:gosec // it only spreads the load
	}
	return min(calmCycle, idleCycle*time.Duration(d.storms()))
}

// storms is how many times more is going on than is usual, at least 1.
func (t *term) storms() int32 { return max(1, t.restless.Load()/restlessAtOnce) }

// gathering is how long more news is awaited before the cluster is looked at: one look does for all of it. Nothing is where it
// hurries, where it was asked for to be read, for the answers count for a moment only, or where little goes on in the fleet.
func (d *decider) gathering() time.Duration {
	storms := d.storms()
	if d.hurries || d.waits || storms < 4 {
		return 0
	}
	return min(mostGathering, time.Duration(storms)*gatherFor)
}

// still says that a cluster need not be looked at though its time has come: all was well, no news has come since, no view has
// grown old, and the same sidecars are heard. A glance costs a fraction of a cycle.
func (d *decider) still(now time.Time) bool {
	if !d.calm.well || now.Sub(d.calm.at) > stillFor {
		return false
	}
	fresh, addrs := d.cfg.Clusters[d.cluster].Policy.Detection.Fresh.D(), d.known(d.cluster)
	return d.observer.answering(addrs, now, fresh)+d.evidence.answering(d.cfg.Node, addrs, now, fresh) >= d.calm.fresh &&
		d.evidence.company(now, d.ports.Clock().Boot) == d.calm.company
}

// counted says whether a cluster is one of those of its term that a number counts.
type counted struct {
	of *atomic.Int32
	is bool
}

func (c *counted) set(is bool) {
	switch {
	case is && !c.is:
		c.of.Add(1)
	case !is && c.is:
		c.of.Add(-1)
	}
	c.is = is
}

// answering counts the instances whose newest view is fresh and says that they answer.
func (o *observer) answering(addrs []topology.Addr, now time.Time, fresh time.Duration) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range addrs {
		if w := o.watchers[a]; w != nil && w.answered(now, fresh) {
			n++
		}
	}
	return n
}

// answered says that the newest view is fresh and of an answer.
func (w *watcher) answered(now time.Time, fresh time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view.Reach == topology.Answered && now.Sub(w.view.At) <= fresh
}

// answering counts the fresh views of others than self that say of an instance that it answers.
func (e *evidence) answering(self string, addrs []topology.Addr, now time.Time, fresh time.Duration) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, r := range e.nodes {
		if name == self {
			continue
		}
		for _, a := range addrs {
			v := r.views[a]
			if asked, ok := r.asked[a]; ok && asked.At.After(v.At) {
				v = asked
			}
			if v.Reach == topology.Answered && now.Sub(v.At) <= fresh {
				n++
			}
		}
	}
	return n
}

// companyEvery is how old what company says may be: thousands of clusters ask for it.
const companyEvery = idleCycle

// company is a word for which sidecars are heard, and hold a lease: when it changes every cluster is to be looked at.
func (e *evidence) company(now time.Time, boot time.Duration) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.metAt).Abs() < companyEvery {
		return e.met
	}
	names := make([]string, 0, len(e.nodes))
	for name, r := range e.nodes {
		if now.Sub(r.heard) < e.lease.TTL.D() {
			names = append(names, name)
		}
		if boot-max(e.began, r.granted) > silentBeats*e.lease.Heartbeat.D() {
			names = append(names, name+" silent")
		}
		if max(e.presumed, r.until)+e.fence <= boot {
			names = append(names, name+" without a lease")
		}
	}
	slices.Sort(names)
	e.met, e.metAt = strings.Join(names, ", "), now
	return e.met
}
