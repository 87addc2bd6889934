package sidecar

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// wired asks another sidecar of the test, unless it is cut off.
type wired struct {
	*fakePeer
	to  *Sidecar
	off *bool
}

func (p wired) Confirm(ctx context.Context, r api.ConfirmRequest) (api.ConfirmReply, error) {
	if *p.off {
		return api.ConfirmReply{}, errors.New("cut off")
	}
	return p.to.Confirm(ctx, r)
}

// failsafe runs n1 in virtual time, routing, and gives it the others to ask. They
// share its ledger.
func failsafe(t *testing.T, test func(t *testing.T, f follower, others map[string]*Sidecar, off *bool, after func(time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.cfg.Lease.Failsafe = true
		off := false
		others := map[string]*Sidecar{}
		for _, name := range []string{"n2", "n3"} {
			o := newFollower()
			o.cfg.Node, o.cfg.Lease.Failsafe, o.ports.Consensus = name, true, f.raft
			others[name] = o.Sidecar
		}
		f.ports.Peer = func(name string) Peer { return wired{f.peer, others[name], &off} }
		after := f.start(t)
		f.opened(t, after)
		test(t, f, others, &off, after)
	})
}

func TestALeaseHoldsOnWhileEveryNodeConfirms(t *testing.T) {
	failsafe(t, func(t *testing.T, f follower, _ map[string]*Sidecar, off *bool, after func(time.Duration)) {
		f.peer.set(false) // raft has no quorum
		f.raft.leaderIs("")
		f.forget()
		after(time.Minute)
		if f.proxy.routes() != topology.Open || f.proxy.called("fence soft") {
			t.Fatalf("everybody confirmed, and the proxy is %s: %s", f.proxy.routes(), f.made())
		}
		*off = true // one is enough
		after(f.cfg.Lease.TTL.D() + f.cfg.Lease.FenceTime.D())
		if f.proxy.routes() != topology.Fenced || !f.proxy.called("fence hard") {
			t.Errorf("nobody confirms, and the proxy is %s: %s", f.proxy.routes(), f.made())
		}
		*off = false
		after(time.Minute)
		if f.proxy.routes() != topology.Fenced {
			t.Errorf("a lease that was over is revived: the proxy is %s", f.proxy.routes())
		}
	})
}

func TestOneNodeThatDoesNotConfirmIsEnough(t *testing.T) {
	for want, deny := range map[string]func(t *testing.T, f follower, others map[string]*Sidecar){
		"n3 does not confirm: it leads": func(_ *testing.T, _ follower, others map[string]*Sidecar) {
			others["n3"].setTerm(newTerm(others["n3"], 7))
		},
		"n3 does not confirm: its lease.failsafe is off": func(_ *testing.T, _ follower, others map[string]*Sidecar) {
			others["n3"].cfg.Lease.Failsafe = false
		},
		"n3 does not confirm: it knows epoch 3 of main": func(t *testing.T, f follower, others map[string]*Sidecar) {
			ahead := newFakeRaft("")
			ahead.state = f.raft.State().Clone()
			others["n3"].ports.Consensus = ahead
			follower{raft: ahead}.begin(t, failover.KindFailover)
		},
		`"n2" answered in the place of n3`: func(_ *testing.T, _ follower, others map[string]*Sidecar) {
			others["n3"] = others["n2"]
		},
		"node n4 is registered and not in this node's configuration": func(t *testing.T, f follower, _ map[string]*Sidecar) {
			f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: ledger.Node{Name: "n4", Proxy: true}}})
		},
	} {
		t.Run(want, func(t *testing.T) {
			failsafe(t, func(t *testing.T, f follower, others map[string]*Sidecar, _ *bool, after func(time.Duration)) {
				deny(t, f, others)
				f.peer.set(false)
				f.raft.leaderIs("")
				if err := f.confirmAll(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v", err)
				}
				after(f.cfg.Lease.TTL.D() + f.cfg.Lease.FenceTime.D())
				if f.proxy.routes() != topology.Fenced {
					t.Errorf("the proxy is %s", f.proxy.routes())
				}
			})
		})
	}
}

