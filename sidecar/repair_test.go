package sidecar

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

const dbC = topology.Addr("c:3306")

// slowStage is a stage whose server c does not answer: an act on it ends by its
// context only, and takes a while for that.
type slowStage struct {
	*stage
	mu      sync.Mutex
	under   map[topology.Addr]int
	overlap bool
	broken  []string // acts that their context ended
	hung    topology.Addr
}

const lateEnd = 300 * time.Millisecond

func (s *slowStage) Do(ctx context.Context, step failover.Step) error {
	s.mu.Lock()
	s.under[step.Target]++
	s.overlap = s.overlap || s.under[step.Target] > 1
	hung := step.Target == s.hung
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.under[step.Target]--
		s.mu.Unlock()
	}()
	if hung {
		<-ctx.Done()
		pause(context.Background(), lateEnd) // what was sent is being withdrawn
		s.mu.Lock()
		s.broken = append(s.broken, step.String())
		s.mu.Unlock()
		return ctx.Err()
	}
	return s.stage.Do(ctx, step)
}

func (s *slowStage) answer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = ""
}

// raftBefore looks at commands before they are committed.
type raftBefore struct {
	*fakeRaft
	look func(ledger.Command)
}

func (r raftBefore) Apply(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	r.look(cmd)
	return r.fakeRaft.Apply(ctx, cmd)
}

// withStray opens a stage on which c follows nobody, and hangs when it is repointed.
func withStray(t *testing.T) *slowStage {
	t.Helper()
	s := &slowStage{stage: newStage(t, failover.Hooks{}), under: map[topology.Addr]int{}, hung: dbC}
	s.ports.Servers = map[string]Servers{"main": s}
	s.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{dbC}}})
	return s
}

// A repair that hangs delays no failover: it is broken off, and is no attempt. The
// failover's own act on that server waits for its end.
func TestAFailoverDoesNotWaitForARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withStray(t)
		s.born = time.Now().Add(-time.Hour)
		d, _ := s.lead(1)
		pass(time.Second)
		if len(d.mending) != 1 || d.mending[0].step.Target != dbC {
			t.Fatalf("under way are %v", d.mending)
		}
		s.ports.Consensus = raftBefore{s.raft, func(cmd ledger.Command) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if cmd.Begin != nil && !d.mending[0].broken {
				t.Error("the intent was committed before the repair was broken off")
			}
		}}
		s.set(dbA, true)
		began := time.Now()
		for s.main().Route.Writer != dbB {
			if pass(10 * time.Millisecond); time.Since(began) > 2*time.Second {
				t.Fatalf("no failover after %s: %s", time.Since(began), d.lastVerdict().Decision.Sentence)
			}
		}
		s.answer()
		pass(15 * time.Second)
		d.mu.Lock()
		tries := d.memory.tries
		d.mu.Unlock()
		if slices.ContainsFunc(tries, func(t failover.Try) bool { return t.Step == "repoint c:3306 to a:3306" }) {
			t.Errorf("what was broken off counts: %+v", tries)
		}
		if s.overlap {
			t.Error("the repair had not ended when the failover acted on its server")
		}
		if !slices.Contains(s.broken, "repoint c:3306 to a:3306") || !slices.Contains(s.done(), "repoint c:3306 to b:3306") {
			t.Errorf("broken off: %q; done: %q", s.broken, s.done())
		}
	})
}

// An operator's switchover does not wait for one either.
func TestASwitchoverDoesNotWaitForARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withStray(t)
		d, _ := s.lead(1)
		pass(time.Second)
		began := time.Now()
		if _, err := d.recover(context.Background(), switchover("s1")); err != nil {
			t.Fatal(err)
		}
		for s.main().Route.Writer != dbB {
			if pass(10 * time.Millisecond); time.Since(began) > 2*time.Second {
				t.Fatalf("no switchover after %s: %s", time.Since(began), d.lastVerdict().Decision.Sentence)
			}
		}
	})
}

