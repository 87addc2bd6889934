package sidecar

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

// WatchConfig is how the sidecars of a large fleet share the watching.
type WatchConfig struct {
	// ShareAbove is up to how many instances every sidecar watches all of them.
	ShareAbove int `yaml:"share_above"`
	// Primaries and Others are how many sidecars watch each routed primary, and each other instance.
	Primaries int `yaml:"primaries"`
	Others    int `yaml:"others"`
	// ReadEvery is how often the first of them reads an instance that answers and of whose cluster nothing is known to be
	// wrong; between two readings it asks for a sign of life. 0 reads at each interval.
	ReadEvery topology.Duration `yaml:"read_every"`
}

const (
	// forever is how old a reading may be of what another sidecar reads.
	forever = time.Duration(math.MaxInt64)
	// fellowBeats is how many heartbeats a sidecar misses until the others watch its share.
	fellowBeats = 5
	// shareAtMost is how often a share is made anew: a storm of commits need not do it each time.
	shareAtMost = time.Second
)

// weight is a node's claim to an instance: those with the highest watch it. When a node comes
// or goes only what it watches moves.
func weight(node string, a topology.Addr) uint64 {
	sum := sha256.Sum256([]byte(node + " " + string(a)))
	return binary.BigEndian.Uint64(sum[:])
}

// rank is a node's place among all that might watch an instance, from 0; -1 when it is
// none of them.
func rank(node string, nodes []string, a topology.Addr) int {
	if !slices.Contains(nodes, node) {
		return -1
	}
	own, ahead := weight(node, a), 0
	for _, n := range nodes {
		if w := weight(n, a); w > own || w == own && n < node {
			ahead++
		}
	}
	return ahead
}

// share says which instances are this sidecar's to watch. It is for one goroutine.
type share struct {
	node  string
	nodes []string // that share
	ranks map[topology.Addr]int
}

// among takes over which nodes share the watching.
func (s *share) among(nodes []string) {
	if !slices.Equal(nodes, s.nodes) || s.ranks == nil {
		s.nodes, s.ranks = slices.Clone(nodes), map[topology.Addr]int{}
	}
}

// place is this sidecar's among those that watch an instance, where n are to; ok is false when it is none of them.
// The first reads it, for the others a sign of life will do always.
func (s *share) place(a topology.Addr, n int) (place int, ok bool) {
	place, known := s.ranks[a]
	if !known {
		place = rank(s.node, s.nodes, a)
		s.ranks[a] = place
	}
	return place, 0 <= place && place < n
}

// fellowship is a word for what a sidecar is to watch and how it is shared: it shares with
// those that say the same. Nodes are configured one after the other, and one that does not have a
// cluster yet must not be counted on to watch it.
func (c *Config) fellowship() string {
	sum := sha256.New()
	fmt.Fprintln(sum, c.Watch.Primaries, c.Watch.Others)
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		fmt.Fprintln(sum, name)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// targets are all instances, with which of them are this sidecar's to watch: all, unless
// the fleet is a large one. An open intent needs everybody's eyes.
func (s *Sidecar) targets(own *share) map[topology.Addr]target {
	want := map[topology.Addr]target{}
	for name, c := range s.cfg.Clusters {
		for _, a := range s.known(name) {
			want[a] = target{cluster: name, Detection: c.Policy.Detection, own: true}
		}
	}
	shared := len(want) > s.cfg.Watch.ShareAbove
	s.sharing.Store(shared)
	if !shared {
		return want
	}
	nodes := s.cfg.observers()
	if told := s.fellows.Load(); told != nil {
		nodes = *told
	}
	own.among(nodes)
	clusters := s.ports.Consensus.State().Clusters
	for a, t := range want {
		cl, n := clusters[t.cluster], s.cfg.Watch.Others
		if a == cl.Route.Writer {
			n = s.cfg.Watch.Primaries
		}
		t.close, t.spread = cl.Intent != nil, true
		place, has := own.place(a, n)
		t.own = t.close || has
		switch {
		case t.close || !has:
		case place > 0:
			t.sparing = forever
		default:
			t.sparing = s.cfg.Watch.ReadEvery.D()
		}
		want[a] = t
	}
	return want
}

// shareWith takes over from the leader who shares the watching.
func (s *Sidecar) shareWith(nodes []string) {
	if len(nodes) == 0 {
		return
	}
	if old := s.fellows.Swap(&nodes); old == nil || !slices.Equal(*old, nodes) {
		s.regrouped.notify()
	}
}
