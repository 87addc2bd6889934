package sidecar

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// beatEvery is how far apart the instants are at which probes of thousands of instances begin: to be woken for each of them
// by itself costs more than a probe.
const beatEvery = 20 * time.Millisecond

// beat gathers the probes of thousands of instances, and knows by how much they come late where this process gets too little
// CPU: an answer that is not taken in time is no time-out then. It is safe for concurrent use.
type beat struct {
	phase time.Duration // not that of the other sidecars, which may run on the same machine
	late  atomic.Int64  // nanoseconds: of the probe that came latest, falling since
}

func newBeat() *beat { return &beat{phase: rand.N(beatEvery)} } //nolint:gosec // it only spreads the load

// first is when an instance is probed for the second time, within an interval: at the beat, and not all in one.
func (b *beat) first(now time.Time, interval time.Duration) time.Time {
	due := now.Add(interval - rand.N(interval)) //nolint:gosec // it only spreads the load
	off := time.Duration((due.UnixNano() - int64(b.phase)) % int64(beatEvery))
	return due.Add(beatEvery - off)
}

// came notes by how much a probe came late.
func (b *beat) came(late time.Duration) {
	if old := time.Duration(b.late.Load()); late < old {
		late = old - (old-late)/256 // forgotten within a second, where hundreds come in one
	}
	b.late.Store(int64(late))
}

// mostGrace is what a time-out is prolonged by at most.
const mostGrace = 5 * time.Second

// grace is by how much a time-out is prolonged, for the answer may lie here and wait as long as the question did.
func (b *beat) grace() time.Duration {
	late := time.Duration(b.late.Load())
	if late < beatEvery {
		return 0
	}
	return min(2*late, mostGrace)
}
