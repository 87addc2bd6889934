package world

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Traffic is what a packet belongs to: a partition may cut one kind and leave
// the others, as a packet filter does.
type Traffic string

// The kinds of traffic.
const (
	AllTraffic Traffic = ""
	RaftPort   Traffic = "raft"
	APIPort    Traffic = "api"
	SQLPort    Traffic = "sql"
)

// latency of a packet where no fault makes it slower.
const latency = 200 * time.Microsecond

type link struct{ from, to string }

// wire is one direction between two hosts.
type wire struct {
	cut   map[Traffic]int // how many faults cut it
	delay time.Duration   // added to every packet
	loss  float64         // share of packets that have to be sent again
}

// network carries packets between hosts, each direction by itself. A packet that
// cannot pass waits, as TCP would send it again until somebody gives up. A host
// that is frozen neither sends nor receives.
type network struct {
	mu      sync.Mutex
	rng     *rand.Rand
	wires   map[link]*wire
	frozen  map[string]bool
	changed chan struct{} // closed and replaced when anything changed
}

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, wires: map[link]*wire{}, frozen: map[string]bool{}, changed: make(chan struct{})}
}

// change edits the network and wakes all that wait for it.
func (n *network) change(edit func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	edit()
	close(n.changed)
	n.changed = make(chan struct{})
}

// wire is the direction between two hosts; the caller holds mu.
func (n *network) wire(from, to string) *wire {
	l := link{from, to}
	if n.wires[l] == nil {
		n.wires[l] = &wire{cut: map[Traffic]int{}}
	}
	return n.wires[l]
}

// cut adds a cut to one direction; heal with -1.
func (n *network) cut(from, to string, kind Traffic, by int) {
	n.change(func() { n.wire(from, to).cut[kind] += by })
}

// slow sets what a direction adds to every packet, and how many it loses.
func (n *network) slow(from, to string, delay time.Duration, loss float64) {
	n.change(func() {
		w := n.wire(from, to)
		w.delay, w.loss = delay, loss
	})
}

// freeze stops or wakes a host's process: nothing passes it.
func (n *network) freeze(host string, frozen bool) {
	n.change(func() { n.frozen[host] = frozen })
}

// stands says whether a host's process is stopped.
func (n *network) stands(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen[host]
}

// ready says whether a packet may pass now, how long it takes, and what to wait
// for where it may not.
func (n *network) ready(from, to string, kind Traffic) (ok bool, takes time.Duration, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen[from] || n.frozen[to] {
		return false, 0, n.changed
	}
	if from == to {
		return true, 0, n.changed
	}
	w := n.wires[link{from, to}]
	if w == nil {
		return true, latency, n.changed
	}
	takes = latency + w.delay
	for w.loss > 0 && n.rng.Float64() < w.loss && takes < 2*time.Second {
		takes += 200 * time.Millisecond // sent again
	}
	return w.cut[AllTraffic] == 0 && w.cut[kind] == 0, takes, n.changed
}

// up says whether a packet could pass now.
func (n *network) up(from, to string, kind Traffic) bool {
	ok, _, _ := n.ready(from, to, kind)
	return ok
}

// pass waits until a packet has come from one host to another, or ctx ends.
func (n *network) pass(ctx context.Context, from, to string, kind Traffic) error {
	for {
		ok, takes, changed := n.ready(from, to, kind)
		if !ok {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !sleep(ctx, takes) {
			return ctx.Err()
		}
		if n.up(from, to, kind) {
			return nil
		}
	}
}

// thawed waits until a host runs, whatever becomes of ctx: a process that is
// stopped notices nothing, then it finds that ctx has ended.
func (n *network) thawed(ctx context.Context, host string, end <-chan struct{}) error {
	for {
		n.mu.Lock()
		frozen, changed := n.frozen[host], n.changed
		n.mu.Unlock()
		if !frozen {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-end:
			return context.Canceled
		}
	}
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
