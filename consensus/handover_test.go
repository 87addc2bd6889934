package consensus

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// stuckStable is a stable store on the same disk as a stuck log.
type stuckStable struct {
	raft.StableStore
	disk *stuck
}

func (s *stuckStable) Set(key, value []byte) error {
	s.disk.wait()
	return s.StableStore.Set(key, value)
}

func (s *stuckStable) SetUint64(key []byte, value uint64) error {
	s.disk.wait()
	return s.StableStore.SetUint64(key, value)
}

// withStuckDisks starts three nodes whose disks can be made to hang as a whole.
func withStuckDisks(t *testing.T) (*cluster, map[string]*stuck) {
	disks := map[string]*stuck{}
	return newCluster(t, 3, func(c *Config) {
		c.Stores = MemoryStores()
		disks[c.Name] = &stuck{LogStore: c.Stores.Logs}
		c.Stores.Logs = disks[c.Name]
		c.Stores.Stable = &stuckStable{StableStore: c.Stores.Stable, disk: disks[c.Name]}
	}).start(), disks
}

// A leader at rest whose disk hangs has the other elected, also where raft itself
// comes to a stand before it can say so: closing the node ends the term then.
func TestALeaderAtRestHandsOverThoughItsDiskHangs(t *testing.T) {
	c, disks := withStuckDisks(t)
	leader, term := c.leader()
	c.apply(discover(1))
	free := disks[leader.cfg.Name].hang()
	defer free()
	to := "n1"
	if leader.cfg.Name == to {
		to = "n2"
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := leader.TransferLeadership(short, to)
	t.Logf("the transfer: %v", err)
	if err := leader.Verify(short); err == nil {
		t.Error("the old leader is still followed")
	}
	if err != nil {
		_ = leader.Close(short)
	}
	select {
	case <-term.Ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("the old leader's term goes on")
	}
	delete(c.nodes, leader.cfg.Name)
	if next, _ := c.leader(); next.cfg.Name != to {
		t.Errorf("%s leads, want %s", next.cfg.Name, to)
	}
	c.apply(discover(2))
	free()
	if err := leader.Close(bounded(t)); err != nil {
		t.Errorf("close: %v", err)
	}
}

// A leader whose raft waits for the disk cannot hand over: the attempt is bounded,
// and closing the node lets the others elect.
func TestALeaderWhoseRaftHangsLeaves(t *testing.T) {
	c, disks := withStuckDisks(t)
	leader, term := c.leader()
	free := disks[leader.cfg.Name].hang()
	defer free()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := leader.Apply(short, discover(1)); err == nil {
		t.Fatal("the disk does not hang")
	}
	short, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := leader.TransferLeadership(short, ""); err == nil {
		t.Error("the leadership was handed over by a raft that hangs")
	}
	_ = leader.Close(short)
	select {
	case <-term.Ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("the term goes on after Close")
	}
	eventually(t, "a node that left to know no leader", func() bool {
		_, ok := leader.Leader()
		return !ok
	})
	delete(c.nodes, leader.cfg.Name)
	c.leader()
	c.apply(discover(2))
	free()
	if err := leader.Close(bounded(t)); err != nil {
		t.Errorf("close: %v", err)
	}
}
