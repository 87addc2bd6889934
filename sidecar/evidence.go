package sidecar

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// silentBeats is how many heartbeats a sidecar misses until it counts as silent.
const silentBeats = 2

// evidence is what the leader was told in its term, by all sidecars.
type evidence struct {
	lease   LeaseConfig
	changed news

	mu    sync.Mutex
	began time.Duration // of the term, on the clock's Boot: leases granted before it are unknown
	// presumed is until when they may hold, and fence how long the slowest node takes
	// to close its proxy after that. Neither ever shrinks in a term.
	presumed time.Duration
	fence    time.Duration
	nodes    map[string]*report
}

// report is what one sidecar said last.
type report struct {
	seq     uint64
	started time.Time
	heard   time.Time
	granted time.Duration // when the last lease was answered, on the clock's Boot
	until   time.Duration // when the longest of them ends
	goal    uint64        // ledger index that it has not reached yet
	goalAt  time.Duration // when this node's own ledger was there
	views   map[topology.Addr]topology.View
	proxies map[string]topology.Proxy
	files   []topology.File
	trouble []string
	acked   map[string]uint64 // the newest epoch of each cluster that it ever acknowledged
	fenced  bool              // an operator said so after it was heard last
}

func newEvidence(lease LeaseConfig, began time.Duration) *evidence {
	return &evidence{lease: lease, began: began, presumed: began + lease.TTL.D(), fence: lease.FenceTime.D(), nodes: map[string]*report{}}
}

// begin says when the term begins, for those who answer questions to know it too, and
// what is registered then: leases of before lasted as long as anybody's.
func (e *evidence) begin(now time.Duration, nodes map[string]ledger.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ttl := e.lease.TTL
	for _, n := range nodes {
		ttl, e.fence = max(ttl, n.TTL), max(e.fence, n.FenceTime.D())
	}
	e.began, e.presumed = now, now+ttl.D()
}

// inherits says whether a lease of an earlier term may hold.
func (e *evidence) inherits(now time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now < e.presumed+e.fence
}

// behind is for how long a node's ledger, at index `has`, has lacked what this
// node's had then; it is at `index` now.
func (e *evidence) behind(node string, has, index uint64, now time.Duration) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.nodes[node]
	if has >= r.goal {
		r.goal, r.goalAt = index, now
	}
	return now - r.goalAt
}

// take keeps a heartbeat. It reports false for one that was overtaken.
func (e *evidence) take(h api.Heartbeat, now time.Time) bool {
	e.mu.Lock()
	r := e.nodes[h.Node]
	if r == nil {
		r = &report{views: map[topology.Addr]topology.View{}}
		e.nodes[h.Node] = r
	}
	// An earlier start is a message of the process before; one that goes on coming is
	// a process on a clock that was set back.
	if h.Started.Before(r.started) && now.Sub(r.heard) < e.lease.TTL.D() || h.Started.Equal(r.started) && h.Seq <= r.seq {
		e.mu.Unlock()
		return false
	}
	r.seq, r.started, r.heard = h.Seq, h.Started, now
	r.proxies, r.files, r.trouble = h.Proxies, h.Files, h.Trouble
	r.acked, r.fenced = h.Acknowledged, false
	e.fence = max(e.fence, h.FenceTime.D())
	e.putViews(r, h.Views, now)
	e.mu.Unlock()
	e.changed.notify()
	return true
}

// views keeps views that came outside of a heartbeat.
func (e *evidence) views(reply api.ProbeReply, now time.Time) {
	e.mu.Lock()
	r := e.nodes[reply.Node]
	if r == nil {
		r = &report{views: map[topology.Addr]topology.View{}}
		e.nodes[reply.Node] = r
	}
	e.putViews(r, reply.Views, now)
	e.mu.Unlock()
	e.changed.notify()
}

func (e *evidence) putViews(r *report, views []api.AgedView, now time.Time) {
	for _, aged := range views {
		v := aged.Land(now)
		old, had := r.views[v.Instance]
		if had && old.At.After(v.At) {
			continue
		}
		r.views[v.Instance] = v
	}
}

// grant notes that a lease was answered just now.
func (e *evidence) grant(node string, now time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.nodes[node]; r != nil {
		r.granted, r.until = max(r.granted, now), max(r.until, now+e.lease.TTL.D())
	}
}

// leaseLeft is what is left of a node's lease as the grantor counts it; a lease
// of an earlier term may have begun as late as this term, and be longer than this node's.
func (e *evidence) leaseLeft(node string, now time.Duration) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	until := e.presumed
	if r := e.nodes[node]; r != nil {
		until = max(until, r.until)
	}
	return until + e.fence - now
}

// all are all views of instances that others than self reported.
func (e *evidence) all(self string, addrs []topology.Addr) []topology.View {
	e.mu.Lock()
	defer e.mu.Unlock()
	var views []topology.View
	for name, r := range e.nodes {
		if name == self {
			continue
		}
		for _, a := range addrs {
			if v, ok := r.views[a]; ok {
				views = append(views, v)
			}
		}
	}
	return views
}

// proxies is the state of the named nodes' proxies for a cluster.
// A cluster whose sidecars hold their proxies open is told nothing by the end of a lease.
func (e *evidence) proxies(cluster string, nodes []string, now time.Duration, holds bool) []topology.Proxy {
	list := make([]topology.Proxy, 0, len(nodes))
	for _, name := range nodes {
		left := e.leaseLeft(name, now)
		e.mu.Lock()
		p := topology.Proxy{}
		fenced, granted := false, e.began
		if r := e.nodes[name]; r != nil {
			p, fenced, granted = r.proxies[cluster], r.fenced, max(granted, r.granted)
			p.Seen = r.heard
		}
		e.mu.Unlock()
		// The end of a lease closes no proxy that its sidecar could not reach.
		p.Node, p.LeaseOver = name, left <= 0 && (fenced || !holds && (!p.Hung || p.Cut != ""))
		p.Silent = now-granted > silentBeats*e.lease.Heartbeat.D()
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b topology.Proxy) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// newest is the newest epoch of a cluster that any sidecar ever acknowledged.
func (e *evidence) newest(cluster string) (epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.nodes {
		epoch = max(epoch, r.acked[cluster])
	}
	return epoch
}

// setFenced notes an operator's word that a silent node's proxy routes nothing. It
// counts until the node is heard again; it is refused
// while its lease may hold.
func (e *evidence) setFenced(node string, now time.Duration) (ok bool) {
	left := e.leaseLeft(node, now)
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.nodes[node]
	if r == nil {
		r = &report{views: map[topology.Addr]topology.View{}}
		e.nodes[node] = r
	}
	r.fenced = left <= 0
	return r.fenced
}

// files are those of all sidecars that are heard, sorted by node.
func (e *evidence) files(now time.Time) []topology.File {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []topology.File
	for _, name := range slices.Sorted(maps.Keys(e.nodes)) {
		if r := e.nodes[name]; now.Sub(r.heard) < e.lease.TTL.D() {
			list = append(list, r.files...)
		}
	}
	return list
}

// node is what one sidecar said last; ok is false when it was not heard in this term.
func (e *evidence) node(name string) (heard time.Time, trouble []string, proxies map[string]topology.Proxy, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.nodes[name]
	if r == nil || r.heard.IsZero() {
		return time.Time{}, nil, nil, false
	}
	return r.heard, r.trouble, r.proxies, true
}
