package sidecar

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// beatEvery is how far apart the instants are at which probes of thousands of instances begin: to be woken for each of them
	// by itself costs more than a probe.
	beatEvery = 20 * time.Millisecond
	// listenFor is how long a sign of life is awaited here, which costs nothing, before somebody waits for it.
	listenFor = 2 * beatEvery
	// wheelSize is how many beats probes are spread over; an interval may be longer.
	wheelSize = 64
)

// beat begins the probes of thousands of instances, and gathers the signs of life of those for which one will do. It knows by how
// much it comes late where this process gets too little CPU: an answer that is not taken in time is no time-out then. It is safe
// for concurrent use.
type beat struct {
	phase time.Duration // not that of the other sidecars, which may run on the same machine
	late  atomic.Int64  // nanoseconds: of the beat that came latest, falling since

	mu     sync.Mutex
	number int64 // of the last beat
	wheel  [wheelSize][]due
	hailed []hailing
}

// due is when a watcher's next probe begins.
type due struct {
	*watcher
	number int64 // of the beat
}

// hailing is a watcher that waits for a sign of life.
type hailing struct {
	*watcher
	since time.Time
}

func newBeat() *beat { return &beat{phase: rand.N(beatEvery)} } //nolint:gosec // it only spreads the load

// at is which beat it is at a time.
func (b *beat) at(now time.Time) int64 { return (now.UnixNano() - int64(b.phase)) / int64(beatEvery) }

// start is when a beat is due.
func (b *beat) start(number int64) time.Time {
	return time.Unix(0, number*int64(beatEvery)+int64(b.phase))
}

// inBeats is an interval, in beats.
func inBeats(interval time.Duration) int64 { return max(1, int64(interval/beatEvery)) }

// join has a watcher probe for the next time within an interval, and then at each interval, until it is gone. Not all
// begin at one beat.
func (b *beat) join(w *watcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(w, max(b.number, b.at(time.Now()))+1+rand.N(inBeats(w.interval))) //nolint:gosec // it only spreads the load
}

// put is for when a watcher is due; b.mu is held.
func (b *beat) put(w *watcher, number int64) {
	slot := &b.wheel[number%wheelSize]
	*slot = append(*slot, due{w, number})
}

// run beats until ctx ends.
func (b *beat) run(ctx context.Context) {
	b.mu.Lock()
	b.number = b.at(time.Now())
	b.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for next := b.at(time.Now()) + 1; ; next = b.at(time.Now()) + 1 {
		timer.Reset(time.Until(b.start(next)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		b.came(now.Sub(b.start(next)))
		b.listen(now)
		b.turnTo(b.at(now), now)
	}
}

// turnTo begins what is due up to a beat.
func (b *beat) turnTo(number int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := max(b.number+1, number-wheelSize+1); n <= number; n++ {
		slot := b.wheel[n%wheelSize]
		b.wheel[n%wheelSize] = nil
		for _, d := range slot {
			switch {
			case d.job.ended():
			case d.number > n: // of a later turn of the wheel
				b.put(d.watcher, d.number)
			default:
				b.begin(d.watcher, now)
				b.put(d.watcher, number+inBeats(d.interval))
			}
		}
	}
	b.number = max(b.number, number)
}

// begin asks a watched instance for a sign of life where that will do, and has it probed otherwise; b.mu is held.
func (b *beat) begin(w *watcher, now time.Time) {
	if w.hail(now) {
		b.hailed = append(b.hailed, hailing{w, now})
	} else {
		w.job.wake()
	}
}

// listen takes the signs of life that have come. What has not come for long somebody waits for.
func (b *beat) listen(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	silent := b.hailed[:0]
	for _, h := range b.hailed {
		switch {
		case h.heard() || h.job.ended():
		case now.Sub(h.since) < listenFor:
			silent = append(silent, h)
		default:
			h.job.wake()
		}
	}
	clear(b.hailed[len(silent):])
	b.hailed = silent
}

// came notes by how much a beat came late.
func (b *beat) came(late time.Duration) {
	if old := time.Duration(b.late.Load()); late < old {
		late = old - (old-late)/16 // forgotten within a second or two
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
