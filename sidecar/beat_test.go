package sidecar

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/topology"
)

// beating is a watcher that a beat wakes, and that need not read.
func beating(b *beat, interval time.Duration) (*watcher, *countingProber) {
	w, p := newWatcher(dbA, interval, 500*time.Millisecond, func(_, _ topology.View) {}), &countingProber{}
	w.prober, w.beat = p, b
	w.sparing.Store(int64(forever))
	return w, p
}

// Of thousands each is probed once in its interval, and many at one instant; what answers is asked for a sign of life that nobody
// waits for.
func TestProbesOfThousandsBeginTogether(t *testing.T) {
	for _, interval := range []time.Duration{200 * time.Millisecond, time.Second, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(context.Background())
			b := newBeat()
			var running sync.WaitGroup
			running.Go(func() { b.run(ctx) })
			const n = 200
			var probers []*countingProber
			var watchers []*watcher
			for range n {
				w, p := beating(b, interval)
				w.start(ctx, &running)
				probers, watchers = append(probers, p), append(watchers, w)
			}
			pass(10*interval + beatEvery)
			instants := map[int64]bool{}
			for i, p := range probers {
				if hails := p.hails.Load(); hails < 10 || hails > 11 {
					t.Errorf("interval %s: %d hails in ten of them", interval, hails)
				}
				p.expect(t, "besides hails", 1, 0, p.hails.Load())
				if age := time.Since(watchers[i].last().At); age > interval+listenFor {
					t.Errorf("interval %s: the view is %s old", interval, age)
				}
				instants[p.hailedAt.Load().UnixNano()] = true
			}
			if most := int(interval/beatEvery) + 1; len(instants) > most || len(instants) < min(most, n)/4 {
				t.Errorf("interval %s: the last signs of life were asked for at %d instants, want some and %d at most", interval, len(instants), most)
			}
			stop()
			for _, w := range watchers {
				w.stop()
			}
			running.Wait()
			for range int64(3 * interval / beatEvery) {
				b.turnTo(b.number+1, time.Now())
			}
			if probers[0].hails.Load() > 11 {
				t.Errorf("interval %s: hailed after its watcher ended", interval)
			}
		})
	}
}

// A sign of life that does not come is waited for by a probe, and so is one that cannot be asked for without waiting.
func TestWhatIsNotHeardIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		b := newBeat()
		w, p := beating(b, time.Second)
		var running sync.WaitGroup
		running.Go(func() { b.run(ctx) })
		w.start(ctx, &running)
		defer func() { stop(); w.stop(); running.Wait() }()
		pass(2*time.Second + beatEvery)
		hails := p.hails.Load() // the first comes within a second
		p.expect(t, "while it answers", 1, 0, hails)
		p.silent.Store(true)
		before := w.last().At
		pass(time.Second + listenFor)
		if p.pings.Load() == 0 || !w.last().At.After(before) {
			t.Errorf("what does not answer to a hail is not waited for: %d pings", p.pings.Load())
		}
		p.silent.Store(false)
		p.unhailed.Store(true)
		pass(time.Second)
		hails, pings := p.hails.Load(), p.pings.Load()
		pass(time.Second)
		p.expect(t, "where it cannot be hailed", 1, pings+1, hails)
		p.unhailed.Store(false)
		p.denies.Store(true)
		w.poke()
		p.expect(t, "when somebody asks", 2, pings+1, hails)
		pass(time.Second)
		p.expect(t, "what does not answer well is read", 3, pings+1, hails)
	})
}

// A sign of life confirms the answer that it was asked after, and nothing that was seen since.
func TestASignOfLifeRevivesNoLaterView(t *testing.T) {
	asked := time.Now()
	for name, tc := range map[string]struct {
		view topology.View
		want time.Time
	}{
		"an older answer": {topology.View{Reach: topology.Answered, At: asked.Add(-time.Second)}, asked},
		"a newer answer":  {topology.View{Reach: topology.Answered, At: asked.Add(time.Second)}, asked.Add(time.Second)},
		"a time-out":      {topology.View{Reach: topology.TimedOut, At: asked.Add(-time.Second)}, asked.Add(-time.Second)},
	} {
		w, p := beating(newBeat(), time.Second)
		p.hailedAt.Store(&asked)
		w.view = tc.view
		if !w.heard() || !w.last().At.Equal(tc.want) || w.last().Reach != tc.view.Reach {
			t.Errorf("%s: the view is now %+v", name, w.last())
		}
	}
}

// News is gathered where much is going on in the fleet, but not of a cluster that hurries.
func TestNewsIsGatheredInAStorm(t *testing.T) {
	d := newDecider(newTerm(newFollower().Sidecar, 1), "main")
	d.term.restless.Store(1000 * restlessAtOnce)
	if got := d.gathering(); got != 0 {
		t.Errorf("the first look of a term waits for %s", got)
	}
	for _, tc := range []struct {
		restless int32
		hurries  bool
		want     time.Duration
	}{
		{0, false, 0}, {3 * restlessAtOnce, false, 0}, {10 * restlessAtOnce, false, 10 * gatherFor},
		{1000 * restlessAtOnce, false, mostGathering}, {1000 * restlessAtOnce, true, 0},
	} {
		d.hurries = tc.hurries
		d.term.restless.Store(tc.restless)
		if got := d.gathering(); got != tc.want {
			t.Errorf("%d restless clusters, hurries %t: %s, want %s", tc.restless, tc.hurries, got, tc.want)
		}
	}
	d.hurries = false
	if d.unsettle(); d.gathering() != 0 {
		t.Error("what was asked for, and counts for a moment only, is gathered")
	}
}

func TestATimeOutIsLongerWhereProbesComeLate(t *testing.T) {
	b := newBeat()
	b.came(time.Millisecond)
	if g := b.grace(); g != 0 {
		t.Errorf("a millisecond late prolongs a time-out by %s", g)
	}
	b.came(300 * time.Millisecond)
	if g := b.grace(); g != 600*time.Millisecond {
		t.Errorf("300 ms late prolongs a time-out by %s", g)
	}
	b.came(time.Minute)
	if g := b.grace(); g != mostGrace {
		t.Errorf("a minute late prolongs a time-out by %s", g)
	}
	for range 5000 {
		b.came(0)
	}
	if g := b.grace(); g != 0 {
		t.Errorf("long after it prolongs a time-out by %s", g)
	}
}