// An act says so when it cannot begin for a repair that does not end.
func TestAnActIsNotSentBesideARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withStray(t)
		d := newDecider(newTerm(s.Sidecar, 1), "main")
		_, m := d.enter(context.Background(), failover.Step{Do: failover.Repoint, Target: dbC, Source: dbA})
		d.breakOff()
		res := d.act(context.Background(), failover.Step{Do: failover.SetReadOnly, Target: dbC, Wait: failover.Duration(time.Second)})
		if !strings.Contains(res.Error, `the repair "repoint c:3306 to a:3306" was broken off for it and has not ended`) || res.Took.D() != time.Second {
			t.Errorf("%+v", res)
		}
		if res := d.act(context.Background(), failover.Step{Do: failover.SetReadOnly, Target: dbB}); res.Error != "" {
			t.Errorf("on another server: %s", res.Error)
		}
		d.leave(m)
		s.answer()
		if res := d.act(context.Background(), failover.Step{Do: failover.SetReadOnly, Target: dbC}); res.Error != "" {
			t.Errorf("when it has ended: %s", res.Error)
		}
	})
}

func TestRepairsThatCollide(t *testing.T) {
	step := func(do failover.Act, a topology.Addr) failover.Step {
		return failover.Step{Do: do, Target: a, SemiSync: &failover.SemiSyncPlan{Replica: true}}
	}
	for _, tt := range []struct {
		a, b failover.Step
		want bool
	}{
		{step(failover.StartReplica, dbB), step(failover.SetReadOnly, dbB), true},
		{step(failover.StartReplica, dbB), step(failover.StartReplica, dbC), false},
		{step(failover.SetSemiSync, dbB), step(failover.SetSemiSync, dbC), true},
		{step(failover.SaveExtra, dbB), step(failover.SetReadOnly, dbB), false},
		{step(failover.SaveExtra, dbB), step(failover.SaveExtra, dbB), true},
		{step(failover.SetReadOnly, dbB), step(failover.Clone, dbB), false},
	} {
		if got := (&mending{step: tt.a}).collides(tt.b); got != tt.want {
			t.Errorf("%s beside %s: %v, want %v", tt.b, tt.a, got, tt.want)
		}
	}
}

// A saving takes long and is not broken off.
func TestASavingGoesOnInARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDecider(newTerm(withStray(t).Sidecar, 1), "main")
		saving, _ := d.enter(context.Background(), failover.Step{Do: failover.SaveExtra, Target: dbC})
		start, _ := d.enter(context.Background(), failover.Step{Do: failover.StartReplica, Target: dbC})
		d.breakOff()
		if saving.Err() != nil || start.Err() == nil {
			t.Errorf("the saving: %v; the start: %v", saving.Err(), start.Err())
		}
	})
}

// A cycle whose case was put together before a repair ended does not repeat it, and the
// end of a repair has the cycle look again.
func TestARepairThatHasJustEndedIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withStray(t)
		s.answer()
		d := newDecider(newTerm(s.Sidecar, 1), "main")
		ended, stop := d.evidence.changed.watch("main")
		defer stop()
		c := d.remembering(d.caseOf("main", nil))
		step := failover.Step{Do: failover.Repoint, Target: dbC, Source: dbA}
		for range 2 {
			d.repair(context.Background(), &c, []failover.Step{step})
			d.background.Wait()
		}
		s.want("acts", s.done(), step.String())
		if len(ended) != 1 {
			t.Error("the cycle was not woken")
		}
	})
}

// An operator's rejoin makes an instance a replica as a repair does: a recovery goes first.
func TestARejoinsRepointMakesWayForARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withStray(t)
		d := newDecider(newTerm(s.Sidecar, 1), "main")
		step := failover.Step{Do: failover.Repoint, Target: dbC, Source: dbA}
		began := time.Now()
		time.AfterFunc(time.Second, d.breakOff)
		if res := d.bringBack(context.Background(), step); res.Error == "" || time.Since(began) != time.Second+lateEnd {
			t.Errorf("after %s: %+v", time.Since(began), res)
		}
		s.begin(t, failover.KindFailover)
		if res := d.bringBack(context.Background(), step); !strings.Contains(res.Error, "a recovery goes first") {
			t.Errorf("in a recovery: %+v", res)
		}
	})
}
