package sidecar

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// countingProber counts how it is asked.
type countingProber struct {
	reads, pings, hails atomic.Int32
	denies              atomic.Bool
	unhailed            atomic.Bool // it cannot be hailed
	silent              atomic.Bool // nor does it answer to that
	readAt, hailedAt    atomic.Pointer[time.Time]
}

func (p *countingProber) Probe(context.Context) topology.View {
	p.reads.Add(1)
	now := time.Now()
	p.readAt.Store(&now)
	return p.view()
}

func (p *countingProber) Ping(context.Context) topology.View {
	p.pings.Add(1)
	return p.view()
}

func (p *countingProber) view() topology.View {
	v := topology.View{Reach: topology.Answered, At: time.Now(), StateAt: *p.readAt.Load()}
	if p.denies.Load() {
		v.Reach = topology.Denied
	}
	return v
}

func (p *countingProber) Hail() bool {
	if p.unhailed.Load() {
		return false
	}
	p.hails.Add(1)
	now := time.Now()
	p.hailedAt.Store(&now)
	return true
}

func (p *countingProber) Heard() (time.Time, bool) { return *p.hailedAt.Load(), !p.silent.Load() }

func (*countingProber) Close() {}

// expect checks how often it was asked.
func (p *countingProber) expect(t *testing.T, when string, reads, pings, hails int32) {
	t.Helper()
	synctest.Wait()
	if p.reads.Load() != reads || p.pings.Load() != pings || p.hails.Load() != hails {
		t.Errorf("%s: %d readings, %d pings and %d hails, want %d, %d and %d", when, p.reads.Load(), p.pings.Load(), p.hails.Load(), reads, pings, hails)
	}
}

// watched is a watcher that runs until the test ends, and what it asks.
func watched(t *testing.T, sparing time.Duration) (context.Context, *watcher, *countingProber) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w, p := newWatcher(dbA, time.Second, 500*time.Millisecond, func(_, _ topology.View) {}), &countingProber{}
	w.prober = p
	w.sparing.Store(int64(sparing))
	var running sync.WaitGroup
	w.start(ctx, &running)
	t.Cleanup(func() { stop(); w.stop(); running.Wait() })
	return ctx, w, p
}

func TestASignOfLifeDoesUntilSomethingIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, p := watched(t, forever)
		p.expect(t, "at first", 1, 0, 0)
		<-time.After(3500 * time.Millisecond)
		p.expect(t, "while it answers", 1, 3, 0)
		w.poke()
		p.expect(t, "when its connection broke, or somebody asks", 2, 3, 0)
		p.denies.Store(true)
		<-time.After(time.Second)
		p.expect(t, "until it does not answer well", 2, 4, 0)
		<-time.After(2 * time.Second)
		p.expect(t, "as long as it does not", 4, 4, 0)
	})
}

// The one that reads an instance does so now and then only, as long as the instance answers.
func TestWhatAnswersIsReadNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, p := watched(t, 5*time.Second)
		pass(20500 * time.Millisecond)
		p.expect(t, "in 20 s, at first and every 5 s", 5, 16, 0)
		w.sparing.Store(0)
		pass(3 * time.Second)
		p.expect(t, "in 3 s more, when each probe is to read", 8, 16, 0)
	})
}

// Who wants to know now waits for a reading that began afterwards: signs of life are none, whether past or to come.
func TestNowIsAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w, p := watched(t, forever)
		pass(5500 * time.Millisecond)
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if w.now(bounded); p.reads.Load() != 2 || bounded.Err() != nil {
			t.Errorf("after %d pings and %d readings: %v", p.pings.Load(), p.reads.Load(), bounded.Err())
		}
	})
}

// Who is asked for an instance reads it, for a while also where a sign of life would do.
func TestWhoIsAskedReadsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &countingProber{}
		o := newObserver(Ports{Prober: func(string, topology.Addr, func()) Prober { return p }})
		detection := DefaultConfig().Policy.Detection
		detection.Interval = topology.Duration(time.Second)
		want := map[topology.Addr]target{dbA: {cluster: "main", Detection: detection, own: true, sparing: forever, spread: true}}
		ctx, stop := context.WithCancel(context.Background())
		var beating sync.WaitGroup
		beating.Go(func() { o.beat.run(ctx) })
		defer func() { stop(); o.close(); beating.Wait() }()
		passes := func(d time.Duration) (reads, hails int32) {
			reads, hails = p.reads.Load(), p.hails.Load()
			pass(d)
			return p.reads.Load() - reads, p.hails.Load() - hails
		}
		o.watch(ctx, want)
		if reads, hails := passes(5 * time.Second); reads != 1 || hails < 4 {
			t.Errorf("at first: %d readings and %d signs of life in 5 s", reads, hails)
		}
		o.look([]topology.Addr{dbA})
		if reads, hails := passes(5 * time.Second); reads < 5 || hails > 0 {
			t.Errorf("when it was asked for: %d readings and %d signs of life in 5 s", reads, hails)
		}
		o.watch(ctx, want)
		if reads, hails := passes(guestTime - 6*time.Second); reads < 3 || hails > 0 {
			t.Errorf("while it may be asked for again: %d readings and %d signs of life in 4 s", reads, hails)
		}
		pass(2 * time.Second)
		o.watch(ctx, want)
		if reads, hails := passes(5 * time.Second); reads > 0 || hails < 4 {
			t.Errorf("afterwards: %d readings and %d signs of life in 5 s", reads, hails)
		}
	})
}

