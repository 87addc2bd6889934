package sidecar

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

// watch runs a watcher whose probes `probe` answers, in virtual time.
func watch(t *testing.T, probe probeFunc, test func(w *watcher)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(dbA, 250*time.Millisecond, 500*time.Millisecond, func(_, _ topology.View) {})
		w.prober = probe
		var running sync.WaitGroup
		w.start(context.Background(), &running)
		defer func() { w.stop(); running.Wait() }()
		synctest.Wait()
		test(w)
	})
}

func TestAWatcherProbesEveryInterval(t *testing.T) {
	probes := 0
	watch(t, func(context.Context) topology.View { probes++; return topology.View{Reach: topology.Answered} }, func(*watcher) {
		<-time.After(2*time.Second + time.Millisecond)
		synctest.Wait()
		if probes != 9 {
			t.Errorf("%d probes in 2 s, want one at once and 8 more", probes)
		}
	})
}

func TestABrokenConnectionIsProbedAtOnce(t *testing.T) {
	probes := 0
	watch(t, func(context.Context) topology.View { probes++; return topology.View{Reach: topology.Refused} }, func(w *watcher) {
		w.poke()
		synctest.Wait()
		if probes != 2 {
			t.Errorf("%d probes after a break, want 2 without waiting", probes)
		}
	})
}

func TestATimeOutIsTriedAgainAtOnce(t *testing.T) {
	failures := 0
	began := time.Time{}
	var second time.Duration
	watch(t, func(ctx context.Context) topology.View {
		if began.IsZero() {
			began = time.Now()
		}
		<-ctx.Done()
		if failures++; failures == 2 {
			second = time.Since(began)
		}
		return topology.View{Reach: topology.TimedOut, Failures: failures}
	}, func(*watcher) {
		<-time.After(1100 * time.Millisecond)
		synctest.Wait()
		if second != time.Second {
			t.Errorf("the second time-out was known after %s, want twice the time-out", second)
		}
	})
}

func TestNowWaitsForAProbeThatBeganAfterTheCall(t *testing.T) {
	probes := 0
	watch(t, func(context.Context) topology.View {
		probes++
		<-time.After(100 * time.Millisecond)
		return topology.View{Reach: topology.Answered, Failures: probes}
	}, func(w *watcher) {
		// The first probe is under way: it began before, so it does not count.
		if v := w.now(context.Background()); v.Failures != 2 {
			t.Errorf("now returned probe %d, want the one after it", v.Failures)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if v := w.now(ctx); v.Failures != 2 {
			t.Errorf("when the time is over now returns the newest view, not probe %d", v.Failures)
		}
	})
}

func TestEvidenceCountsALeaseFromItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := LeaseConfig{TTL: topology.Duration(2 * time.Second), FenceTime: topology.Duration(500 * time.Millisecond)}
		clock := goClock()
		e := newEvidence(lease, clock().Boot)
		if left := e.leaseLeft("n2", clock().Boot); left != 2500*time.Millisecond {
			t.Errorf("a lease of the term before may last %s yet, want TTL and fence time", left)
		}
		<-time.After(2 * time.Second)
		e.take(api.Heartbeat{Node: "n2", Seq: 1}, time.Now())
		if left := e.leaseLeft("n2", clock().Boot); left != 500*time.Millisecond {
			t.Errorf("a heartbeat without a grant prolongs nothing, yet %s are left", left)
		}
		e.grant("n2", clock().Boot)
		if left := e.leaseLeft("n2", clock().Boot); left != 2500*time.Millisecond {
			t.Errorf("after a grant %s are left", left)
		}
		<-time.After(2500 * time.Millisecond)
		if p := e.proxies("main", []string{"n2"}, clock().Boot, false); !p[0].LeaseOver {
			t.Error("the lease and the fence time are over, and the proxy still counts")
		}
	})
}

func TestEvidenceIgnoresAnOvertakenHeartbeat(t *testing.T) {
	now := time.Now()
	e := newEvidence(DefaultConfig().Lease, 0)
	beat := func(seq uint64, started time.Time, epoch uint64) bool {
		return e.take(api.Heartbeat{Node: "n2", Seq: seq, Started: started, Proxies: map[string]topology.Proxy{"main": {Epoch: epoch}}}, now)
	}
	for _, c := range []struct {
		name    string
		seq     uint64
		started time.Time
		epoch   uint64
		taken   bool
		want    uint64
	}{
		{"first", 5, now, 10, true, 10},
		{"overtaken", 4, now, 9, false, 10},
		{"the same again", 5, now, 9, false, 10},
		{"newer", 6, now, 11, true, 11},
		{"after a restart", 1, now.Add(time.Second), 12, true, 12},
		{"late, from before the restart", 7, now, 11, false, 12},
		{"again, long after", 8, now, 13, true, 13}, // a process whose clock was set back
	} {
		if c.name == "again, long after" {
			now = now.Add(DefaultConfig().Lease.TTL.D())
		}
		if taken := beat(c.seq, c.started, c.epoch); taken != c.taken {
			t.Errorf("%s: taken is %t", c.name, taken)
		}
		if have := e.proxies("main", []string{"n2"}, 0, false)[0].Epoch; have != c.want {
			t.Errorf("%s: epoch %d, want %d", c.name, have, c.want)
		}
	}
}

// Of thousands only so many begin to log in at once. What is known not to answer is asked as
// often as ever, for views of it count for a short time only, unless this process is late itself.
func TestThousandsLogInOneAfterTheOther(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(context.Background())
			opening, beat := make(turns, 2), newBeat()
			if late {
				beat.late.Store(int64(time.Hour)) // nothing comes by that would lower it
			}
			var mu sync.Mutex
			var begun []time.Time
			silent := func(ctx context.Context) topology.View {
				mu.Lock()
				begun = append(begun, time.Now())
				mu.Unlock()
				<-ctx.Done()
				return topology.View{Reach: topology.TimedOut}
			}
			began := time.Now()
			var watchers sync.WaitGroup
			defer watchers.Wait()
			watchers.Go(func() { // as beat.run does, but it stays as late as it is
				for ctx.Err() == nil {
					<-time.After(beatEvery)
					beat.turnTo(beat.at(time.Now()), time.Now())
				}
			})
			const n = 20
			for range n {
				w := newWatcher(dbA, 10*time.Second, 500*time.Millisecond, func(_, _ topology.View) {})
				w.prober, w.opening, w.beat = probeFunc(silent), opening, beat
				w.start(ctx, &watchers)
				defer w.stop()
			}
			<-time.After(turnTime * (n/2 - 1) / 2)
			synctest.Wait()
			mu.Lock()
			if most := 2 * (n/4 + 1); len(begun) > most {
				t.Errorf("late %t: %d were asked for the first time within %s, want no more than %d", late, len(begun), time.Since(began), most)
			}
			mu.Unlock()
			<-time.After(time.Minute)
			mu.Lock()
			again := len(begun)
			mu.Unlock()
			if want := 5 * n; again < want {
				t.Errorf("late %t: %d were asked %d times in a minute, want at least %d", late, n, again, want)
			}
			stop()
		})
	}
}
