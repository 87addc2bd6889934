package sidecar

import (
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func TestALeaderRemembersWhenItFirstSawAnIntentAndARoute(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	of := func(intent, route uint64) *failover.Case {
		c := &failover.Case{Snapshot: topology.Snapshot{Route: topology.Route{Epoch: route}}}
		if intent > 0 {
			c.Intent = &failover.Intent{Epoch: intent}
		}
		return c
	}
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	var m memory
	for n, step := range []struct {
		c    *failover.Case
		want failover.Seen
	}{
		{of(0, 5), failover.Seen{Route: at(0)}},
		{of(6, 5), failover.Seen{Intent: at(1), Route: at(0)}},
		{of(6, 7), failover.Seen{Intent: at(1), Route: at(2)}},
		{of(0, 5), failover.Seen{}}, // read before the last one
		{of(6, 7), failover.Seen{Intent: at(1), Route: at(2)}},
		{of(9, 7), failover.Seen{Intent: at(5), Route: at(2)}},
	} {
		if m.see(step.c, at(n)); step.c.Seen != step.want {
			t.Errorf("case %d has %+v, want %+v", n, step.c.Seen, step.want)
		}
	}
}
