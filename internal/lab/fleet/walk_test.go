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

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// The interruption walk: for every step of a failover, of a switchover and of one
// that has to be rolled back, the leader's process is killed right after it, and
// once more while it is under way; and once it is stopped right before it, and goes
// on when the others are done. After each the others finish or roll back
// without help: one writable primary, routed by every proxy, the others its
// replicas, nothing acknowledged lost.

// The kinds of recovery that are walked.
const (
	switchover = "switchover"
	failing    = "switchover that cannot finish"
	dying      = "failover"
)

// walked is the policy: one recovery follows the other, and some leave a replica
// behind for a moment.
const walked = "anti_flap: 0s\nswitchover: {max_lag: 1m}"

// TestMeasureWalk walks every step; `make walk` calls it.
func TestMeasureWalk(t *testing.T) {
	wanted(t, "walk", 1)
	all := []string{switchover, failing, dying}
	withoutGTID := durable("semi_sync")
	withoutGTID.NoGTID = true
	for _, servers := range []struct {
		name    string
		options lab.ServerOptions
		kinds   []string
	}{
		{"semi_sync", durable("semi_sync"), all},
		{"async", durable("async"), all},
		// A failover under load leaves out, or is refused for, a replica that is behind by the last write.
		{"semi_sync without GTID", withoutGTID, []string{switchover, failing}},
	} {
		ctx, w := startWalk(t, fleet.Options{Topology: lab.Spec{Server: servers.options}, Policy: walked})
		for _, kind := range servers.kinds {
			for _, moment := range []string{"after", "during", "before"} {
				w.ends = map[string]int{}
				steps := 0
				for w.interrupt(t, ctx, kind, fmt.Sprintf("%s %d", moment, steps+1)) {
					steps++
				}
				fmt.Printf("MEASURED walk of a %s, %s, proxies %s: the leader was interrupted %s each of %d steps; ended %v\n",
					kind, servers.name, w.ProxyKind(), moment, steps, w.ends)
			}
		}
	}
}

// TestTheLeaderDiesBetweenSteps is the short form: some steps under semi_sync.
func TestTheLeaderDiesBetweenSteps(t *testing.T) {
	ctx, w := startWalk(t, fleet.Options{Topology: lab.Spec{Server: durable("semi_sync")}, Policy: walked})
	for _, step := range []struct{ kind, order string }{
		{switchover, "after 2"},
		{switchover, "during 4"},
		{failing, "after 2"},
		{failing, "before 2"},
		{dying, "after 1"},
		{dying, "during 3"},
	} {
		if !w.interrupt(t, ctx, step.kind, step.order) {
			t.Errorf("a %s has no step %q", step.kind, step.order)
		}
	}
}

// TestTheNewPrimaryDiesWithTheLeader: the primary is killed, the leader right after
// it has committed the new route, and then the new primary. The recovery is open, so
// this is no flap, though the policy would hold a second failover back for an hour.
func TestTheNewPrimaryDiesWithTheLeader(t *testing.T) {
	ctx, w := startWalk(t, fleet.Options{Topology: lab.Spec{Servers: 4, Server: durable("semi_sync")}})
	w.orders(t, "after commit route")
	load, err := w.Lab.Load(ctx, lab.LoadOptions{Addrs: w.ClientAddrs(), Writers: 3, Pace: 10 * time.Millisecond})
	must(t, err)
	first, err := w.Primary(ctx)
	must(t, err)
	must(t, first.Kill())
	killed := w.over(t, ctx)
	if killed == nil {
		t.Fatalf("the leader has done %q", w.steps())
	}
	promoted := w.steps()[slices.IndexFunc(w.steps(), func(s string) bool { return strings.HasPrefix(s, "promote ") })]
	second := w.DB.ByAddr(strings.TrimPrefix(promoted, "promote "))
	must(t, second.Kill())
	must(t, killed.Start(ctx))
	_, err = load.Back(ctx, time.Now())
	must(t, err)
	must(t, w.Converged(ctx))
	third, err := w.Primary(ctx)
	must(t, err)
	if third == first || third == second {
		t.Errorf("the primary is %s", third.Name)
	}
	list, err := w.Recoveries(ctx)
	must(t, err)
	if len(list) != 2 || !strings.Contains(list[1].Error, second.Addr+" died before the failover had ended") || list[0].Error != "" {
		t.Errorf("on record are %d recoveries: %+v", len(list), list)
	}
	for _, s := range []*lab.Server{first, second} {
		_, err = w.Return(ctx, s)
		must(t, err)
	}
	nothingLost(t, ctx, w.Fleet, load)
}

