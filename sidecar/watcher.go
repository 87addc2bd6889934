package sidecar

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/topology"
)

// watcher probes one instance: every interval, at once when its connection
// breaks or somebody asks, and again at once after a time-out, for only a second
// one in a row counts.
type watcher struct {
	addr     topology.Addr
	prober   Prober
	interval time.Duration
	timeout  time.Duration
	opening  turns // of those that have to log in
	probing  turns // of those whose time has come
	beat     *beat // of thousands: when their probes begin; nil for an interval after the first
	// sparing is how old the last reading of a server that answers may be, in nanoseconds, where a sign of life will do.
	sparing atomic.Int64
	changed func(before, after topology.View)

	job       job
	scheduled bool // by work: it has probed for the first time
	ctx       context.Context
	cancel    context.CancelFunc

	mu      sync.Mutex
	view    topology.View
	started uint64        // probes begun, without those where a sign of life was to do
	ended   uint64        // probes ended, likewise
	done    chan struct{} // closed when the next one ends; nil where nobody waits for it
}

func newWatcher(addr topology.Addr, interval, timeout time.Duration, changed func(before, after topology.View)) *watcher {
	w := &watcher{addr: addr, interval: interval, timeout: timeout, changed: changed}
	w.job.do = w.work
	return w
}

// start begins to watch until stop is called. What runs for it is among running.
func (w *watcher) start(ctx context.Context, running *sync.WaitGroup) {
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.job.start(running)
	w.poke()
}

// stop ends what is under way, and the connection.
func (w *watcher) stop() {
	w.cancel()
	w.job.end(w.prober.Close)
}

// poke asks for a probe at once; pokes during one merge into one after it.
func (w *watcher) poke() { w.job.ask() }

// work probes once. The first probe is where intervals begin.
func (w *watcher) work(why reasons) {
	if why.due && w.beat == nil {
		w.job.in(w.interval)
	}
	w.probe(w.ctx, !why.asked)
	if w.scheduled {
		return
	}
	w.scheduled = true
	if w.beat != nil {
		w.beat.join(w)
	} else {
		w.job.in(w.interval)
	}
}

// hail asks for a sign of life where that will do, and waits for nothing.
func (w *watcher) hail(now time.Time) bool {
	w.mu.Lock()
	light := w.view.Reach == topology.Answered && w.spares(w.view.StateAt, now)
	w.mu.Unlock()
	return light && w.prober.Hail()
}

// heard says whether the sign of life has come.
func (w *watcher) heard() bool {
	asked, ok := w.prober.Heard()
	if !ok {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.view.Reach == topology.Answered && asked.After(w.view.At) {
		w.view.At = asked // it lived then, or later
	}
	return true
}

// crowded says that a probe will have to log in where thousands may at the same time: when
// they begin, and when this process gets too little CPU to have taken their answers in time. What does
// not answer is asked as often as ever otherwise: views of it count for a short time only.
func (w *watcher) crowded(last topology.View) bool {
	return w.opening != nil && (last.Reach == topology.Unknown || !last.Alive() && w.beat.grace() > 0)
}

// turn waits until one more of thousands may be probed, unless somebody waits for it; ok is false when ctx ended first.
func (w *watcher) turn(ctx context.Context, due bool) (end func(), ok bool) {
	switch {
	case w.crowded(w.last()):
		return w.opening.take(ctx)
	case due:
		return w.probing.take(ctx)
	default:
		return func() {}, true
	}
}

// spares says that a sign of life will do, for what was read last is not too old. Half an interval counts as none, for probes
// do not come to the microsecond.
func (w *watcher) spares(read, now time.Time) bool {
	sparing := time.Duration(w.sparing.Load())
	return sparing > 0 && now.Sub(read) < sparing-w.interval/2
}

// probe looks at the instance, because it is due or because somebody asked.
func (w *watcher) probe(ctx context.Context, due bool) {
	end, ok := w.turn(ctx, due)
	if !ok {
		return
	}
	defer end()
	w.mu.Lock()
	before := w.view
	light := due && before.Reach == topology.Answered && w.spares(before.StateAt, time.Now())
	if !light {
		w.started++
	}
	w.mu.Unlock()
	timeout := w.timeout
	if w.beat != nil {
		timeout += w.beat.grace()
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	var after topology.View
	if light {
		after = w.prober.Ping(bounded)
	} else {
		after = w.prober.Probe(bounded)
	}
	cancel()
	if ctx.Err() != nil {
		return // we are being stopped: this tells nothing of the server
	}
	w.mu.Lock()
	w.view = after
	if !light {
		w.ended++
		if w.done != nil {
			close(w.done)
			w.done = nil
		}
	}
	w.mu.Unlock()

	if after.Reach == topology.TimedOut && after.Failures == 1 {
		w.poke()
	}
	w.changed(before, after)
}

// last is the newest view.
func (w *watcher) last() topology.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

// now waits for a probe that began after the call, or for ctx's end, and returns
// the newest view.
func (w *watcher) now(ctx context.Context) topology.View {
	w.mu.Lock()
	want := w.started + 1
	w.mu.Unlock()
	w.poke()
	for {
		w.mu.Lock()
		view, ended := w.view, w.ended
		if ended < want && w.done == nil {
			w.done = make(chan struct{})
		}
		done := w.done
		w.mu.Unlock()
		if ended >= want {
			return view
		}
		select {
		case <-ctx.Done():
			return view
		case <-done:
		}
	}
}
