package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// The interruption walk: for every step of a failover and of a switchover the
// leader's process is killed right after it, and once more while it is under way.
// After each the others finish or roll back without help: one writable primary,
// routed by every proxy, the others its replicas, nothing acknowledged lost.

// walker walks the recoveries of one fleet.
type walker struct {
	*fleet.Fleet
	order    string // see internal/lab/walker
	semiSync bool
	// ends counts how the interrupted recoveries ended.
	ends map[string]int
}

// walks are the kinds of recovery; `make walk` walks them all step by step.
var walks = []struct {
	name     string
	kind     failover.Kind
	semiSync bool
}{
	{"switchover, semi_sync", failover.KindSwitchover, true},
	{"failover, semi_sync", failover.KindFailover, true},
	{"switchover, async", failover.KindSwitchover, false},
	{"failover, async", failover.KindFailover, false},
}

// TestMeasureWalk walks every step.
func TestMeasureWalk(t *testing.T) {
	wanted(t, "walk", 1)
	for _, semiSync := range []bool{true, false} {
		ctx, w := startWalk(t, semiSync)
		for _, k := range walks {
			if k.semiSync != semiSync {
				continue
			}
			for _, moment := range []string{"after", "during"} {
				w.ends = map[string]int{}
				steps := 0
				for n := 1; w.interrupt(t, ctx, k.kind, n, moment); n++ {
					steps = n
				}
				fmt.Printf("MEASURED walk of %s, proxies %s: killed %s each of %d steps; ended %v\n", k.name, w.ProxyKind(), moment, steps, w.ends)
			}
		}
	}
}

// TestTheLeaderDiesBetweenSteps is the short form: some steps under semi_sync.
func TestTheLeaderDiesBetweenSteps(t *testing.T) {
	ctx, w := startWalk(t, true)
	for _, step := range []struct {
		kind   failover.Kind
		n      int
		moment string
	}{
		{failover.KindSwitchover, 2, "after"},
		{failover.KindSwitchover, 4, "during"},
		{failover.KindFailover, 1, "after"},
		{failover.KindFailover, 3, "during"},
	} {
		if !w.interrupt(t, ctx, step.kind, step.n, step.moment) {
			t.Errorf("a %s has fewer than %d steps", step.kind, step.n)
		}
	}
}

func startWalk(t *testing.T, semiSync bool) (context.Context, *walker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	l := lab.ForTest(t, lab.Options{Logf: t.Logf})
	binary, err := l.BuildTool(ctx, "github.com/remora-ha/remora/internal/lab/walker")
	must(t, err)
	w := &walker{order: filepath.Join(t.TempDir(), "order"), semiSync: semiSync, ends: map[string]int{}}
	w.Fleet, err = fleet.Start(ctx, l, fleet.Options{
		Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: semiSync, DropUnacked: semiSync}},
		Policy:   "anti_flap: 0s", Binary: binary, Env: []string{"REMORA_WALK=" + w.order},
	})
	must(t, err)
	return ctx, w
}

// interrupt begins a recovery whose leader dies at its nth step, and waits until
// all is well again; false says that the recovery had no such step.
func (w *walker) interrupt(t *testing.T, ctx context.Context, kind failover.Kind, n int, moment string) bool {
	t.Helper()
	what := fmt.Sprintf("%s, %s step %d", kind, moment, n)
	must(t, w.Converged(ctx))
	before, err := w.Recoveries(ctx)
	must(t, err)
	primary, err := w.Primary(ctx)
	must(t, err)
	must(t, os.WriteFile(w.order, fmt.Appendf(nil, "%d %s\n", n, moment), 0o600))
	must(t, remove(w.order+".steps"))
	load, err := w.Lab.Load(ctx, lab.LoadOptions{Addrs: w.ClientAddrs(), Writers: 3, Pace: 10 * time.Millisecond})
	must(t, err)
	began := time.Now()

	lossless := w.semiSync || kind == failover.KindSwitchover
	if kind == failover.KindSwitchover {
		leader, err := w.Leader(ctx)
		must(t, err)
		if _, err := w.AskSwitchover(ctx, slices.Index(w.Sidecars, leader), ""); err != nil {
			t.Logf("%s: %v", what, err) // it was killed before it answered
		}
	} else {
		if !lossless {
			load.Stop() // what async promises is bounded, not nothing
			must(t, w.caughtUp(ctx))
		}
		must(t, primary.Kill())
	}
	killed := w.over(t, ctx)
	if killed != nil && moment == "during" {
		must(t, killed.Start(ctx)) // as systemd does; otherwise it stays dead until the others are done
	}
	if err := w.Converged(ctx); err != nil {
		t.Fatalf("%s, which was %q: %v", what, w.steps(), err)
	}
	took := time.Since(began)
	now, err := w.Primary(ctx)
	must(t, err)
	if killed != nil && moment == "after" {
		must(t, killed.Start(ctx))
	}
	if !primary.Running() {
		must(t, primary.Start(ctx))
	}
	must(t, w.Converged(ctx))
	w.judge(t, ctx, what, kind, primary, now, before, took)
	if lossless {
		_, err = load.Back(ctx, time.Now())
		must(t, err)
	}
	nothingLost(t, ctx, w.Fleet, load)
	if errs := load.Window(began, time.Now()).Failures; kind == failover.KindSwitchover && len(errs) > 0 {
		t.Errorf("%s: clients saw %d errors, the first: %s", what, len(errs), errs[0])
	}
	return killed != nil
}

// over waits until a sidecar has ended itself, or the recovery its last step.
func (w *walker) over(t *testing.T, ctx context.Context) (killed *lab.Process) {
	t.Helper()
	eventually(t, ctx, "the interruption", func() (bool, string) {
		for _, p := range w.Sidecars {
			if !p.Running() {
				killed = p
				return true, ""
			}
		}
		steps := w.steps()
		return slices.Contains(steps, "end"), fmt.Sprintf("the steps so far are %q", steps)
	})
	return killed
}

// judge looks at what is there when all is well again.
func (w *walker) judge(t *testing.T, ctx context.Context, what string, kind failover.Kind, old, now *lab.Server, before []failover.Recovery, took time.Duration) {
	t.Helper()
	list, err := w.Recoveries(ctx)
	must(t, err)
	end := "not begun"
	switch len(list) - len(before) {
	case 0:
	case 1:
		end = string(list[0].Outcome)
	default:
		t.Errorf("%s: %d recoveries were begun", what, len(list)-len(before))
	}
	if (end == string(failover.Succeeded)) != (now != old) || kind == failover.KindFailover && end != string(failover.Succeeded) {
		t.Errorf("%s: it is on record as %q, and the primary is %s after %s", what, end, now.Name, old.Name)
	}
	routed(t, ctx, w.Fleet, now.Addr)
	for _, s := range w.DB.Servers {
		row, err := s.Row(ctx, "SELECT @@global.read_only AS closed")
		must(t, err)
		if closed := row["closed"] != "0"; closed == (s == now) {
			t.Errorf("%s: %s is primary, and %s has read_only=%s", what, now.Name, s.Name, row["closed"])
		}
	}
	w.ends[end]++
	steps := w.steps()
	t.Logf("%s: killed at %q, %s after %s", what, steps[len(steps)-1], end, took.Round(time.Millisecond))
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
			row, err := s.Row(ctx, "SELECT @@global.gtid_current_pos AS pos")
			if err != nil {
				return false, err.Error()
			}
			sets = append(sets, row["pos"])
		}
		return len(slices.Compact(slices.Clone(sets))) == 1, fmt.Sprint(sets)
	})
}

func remove(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
