package sidecar

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// leader is the follower's sidecar as a leader whose term has just begun.
func (f follower) lead() *term {
	t := newTerm(f.Sidecar, 1)
	f.setTerm(t)
	return t
}

func TestAnUnknownNodeGetsNoLease(t *testing.T) {
	f := newFollower()
	f.lead()
	reply, err := f.Heartbeat(t.Context(), api.Heartbeat{Node: "n9", Seq: 1, Started: time.Now()})
	if !errors.Is(err, api.ErrBadInput) || reply.Lease != 0 {
		t.Errorf("%+v, %v", reply, err)
	}
	if _, registered := f.raft.State().Nodes["n9"]; registered {
		t.Error("it was registered")
	}
}

func TestASuspectIsWaitedForUntilItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.routed(t)
		f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: ledger.Node{Name: "n4", Proxy: true}}}) // configured once
		f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: ledger.Node{Name: "n1", Proxy: true}}})
		f.begin(t, failover.KindFailover)
		term := f.lead()
		waits := func() (names []string) {
			for _, p := range term.caseOf("main", nil).Snapshot.Proxies {
				if !p.Holds(f.raft.State().Clusters["main"].Intent.Epoch) {
					names = append(names, p.Node)
				}
			}
			return names
		}
		if got := waits(); !slices.Equal(got, []string{"n1", "n2", "n3", "n4"}) {
			t.Errorf("right after the term began a failover waits for %v", got)
		}
		lease := f.cfg.Lease
		<-time.After(lease.TTL.D() + lease.FenceTime.D() - time.Millisecond)
		if got := waits(); !slices.Equal(got, []string{"n1", "n2", "n3", "n4"}) {
			t.Errorf("a moment before their leases are over it waits for %v", got)
		}
		<-time.After(time.Millisecond)
		if got := waits(); len(got) > 0 {
			t.Errorf("when their leases are over it waits for %v", got)
		}
	})
}

func TestANodeIsForgottenWhenItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: ledger.Node{Name: "n4", Proxy: true}}})
		if err := f.ForgetNode(context.Background(), "n4"); !errors.Is(err, api.ErrNotLeader) {
			t.Errorf("on a follower: %v", err)
		}
		f.lead()
		var refused *api.RefusedError
		if err := f.ForgetNode(context.Background(), "n3"); !errors.As(err, &refused) {
			t.Errorf("one that is configured: %v", err)
		}
		began := time.Now()
		if err := f.ForgetNode(context.Background(), "n4"); err != nil {
			t.Fatal(err)
		}
		if took, lease := time.Since(began), f.cfg.Lease; took < lease.TTL.D()+lease.FenceTime.D() {
			t.Errorf("forgotten after %s, when a lease of the term before might hold", took)
		}
		if _, there := f.raft.State().Nodes["n4"]; there {
			t.Error("it is registered yet")
		}
		if err := f.ForgetNode(context.Background(), "n4"); !errors.As(err, &refused) {
			t.Errorf("one that is not registered: %v", err)
		}
	})
}

func TestTheEndOfALeaseClosesNoProxyThatHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.routed(t)
		term := f.lead()
		beat := api.Heartbeat{Node: "n3", Seq: 1, Started: time.Now(), Proxies: map[string]topology.Proxy{"main": {Epoch: 1, Hung: true}}}
		if _, err := f.Heartbeat(context.Background(), beat); err != nil {
			t.Fatal(err)
		}
		over := func() bool {
			return term.evidence.proxies("main", []string{"n3"}, f.ports.Clock().Boot, false)[0].LeaseOver
		}
		var refused *api.RefusedError
		if err := f.NodeFenced(context.Background(), "n3"); !errors.As(err, &refused) {
			t.Errorf("while it is heard: %v", err)
		}
		<-time.After(time.Minute)
		if over() {
			t.Error("a silent sidecar is believed to have closed a proxy that did not answer it")
		}
		if err := f.NodeFenced(context.Background(), "n9"); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("one that nobody knows: %v", err)
		}
		if err := f.NodeFenced(context.Background(), "n3"); err != nil || !over() {
			t.Errorf("an operator's word does not count: %v", err)
		}
		beat.Seq, beat.Proxies = 2, map[string]topology.Proxy{"main": {Epoch: 1, Hung: true}}
		if _, err := f.Heartbeat(context.Background(), beat); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if over() {
			t.Error("the word counts after the node was heard again")
		}
		beat.Seq, beat.Proxies = 3, map[string]topology.Proxy{"main": {Epoch: 1}}
		if _, err := f.Heartbeat(context.Background(), beat); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if !over() {
			t.Error("a proxy that answered is waited for after its lease")
		}
	})
}

// A leader that lost its ledger, or never had it, sets epochs above all that were
// acknowledged: nothing else would be routed.
func TestALostLedgerBeginsAboveWhatWasAcknowledged(t *testing.T) {
	f := newFollower()
	f.lead()
	beat := api.Heartbeat{Node: "n3", Seq: 1, Started: time.Now(), Acknowledged: map[string]uint64{"main": 90}}
	for range 2 {
		if _, err := f.Heartbeat(t.Context(), beat); err != nil {
			t.Fatal(err)
		}
		beat.Seq++
	}
	f.routed(t)
	if epoch := f.raft.State().Clusters["main"].Route.Epoch; epoch <= 90 {
		t.Errorf("the next epoch is %d", epoch)
	}
	beat.Acknowledged = map[string]uint64{"main": 400} // of a node that joins later
	if _, err := f.Heartbeat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	d := newDecider(f.leading(), "main")
	c := d.caseOf("main", nil)
	for i := range c.Snapshot.Instances {
		inst := &c.Snapshot.Instances[i]
		inst.Reach, inst.State, inst.ReadAt = topology.Up, &topology.State{}, c.Snapshot.Taken
	}
	d.route(t.Context(), &c) // notes it
	d.readersAt = time.Now().Add(-settleReaders)
	if !d.route(t.Context(), &c) || f.raft.State().Clusters["main"].Route.Epoch <= 400 {
		t.Errorf("the route stays at epoch %d", f.raft.State().Clusters["main"].Route.Epoch)
	}
}
