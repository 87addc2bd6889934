package sidecar

import (
	"context"
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
	reads, pings atomic.Int32
	denies       atomic.Bool
}

func (p *countingProber) Probe(context.Context) topology.View {
	p.reads.Add(1)
	return p.view()
}

func (p *countingProber) Ping(context.Context) topology.View {
	p.pings.Add(1)
	return p.view()
}

func (p *countingProber) view() topology.View {
	v := topology.View{Reach: topology.Answered, At: time.Now()}
	if p.denies.Load() {
		v.Reach = topology.Denied
	}
	return v
}

func (*countingProber) Close() {}

func TestASignOfLifeDoesUntilSomethingIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		w := newWatcher(dbA, time.Second, 500*time.Millisecond, func(_, _ topology.View) {})
		p := &countingProber{}
		w.prober = p
		w.light.Store(true)
		ended := make(chan struct{})
		go func() { w.run(ctx); close(ended) }()
		defer func() { stop(); <-ended }()
		expect := func(when string, reads, pings int32) {
			t.Helper()
			synctest.Wait()
			if p.reads.Load() != reads || p.pings.Load() != pings {
				t.Errorf("%s: %d readings and %d pings, want %d and %d", when, p.reads.Load(), p.pings.Load(), reads, pings)
			}
		}
		expect("at first", 1, 0)
		<-time.After(3500 * time.Millisecond)
		expect("while it answers", 1, 3)
		w.poke()
		expect("when its connection broke, or somebody asks", 2, 3)
		p.denies.Store(true)
		<-time.After(time.Second)
		expect("until it does not answer well", 2, 4)
		<-time.After(2 * time.Second)
		expect("as long as it does not", 4, 4)
	})
}

// Who wants to know now waits for a reading that began afterwards: signs of life are none, whether past or to come.
func TestNowIsAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		w := newWatcher(dbA, time.Second, 500*time.Millisecond, func(_, _ topology.View) {})
		p := &countingProber{}
		w.prober = p
		w.light.Store(true)
		ended := make(chan struct{})
		go func() { w.run(ctx); close(ended) }()
		defer func() { stop(); <-ended }()
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
		want := map[topology.Addr]target{dbA: {cluster: "main", Detection: detection, own: true, light: true, spread: true}}
		ctx, stop := context.WithCancel(context.Background())
		defer func() { stop(); o.close() }()
		passes := func(d time.Duration) (reads, pings int32) {
			reads, pings = p.reads.Load(), p.pings.Load()
			pass(d)
			return p.reads.Load() - reads, p.pings.Load() - pings
		}
		o.watch(ctx, want)
		if reads, pings := passes(5 * time.Second); reads != 1 || pings < 4 {
			t.Errorf("at first: %d readings and %d pings in 5 s", reads, pings)
		}
		o.look([]topology.Addr{dbA})
		if reads, pings := passes(5 * time.Second); reads < 5 || pings > 0 {
			t.Errorf("when it was asked for: %d readings and %d pings in 5 s", reads, pings)
		}
		o.watch(ctx, want)
		if reads, pings := passes(guestTime - 6*time.Second); reads < 3 || pings > 0 {
			t.Errorf("while it may be asked for again: %d readings and %d pings in 4 s", reads, pings)
		}
		pass(2 * time.Second)
		o.watch(ctx, want)
		if reads, pings := passes(5 * time.Second); reads > 0 || pings < 4 {
			t.Errorf("afterwards: %d readings and %d pings in 5 s", reads, pings)
		}
	})
}

func TestProbesOfThousandsBeginTogether(t *testing.T) {
	now, b := time.Now(), newBeat()
	for range 1000 {
		due := b.first(now, time.Second)
		if wait := due.Sub(now); wait <= 0 || wait > time.Second+beatEvery {
			t.Fatalf("the second probe comes after %s", wait)
		}
		if off := (due.UnixNano() - int64(b.phase)) % int64(beatEvery); off != 0 {
			t.Fatalf("a probe is due %s after the beat", time.Duration(off))
		}
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
