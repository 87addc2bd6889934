package sidecar

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// guestTime is how long an instance outside of this sidecar's share is watched after it
	// was asked for, or was handed to another one.
	guestTime = 10 * time.Second
	// maxGuests bounds them; the one that was asked for longest ago goes first.
	maxGuests = 2000
	// maxOpening bounds how many of thousands of instances are probed at once that did not answer the
	// last time, or were never asked. That takes a log-in, which costs many times a reading: if all began in one
	// instant they would time out on a machine that cannot answer them in time, and begin again.
	maxOpening = 8
	// maxProbing bounds how many of the others are probed at once because their time has come.
	maxProbing = 64
)

// observer keeps a watcher for every instance that this sidecar is to watch, and for guests.
type observer struct {
	ports Ports
	// changed is notified when a view of the cluster says something else than the one before.
	changed news

	mu       sync.Mutex
	run      context.Context // of the watchers
	known    map[topology.Addr]target
	watchers map[topology.Addr]*watching
	guests   int // of the watchers
	wg       sync.WaitGroup
	opening  turns
	probing  turns
	beat     *beat
}

type watching struct {
	*watcher
	// until is when a guest goes: an instance that is not of this sidecar's share, and was asked
	// for, or was of it until just now. Zero: it is of the share.
	until time.Time
	asked time.Time // when a leader asked for it last
}

func newObserver(ports Ports) *observer {
	return &observer{ports: ports, watchers: map[topology.Addr]*watching{}, opening: make(turns, maxOpening), probing: make(turns, maxProbing), beat: newBeat()}
}

// target is how an instance is to be watched.
type target struct {
	cluster string
	failover.Detection
	own    bool // it is this sidecar's to watch
	close  bool // its cluster's primary is being changed
	spread bool // among thousands: not all are to be probed at one instant
	// sparing is how old its last reading may be for a sign of life to do, unless somebody asks; 0: each probe reads.
	sparing time.Duration
}

// watch brings the set of watchers in line: `want` are all instances, and how each is
// to be watched. What this sidecar is no more to watch stays a guest for a while, so that
// the next one has read it before.
func (o *observer) watch(ctx context.Context, want map[topology.Addr]target) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.run, o.known = ctx, want
	now := time.Now()
	for addr, w := range o.watchers {
		t, keep := want[addr]
		switch {
		case !keep || w.interval != t.Interval.D() || w.timeout != t.Timeout.D():
			o.dismiss(addr)
		case t.own:
			o.lodge(w, time.Time{})
		case w.until.IsZero():
			o.lodge(w, now.Add(guestTime))
		}
	}
	for addr, t := range want {
		if t.own && o.watchers[addr] == nil {
			o.begin(addr, t)
		}
	}
	o.tidy(now)
}

// pass is to be called now and then: guests whose time is over go, and what nobody asks for any more is read as seldom as
// before.
func (o *observer) pass(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tidy(now)
}

// tidy does so; o.mu is held.
func (o *observer) tidy(now time.Time) {
	for addr, w := range o.watchers {
		if !w.until.IsZero() && !now.Before(w.until) {
			o.dismiss(addr)
		} else {
			w.sparing.Store(int64(o.spared(w, addr, now)))
		}
	}
}

// begin starts a watcher; o.mu is held.
func (o *observer) begin(addr topology.Addr, t target) *watching {
	w := newWatcher(addr, t.Interval.D(), t.Timeout.D(), func(before, after topology.View) { o.noticed(t.cluster, before, after) })
	if t.spread {
		w.beat, w.opening, w.probing = o.beat, o.opening, o.probing
	}
	w.sparing.Store(int64(t.sparing))
	w.prober = o.ports.Prober(t.cluster, addr, w.poke)
	o.watchers[addr] = &watching{watcher: w}
	w.start(o.run, &o.wg)
	return o.watchers[addr]
}

// dismiss stops a watcher; o.mu is held.
func (o *observer) dismiss(addr topology.Addr) {
	w := o.watchers[addr]
	w.stop()
	o.lodge(w, time.Time{})
	delete(o.watchers, addr)
}

// lodge makes a watcher a guest until then; one of the share where that is zero. o.mu is held.
func (o *observer) lodge(w *watching, until time.Time) {
	if w.until.IsZero() != until.IsZero() {
		if until.IsZero() {
			o.guests--
		} else {
			o.guests++
		}
	}
	w.until = until
}

// spared is how old the last reading may be where a sign of life will do. What is asked for is read by those who watch it and
// need not read it, for a while; who reads it keeps its pace, and is asked again. o.mu is held.
func (o *observer) spared(w *watching, addr topology.Addr, now time.Time) time.Duration {
	if t := o.known[addr]; t.sparing != forever || now.Sub(w.asked) >= guestTime {
		return t.sparing
	}
	return 0
}

// ask has an instance watched for a leader that asks for it, as a guest where need be; nil
// when it is of no cluster. One that is only to be read again is watched as before. o.mu is held.
func (o *observer) ask(addr topology.Addr, now time.Time, again bool) *watching {
	w := o.watchers[addr]
	if w != nil && again {
		return w
	}
	if w == nil {
		t, ok := o.known[addr]
		if !ok || o.run.Err() != nil {
			return nil
		}
		o.makeRoom()
		w = o.begin(addr, t)
		o.lodge(w, now)
	}
	w.asked = now
	w.sparing.Store(int64(o.spared(w, addr, now)))
	if !w.until.IsZero() {
		o.lodge(w, now.Add(guestTime))
	}
	return w
}