// What is only to be read again is read, and watched and told as before.
func TestWhatIsReadAgainIsWatchedAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &countingProber{}
		o := newObserver(Ports{Prober: func(string, topology.Addr, func()) Prober { return p }})
		detection := DefaultConfig().Policy.Detection
		ctx, stop := context.WithCancel(context.Background())
		defer func() { stop(); o.close() }()
		o.watch(ctx, map[topology.Addr]target{dbA: {cluster: "main", Detection: detection, own: true, sparing: forever, spread: true}})
		synctest.Wait()
		for _, again := range []bool{true, false} {
			reads := p.reads.Load()
			if views := o.now(ctx, []topology.Addr{dbA}, again); len(views) != 1 || p.reads.Load() != reads+1 {
				t.Errorf("again %t: %d views after %d readings more", again, len(views), p.reads.Load()-reads)
			}
			if r := o.all(nil); len(r) != 1 || r[0].close == again {
				t.Errorf("again %t: it is told closely: %t", again, r[0].close)
			}
			if spares := o.watchers[dbA].sparing.Load() > 0; spares != again {
				t.Errorf("again %t: a sign of life will do: %t", again, spares)
			}
		}
	})
}

// A cluster where all was well is only glanced at, until a view grows old, other sidecars are heard, or some seconds are over.
func TestAClusterThatIsWellIsOnlyGlancedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{dbA}}})
		d := newDecider(newTerm(f.Sidecar, 1), "main")
		e, fresh := d.evidence, d.cfg.Clusters["main"].Policy.Detection.Fresh.D()
		beat := func(seq uint64, views ...topology.View) {
			h := api.Heartbeat{Node: "n2", Seq: seq, Started: time.Unix(1, 0), Shares: "x"}
			for _, v := range views {
				h.Views = append(h.Views, api.Age(v, time.Now()))
			}
			e.take(h, time.Now())
		}
		beat(1, wellView("n2", dbA, dbA, time.Now()))
		looked := func() {
			d.calm = calm{now: true, well: true, at: time.Now(), fresh: 1, company: e.company(time.Now(), d.ports.Clock().Boot)}
			if !d.still(time.Now()) {
				t.Fatal("nothing has changed, and it is to be looked at")
			}
		}
		looked()
		d.calm.well = false
		if d.still(time.Now()) {
			t.Error("it is only glanced at though something was found")
		}
		looked()
		e.take(api.Heartbeat{Node: "n3", Seq: 1, Started: time.Unix(1, 0), Shares: "x"}, time.Now())
		<-time.After(companyEvery)
		if d.still(time.Now()) {
			t.Error("another sidecar is known of, and it is only glanced at")
		}
		looked()
		<-time.After(fresh + time.Millisecond)
		d.calm.company = e.company(time.Now(), d.ports.Clock().Boot)
		if d.calm.at = time.Now(); d.still(time.Now()) {
			t.Error("nobody has read it just now, and it is only glanced at")
		}
		beat(2, wellView("n2", dbA, dbA, time.Now()))
		looked()
		<-time.After(stillFor + time.Millisecond)
		beat(3, wellView("n2", dbA, dbA, time.Now()))
		d.calm.company = e.company(time.Now(), d.ports.Clock().Boot)
		if d.still(time.Now()) {
			t.Errorf("it was not looked at for %s", stillFor)
		}
	})
}

// A cluster that is to be adopted when it has been read again is not left alone, for the answer may be lost.
func TestAClusterThatWaitsForAnAnswerIsNotLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{dbA}}})
		d := newDecider(newTerm(f.Sidecar, 1), "main")
		read := wellView("n2", dbA, dbA, time.Now())
		read.State.Sources, read.State.ReadOnly = nil, false
		aged := api.Age(read, time.Now())
		aged.StateAge = topology.Duration(5 * time.Second)
		d.evidence.take(api.Heartbeat{Node: "n2", Seq: 1, Started: time.Unix(1, 0), Shares: "x", Views: []api.AgedView{aged}}, time.Now())
		d.cycle(context.Background())
		if d.calm.now || !d.restless.is {
			t.Errorf("it is left alone for %s: %s", d.pace(), d.lastVerdict().Decision.Sentence)
		}
		d.background.Wait()
	})
}
