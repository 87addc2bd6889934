package fleet_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
)

// done waits until there is a leader for whom no recovery is open and a primary is
// routed: of a failover another one.
func (w *walker) done(t *testing.T, ctx context.Context, o *one) {
	t.Helper()
	eventually(t, ctx, "the others to be done", func() (bool, string) {
		s, err := w.Status(ctx)
		if err != nil || s.Node != s.Leader || len(s.Clusters[0].Instances) == 0 { // which only one in its term lists
			return false, fmt.Sprintf("%v; %s takes %s for the leader", err, s.Node, s.Leader)
		}
		c := s.Clusters[0]
		moved := o.kind != dying || string(c.Primary) != o.from.Addr
		return moved && c.Recovery == nil && c.Mode == "open", c.Sentence
	})
}

// judge looks at what is there when all is well again.
func (w *walker) judge(t *testing.T, ctx context.Context, o *one, took time.Duration) {
	t.Helper()
	now, err := w.Primary(ctx)
	must(t, err)
	list, err := w.Recoveries(ctx)
	must(t, err)
	end := "not begun"
	switch len(list) - o.before {
	case 0:
	case 1:
		end = string(list[0].Outcome)
	default:
		t.Errorf("%s, interrupted %s: %d recoveries were begun", o.kind, o.order, len(list)-o.before)
	}
	wrong := map[string]bool{
		switchover: false,
		failing:    end == string(failover.Succeeded),
		dying:      end != string(failover.Succeeded),
	}[o.kind]
	if wrong || (end == string(failover.Succeeded)) != (now != o.from) {
		t.Errorf("%s, interrupted %s: it is on record as %q, and the primary is %s after %s", o.kind, o.order, end, now.Name, o.from.Name)
	}
	routed(t, ctx, w.Fleet, now.Addr)
	for _, s := range w.DB.Servers {
		row, err := s.Row(ctx, "SELECT @@global.read_only AS closed")
		must(t, err)
		if closed := row["closed"] != "0"; closed == (s == now) {
			t.Errorf("%s, interrupted %s: %s is primary, and %s has read_only=%s", o.kind, o.order, now.Name, s.Name, row["closed"])
		}
	}
	w.ends[end]++
	steps := w.steps()
	if i := slices.Index(steps, "stopped"); i > 0 {
		steps = steps[:i]
	}
	t.Logf("%s, interrupted %s, %q: %s after %s", o.kind, o.order, steps[len(steps)-1], end, took.Round(time.Millisecond))
}

// clients asks what they saw and what is left of what they wrote.
func (w *walker) clients(t *testing.T, ctx context.Context, o *one, began time.Time, patient bool) {
	t.Helper()
	if w.semiSync || o.kind != dying {
		for _, l := range []*lab.Load{o.load, o.beside} {
			_, err := l.Back(ctx, time.Now())
			must(t, err)
		}
	}
	for _, l := range []*lab.Load{o.load, o.beside} {
		nothingLost(t, ctx, w.Fleet, l)
		errs := l.Window(began, time.Now()).Failures
		if o.kind != dying && len(errs) > 0 && (l == o.load || !patient) {
			t.Errorf("%s, interrupted %s: clients saw %d errors, the first: %s", o.kind, o.order, len(errs), errs[0])
		}
	}
}

// steps are those that the leader noted.
func (w *walker) steps() []string {
	raw, err := os.ReadFile(w.order + ".steps")
	if err != nil {
		return []string{err.Error()}
	}
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

// caughtUp waits until every replica has what the primary has.
func (w *walker) caughtUp(ctx context.Context) error {
	return lab.Eventually(ctx, "the replicas to catch up", 5*time.Millisecond, func() (bool, string) {
		var sets []string
		for _, s := range w.DB.Servers {
			pos, err := s.Position(ctx)
			if err != nil {
				return false, err.Error()
			}
			sets = append(sets, pos)
		}
		return len(slices.Compact(slices.Clone(sets))) == 1, fmt.Sprint(sets)
	})
}
