package ledger

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// What the proxies are told at each stage of a recovery.
func TestDesired(t *testing.T) {
	at := func(epoch int) time.Time { return epochZero.Add(time.Duration(epoch) * time.Second) }
	for name, tc := range map[string]struct {
		in   func(*testing.T) *book
		want topology.Route
	}{
		"nothing is routed":    {unrouted, topology.Route{Cluster: "main"}},
		"routed":               {routed, topology.Route{Cluster: "main", Epoch: 10, Writer: a, Mode: topology.Open, Readers: readers(b, c), At: at(10)}},
		"failover begun":       {failingOver, topology.Route{Cluster: "main", Epoch: 11, Writer: a, Mode: topology.Fenced, Readers: readers(b, c), At: at(11)}},
		"switchover begun":     {switchingToB, topology.Route{Cluster: "main", Epoch: 3, Writer: a, Mode: topology.Paused, At: at(3)}},
		"route committed":      {failedOver, topology.Route{Cluster: "main", Epoch: 12, Writer: b, Mode: topology.Open, Readers: readers(c), At: at(12)}},
		"failover succeeded":   {succeeded, topology.Route{Cluster: "main", Epoch: 12, Writer: b, Mode: topology.Open, Readers: readers(c), At: at(12)}},
		"failover rolled back": {rolledBack, topology.Route{Cluster: "main", Epoch: 12, Writer: a, Mode: topology.Open, Readers: readers(b, c), At: at(12)}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.Known = []topology.Addr{a, b, c}
			if diff := cmp.Diff(tc.want, tc.in(t).main().Desired()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func succeeded(t *testing.T) *book {
	bk := failedOver(t)
	bk.must(&Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded, Lost: []string{"one"}})
	return bk
}

// An instance that becomes known shows in what proxies are told, and needs no new epoch.
func TestKnownInstancesReachTheProxies(t *testing.T) {
	bk := routed(t)
	bk.must(&Discover{Cluster: "main", Addrs: []topology.Addr{x, a}})
	got := bk.main().Desired()
	if diff := cmp.Diff([]topology.Addr{a, b, c, x}, got.Known); diff != "" || got.Epoch != 10 {
		t.Errorf("epoch %d, known %s", got.Epoch, diff)
	}
	bk.must(&Forget{Cluster: "main", Addr: x})
	if diff := cmp.Diff([]topology.Addr{a, b, c}, bk.main().Known); diff != "" {
		t.Error(diff)
	}
}

// The history of a recovery holds what every leader reported.
func TestHistory(t *testing.T) {
	step := func(node string) failover.StepResult {
		return failover.StepResult{Step: failover.Step{Do: failover.Promote, Target: b, Why: "test"}, Node: node}
	}
	bk := failingOver(t)
	bk.must(&Retarget{Cluster: "main", IntentID: "f", To: c})
	bk.must(&CommitRoute{Cluster: "main", IntentID: "f", Writer: c, Steps: []failover.StepResult{step("n1")}})
	bk.must(&CommitRoute{Cluster: "main", IntentID: "f", Writer: c, Readers: readers(b)})
	r := bk.must(&Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded, To: c, Steps: []failover.StepResult{step("n2")}, Error: "b is late", Lost: []string{"b"}, Left: []topology.Addr{b}})
	if r.Epoch != 14 {
		t.Errorf("epoch %d, want that of the last route, 14", r.Epoch)
	}
	at := func(index int) time.Time { return epochZero.Add(time.Duration(index) * time.Second) }
	in := begin("f", failover.KindFailover, 10).Intent
	in.To, in.Epoch, in.At = c, 11, at(11)
	want := failover.Recovery{
		Intent: in, Outcome: failover.Succeeded, To: c, Steps: []failover.StepResult{step("n1"), step("n2")},
		Routed: at(13), Ended: at(15), Error: "b is late", Lost: []string{"b"}, Left: []topology.Addr{b},
	}
	if diff := cmp.Diff(&want, bk.main().Last()); diff != "" {
		t.Error(diff)
	}
	if bk.main().Intent != nil || bk.main().Recovery != nil {
		t.Error("the intent is still open")
	}
}

// The first failure ends a switchover's time, and its reason stays in the history.
func TestAbort(t *testing.T) {
	bk := switchingToB(t)
	when := bk.now()
	bk.must(&Abort{Cluster: "main", IntentID: "s", Reason: "b is read-only"})
	bk.must(&Abort{Cluster: "main", IntentID: "s", Reason: "a later failure"})
	if got := bk.main().Intent.Deadline; !got.Equal(when) {
		t.Errorf("the deadline is %s, want %s", got, when)
	}
	bk.must(&Conclude{Cluster: "main", IntentID: "s", Outcome: failover.RolledBack})
	if last := bk.main().Last(); last.Error != "b is read-only" || last.Outcome != failover.RolledBack {
		t.Errorf("%s: %s", last.Outcome, last.Error)
	}
}

// A leader that does not know what became of its predecessor's command sends its
// own: the work is not done twice.
func TestDoneBefore(t *testing.T) {
	for name, tc := range map[string]struct {
		in   func(*testing.T) *book
		op   any
		want uint64
	}{
		"begun":       {failingOver, begin("f", failover.KindFailover, 10), 11},
		"committed":   {failedOver, &CommitRoute{Cluster: "main", IntentID: "f", Writer: b, Readers: readers(c)}, 12},
		"concluded":   {succeeded, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded}, 12},
		"rolled back": {rolledBack, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.RolledBack}, 12},
	} {
		t.Run(name, func(t *testing.T) {
			bk := tc.in(t)
			before := bk.main()
			if got := bk.must(tc.op); got.Epoch != tc.want {
				t.Errorf("epoch %d, want %d", got.Epoch, tc.want)
			}
			if diff := cmp.Diff(before, bk.main()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRepeatedCommand(t *testing.T) {
	bk := routed(t)
	cmd := command("retried", bk.now(), &SetRoute{Cluster: "main", Expect: 10, Writer: a})
	first := bk.send(cmd)
	bk.must(&SetRoute{Cluster: "main", Expect: first.Epoch, Writer: a, Readers: readers(b)})
	before := bk.main()
	if again := bk.send(cmd); again != first {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if diff := cmp.Diff(before, bk.main()); diff != "" {
		t.Error(diff)
	}
	refused := command("refused", bk.now(), &SetRoute{Cluster: "main", Expect: 1, Writer: a})
	if first, again := bk.send(refused), bk.send(refused); again != first || first.Rule != RuleStale {
		t.Errorf("first %+v, again %+v", first, again)
	}
}

func TestCommandsThatMakeNoSense(t *testing.T) {
	s := routed(t).s
	for name, tc := range map[string]struct {
		index uint64
		cmd   Command
		want  string
	}{
		"no id":          {11, command("", epochZero, &ForgetNode{}), "a command without an id is refused: its repetition could not be recognised"},
		"no operation":   {12, Command{ID: "i"}, `command "i" holds 0 operations, it must hold exactly one that this version knows`},
		"two operations": {13, Command{ID: "j", Forget: &Forget{}, ForgetNode: &ForgetNode{}}, `command "j" holds 2 operations, it must hold exactly one that this version knows`},
		"an old index":   {10, command("k", epochZero, &ForgetNode{}), `command "k" at index 10 is refused: the state has already applied index 10`},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.Clone()
			if got := s.Apply(tc.index, tc.cmd); got.Refused != tc.want || got.Rule != RuleCommand {
				t.Errorf("got %s: %s\nwant %s", got.Rule, got.Refused, tc.want)
			}
		})
	}
}

func TestRefusalIsAnError(t *testing.T) {
	r := routed(t).apply(&SetRoute{Cluster: "main", Expect: 1})
	var refused *RefusedError
	if err := r.Err(); !errors.Is(err, ErrRefused) || !errors.As(err, &refused) || refused.Rule != RuleStale || err.Error() != r.Refused {
		t.Errorf("got %#v", err)
	}
	if (Result{Epoch: 3}).Err() != nil {
		t.Error("an answer without a refusal is an error")
	}
}

func TestNodes(t *testing.T) {
	bk := empty(t)
	bk.must(&RegisterNode{Node: Node{Name: "n1", API: "n1:80", Proxy: true}})
	bk.must(&RegisterNode{Node: Node{Name: "n1", API: "n1:81", Proxy: true}})
	want := map[string]Node{"n1": {Name: "n1", API: "n1:81", Proxy: true, Since: epochZero.Add(time.Second)}}
	if diff := cmp.Diff(want, bk.s.Nodes); diff != "" {
		t.Error(diff)
	}
	bk.must(&ForgetNode{Name: "n1"})
	if len(bk.s.Nodes) != 0 {
		t.Errorf("still there: %v", bk.s.NodeNames())
	}
}

// After every node lost its log, indexes start again; what proxies remember from
// before does not lock them out.
func TestEpochsGrowAfterTheLogWasLost(t *testing.T) {
	bk := unrouted(t)
	bk.must(&RegisterNode{Node: Node{Name: "n1"}, Epoch: 5000})
	if r := bk.must(&SetRoute{Cluster: "main", Writer: a}); r.Epoch <= 5000 {
		t.Errorf("epoch %d, a proxy has acknowledged 5000", r.Epoch)
	}
	first := bk.main().Route.Epoch
	bk.must(&RegisterNode{Node: Node{Name: "n2"}, Epoch: 4000})
	if r := bk.must(&SetRoute{Cluster: "main", Writer: a, Expect: first}); r.Epoch <= first {
		t.Errorf("epoch %d after %d", r.Epoch, first)
	}
}

func TestAcknowledge(t *testing.T) {
	bk := rolledBack(t)
	bk.must(begin("g", failover.KindSwitchover, 12))
	bk.must(&Conclude{Cluster: "main", IntentID: "g", Outcome: failover.RolledBack})
	bk.must(&Acknowledge{Cluster: "main", RecoveryID: "f", Ack: failover.Acknowledgement{By: "ann"}})
	bk.refuses(&Acknowledge{Cluster: "main", RecoveryID: "f"}, RuleDone, `acknowledging f is refused: "ann" has done so at 2026-03-01T12:00:15Z`)
	bk.must(&Acknowledge{Cluster: "main", Ack: failover.Acknowledgement{By: "bob", At: epochZero}})
	var got []string
	for _, r := range bk.main().Recoveries {
		got = append(got, fmt.Sprintf("%s %s %s", r.Intent.ID, r.Acknowledged.By, stamp(r.Acknowledged.At)))
	}
	if diff := cmp.Diff([]string{"f ann 2026-03-01T12:00:15Z", "g bob 2026-03-01T12:00:00Z"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDowntimes(t *testing.T) {
	bk := routed(t)
	until := func(seconds int) time.Time { return epochZero.Add(time.Duration(seconds) * time.Second) }
	set := func(a topology.Addr, seconds int) {
		bk.must(&SetDowntime{Cluster: "main", Downtime: failover.Downtime{Instance: a, Until: until(seconds)}})
	}
	set(c, 12) // over when the next is set
	set(b, 100)
	set(a, 100)
	set(b, 200)
	want := []failover.Downtime{{Instance: a, Until: until(100)}, {Instance: b, Until: until(200)}}
	if diff := cmp.Diff(want, bk.main().Downtimes); diff != "" {
		t.Error(diff)
	}
	bk.must(&EndDowntime{Cluster: "main", Instance: a})
	if diff := cmp.Diff(want[1:], bk.main().Downtimes); diff != "" {
		t.Error(diff)
	}
}

// With the last instance goes a cluster that was never routed.
func TestForgetLast(t *testing.T) {
	bk := empty(t)
	bk.must(&Discover{Cluster: "typo", Addrs: []topology.Addr{a}})
	bk.must(&Forget{Cluster: "typo", Addr: a})
	if names := bk.s.ClusterNames(); len(names) != 0 {
		t.Errorf("still there: %v", names)
	}
}

// History is bounded, and the newest is kept.
func TestBounds(t *testing.T) {
	bk := routed(t)
	for i := range KeptRecoveries + 5 {
		bk.must(begin(fmt.Sprintf("r%d", i), failover.KindSwitchover, bk.main().Route.Epoch))
		steps := make([]failover.StepResult, KeptSteps+1)
		steps[KeptSteps].Node = "newest"
		bk.must(&Conclude{Cluster: "main", IntentID: fmt.Sprintf("r%d", i), Outcome: failover.RolledBack, Steps: steps})
	}
	for range KeptCommands {
		bk.apply(&ForgetNode{Name: "none"})
	}
	recoveries := bk.main().Recoveries
	if len(recoveries) != KeptRecoveries || recoveries[0].Intent.ID != "r5" || bk.main().Last().Intent.ID != fmt.Sprintf("r%d", KeptRecoveries+4) {
		t.Errorf("%d recoveries, from %s to %s", len(recoveries), recoveries[0].Intent.ID, bk.main().Last().Intent.ID)
	}
	if steps := bk.main().Last().Steps; len(steps) != KeptSteps || steps[KeptSteps-1].Node != "newest" {
		t.Errorf("%d steps", len(steps))
	}
	if n := len(bk.s.Recent); n != KeptCommands || bk.s.Recent[n-1].ID != fmt.Sprintf("c%d", bk.s.Index) {
		t.Errorf("%d recent commands", n)
	}
}

// Leaders' clocks differ, yet no recovery ends before it began.
func TestClockOfAnotherLeader(t *testing.T) {
	bk := failingOver(t)
	early := epochZero.Add(-time.Hour)
	bk.send(command("commit", early, &CommitRoute{Cluster: "main", IntentID: "f", Writer: b}))
	bk.send(command("end", early, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded}))
	last := bk.main().Last()
	if last.Routed.Before(last.Intent.At) || last.Ended.Before(last.Routed) {
		t.Errorf("begun %s, routed %s, ended %s", last.Intent.At, last.Routed, last.Ended)
	}
}
