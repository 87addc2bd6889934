package sidecar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// beats are heartbeats of n3, as they come from its process.
type beats struct {
	f follower
	h api.Heartbeat
}

func beatsOf(f follower) *beats {
	return &beats{f, api.Heartbeat{
		Node: "n3", Started: time.Now(), Index: f.raft.State().Index, Proxy: true, TTL: f.cfg.Lease.TTL, FenceTime: f.cfg.Lease.FenceTime,
	}}
}

func (b *beats) send() error {
	b.h.Seq++
	_, err := b.f.Heartbeat(context.Background(), b.h)
	return err
}

// granted sends heartbeats for some time and says whether the last one got a lease.
func (b *beats) granted(d time.Duration) bool {
	var err error
	for range d / (200 * time.Millisecond) {
		err = b.send()
		<-time.After(200 * time.Millisecond)
	}
	return err == nil
}

func (f follower) proxyOf(node string) *topology.Proxy {
	list := f.leading().caseOf("main", nil).Snapshot.Proxies
	if i := slices.IndexFunc(list, func(p topology.Proxy) bool { return p.Node == node }); i >= 0 {
		return &list[i]
	}
	return nil
}

// Configuration is changed one node at a time, the leader last.
func TestAProxyThatHoldsIsCountedOnByALeaderThatDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.routed(t)
		f.lead()
		b := beatsOf(f)
		b.h.Holds = []string{"main"}
		if err := b.send(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if f.proxyOf("n3").LeaseOver {
			t.Error("the leader believes that the end of its lease closed a proxy which holds on")
		}
		b.h.Started, b.h.Holds = time.Now(), nil // configured back
		if err := b.send(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if !f.proxyOf("n3").LeaseOver {
			t.Error("a proxy that needs a lease is waited for")
		}
	})
}

func TestALeaderWaitsOutTheLongestLeaseOfAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.routed(t)
		long := ledger.Node{Name: "n2", Proxy: true, TTL: topology.Duration(10 * time.Second), FenceTime: topology.Duration(time.Second)}
		f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: long}})
		term := f.lead()
		left := func() time.Duration { return term.evidence.leaseLeft("n3", f.ports.Clock().Boot) }
		if left() != 11*time.Second {
			t.Errorf("a lease that n2 granted may hold for %s", left())
		}
		b := beatsOf(f)
		if err := b.send(); err != nil {
			t.Fatal(err)
		}
		if left() != 11*time.Second {
			t.Errorf("a shorter lease of this leader makes it %s", left())
		}
		b.h.Node, b.h.Seq, b.h.TTL = "n2", 0, f.cfg.Lease.TTL // started anew: what it granted lasts
		ttl := func() time.Duration { return f.raft.State().Nodes["n2"].TTL.D() }
		if b.granted(10 * time.Second); ttl() != 10*time.Second {
			t.Errorf("while a lease of before may hold, n2 is registered with %s", ttl())
		}
		if b.granted(2 * time.Second); ttl() != f.cfg.Lease.TTL.D() {
			t.Errorf("when none may, n2 is registered with %s", ttl())
		}
		b.h.FenceTime = topology.Duration(4 * time.Second)
		if err := b.send(); err != nil {
			t.Fatal(err)
		}
		if got := term.evidence.leaseLeft("n2", f.ports.Clock().Boot); got != 6*time.Second {
			t.Errorf("a node that fences for 4s is waited for %s", got)
		}
	})
}

func TestALongerLeaseThanTheNodesOwnIsNotConfirmed(t *testing.T) {
	f := newFollower()
	f.cfg.Lease.Failsafe = true
	for ttl, want := range map[topology.Duration]bool{f.cfg.Lease.TTL: true, f.cfg.Lease.TTL + 1: false} {
		reply, err := f.Confirm(t.Context(), api.ConfirmRequest{Node: "n2", TTL: ttl})
		if err != nil || reply.Confirmed != want || !want && !strings.Contains(reply.Why, "its lease.ttl is 2s") {
			t.Errorf("%s: %+v, %v", ttl, reply, err)
		}
	}
}

