package sidecar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// inVirtualTime runs a follower's loops in virtual time: time passes only where
// everybody waits, so sleeping here is not waiting.
func inVirtualTime(t *testing.T, test func(t *testing.T, f follower, after func(time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		test(t, f, f.start(t))
	})
}

// cutOffFromTheStart is the same for a sidecar that no leader answers.
func cutOffFromTheStart(t *testing.T, test func(t *testing.T, f follower, after func(time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.peer.set(false)
		test(t, f, f.start(t))
	})
}

func TestASidecarStartsFenced(t *testing.T) {
	cutOffFromTheStart(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t) // the local ledger has a route, maybe an old one
		after(time.Second)
		if f.proxy.called("apply") || f.proxy.routes() != topology.Fenced || !f.proxy.called("fence hard") {
			t.Errorf("without a lease the proxy was not fenced: %v", f.proxy.calls)
		}
		f.peer.set(true)
		after(300 * time.Millisecond)
		if f.proxy.routes() != topology.Open {
			t.Errorf("with a lease the route was not applied: %v", f.proxy.calls)
		}
	})
}

func TestALeaseOfANewerLedgerRoutesNothing(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.behind(3)        // the leader has an entry that this node has not
		after(time.Second) // a heartbeat has brought it
		f.routed(t)
		after(time.Second)
		if f.proxy.called("apply") {
			t.Fatal("a route was applied that may not be the current one")
		}
		f.begin(t, failover.KindFailover) // the entry arrives: the writer is to be fenced
		after(300 * time.Millisecond)
		if f.proxy.routes() != topology.Fenced || f.proxy.now.Epoch != f.raft.State().Clusters["main"].Intent.Epoch {
			t.Errorf("the proxy is %s at epoch %d", f.proxy.routes(), f.proxy.now.Epoch)
		}
	})
}

// Nobody tells a cluster's keeper of the entries of others.
func TestALedgerThatCatchesUpByAnotherClusterRoutesAtOnce(t *testing.T) {
	cutOffFromTheStart(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		f.behind(1)
		f.peer.set(true)
		after(time.Second)
		if f.proxy.routes() == topology.Open {
			t.Fatal("a route was applied that may not be the current one")
		}
		f.catchesUp(t, after)
		if f.proxy.routes() != topology.Open {
			t.Errorf("the ledger has reached what the lease asks for, and the proxy is %s", f.proxy.routes())
		}
	})
}

// What is open may stand though more was agreed since, but not for longer than a lease.
func TestALedgerThatStaysBehindClosesWhatIsOpen(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.opened(t, after)
		f.behind(1)
		after(f.cfg.Lease.TTL.D() - lookEvery)
		if f.proxy.routes() != topology.Open {
			t.Errorf("within a lease the proxy is %s", f.proxy.routes())
		}
		after(3 * lookEvery)
		if f.proxy.routes() != topology.Fenced {
			t.Errorf("after a lease the proxy is %s", f.proxy.routes())
		}
		f.catchesUp(t, after)
		if f.proxy.routes() != topology.Open {
			t.Errorf("when the ledger has caught up the proxy is %s", f.proxy.routes())
		}
	})
}

// An old ledger's route may name a writer that was replaced since.
func TestALedgerThatIsNotTheNewestOpensNothing(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.opened(t, after)
		f.begin(t, failover.KindFailover)
		f.behind(2)
		after(f.cfg.Lease.Heartbeat.D())
		f.raft.must(t, ledger.Command{CommitRoute: &ledger.CommitRoute{Cluster: "main", IntentID: "i1", Writer: dbB}})
		after(f.cfg.Lease.TTL.D() / 2)
		if f.proxy.routes() != topology.Fenced {
			t.Errorf("the proxy is %s for %s", f.proxy.routes(), f.proxy.now.Writer)
		}
		f.catchesUp(t, after)
		if f.proxy.routes() != topology.Open || f.proxy.now.Writer != dbB {
			t.Errorf("when the ledger is the newest the proxy is %s for %s", f.proxy.routes(), f.proxy.now.Writer)
		}
	})
}

// Where a copy on its disk opens the writer, a proxy that restarts is closed until it is known who is the writer.
func TestAProxyThatComesBackIsClosedUntilTheLedgerIsTheNewest(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.opened(t, after)
		f.behind(1)
		after(f.cfg.Lease.Heartbeat.D())
		f.proxy.mu.Lock()
		f.proxy.now = topology.Proxy{Writer: dbA, Mode: topology.Open}
		f.proxy.mu.Unlock()
		f.broke <- struct{}{}
		after(0)
		if f.proxy.routes() != topology.Fenced {
			t.Errorf("the new incarnation is %s", f.proxy.routes())
		}
		f.catchesUp(t, after)
		if f.proxy.routes() != topology.Open || f.proxy.now.Epoch == 0 {
			t.Errorf("when the ledger is the newest it is %s at epoch %d", f.proxy.routes(), f.proxy.now.Epoch)
		}
	})
}