// durable are servers for a durability. Each applies with several threads, so that it keeps up with the clients: a target that
// lags by seconds has a switchover rolled back before it holds any writes.
func durable(durability string) lab.ServerOptions {
	return lab.ServerOptions{SemiSync: durability == "semi_sync", DropUnacked: durability == "semi_sync", Appliers: 4}
}

// walker walks the recoveries of one fleet.
type walker struct {
	*fleet.Fleet
	order    string // see internal/lab/walker
	semiSync bool
	leads    *lab.Process   // when the recovery began
	ends     map[string]int // how many of the interrupted recoveries ended in what
}

func startWalk(t *testing.T, opts fleet.Options) (context.Context, *walker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	l := lab.ForTest(t, lab.Options{Logf: t.Logf})
	w := &walker{order: filepath.Join(t.TempDir(), "order"), semiSync: opts.Topology.Server.SemiSync, ends: map[string]int{}}
	var err error
	opts.Binary, err = l.BuildTool(ctx, "github.com/remora-ha/remora/internal/lab/walker")
	must(t, err)
	opts.Env = []string{"REMORA_WALK=" + w.order}
	w.Fleet, err = fleet.Start(ctx, l, opts)
	must(t, err)
	return ctx, w
}

// orders has the leader of the next recovery end itself.
func (w *walker) orders(t *testing.T, order string) {
	t.Helper()
	must(t, os.WriteFile(w.order, []byte(order+"\n"), 0o600))
	if err := os.Remove(w.order + ".steps"); !errors.Is(err, fs.ErrNotExist) {
		must(t, err)
	}
}

// one is a recovery that is interrupted.
type one struct {
	kind, order string
	from        *lab.Server
	before      int // recoveries on record
	// load writes through the proxies whose clients must not notice a switchover;
	// beside through that of a leader that stays dead for a while.
	load, beside *lab.Load
	struck       *lab.Process // who was killed or stopped; nil: the recovery had no such step
}

// interrupt begins a recovery whose leader dies as ordered, and waits until all is
// well again; false says that the recovery had no such step.
func (w *walker) interrupt(t *testing.T, ctx context.Context, kind, order string) bool {
	t.Helper()
	must(t, w.Converged(ctx))
	o := &one{kind: kind, order: order}
	list, err := w.Recoveries(ctx)
	must(t, err)
	o.before = len(list)
	o.from, err = w.Primary(ctx)
	must(t, err)
	leader, err := w.Leader(ctx)
	must(t, err)
	w.leads = leader
	// One that dies after a step stays dead until the others are done; one that dies
	// during a step is started again at once, as systemd does.
	// One that was stopped is woken when the others are done.
	patient := !strings.HasPrefix(order, "during")
	addrs, own := w.ClientAddrs(), slices.Index(w.Sidecars, leader)
	o.beside, err = w.Lab.Load(ctx, lab.LoadOptions{Addrs: addrs[own : own+1], Writers: 1, Pace: 10 * time.Millisecond})
	must(t, err)
	o.load, err = w.Lab.Load(ctx, lab.LoadOptions{Addrs: slices.Delete(addrs, own, own+1), Writers: 2, Pace: 10 * time.Millisecond})
	must(t, err)
	began := time.Now()
	w.orders(t, order)
	unlock := w.begin(t, ctx, o, own)
	o.struck = w.over(t, ctx)
	if o.struck != nil && !patient {
		must(t, o.struck.Start(ctx))
	}
	w.done(t, ctx, o)
	took := time.Since(began)
	unlock()
	if o.struck != nil && patient {
		w.back(t, ctx, o.struck)
	}
	if !o.from.Running() {
		must(t, o.from.Start(ctx))
		w.giveUpUnsent(t, ctx, o.from)
	}
	if err := w.Converged(ctx); err != nil {
		t.Fatalf("%s, interrupted %s, with the steps %q: %v", kind, order, w.steps(), err)
	}
	w.judge(t, ctx, o, took)
	w.clients(t, ctx, o, began, patient)
	return o.struck != nil
}

