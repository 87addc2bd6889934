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
	opening  chan struct{} // bounds how many log in at once; nil for no bound
	beat     *beat         // of thousands: when their probes begin; nil for an interval after the first
	light    atomic.Bool   // a sign of life will do
	kick     chan struct{}
	changed  func(before, after topology.View)

	mu      sync.Mutex
	view    topology.View
	started uint64        // probes begun, without those where a sign of life was to do
	ended   uint64        // probes ended, likewise
	done    chan struct{} // closed when the next one ends; nil where nobody waits for it
}

func newWatcher(addr topology.Addr, interval, timeout time.Duration, changed func(before, after topology.View)) *watcher {
	return &watcher{
		addr: addr, interval: interval, timeout: timeout, changed: changed,
		kick: make(chan struct{}, 1),
	}
}

// poke asks for a probe at once; pokes during one merge into one after it.
func (w *watcher) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *watcher) run(ctx context.Context) {
	defer w.prober.Close()
	w.probe(ctx, false)
	due := time.Now().Add(w.interval)
	if w.beat != nil {
		due = w.beat.first(time.Now(), w.interval)
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		light, idle := false, time.Now().Before(due)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			now := time.Now()
			if w.beat != nil && idle {
				w.beat.came(now.Sub(due))
			}
			due = now.Add(w.interval - now.Sub(due)%w.interval)
			timer.Reset(due.Sub(now))
			light = w.light.Load()
		case <-w.kick:
		}
		w.probe(ctx, light)
	}
}

// turnTime is how long a log-in keeps others from beginning: one that takes longer waits for a
// server that does not answer, which costs nothing here.
const turnTime = 50 * time.Millisecond

// crowded says that a probe will have to log in where thousands may at the same time: when
// they begin, and when this process gets too little CPU to have taken their answers in time. What does
// not answer is asked as often as ever otherwise: views of it count for a short time only.
func (w *watcher) crowded(last topology.View) bool {
	return w.opening != nil && (last.Reach == topology.Unknown || !last.Alive() && w.beat.grace() > 0)
}

// turn waits until one more of thousands may log in; false when ctx ended first.
func (w *watcher) turn(ctx context.Context) bool {
	select {
	case w.opening <- struct{}{}:
		time.AfterFunc(turnTime, func() { <-w.opening })
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *watcher) probe(ctx context.Context, light bool) {
	w.mu.Lock()
	before := w.view
	w.mu.Unlock()
	if w.crowded(before) && !w.turn(ctx) {
		return
	}
	w.mu.Lock()
	before = w.view
	if light = light && before.Reach == topology.Answered; !light {
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