func TestAProxyThatRunsCountsWhateverTheLeadersFileSays(t *testing.T) {
	f := newFollower()
	f.cfg.Nodes[2].Witness = true
	f.lead()
	b := beatsOf(f)
	if err := b.send(); err != nil || !f.raft.State().Nodes["n3"].Proxy {
		t.Errorf("a node with a proxy is registered as %+v, %v", f.raft.State().Nodes["n3"], err)
	}
	b.h.Started, b.h.Proxy = time.Now(), false
	if err := b.send(); err != nil || f.raft.State().Nodes["n3"].Proxy {
		t.Errorf("a witness is registered as %+v, %v", f.raft.State().Nodes["n3"], err)
	}
}

func TestAHeldClusterWaitsForNodesThatNeverRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		holding(f)
		f.routed(t)
		f.lead()
		<-time.After(time.Hour)
		if p := f.proxyOf("n3"); p == nil || p.LeaseOver {
			t.Fatalf("a configured node that may route without a lease is taken for %+v", p)
		}
		if err := f.NodeFenced(context.Background(), "n3"); err != nil || !f.proxyOf("n3").LeaseOver {
			t.Errorf("an operator's word: %+v, %v", f.proxyOf("n3"), err)
		}
	})
}

func TestANodeInTroubleGetsNoLeaseWhileAnIntentIsOpen(t *testing.T) {
	for name, trouble := range map[string]func(b *beats){
		"its disk hangs":            func(b *beats) { b.h.Trouble = []string{"its disk hangs, for 3s now"} },
		"its ledger does not go on": func(*beats) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFollower()
				f.routed(t)
				f.lead()
				b := beatsOf(f)
				trouble(b)
				if !b.granted(time.Minute) {
					t.Fatal("without an intent its clients lose their writer for nothing")
				}
				b.h.Index = f.raft.State().Index
				f.begin(t, failover.KindFailover)
				if len(b.h.Trouble) > 0 { // which is enough
					b.h.Index = f.raft.State().Index
				}
				lease := f.cfg.Lease
				b.granted(2*lease.TTL.D() + lease.FenceTime.D() + 2*lease.Heartbeat.D())
				var refused *api.RefusedError
				if err := b.send(); !errors.As(err, &refused) || !strings.Contains(err.Error(), "failover i1 of cluster main waits for its proxy") {
					t.Errorf("%v", err)
				}
				if p := f.proxyOf("n3"); !p.LeaseOver {
					t.Errorf("the failover waits for it: %+v", p)
				}
				b.h.Trouble, b.h.Index = nil, f.raft.State().Index
				if !b.granted(time.Second) || f.proxyOf("n3").LeaseOver {
					t.Error("it gets no lease when it is well")
				}
			})
		})
	}
}

func TestAShortTroubleCostsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.routed(t)
		f.lead()
		b := beatsOf(f)
		b.granted(time.Minute)
		b.h.Index = f.raft.State().Index
		f.begin(t, failover.KindFailover)
		for range 5 { // every time behind for less than the TTL
			if !b.granted(f.cfg.Lease.TTL.D() - f.cfg.Lease.Heartbeat.D()) {
				t.Fatal("a node that was behind for less than the TTL gets no lease")
			}
			b.h.Index = f.raft.State().Index
			b.granted(f.cfg.Lease.Heartbeat.D())
			f.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{topology.Addr(time.Now().Format("150405.000") + ":1")}}})
		}
		b.h.Trouble = []string{"its disk cannot be written"}
		b.granted(time.Second) // the next try of the disk is well
		b.h.Trouble, b.h.Index = nil, f.raft.State().Index
		if f.proxyOf("n3").LeaseOver || !b.granted(f.cfg.Lease.Heartbeat.D()) {
			t.Error("a trouble of a second ended its lease")
		}
	})
}

// After a suspend, or on an image that was restored, nobody knows what was agreed meanwhile.
func TestHoldEndsWhenAClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		m := newMachine()
		holding(f)
		f.ports.Clock, f.lease = m.now, newLease(m.now)
		f.start(t)
		f.routed(t)
		<-time.After(time.Second)
		f.peer.set(false)
		<-time.After(time.Minute)
		if f.proxy.routes() != topology.Open {
			t.Fatalf("the proxy is %s", f.proxy.routes())
		}
		m.slept += time.Hour
		<-time.After(time.Second)
		if f.proxy.routes() != topology.Fenced {
			t.Errorf("after a suspend without a new lease the proxy is %s", f.proxy.routes())
		}
		f.peer.set(true)
		<-time.After(time.Second)
		if f.proxy.routes() != topology.Open {
			t.Errorf("with the next lease the proxy is %s", f.proxy.routes())
		}
	})
}
