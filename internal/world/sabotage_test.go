package world

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sabotage is a mistake that the simulation must find. It is no switch in the
// product: the text of a file is replaced in a copy, and a test binary is built
// with that copy in its place.
type sabotage struct {
	name     string
	file     string // in the module
	old, new string // old stands in the file exactly once
	breaks   string // how the failures that count begin, separated by |
	more     []edit // further places
}

type edit struct{ file, old, new string }

var sabotages = []sabotage{
	{
		name: "skip the wait for leases", file: "sidecar/evidence.go",
		old:    "p.Node, p.LeaseOver = name, left <= 0 && (",
		new:    "p.Node, p.LeaseOver = name, left <= 1<<62 || left <= 0 && (",
		breaks: "invariant 1|invariant 7",
	},
	{
		name: "grant a lease without a quorum round", file: "sidecar/heartbeat.go",
		old:    "if err := s.ports.Consensus.Verify(ctx); err != nil {",
		new:    "if err := ctx.Err(); err != nil {",
		breaks: "leases",
	},
	{
		name: "acknowledge before fencing", file: "sidecar/reconcile.go",
		old:    "	p, err := k.ports.Proxy.Apply(ctx, want, hg)\n",
		new:    "	k.report(topology.Proxy{Epoch: want.Epoch, Mode: want.Mode, Drained: true})\n	p, err := k.ports.Proxy.Apply(ctx, want, hg)\n",
		breaks: "invariant 1|invariant 7",
	},
	{
		name: "ignore what the ledger must have reached", file: "sidecar/lease.go",
		old:    "(newest, enough bool) {\n",
		new:    "(newest, enough bool) {\n	has = 1 << 62\n",
		breaks: "invariant 2|invariant 10",
	},
	{
		name: "route before there is a lease", file: "sidecar/lease.go",
		old:    "return &lease{clock: clock, last: now, until: now.Boot}",
		new:    "return &lease{clock: clock, last: now, until: now.Boot + time.Hour}",
		breaks: "invariant 1|invariant 2|invariant 7|invariant 10",
	},
	{
		// Where errant transactions are seen, they refuse before this is asked.
		name: "sort divergent sets, and see no errant transactions", file: "failover/history.go",
		old:    "	return gtid.OrderOf(more, less)\n",
		new:    "	if !more && !less {\n		return gtid.Ahead\n	}\n	return gtid.OrderOf(more, less)\n",
		breaks: "invariant 5",
		more:   []edit{{"failover/errant.go", "if i == nil || i.State == nil || i == f.prim {", "if i == nil || i.State == nil || i != f.prim || i == f.prim {"}},
	},
	{
		name: "promote one with errant transactions", file: "failover/errant.go",
		old:    "if i == nil || i.State == nil || i == f.prim {",
		new:    "if i == nil || i.State == nil || i != f.prim || i == f.prim {",
		breaks: "invariant 5",
	},
	{
		name: "act without verified leadership", file: "sidecar/act.go",
		old:    "err := d.ports.Consensus.Verify(bounded)",
		new:    "err := bounded.Err()",
		breaks: "invariant 3",
	},
	{
		name: "promote before the relay log is applied", file: "failover/plan_failover.go",
		old:    "		p.gather(&ch, w)\n",
		new:    "",
		breaks: "invariant 4",
	},
	{
		name: "make a divergent old primary a replica", file: "failover/repairs.go",
		old:    "if !f.prim.Fresh() || f.downtime(i.Addr) != nil || !f.covers(f.prim.State, i.State) {",
		new:    "if !f.prim.Fresh() || f.downtime(i.Addr) != nil {",
		breaks: "invariant 5",
	},
	{
		name: "commit the route before the promotion", file: "failover/plan.go",
		old:    "	p.add(append([]Step{{Do: Promote, Target: p.target, SemiSync: plan, Why: why}}, p.followBeside(to)...)...)",
		new:    "	_ = append([]Step{{Do: Promote, Target: p.target, SemiSync: plan, Why: why}}, p.followBeside(to)...)",
		breaks: "invariant 8",
	},
	{
		name: "leave replicas acknowledging for the old primary", file: "failover/durability.go",
		old:    "	might, unknown := p.mightAcknowledge(ref)\n",
		new:    "	might, unknown := p.mightAcknowledge(ref)\n	might, unknown = nil, 0\n",
		breaks: "invariant 1|invariant 4|invariant 7",
		more: []edit{
			{"failover/plan_failover.go", "	awaited, why := p.awaited()\n	stops := p.stops()\n", "	awaited, why := p.awaited()\n	stops := p.stops()[:0]\n"},
			{"failover/plan_failover.go", "		if !p.attach() {\n			return\n		}\n", ""},
		},
	},
	{
		name: "forget to open the old primary when a switchover is rolled back", file: "failover/plan.go",
		old:    "	if !untouched && (!from.Fresh() || !from.State.Writable() || lacking) {\n		p.add(Step{Do: SetWritable,",
		new:    "	if from == nil && lacking && untouched {\n		p.add(Step{Do: SetWritable,",
		breaks: "invariant 8",
	},
}

// TestSabotages proves that the simulation can fail: it finds each mistake within
// 2,000 schedules. It takes minutes; SIM_SABOTAGE picks some by name, "all" all.
func TestSabotages(t *testing.T) {
	pick := os.Getenv("SIM_SABOTAGE")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			overlay := s.overlay(t, root) // the texts must be there, whether it is played or not
			if pick == "" || pick != "all" && !strings.Contains(s.name, pick) {
				t.Skip("make sabotage plays it")
			}
			bin := filepath.Join(t.TempDir(), "world.test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-o", bin, "./internal/world")
			build.Dir = root
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			sim := exec.CommandContext(t.Context(), bin, "-test.run", "^TestSchedules$", "-test.timeout", "20m")
			sim.Dir = t.TempDir()
			sim.Env = append(os.Environ(), envN+"=2000", envSeed+"=1", envUntil+"="+s.breaks)
			out, _ := sim.Output()
			i := bytes.Index(out, []byte("FOUND"))
			if i < 0 {
				t.Fatalf("not found in 2000 schedules\n%s", out[max(0, len(out)-2000):])
			}
			line, _, _ := bytes.Cut(out[i:], []byte("\n"))
			t.Logf("%s", line)
		})
	}
}

// overlay writes the mistaken files and the list that go build takes.
func (s sabotage) overlay(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for _, e := range append([]edit{{s.file, s.old, s.new}}, s.more...) {
		source := filepath.Join(root, e.file)
		from := source
		if done := replace[source]; done != "" {
			from = done // a further place in the same file
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			t.Fatalf("%s holds %d times what is to be replaced, want once: %q", e.file, n, e.old)
		}
		copied := filepath.Join(dir, filepath.Base(e.file))
		if err := os.WriteFile(copied, bytes.Replace(text, []byte(e.old), []byte(e.new), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[source] = copied
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
