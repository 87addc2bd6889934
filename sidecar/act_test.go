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
	"github.com/remora-ha/remora/topology"
)

// slowServers take a while for each step.
type slowServers time.Duration

func (s slowServers) Do(ctx context.Context, _ failover.Step) error {
	select {
	case <-time.After(time.Duration(s)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (slowServers) Settled(topology.Addr) (since time.Time, ok bool) { return since, true }
func (slowServers) Close()                                           {}

func TestARecoverysEndWaitsForTheStepsUnderWayButNotForLong(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		300 * time.Millisecond: 300 * time.Millisecond,
		5 * time.Second:        settleSteps,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFollower()
			f.ports.Servers = map[string]Servers{"main": slowServers(took)}
			d := newDecider(newTerm(f.Sidecar, 1), "main")
			d.start(context.Background(), failover.Step{Do: failover.Repoint, Target: dbB, Source: dbA, Optional: true})
			began := time.Now()
			d.settle(context.Background())
			if waited := time.Since(began); waited != want {
				t.Errorf("for a step of %s it waited %s, want %s", took, waited, want)
			}
			if n := len(d.takeSteps()); (n == 1) != (took < settleSteps) {
				t.Errorf("%d steps are on record after %s", n, want)
			}
			d.background.Wait()
		})
	}
}

// A step that only waits may end well at once: it is not done again without a pause, and
// is one step of the history.
func TestAWaitThatEndsAtOnceIsNotASpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		d := newDecider(newTerm(f.Sidecar, 1), "main")
		f.ports.Servers = map[string]Servers{"main": slowServers(0)}
		began := time.Now()
		for range 10 {
			d.advance(context.Background(), stalled())
		}
		if took := time.Since(began); took < 10*retryPause {
			t.Errorf("ten times within %s", took)
		}
		if steps := d.takeSteps(); len(steps) != 1 || steps[0].Took.D() < 9*retryPause {
			t.Errorf("on record: %+v", steps)
		}
	})
}

// Clients wait: whether the target has all is seen by the reading that sees the old
// primary closed.
func TestASwitchoverWaitsForNoTargetThatHasAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{})
		s.has = map[topology.Addr]string{dbA: "0-1-101"} // a's last transaction is on its way to b
		s.also = func(step failover.Step) {
			if step.Do == failover.SetReadOnly {
				s.has[dbB] = "0-1-101"
			}
		}
		s.lead(1)
		if _, err := s.Recover(context.Background(), "main", switchover("r1")); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		s.want("acts", s.done(), "set read only "+string(dbA), "promote "+string(dbB), "repoint "+string(dbA)+" to "+string(dbB))
	})
}

// stalled is a failover by position whose target has no source, so that nobody can say
// what it has.
func stalled() *failover.Case {
	c := &failover.Case{Version: failover.CaseVersion, Policy: failover.DefaultPolicy()}
	c.Snapshot = topology.Snapshot{
		Cluster: "main", Taken: time.Now(), Route: topology.Route{Cluster: "main", Epoch: 1, Writer: dbA, Mode: topology.Open},
		Instances: []topology.Instance{
			{Addr: dbA, Reach: topology.Down},
			{Addr: dbB, Reach: topology.Up, ReadAt: time.Now(), State: &topology.State{Flavor: "mysql", ReadOnly: true, SuperReadOnly: true, LogBin: true, LogReplicaUpdates: true}},
		},
	}
	c.Intent = &failover.Intent{ID: "main-1", Kind: failover.KindFailover, From: dbA, To: dbB, Epoch: 2, At: time.Now(), Positions: true}
	return c
}

func TestNothingIsAcknowledgedBeforeThereIsAPrimary(t *testing.T) {
	f := newFollower()
	f.setTerm(newTerm(f.Sidecar, 1))
	var refused *api.RefusedError
	if err := f.Acknowledge(t.Context(), "main", api.AcknowledgeRequest{By: "ana"}); !errors.As(err, &refused) || !strings.Contains(refused.Sentence, "has no primary yet") {
		t.Errorf("the refusal is %v", err)
	}
	f.routed(t)
	err := f.Downtime(t.Context(), "main", api.DowntimeRequest{Instance: dbB, For: topology.Duration(time.Hour), By: "ana"})
	if err != nil {
		t.Errorf("with a primary: %v", err)
	}
}