// giveUpUnsent takes back what an old primary has that no replica acknowledged. MariaDB cuts that off when it recovers from a
// crash (see ServerOptions.DropUnacked), MySQL has it for good.
func (w *walker) giveUpUnsent(t *testing.T, ctx context.Context, from *lab.Server) {
	t.Helper()
	if from.Flavor() != lab.MySQL || !w.semiSync {
		return
	}
	diverged := false
	eventually(t, ctx, from.Name+" to follow, or to be kept out", func() (bool, string) {
		c, err := state(ctx, w.Fleet)
		if err != nil {
			return false, err.Error()
		}
		diverged = slices.ContainsFunc(c.Findings, func(f failover.Finding) bool {
			return f.Code == "OldPrimaryDiverged" && string(f.Instance) == from.Addr
		})
		replica, err := from.Replica(ctx)
		return diverged || replica != nil, fmt.Sprintf("%s; %v", c.Sentence, err)
	})
	if diverged {
		must(t, w.Discard(ctx, from))
	}
}

// back starts a sidecar that was killed, or wakes one that was stopped and waits
// until it has come to the end of the step that it was about to take.
func (w *walker) back(t *testing.T, ctx context.Context, p *lab.Process) {
	t.Helper()
	if !p.Running() {
		must(t, p.Start(ctx))
		return
	}
	must(t, p.Thaw())
	eventually(t, ctx, "what it does when it is awake", func() (bool, string) {
		steps := w.steps()
		return slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, "awake") }), fmt.Sprintf("%q", steps)
	})
	steps := w.steps()
	t.Logf("%q", steps[slices.Index(steps, "stopped"):])
}

// begin begins the recovery. What makes it impossible is lifted by unlock.
func (w *walker) begin(t *testing.T, ctx context.Context, o *one, leader int) (unlock func()) {
	t.Helper()
	unlock = func() {}
	to, within := "", time.Duration(0)
	switch o.kind {
	case dying:
		if !w.semiSync { // what async promises is bounded, not nothing
			o.load.Stop()
			o.beside.Stop()
			must(t, w.caughtUp(ctx))
		}
		must(t, o.from.Kill())
		return unlock
	case failing:
		others, err := replicas(ctx, w.Fleet)
		must(t, err)
		lock, err := others[0].DB().Conn(ctx)
		must(t, err)
		_, err = lock.ExecContext(ctx, "LOCK TABLES lab.writes READ")
		must(t, err)
		to, within = others[0].Addr, 1500*time.Millisecond
		unlock = func() {
			_, _ = lock.ExecContext(ctx, "UNLOCK TABLES") // where the session was ended, so was the lock
			_ = lock.Close()
		}
	}
	w.ask(t, ctx, o, leader, to, within)
	return unlock
}

// ask asks for a switchover until it is not refused: where the fleet became well a moment ago the route may just be committed with
// other readers, and every proxy has to know of that first.
func (w *walker) ask(t *testing.T, ctx context.Context, o *one, leader int, to string, within time.Duration) {
	t.Helper()
	eventually(t, ctx, "the switchover to be taken", func() (bool, string) {
		bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := w.AskSwitchover(bounded, leader, to, within)
		var refused *api.RefusedError
		if _, begun := os.Stat(w.order + ".steps"); errors.As(err, &refused) && begun != nil { // else the next leader says that one is under way, or over
			return false, err.Error()
		}
		if err != nil {
			t.Logf("%s, to be interrupted %s: %v", o.kind, o.order, err) // the leader was struck before it answered
		}
		return true, ""
	})
}

// over waits until a sidecar has ended or stopped itself, or the recovery its last
// step.
func (w *walker) over(t *testing.T, ctx context.Context) (struck *lab.Process) {
	t.Helper()
	eventually(t, ctx, "the interruption", func() (bool, string) {
		for _, p := range w.Sidecars {
			if !p.Running() {
				struck = p
				return true, ""
			}
		}
		steps := w.steps()
		if slices.Contains(steps, "stopped") {
			struck = w.leads
			must(t, struck.Freeze()) // it has done that itself; now the fleet knows
			return true, ""
		}
		return slices.Contains(steps, "end"), fmt.Sprintf("the steps so far are %q", steps)
	})
	return struck
}
