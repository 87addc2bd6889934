package sidecar

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

// take keeps a heartbeat. It reports false for one that was overtaken.
func (e *evidence) take(h api.Heartbeat, now time.Time) bool {
	e.mu.Lock()
	r := e.report(h.Node)
	// An earlier start is a message of the process before; one that goes on coming is
	// a process on a clock that was set back.
	if h.Started.Before(r.started) && now.Sub(r.heard) < e.lease.TTL.D() || h.Started.Equal(r.started) && h.Seq <= r.seq {
		e.mu.Unlock()
		return false
	}
	r.seq, r.started, r.heard = h.Seq, h.Started, now
	// What every cluster's findings may name; the words on a trouble change all the time.
	forAll := h.Shares == "" || h.Shares != r.shares || len(h.Trouble) != len(r.trouble) || !slices.Equal(h.Files, r.files)
	r.files, r.trouble, r.shares, r.fenced = h.Files, h.Trouble, h.Shares, false
	e.fence = max(e.fence, h.FenceTime.D())
	var clusters []string
	if h.Since == 0 {
		clusters = e.replace(r, h, now)
	} else {
		clusters = e.update(r, h, now)
	}
	e.mu.Unlock()
	switch {
	case forAll:
		e.changed.notify()
	case len(clusters) > 0:
		e.changed.notify(clusters...)
	}
	return true
}

// replace takes a heartbeat that tells all, and names the clusters that it is news of.
func (e *evidence) replace(r *report, h api.Heartbeat, now time.Time) []string {
	clusters := e.moved(r, h.Views, now)
	same := func(a, b topology.Proxy) bool { return reflect.DeepEqual(a, b) }
	clusters = slices.AppendSeq(clusters, maps.Keys(difference(h.Proxies, r.proxies, same)))
	for cluster := range r.proxies {
		if _, has := h.Proxies[cluster]; !has {
			clusters = append(clusters, cluster)
		}
	}
	r.tell(h.Views, now)
	r.proxies, r.acked, r.held = h.Proxies, h.Acknowledged, h.Seq
	e.sweep(r, now)
	return clusters
}

// moved names the clusters that whole views say something else of than those before.
func (e *evidence) moved(r *report, views []api.AgedView, now time.Time) (clusters []string) {
	for _, aged := range views {
		old, had := r.views[aged.Instance]
		if cluster := e.clusterOf(aged.Instance); cluster != "" && (!had || moved(old, aged.Land(now))) {
			clusters = append(clusters, cluster)
		}
	}
	return clusters
}

// update takes what a heartbeat says to be new since one that is held, and names the clusters
// that it is news of. When that one is not held, whole views count all the same; that
// others were read again does not, for it is not known what they say.
func (e *evidence) update(r *report, h api.Heartbeat, now time.Time) []string {
	clusters := e.moved(r, h.Views, now)
	r.tell(h.Views, now)
	if r.held < h.Since {
		r.held = 0
		return clusters
	}
	r.held = h.Seq
	for _, again := range h.Again {
		v, ok := r.views[again.Instance]
		if !ok {
			r.held = 0
			continue
		}
		if at := now.Add(-again.Age); at.After(v.At) {
			v.At = at
			r.views[v.Instance] = v // by its own name, for the other one keeps the text of all in memory
		}
	}
	r.proxies, r.acked = merged(r.proxies, h.Proxies), merged(r.acked, h.Acknowledged)
	if now.Sub(r.swept) > sweepEvery {
		e.sweep(r, now)
	}
	return slices.AppendSeq(clusters, maps.Keys(h.Proxies))
}

// sweep forgets what a sidecar watches no more, and another one does.
func (e *evidence) sweep(r *report, now time.Time) {
	r.swept = now
	maps.DeleteFunc(r.asked, func(_ topology.Addr, v topology.View) bool { return now.Sub(v.At) > sweepEvery })
	for a, v := range r.views {
		if now.Sub(v.At) < sweepEvery {
			continue
		}
		for _, o := range e.nodes {
			if other, ok := o.views[a]; ok && now.Sub(other.At) < sweepEvery && !other.StateAt.Before(v.StateAt) {
				delete(r.views, a)
				break
			}
		}
	}
}

// held is up to which heartbeat of a node everything is held; 0: something is not.
func (e *evidence) held(node string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.nodes[node]; r != nil {
		return r.held
	}
	return 0
}

// tell takes the whole views of a heartbeat. Each replaces the one before, for heartbeats come
// in their order, however long each of them was on its way.
func (r *report) tell(views []api.AgedView, now time.Time) {
	for _, aged := range views {
		v := aged.Land(now)
		r.views[v.Instance] = v
		if answer, ok := r.asked[v.Instance]; ok && !answer.At.After(v.At) {
			delete(r.asked, v.Instance)
		}
	}
}
