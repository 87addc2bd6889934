package consensus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// stuck is a log store on a disk that can be made to hang.
type stuck struct {
	raft.LogStore
	mu   sync.Mutex
	free chan struct{} // nil: the disk works
}

func (s *stuck) hang() (free func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = make(chan struct{})
	return sync.OnceFunc(func() { close(s.free) })
}

// wait returns when the disk answers.
func (s *stuck) wait() {
	s.mu.Lock()
	free := s.free
	s.mu.Unlock()
	if free != nil {
		<-free
	}
}

func (s *stuck) StoreLogs(logs []*raft.Log) error {
	s.wait()
	return s.LogStore.StoreLogs(logs)
}

func (s *stuck) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// The leader's disk hangs: it keeps its followers, but every call ends with its
// context, and closing the node lets another one lead.
func TestHungDisk(t *testing.T) {
	disks := map[string]*stuck{}
	c := newCluster(t, 3, func(c *Config) {
		c.Stores = MemoryStores()
		disks[c.Name] = &stuck{LogStore: c.Stores.Logs}
		c.Stores.Logs = disks[c.Name]
	}).start()
	leader, _ := c.leader()
	c.apply(discover(1))
	free := disks[leader.cfg.Name].hang()
	defer free()

	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := leader.Apply(short, discover(2)); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("apply: %v", err)
	}
	// Its followers still are its followers.
	if err := leader.Verify(bounded(t)); err != nil {
		t.Errorf("verify: %v", err)
	}
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for range 2 * maxAsking {
		if err := leader.Barrier(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("barrier: %v", err)
		}
	}
	if err := leader.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	delete(c.nodes, leader.cfg.Name)
	c.leader()
	c.apply(discover(2))
	free()
	if err := leader.Close(bounded(t)); err != nil {
		t.Errorf("close once more: %v", err)
	}
}

// Of many commits that end together one nudge tells the followers, and one that finds no room does not end all nudges.
func TestOneNudgeDoesForManyCommits(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	leader, _ := c.leader()
	for range maxAsking {
		leader.asking <- struct{}{}
	}
	leader.nudge()
	for range maxAsking {
		<-leader.asking
	}
	if n := leader.nudges.Load(); n != 0 {
		t.Errorf("%d nudges wait for good for one that was not sent", n)
	}
	before := leader.raft.LastIndex()
	leader.nudges.Store(1) // one is under way
	for range 100 {
		leader.nudge()
	}
	if after := leader.raft.LastIndex(); after != before {
		t.Errorf("100 nudges beside one that is not sent yet made %d entries", after-before)
	}
	leader.nudges.Store(0)
	leader.nudge()
	eventually(t, "a nudge's entry", func() bool { return leader.raft.LastIndex() > before && leader.nudges.Load() == 0 })
}
