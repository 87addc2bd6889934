package consensus

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/remora-ha/remora/ledger"
)

// What the leader applies, every node learns, also one without a vote.
func TestReplication(t *testing.T) {
	for name, disk := range map[string]bool{"memory": false, "disk": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 4, nil)
			c.peers[3].NonVoter = true
			if disk {
				c.onDisk()
			}
			c.start()
			leader, _ := c.leader()
			if leader.cfg.Name == "n4" {
				t.Fatal("a node without a vote leads")
			}
			var applied, learned []time.Duration
			for i := range 40 {
				start := time.Now()
				c.apply(discover(i))
				applied = append(applied, time.Since(start))
				for _, n := range c.nodes {
					knows(t, n, host(i))
				}
				learned = append(learned, time.Since(start))
			}
			t.Logf("%s: applied in %s median, %s worst; known on all nodes after %s median, %s worst",
				name, median(applied), slices.Max(applied), median(learned), slices.Max(learned))
		})
	}
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2].Round(10 * time.Microsecond)
}

func TestOnlyTheLeaderApplies(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, term := c.leader()
	follower := c.followers(leader)[0]
	eventually(t, "the follower knows its leader", func() bool {
		name, ok := follower.Leader()
		return ok && name == leader.cfg.Name
	})
	_, err := follower.Apply(bounded(t), discover(1))
	var not *NotLeaderError
	if !errors.Is(err, ErrNotLeader) || !errors.As(err, &not) || not.Leader != leader.cfg.Name {
		t.Errorf("apply on a follower: %v", err)
	}
	if err := follower.Verify(bounded(t)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("verify on a follower: %v", err)
	}
	if err := follower.Barrier(bounded(t)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("barrier on a follower: %v", err)
	}
	if err := errors.Join(leader.Verify(bounded(t)), leader.Barrier(bounded(t))); err != nil && term.Ctx.Err() == nil {
		t.Error(err)
	}
	stats := leader.Stats()
	if stats.State != "leader" || stats.Term != term.Number || len(stats.Peers) != 3 || stats.Contact != 0 || stats.Commit == 0 {
		t.Errorf("%+v", stats)
	}
}

// A command sent again after an unknown outcome is applied once.
func TestRepeatedCommand(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	c.leader()
	c.apply(discover(1))
	cmd := ledger.Command{ID: "once", SetRoute: &ledger.SetRoute{Cluster: "main", Writer: host(1)}}
	first := c.apply(cmd)
	if again := c.apply(cmd); again != first || first.Epoch == 0 {
		t.Errorf("first %+v, again %+v", first, again)
	}
}

// A refusal is an answer, not an error.
func TestRefusal(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	leader, _ := c.leader()
	r, err := leader.Apply(bounded(t), ledger.Command{ID: "r", SetRoute: &ledger.SetRoute{Cluster: "none"}})
	if err != nil || r.Rule != ledger.RuleUnknown {
		t.Errorf("got %+v, %v", r, err)
	}
	// What could not be read back never reaches the log, where it would halt every node.
	if _, err := leader.Apply(bounded(t), ledger.Command{ID: "bad", Forget: &ledger.Forget{Addr: "no address"}}); err == nil {
		t.Error("a malformed command was accepted")
	}
	if err := errors.Join(leader.Barrier(bounded(t)), leader.Halted()); err != nil {
		t.Error(err)
	}
}

// A leader that is cut off cannot verify its leadership, and its term ends. The
// command that it could not place is sent again to the next leader, once.
func TestIsolatedLeader(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	old, term := c.leader()
	c.apply(discover(1))
	c.net.isolate(old.cfg.Name)
	if err := old.Verify(bounded(t)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("verify on an isolated leader: %v", err)
	}
	_, err := old.Apply(bounded(t), discover(2))
	if !errors.Is(err, ErrAmbiguous) && !errors.Is(err, ErrNotLeader) {
		t.Errorf("apply on an isolated leader: %v", err)
	}
	ended(t, term)
	delete(c.nodes, old.cfg.Name)
	_, next := c.leader()
	if next.Number <= term.Number {
		t.Errorf("term %d after %d", next.Number, term.Number)
	}
	c.nodes[old.cfg.Name] = old
	c.apply(discover(2))
	c.net.heal()
	knows(t, old, host(2))
}

// An apply that is on its way when the leader is cut off is ambiguous: it may be
// on other nodes already.
func TestAmbiguousApply(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, _ := c.leader()
	c.net.isolate(leader.cfg.Name)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // shorter than the lease
	defer cancel()
	if _, err := leader.Apply(ctx, discover(1)); !errors.Is(err, ErrAmbiguous) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The leader is killed: another one leads, with everything that was applied.
func TestLeaderKilled(t *testing.T) {
	var took []time.Duration
	for range 3 {
		c := newCluster(t, 3, nil).start()
		old, term := c.leader()
		c.apply(discover(1))
		start := time.Now()
		c.stop(old.cfg.Name)
		next, _ := c.leader()
		took = append(took, time.Since(start))
		knows(t, next, host(1))
		ended(t, term)
		for name := range c.nodes {
			c.stop(name)
		}
	}
	t.Logf("a new leader was ready %v after the old one was killed", took)
}

func TestTransferLeadership(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	old, term := c.leader()
	to := c.followers(old)[0]
	c.apply(discover(1))
	for _, n := range c.nodes {
		knows(t, n, host(1))
	}
	start := time.Now()
	if err := old.TransferLeadership(bounded(t), to.cfg.Name); err != nil {
		t.Fatal(err)
	}
	ended(t, term)
	next, _ := c.leader()
	if next != to {
		t.Errorf("%s leads, want %s", next.cfg.Name, to.cfg.Name)
	}
	t.Logf("handed over in %s", time.Since(start))
	if err := to.TransferLeadership(bounded(t), "n9"); err == nil {
		t.Error("the leadership was handed to a stranger")
	}
	if err := old.TransferLeadership(bounded(t), ""); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a follower hands over: %v", err)
	}
}

// A term that nobody received does not keep the node from closing, and the
// channel ends.
func TestClose(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	n := c.nodes["n1"]
	eventually(t, "it leads", n.IsLeader)
	if err := n.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(bounded(t)); err != nil {
		t.Error(err)
	}
	if _, ok := <-n.Terms(); ok {
		t.Error("a closed node delivered a term")
	}
	if _, err := n.Apply(bounded(t), discover(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("apply on a closed node: %v", err)
	}
}

// Each reader of the state is told of the next one, however many there are.
func TestWatch(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	n, _ := c.leader()
	before, first := n.Watch()
	_, second := n.Watch()
	c.apply(discover(1))
	for _, superseded := range []<-chan struct{}{first, second} {
		select {
		case <-superseded:
		case <-time.After(patience):
			t.Fatal("not told")
		}
	}
	if len(before.Clusters) != 0 || len(n.State().Clusters) != 1 {
		t.Errorf("before %v, now %v", before.Clusters, n.State().Clusters)
	}
}