// Whoever leads next waits for longer than what it confirmed lasts.
func TestTheNextLeaderWaitsOutWhatItConfirmed(t *testing.T) {
	failsafe(t, func(t *testing.T, f follower, others map[string]*Sidecar, off *bool, after func(time.Duration)) {
		f.peer.set(false)
		f.raft.leaderIs("")
		after(30 * time.Second)
		next := newTerm(others["n2"], 8) // elected, and not yet in office
		after(100 * time.Millisecond)
		if err := f.confirmAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		others["n2"].setTerm(next)
		*off = true
		for {
			held := f.lease.left()
			left := next.evidence.leaseLeft("n1", others["n2"].ports.Clock().Boot)
			if left < held+f.cfg.Lease.FenceTime.D() {
				t.Fatalf("the holder has %s, and the leader believes %s with the fence time", held, left)
			}
			if held <= 0 {
				return
			}
			after(10 * time.Millisecond)
		}
	})
}

func TestAnUnknownNodeIsConfirmedNothing(t *testing.T) {
	f := newFollower()
	f.cfg.Lease.Failsafe = true
	if reply, err := f.Confirm(t.Context(), api.ConfirmRequest{Node: "n9"}); !errors.Is(err, api.ErrBadInput) || reply.Confirmed {
		t.Errorf("%+v, %v", reply, err)
	}
}

// holding is a follower whose cluster's proxies stay open without a lease.
func holding(f follower) {
	c := f.cfg.Clusters["main"]
	c.Policy.OnLeaseLoss = failover.LeaseLossHold
	f.cfg.Clusters["main"] = c
}

func TestHoldKeepsRoutingWithoutALease(t *testing.T) {
	cutOffFromTheStart(t, func(t *testing.T, f follower, after func(time.Duration)) {
		holding(f)
		f.routed(t)
		after(5 * time.Second)
		if f.proxy.routes() == topology.Open {
			t.Fatal("a sidecar that never had a lease routes")
		}
		f.peer.set(true)
		after(time.Second)
		f.forget()
		f.peer.set(false)
		after(time.Minute)
		if f.proxy.routes() != topology.Open || f.made() != "" {
			t.Errorf("the proxy is %s: %s", f.proxy.routes(), f.made())
		}
		f.begin(t, failover.KindFailover) // raft reaches this node, heartbeats do not
		after(time.Second)
		if told := f.proxies.all()["main"]; f.proxy.routes() != topology.Fenced || told.Epoch != f.raft.State().Clusters["main"].Intent.Epoch {
			t.Errorf("an agreed fence is not carried out: %+v", told)
		}
	})
}

func TestTheEndOfALeaseMeansNothingWhereItIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, holds := range []bool{false, true} {
			f := newFollower()
			if holds {
				holding(f)
			}
			f.cfg.Nodes = f.cfg.Nodes[2:]
			f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: ledger.Node{Name: "n3", Proxy: true}}})
			f.routed(t)
			term := f.lead()
			<-time.After(time.Hour)
			if p := term.caseOf("main", nil).Snapshot.Proxies; len(p) != 1 || p[0].LeaseOver == holds {
				t.Errorf("holds %t: %+v", holds, p)
			}
			if err := f.NodeFenced(context.Background(), "n3"); err != nil {
				t.Fatal(err)
			}
			if p := term.caseOf("main", nil).Snapshot.Proxies; !p[0].LeaseOver {
				t.Errorf("holds %t: an operator's word does not count", holds)
			}
			if file := newLeaseFile(f.Sidecar, "b1"); (len(file.note.Writers) == 0) != holds {
				t.Errorf("holds %t: the watchdog is to close %v", holds, file.note.Writers)
			}
		}
	})
}
