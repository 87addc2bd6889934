package bench

import (
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
)

// record is a recovery whose steps are given by act, begin and end, in milliseconds after the blow.
func record(blow time.Time, decided int, steps ...step) failover.Recovery {
	at := func(ms int) time.Time { return blow.Add(time.Duration(ms) * time.Millisecond) }
	rec := failover.Recovery{Intent: failover.Intent{At: at(decided)}}
	for _, s := range steps {
		rec.Steps = append(rec.Steps, failover.StepResult{
			Step: failover.Step{Do: s.do}, Started: at(s.from), Took: failover.Duration(s.to-s.from) * failover.Duration(time.Millisecond),
		})
	}
	return rec
}

type step struct {
	do       failover.Act
	from, to int
}

func TestPhasesAddUpToTheOutage(t *testing.T) {
	blow := time.Now()
	cases := []struct {
		name string
		rec  failover.Recovery
		from int // what the client saw
		to   int
		want []int
	}{
		{
			"a failover", record(blow, 20, step{failover.StopReceiving, 30, 60}, step{failover.CloseProxies, 30, 70},
				step{failover.Drain, 75, 90}, step{failover.Promote, 91, 120}, step{failover.CommitRoute, 121, 130}, step{failover.Repoint, 121, 200}),
			0, 150, []int{20, 10, 40, 0, 5, 16, 29, 10, 20},
		},
		{
			"a switchover, whose clients waited from a while after its decision",
			record(blow, 0, step{failover.CloseProxies, 5, 30}, step{failover.SetReadOnly, 31, 40}, step{failover.CatchUp, 41, 50},
				step{failover.Promote, 51, 60}, step{failover.CommitRoute, 60, 70}, step{failover.SetReadOnly, 90, 95}),
			10, 100, []int{0, 0, 20, 10, 1, 10, 9, 10, 30},
		},
		{
			"a switchover that regrouped before",
			record(blow, 0, step{failover.StopReceiving, 5, 30}, step{failover.Repoint, 31, 100}, step{failover.Pause, 90, 95}, step{failover.CloseProxies, 100, 120},
				step{failover.SetReadOnly, 121, 130}, step{failover.CatchUp, 132, 140}, step{failover.Promote, 141, 160}, step{failover.CommitRoute, 161, 170}),
			98, 200, []int{0, 2, 20, 10, 2, 9, 19, 10, 30},
		},
		{"a record that lacks steps", record(blow, 20), 0, 50, []int{20, 0, 0, 0, 0, 0, 0, 0, 30}},
		{
			"a client that wrote again before the last step had ended",
			record(blow, 20, step{failover.Promote, 30, 40}, step{failover.CommitRoute, 40, 70}), 0, 60, []int{20, 10, 0, 0, 0, 0, 10, 20, 0},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := &Result{}
			r.addPhases(c.rec, lab.Interval{From: blow.Add(time.Duration(c.from) * time.Millisecond), To: blow.Add(time.Duration(c.to) * time.Millisecond)})
			sum := 0.0
			for i, f := range r.Phases {
				sum += f.Values[0]
				if f.Values[0] != float64(c.want[i]) {
					t.Errorf("%s took %.0f ms, want %d", f.Name, f.Values[0], c.want[i])
				}
			}
			if sum != float64(c.to-c.from) {
				t.Errorf("the phases add up to %.0f ms, the outage was %d ms", sum, c.to-c.from)
			}
		})
	}
}
