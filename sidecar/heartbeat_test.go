package sidecar

import (
	"errors"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/topology"
)

func TestALeaseIsGrantedOnlyAfterAQuorumRound(t *testing.T) {
	f := newFollower()
	f.routed(t)
	term := newTerm(f.Sidecar, 1)
	f.setTerm(term)
	beat := api.Heartbeat{Node: "n2", Seq: 1, Started: time.Now(), Proxies: map[string]topology.Proxy{"main": {Node: "n2", Epoch: 3}}}
	reply, err := f.Heartbeat(t.Context(), beat)
	if err != nil || reply.Lease != f.cfg.Lease.TTL {
		t.Fatalf("a leader with a quorum grants %s, %v", reply.Lease, err)
	}
	left := term.evidence.leaseLeft("n2", f.ports.Clock().Boot)

	f.raft.deposed = consensus.ErrNotLeader
	beat.Seq, beat.Proxies["main"] = 2, topology.Proxy{Node: "n2", Epoch: 4}
	reply, err = f.Heartbeat(t.Context(), beat)
	if !errors.Is(err, api.ErrNotLeader) || reply.Lease != 0 {
		t.Errorf("without a quorum it grants %s, %v", reply.Lease, err)
	}
	if now := term.evidence.leaseLeft("n2", f.ports.Clock().Boot); now > left {
		t.Errorf("it counts a lease that it did not grant: %s left after %s", now, left)
	}
	if p := term.evidence.proxies("main", []string{"n2"}, 0, false); p[0].Epoch != 4 {
		t.Errorf("what the heartbeat said was lost: epoch %d", p[0].Epoch)
	}
}

func TestAnOvertakenHeartbeatGetsNoLease(t *testing.T) {
	f := newFollower()
	f.routed(t)
	f.setTerm(newTerm(f.Sidecar, 1))
	beat := api.Heartbeat{Node: "n2", Seq: 2, Started: time.Now()}
	if _, err := f.Heartbeat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	beat.Seq = 1
	if reply, err := f.Heartbeat(t.Context(), beat); err == nil || reply.Lease != 0 {
		t.Errorf("it gets %s, %v", reply.Lease, err)
	}
}

func TestAFileOfASilentNodeIsNoFinding(t *testing.T) {
	now := time.Now()
	e := newEvidence(DefaultConfig().Lease, 0)
	e.take(api.Heartbeat{Node: "n2", Seq: 1, Started: now, Files: []topology.File{{Node: "n2", Destination: "/f"}}}, now)
	ttl := DefaultConfig().Lease.TTL.D()
	if n := len(e.files(now.Add(ttl - 1))); n != 1 {
		t.Errorf("while it is heard there are %d files", n)
	}
	if n := len(e.files(now.Add(ttl))); n != 0 {
		t.Errorf("when it is silent there are %d files", n)
	}
}
