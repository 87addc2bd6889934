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

// sweepEvery is how often views that a sidecar no more renews are looked for.
const sweepEvery = 30 * time.Second

// evidence is what the leader was told in its term, by all sidecars.
type evidence struct {
	lease   LeaseConfig
	changed news
	// clusterOf is the cluster of an instance; empty when nobody knows.
	clusterOf func(topology.Addr) string

	born time.Time // when the term began

	mu    sync.Mutex
	began time.Duration // of the term, on the clock's Boot: leases granted before it are unknown
	// presumed is until when they may hold, and fence how long the slowest node takes
	// to close its proxy after that. Neither ever shrinks in a term.
	presumed time.Duration
	fence    time.Duration
	nodes    map[string]*report
	met      string // see company
	metAt    time.Time
}

// report is what one sidecar said last.
type report struct {
	seq     uint64
	held    uint64 // all that was told up to this heartbeat is held; 0: something is not
	started time.Time
	heard   time.Time
	granted time.Duration                   // when the last lease was answered, on the clock's Boot
	until   time.Duration                   // when the longest of them ends
	goal    uint64                          // ledger index that it has not reached yet
	goalAt  time.Duration                   // when this node's own ledger was there
	views   map[topology.Addr]topology.View // as its heartbeats told them
	asked   map[topology.Addr]topology.View // as it answered questions, where those are newer
	proxies map[string]topology.Proxy
	files   []topology.File
	trouble []string
	shares  string            // it watches a share, with those that say the same; "": all
	acked   map[string]uint64 // the newest epoch of each cluster that it ever acknowledged
	swept   time.Time         // when its old views were looked through
	fenced  bool              // an operator said so after it was heard last
	// asking is since when it is asked to read instances, and has not answered.
	asking map[topology.Addr]time.Time
}

func newEvidence(lease LeaseConfig, began time.Duration) *evidence {
	return &evidence{lease: lease, born: time.Now(), clusterOf: func(topology.Addr) string { return "" }, began: began, presumed: began + lease.TTL.D(), fence: lease.FenceTime.D(), nodes: map[string]*report{}}
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

// views keeps views of a cluster that came outside of a heartbeat.
func (e *evidence) views(cluster string, reply api.ProbeReply, now time.Time) {
	e.mu.Lock()
	r := e.report(reply.Node)
	for _, aged := range reply.Views {
		v := aged.Land(now)
		if old, had := r.asked[v.Instance]; !had || !old.At.After(v.At) {
			r.asked[v.Instance] = v
		}
	}
	e.mu.Unlock()
	e.changed.notify(cluster)
}

// asking notes that a node is being asked to read instances.
func (e *evidence) asking(node string, addrs []topology.Addr, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.report(node)
	for _, a := range addrs {
		r.asking[a] = now
	}
}

// answered notes that it answered the question of then.
func (e *evidence) answered(node string, addrs []topology.Addr, then time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.report(node)
	for _, a := range addrs {
		if r.asking[a].Equal(then) {
			delete(r.asking, a)
		}
	}
}

// unasked are the instances that a node was asked for just now and did not answer; they are told once.
func (e *evidence) unasked(node string, now time.Time) (list []topology.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.report(node)
	for a, at := range r.asking {
		if now.Sub(at) < askAgain {
			list = append(list, a)
		}
	}
	clear(r.asking)
	return topology.SortAddrs(list)
}

// report is what a node said; e.mu is held.
func (e *evidence) report(node string) *report {
	r := e.nodes[node]
	if r == nil {
		r = &report{views: map[topology.Addr]topology.View{}, asked: map[topology.Addr]topology.View{}, asking: map[topology.Addr]time.Time{}}
		e.nodes[node] = r
	}
	return r
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
			if v, ok := r.asked[a]; ok {
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
	r := e.report(node)
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

// fellows are the nodes that share the watching with those who say the same word: those that
// are heard. When the term has just begun it is not known who is not.
func (e *evidence) fellows(word string, nodes []string, now time.Time) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	patience := fellowBeats * e.lease.Heartbeat.D()
	var list []string
	for _, name := range nodes {
		r := e.nodes[name]
		switch {
		case r == nil || r.heard.IsZero():
			if now.Sub(e.born) < patience {
				list = append(list, name)
			}
		case r.shares == word && now.Sub(r.heard) < patience:
			list = append(list, name)
		}
	}
	return list
}

// sharing are those nodes, heard within `fresh`, that watch a share of the instances.
func (e *evidence) sharing(now time.Time, fresh time.Duration) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for name, r := range e.nodes {
		if r.shares != "" && now.Sub(r.heard) <= fresh {
			list = append(list, name)
		}
	}
	return list
}

// anyShares says whether any node watches a share only, as it said last.
func (e *evidence) anyShares() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.nodes {
		if r.shares != "" {
			return true
		}
	}
	return false
}

// shares says whether a node watches a share, as it said last.
func (e *evidence) shares(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.nodes[name]
	return r != nil && r.shares != ""
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
