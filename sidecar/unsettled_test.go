package sidecar

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// A repair that was broken off may start its server until it has ended, and what was
// read before that says nothing: the durability fence is told of it.
func TestARecoveryIsToldOfRepairsThatHaveNotEnded(t *testing.T) {
	for _, tt := range []struct {
		step failover.Step
		told bool
	}{
		{failover.Step{Do: failover.StartReplica, Target: dbC, Source: dbA}, true},
		{failover.Step{Do: failover.SetSemiSync, Target: dbC, SemiSync: &failover.SemiSyncPlan{Replica: true}}, true},
		{failover.Step{Do: failover.Repoint, Target: dbC, Source: dbA}, true},
		{failover.Step{Do: failover.Repoint, Target: dbC, Source: dbB}, false},
		{failover.Step{Do: failover.Repoint, Target: dbC, Source: dbB, At: topology.Coordinates{File: "l.1", Pos: 4}}, true}, // where that fails it is started again as it was
		{failover.Step{Do: failover.SetReadOnly, Target: dbC}, false},
		{failover.Step{Do: failover.Clone, Target: dbC, Source: dbA}, false},
	} {
		t.Run(tt.step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := withStray(t)
				d := newDecider(newTerm(s.Sidecar, 1), "main")
				told := func() []failover.Unsettled {
					c := d.remembering(d.caseOf("main", nil))
					return c.Unsettled
				}
				wait := make(chan struct{})
				ctx, m := d.enter(context.Background(), tt.step)
				go func() {
					d.execute(ctx, m.step)
					d.leave(m)
					close(wait)
				}()
				pass(time.Second)
				if list := told(); len(list) > 0 {
					t.Errorf("without a recovery: %+v", list)
				}
				s.begin(t, failover.KindFailover)
				d.breakOff()
				want := []failover.Unsettled{{Instance: dbC}}
				if !tt.told {
					want = nil
				}
				if list := told(); !slices.Equal(list, want) {
					t.Errorf("while it goes on: %+v", list)
				}
				if m.cancel(); tt.step.Do != failover.Clone && m.broken != true {
					t.Error("it was not broken off")
				}
				<-wait
				if tt.told {
					want[0].Until = time.Now()
				}
				if list := told(); !slices.Equal(list, want) {
					t.Errorf("when it has ended: %+v", list)
				}
			})
		})
	}
}

// withStatement is a stage where a statement of an act that was given up may yet be
// executed at c.
type withStatement struct {
	*stage
	since time.Time
}

func (s *withStatement) Settled(a topology.Addr) (time.Time, bool) {
	return s.since, a != dbC || !s.since.IsZero()
}

func TestARecoveryIsToldOfStatementsThatWereGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &withStatement{stage: withStray(t).stage}
		s.ports.Servers = map[string]Servers{"main": s}
		d := newDecider(newTerm(s.Sidecar, 1), "main")
		s.begin(t, failover.KindFailover)
		c := d.remembering(d.caseOf("main", nil))
		if !slices.Equal(c.Unsettled, []failover.Unsettled{{Instance: dbC}}) {
			t.Errorf("while it waits: %+v", c.Unsettled)
		}
		pass(time.Second)
		s.since = time.Now()
		c = d.remembering(d.caseOf("main", nil))
		if u := c.Unsettled; len(u) == 0 || !u[len(u)-1].Until.Equal(s.since) {
			t.Errorf("when it was ended: %+v", u)
		}
	})
}