// look has instances read now that a leader asks for, and waits for none of them.
func (o *observer) look(addrs []topology.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, a := range addrs {
		if w := o.ask(a, now, false); w != nil {
			w.poke()
		}
	}
}

// makeRoom dismisses the guest that would go first when there are too many; o.mu is held.
func (o *observer) makeRoom() {
	if o.guests < maxGuests {
		return
	}
	var first topology.Addr
	for addr, w := range o.watchers {
		if !w.until.IsZero() && (first == "" || w.until.Before(o.watchers[first].until)) {
			first = addr
		}
	}
	o.dismiss(first)
}

// noticed tells those who wait for news; a view that only confirms the one
// before it is left to the next heartbeat.
func (o *observer) noticed(cluster string, before, after topology.View) {
	if before.Reach != after.Reach || before.Failures != after.Failures || differs(before.State, after.State) {
		o.changed.notify(cluster)
	}
}

// differs says whether a reading changed in what decisions look at.
func differs(a, b *topology.State) bool {
	if a == nil || b == nil {
		return a != b
	}
	if a.ReadOnly != b.ReadOnly || a.SuperReadOnly != b.SuperReadOnly || len(a.Sources) != len(b.Sources) ||
		!slices.Equal(a.Replicas, b.Replicas) || a.SemiSync.SourceActive != b.SemiSync.SourceActive {
		return true
	}
	for i := range a.Sources {
		x, y := a.Sources[i], b.Sources[i]
		if x.Addr != y.Addr || x.IO != y.IO || x.SQL != y.SQL || x.IOError != y.IOError || x.SQLError != y.SQLError {
			return true
		}
	}
	return false
}

// views are the newest views of the given instances.
func (o *observer) views(addrs []topology.Addr) []topology.View {
	o.mu.Lock()
	defer o.mu.Unlock()
	var views []topology.View
	for _, addr := range addrs {
		if w := o.watchers[addr]; w != nil {
			if v := w.last(); v.Reach != topology.Unknown {
				views = append(views, v)
			}
		}
	}
	return views
}

// all appends to a list the newest views of everything that is watched. Close are those that a leader asked
// for, and those of clusters whose primary is being changed.
func (o *observer) all(list []reading) []reading {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for addr, w := range o.watchers {
		if v := w.last(); v.Reach != topology.Unknown {
			list = append(list, reading{v, o.known[addr].close || now.Sub(w.asked) < guestTime})
		}
	}
	return list
}

// reaches says that this sidecar does not watch an instance, or that it answers.
func (o *observer) reaches(a topology.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.watchers[a]
	return w == nil || w.last().Alive()
}

// clusterOf is the cluster that an instance is of; empty when nobody knows.
func (o *observer) clusterOf(a topology.Addr) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known[a].cluster
}

// now probes instances at once, also those that others watch, and waits for their views,
// or for ctx's end.
func (o *observer) now(ctx context.Context, addrs []topology.Addr, again bool) []topology.View {
	o.mu.Lock()
	var asked []*watching
	began := time.Now()
	for _, a := range addrs {
		if w := o.ask(a, began, again); w != nil {
			asked = append(asked, w)
		}
	}
	o.mu.Unlock()
	views := make([]topology.View, len(asked))
	var wg sync.WaitGroup
	for i, w := range asked {
		wg.Go(func() { views[i] = w.now(ctx) })
	}
	wg.Wait()
	return slices.DeleteFunc(views, func(v topology.View) bool { return v.Reach == topology.Unknown })
}

// close stops all watchers and waits for them.
func (o *observer) close() {
	o.watch(context.Background(), nil)
	o.wg.Wait()
}

// known are the instances of a cluster to be watched: those in the ledger and
// the seeds, less those that the policy ignores.
func (s *Sidecar) known(cluster string) []topology.Addr {
	cfg := s.cfg.Clusters[cluster]
	addrs := slices.Clone(s.ports.Consensus.State().Clusters[cluster].Known)
	if len(addrs) == 0 {
		addrs = slices.Clone(cfg.Seeds)
	}
	addrs = slices.DeleteFunc(addrs, func(a topology.Addr) bool { return cfg.Policy.Server(a).Ignore })
	return topology.SortAddrs(addrs)
}

// observe keeps the watchers in line with the ledger, and with who shares the watching.
func (s *Sidecar) observe(ctx context.Context) {
	changed, stop := s.agreed.watch("")
	defer stop()
	regrouped, stopRegrouped := s.regrouped.watch()
	defer stopRegrouped()
	var beating sync.WaitGroup
	beating.Go(func() { s.observer.beat.run(ctx) })
	defer beating.Wait()
	own := share{node: s.cfg.Node}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.observer.watch(ctx, s.targets(&own))
		if s.sharing.Load() {
			pause(ctx, shareAtMost)
		}
		for same := true; same; {
			select {
			case <-ctx.Done():
				s.observer.close()
				return
			case <-changed:
				same = false
			case <-regrouped:
				same = false
			case now := <-tick.C:
				s.observer.pass(now)
			}
		}
	}
}