func TestALostLeaseFencesSoftlyThenHardWithinTheFenceTime(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		after(time.Second)
		if f.proxy.routes() != topology.Open {
			t.Fatalf("the proxy is %s", f.proxy.routes())
		}
		f.proxy.mu.Lock()
		f.proxy.calls = nil
		f.proxy.mu.Unlock()
		f.peer.set(false)
		lease := f.cfg.Lease
		after(lease.TTL.D() - lease.Heartbeat.D() - 10*time.Millisecond)
		if f.proxy.called("fence soft") {
			t.Error("fenced while the lease still held")
		}
		after(lease.Heartbeat.D() + 20*time.Millisecond)
		if !f.proxy.called("fence soft") {
			t.Error("the lease ran out and the proxy was not fenced")
		}
		after(lease.FenceTime.D() - 20*time.Millisecond)
		if !f.proxy.called("fence hard") {
			t.Error("the fence time is over and sessions were not ended")
		}
	})
}

func TestARouteOfTheLedgerReachesTheProxyAtOnce(t *testing.T) {
	for _, kind := range []failover.Kind{failover.KindFailover, failover.KindSwitchover} {
		t.Run(string(kind), func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
				f.routed(t)
				after(time.Second)
				f.begin(t, kind)
				after(0)
				want := f.raft.State().Clusters["main"].Desired()
				if f.proxy.now.Epoch != want.Epoch || f.proxy.routes() != want.Mode {
					t.Errorf("the proxy is %s at epoch %d, want %s at %d", f.proxy.routes(), f.proxy.now.Epoch, want.Mode, want.Epoch)
				}
				f.peer.mu.Lock()
				defer f.peer.mu.Unlock()
				if last := f.peer.beats[len(f.peer.beats)-1]; last.Proxies["main"].Epoch != want.Epoch {
					t.Errorf("the leader was not told at once: it knows epoch %d", last.Proxies["main"].Epoch)
				}
			})
		})
	}
}

func TestWhatAnotherHandDidIsMended(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		after(time.Second)
		f.proxy.mu.Lock()
		f.proxy.now.Mode, f.proxy.calls = topology.Fenced, nil
		f.proxy.mu.Unlock()
		after(lookEvery)
		if f.proxy.routes() != topology.Open {
			t.Errorf("after a look the proxy is still %s", f.proxy.routes())
		}
	})
}

func TestTheDiskCopyIsWrittenAtOnceThenWhenARouteStandsAndEveryMinute(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		saves := func() (n int) {
			f.proxy.mu.Lock()
			defer f.proxy.mu.Unlock()
			for _, c := range f.proxy.calls {
				if c == "save" {
					n++
				}
			}
			return n
		}
		f.routed(t)
		after(time.Second)
		if saves() != 1 {
			t.Fatalf("a fresh proxy was saved %d times", saves())
		}
		after(saveEvery - 2*lookEvery)
		if saves() != 1 {
			t.Errorf("a standing route was saved %d times in a minute", saves())
		}
		after(3 * lookEvery)
		if saves() != 2 {
			t.Errorf("a minute after the first copy there are %d", saves())
		}
		f.raft.must(t, ledger.Command{SetRoute: &ledger.SetRoute{
			Cluster: "main", Expect: f.raft.State().Clusters["main"].Route.Epoch, Writer: dbA,
		}})
		after(saveAfter - lookEvery)
		if saves() != 2 {
			t.Errorf("another route was saved before it stood: %d", saves())
		}
		after(2 * lookEvery)
		if saves() != 3 {
			t.Errorf("another route that stands was not saved: %d", saves())
		}
	})
}

func TestARestartedProxyIsAppliedToAtOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		after(time.Second)
		f.proxy.mu.Lock()
		f.proxy.now = topology.Proxy{Mode: topology.Fenced} // it forgot its epoch
		f.proxy.mu.Unlock()
		f.broke <- struct{}{}
		after(0)
		if f.proxy.routes() != topology.Open || f.proxy.now.Epoch == 0 {
			t.Errorf("the new incarnation is %s at epoch %d", f.proxy.routes(), f.proxy.now.Epoch)
		}
	})
}

func TestSessionsThatHoldAPausedWriterAreEndedAfterThePatience(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		after(time.Second)
		f.begin(t, failover.KindSwitchover)
		after(0)
		f.proxy.mu.Lock()
		f.proxy.now.Drained = false // the next look finds a session that stays
		f.proxy.mu.Unlock()
		drain := f.cfg.Clusters["main"].Policy.Switchover.Drain.D()
		after(drain / 2)
		if f.proxy.called("end sessions") {
			t.Error("sessions were ended before the patience was over")
		}
		after(drain/2 - 20*time.Millisecond)
		if f.proxy.called("end sessions") {
			t.Error("sessions were ended shortly before the patience was over")
		}
		after(20*time.Millisecond + drainEvery)
		if !f.proxy.called("end sessions") {
			t.Error("the patience is over and the sessions still hold the writer")
		}
		f.proxy.mu.Lock()
		f.proxy.now.Drained, f.proxy.calls = true, nil
		f.proxy.mu.Unlock()
		after(2 * lookEvery)
		if f.proxy.called("end sessions") {
			t.Error("sessions of a drained writer were ended")
		}
		f.peer.mu.Lock()
		defer f.peer.mu.Unlock()
		if last := f.peer.beats[len(f.peer.beats)-1]; !last.Proxies["main"].Drained {
			t.Error("the leader was not told that the writer is drained")
		}
	})
}

func TestALeaderStopsWhenItIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		f.raft.terms <- consensus.Term{Ctx: context.Background(), Number: 1} // raft ends it only when it is closed
		synctest.Wait()
		if f.leading() == nil {
			t.Fatal("the node does not lead")
		}
		stop()
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("the leader goes on")
		}
	})
}
