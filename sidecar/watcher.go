package sidecar

import (
	"context"
	"sync"
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
	opening  chan struct{} // bounds how many begin at once; nil for no bound
	early    time.Duration // by how much the second probe comes before the interval is over
	kick     chan struct{}
	changed  func(before, after topology.View)

	mu      sync.Mutex
	view    topology.View
	started uint64        // probes begun
	ended   uint64        // probes ended
	done    chan struct{} // closed and replaced whenever a probe ends
}

func newWatcher(addr topology.Addr, interval, timeout time.Duration, changed func(before, after topology.View)) *watcher {
	return &watcher{
		addr: addr, interval: interval, timeout: timeout, changed: changed,
		kick: make(chan struct{}, 1), done: make(chan struct{}),
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
	if !w.open(ctx) {
		return
	}
	tick := time.NewTicker(w.interval - w.early)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if w.early > 0 {
				w.early = 0
				tick.Reset(w.interval)
			}
		case <-w.kick:
		}
		w.probe(ctx)
	}
}

// open does the first probe, in its turn where thousands begin; false when ctx ended first.
func (w *watcher) open(ctx context.Context) bool {
	if w.opening != nil {
		select {
		case w.opening <- struct{}{}:
			defer func() { <-w.opening }()
		case <-ctx.Done():
			return false
		}
	}
	w.probe(ctx)
	return true
}

func (w *watcher) probe(ctx context.Context) {
	w.mu.Lock()
	w.started++
	before := w.view
	w.mu.Unlock()

	bounded, cancel := context.WithTimeout(ctx, w.timeout)
	after := w.prober.Probe(bounded)
	cancel()
	if ctx.Err() != nil {
		return // we are being stopped: this tells nothing of the server
	}
	w.mu.Lock()
	w.view = after
	w.ended++
	close(w.done)
	w.done = make(chan struct{})
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
		view, ended, done := w.view, w.ended, w.done
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
