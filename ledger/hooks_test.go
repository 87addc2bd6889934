package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
)

func hook(point failover.HookPoint, number int) failover.HookResult {
	return failover.HookResult{Hook: point, Number: number, Command: "true", Node: "n1", Started: epochZero.Add(time.Duration(number) * time.Second)}
}

func decline(id, by string, kind failover.Kind) *Decline {
	d := &Decline{Intent: begin(id, kind, 10).Intent, Error: "hook before_failover 1 failed"}
	d.Intent.By = by
	return d
}

// history says who is in it and how it ended.
func history(cl Cluster) []string {
	var list []string
	for _, r := range cl.Recoveries {
		line := fmt.Sprintf("%s %s", r.Intent.ID, r.Outcome)
		for _, h := range r.Hooks {
			line += fmt.Sprintf(", %s %d", h.Hook, h.Number)
		}
		if r.Due != "" {
			line += "; due " + string(r.Due)
		}
		list = append(list, line)
	}
	return list
}

// What a hook stopped is kept, and changes nothing else.
func TestDeclined(t *testing.T) {
	bk := succeeded(t)
	before := bk.main()
	first := decline("main-12", "", failover.KindFailover)
	first.Hooks, first.Due = []failover.HookResult{hook(failover.OnDetection, 1), hook(failover.BeforeFailover, 1)}, failover.OnFailure
	bk.must(first)
	asked := decline("s", "ann", failover.KindSwitchover)
	bk.must(asked)
	bk.must(&RecordHook{Cluster: "main", RecoveryID: "main-12", Result: &failover.HookResult{Hook: failover.OnFailure, Number: 1}})
	second := decline("main-12.2", "", failover.KindFailover)
	second.Hooks, second.Replaces = []failover.HookResult{hook(failover.BeforeFailover, 2)}, "main-12"
	bk.must(second)
	bk.must(second)                                          // by a leader that does not know what became of it
	third := decline("main-12.3", "", failover.KindFailover) // long after: a failure of its own
	third.Replaces = "f"                                     // which took place, so it stays
	bk.must(third)
	after := bk.main()
	want := []string{"f succeeded", "s aborted", "main-12.2 aborted, on_detection 1, on_failure 1, before_failover 2; due on_failure", "main-12.3 aborted"}
	if diff := cmp.Diff(want, history(after)); diff != "" {
		t.Error(diff)
	}
	if last := after.Last(); last == nil || last.Intent.ID != "f" {
		t.Errorf("the last recovery that had begun is %v", last)
	}
	if stopped := after.Stopped(); stopped == nil || stopped.Intent.ID != "main-12.3" {
		t.Errorf("the automatic one that was stopped is %v", stopped)
	}
	if diff := cmp.Diff(before.Desired(), after.Desired()); diff != "" || after.Intent != nil {
		t.Errorf("the route changed: %s", diff)
	}
	bk.refuses(decline("f", "", failover.KindFailover), RuleDone, "declining the failover f of cluster main is refused: it ended at 2026-03-01T12:00:13Z: succeeded, primary b:3306")
}

func TestWhatIsOpenIsNotDeclined(t *testing.T) {
	bk := failingOver(t)
	bk.refuses(decline("g", "", failover.KindFailover), RuleIntentOpen, "declining the failover g of cluster main is refused: failover f from a:3306 to b:3306 is open")
	bk.refuses(decline("", "", failover.KindFailover), RuleCommand, "declining an intent without an id is refused")
}

func TestARecoveryThatBeganIsNoLongerStopped(t *testing.T) {
	bk := routed(t)
	bk.must(decline("main-10", "", failover.KindFailover))
	bk.must(begin("main-10.2", failover.KindFailover, 10))
	bk.must(&CommitRoute{Cluster: "main", IntentID: "main-10.2", Writer: b})
	bk.must(&Conclude{Cluster: "main", IntentID: "main-10.2", Outcome: failover.Succeeded})
	if r := bk.main().Stopped(); r != nil {
		t.Errorf("%s counts as stopped", r.Intent.ID)
	}
}

// The next leader knows from the history which hooks are still to be run.
func TestHooksOfARecovery(t *testing.T) {
	bk := routed(t)
	in := begin("f", failover.KindFailover, 10)
	in.Hooks = []failover.HookResult{hook(failover.BeforeFailover, 1)}
	bk.must(in)
	record := func(r failover.HookResult, done bool) {
		t.Helper()
		bk.must(&RecordHook{Cluster: "main", RecoveryID: "f", Result: &r, Done: done})
	}
	record(hook(failover.OnDetection, 1), false) // it ended late
	bk.must(&CommitRoute{Cluster: "main", IntentID: "f", Writer: b})
	bk.must(&Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded, Due: failover.AfterFailover})
	record(hook(failover.AfterFailover, 1), false)
	record(hook(failover.AfterFailover, 1), false) // once more, after an unknown outcome
	want := []string{"f succeeded, before_failover 1, on_detection 1, after_failover 1; due after_failover"}
	if diff := cmp.Diff(want, history(bk.main())); diff != "" {
		t.Error(diff)
	}
	record(hook(failover.AfterFailover, 2), true)
	want = []string{"f succeeded, before_failover 1, on_detection 1, after_failover 1, after_failover 2"}
	if diff := cmp.Diff(want, history(bk.main())); diff != "" {
		t.Error(diff)
	}
	bk.refuses(&RecordHook{Cluster: "main", RecoveryID: "g", Done: true}, RuleUnknown, "recording a hook of g is refused: cluster main has no such recovery")
	bk.refuses(&RecordHook{Cluster: "other", RecoveryID: "f"}, RuleUnknown, `recording a hook of f is refused: there is no cluster "other"; known are main`)
}

func TestHookResultsAreBounded(t *testing.T) {
	bk := succeeded(t)
	for n := range KeptHooks + 5 {
		r := hook(failover.AfterFailover, n+1)
		r.Output, r.Command = strings.Repeat("ä", keptOutput), strings.Repeat("x", keptCommand)
		bk.must(&RecordHook{Cluster: "main", RecoveryID: "f", Result: &r})
	}
	kept := bk.main().Last().Hooks
	if n := len(kept); n != KeptHooks || kept[n-1].Number != KeptHooks+5 || len(kept[0].Output) > keptOutput+len("…") || len(kept[0].Command) != keptCommand {
		t.Errorf("%d are kept, the last is number %d with %d bytes of output", n, kept[n-1].Number, len(kept[0].Output))
	}
}
