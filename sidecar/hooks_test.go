package sidecar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
)

func TestAHookThatFailsStopsAFailoverUntilItIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{
			OnDetection: one("detected {failedHost}"), BeforeFailover: one("before {failedHost}"), AfterFailover: one("after {successorHost}"), OnFailure: one("failed {recoveryUID}"),
		})
		s.answers(func(line string) (hooks.Result, time.Duration) {
			if strings.HasPrefix(line, "before") {
				return no(line)
			}
			return hooks.Result{Output: "ok"}, 100 * time.Millisecond
		})
		d, _ := s.lead(1)
		s.want("before anything has happened", s.lines())
		s.set(dbA, true)
		pass(5 * time.Second)
		s.want("history", s.history(), "main-2 aborted, before_failover 1: 3 asked\nbefore a said no, on_detection 1: 0 ok, on_failure 1: 0 ok")
		s.want("nothing was touched", s.done())
		if s.main().Intent != nil || s.main().Route.Writer != dbA {
			t.Error("an intent was begun")
		}
		if said := d.lastVerdict().Decision.Sentence; !strings.Contains(said, `hook before_failover 1 failed on n1: it ended with exit code 3; it said "before a said no"`) {
			t.Errorf("the cluster's sentence is %s", said)
		}
		pass(20 * time.Second)
		if n := strings.Count(strings.Join(s.lines(), "\n"), "before"); n < 2 || n > 3 {
			t.Errorf("the hook was run %d times in 25s, retry is 10s", n)
		}
		if n := strings.Count(strings.Join(s.lines(), "\n"), "failed"); n != 1 {
			t.Errorf("the hooks on failure were run %d times for one failure", n)
		}
		s.answers(func(string) (hooks.Result, time.Duration) { return hooks.Result{Output: "ok"}, 100 * time.Millisecond })
		pass(15 * time.Second)
		last := s.main().Last()
		if last == nil || last.Outcome != failover.Succeeded || s.main().Route.Writer != dbB {
			t.Fatalf("no failover when the hook agrees: %s", d.lastVerdict().Decision.Sentence)
		}
		s.want("history", s.history()[len(s.history())-1:], last.Intent.ID+" succeeded, before_failover 1: 0 ok, after_failover 1: 0 ok")
		if env := s.env["after b"]; !slices.Contains(env, "ORC_IS_SUCCESSFUL=true") || !slices.Contains(env, "ORC_RECOVERY_UID="+last.Intent.ID) {
			t.Errorf("the environment after it is %q", env)
		}
		s.set(dbA, false) // it comes back as a replica, and the anti-flap period ends
		pass(15 * time.Minute)
		s.answers(no)
		s.set(dbB, true)
		pass(30 * time.Second)
		if n := strings.Count(strings.Join(s.lines(), "\n"), "failed"); n != 2 {
			t.Errorf("the hooks on failure were run %d times for two failures; history %q", n, s.history())
		}
		s.set(dbB, false)
		pass(5 * time.Minute)
		s.set(dbB, true)
		pass(30 * time.Second)
		if n := strings.Count(strings.Join(s.lines(), "\n"), "failed"); n != 3 {
			t.Errorf("the hooks on failure were run %d times for three failures; history %q", n, s.history())
		}
		detections := strings.Count(strings.Join(s.lines(), "\n"), "detected")
		if detections != 3 {
			t.Errorf("hooks on detection were run %d times for three failures", detections)
		}
	})
}

func TestAPrimaryThatAnswersWhileHooksRunIsNotFailedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{BeforeFailover: one("slow")})
		s.answers(func(string) (hooks.Result, time.Duration) { return hooks.Result{}, 3 * time.Second })
		s.lead(1)
		s.set(dbA, true)
		pass(time.Second)
		s.want("it runs", s.lines(), "slow")
		s.set(dbA, false)
		pass(10 * time.Second)
		s.want("history", s.history(), "main-2 aborted, before_failover 1: 0")
		s.want("nothing was touched", s.done())
		if words := s.main().Recoveries[0].Error; !strings.Contains(words, "no longer called for") {
			t.Errorf("the reason is %s", words)
		}
	})
}

func TestAHookRefusesASwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{
			BeforeSwitchover: []failover.Hook{{Command: "first", MayFail: true}, {Command: "second"}, {Command: "third"}}, OnFailure: one("failed {outcome}"),
		})
		s.answers(no)
		s.lead(1)
		_, err := s.Recover(context.Background(), "main", switchover("r1"))
		var refused *api.RefusedError
		if !errors.As(err, &refused) || len(refused.Refusals) != 1 || refused.Refusals[0].Rule != "hook" ||
			!strings.Contains(err.Error(), `hook before_switchover 2 failed on n1: it ended with exit code 3; it said "second said no"`) {
			t.Errorf("the refusal is %v", err)
		}
		pass(time.Second)
		s.want("commands", s.lines(), "first", "second", "failed aborted")
		s.want("history", s.history(), "r1 aborted, before_switchover 1: 3 asked\nfirst said no, before_switchover 2: 3 asked\nsecond said no, on_failure 1: 3 asked\nfailed aborted said no")
		s.want("nothing was touched", s.done())
		reply, err := s.Recover(context.Background(), "main", switchover("r1"))
		if err != nil || reply.Recovery != "r1" {
			t.Errorf("asked once more: %v, %v", reply.Recovery, err)
		}
		if n := len(s.lines()); n != 3 {
			t.Errorf("%d commands were run for one request", n)
		}
	})
}

func TestAForcedFailoverGoesOnWhateverHooksSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{BeforeFailover: []failover.Hook{{Command: "first"}, {Command: "second"}}})
		s.answers(no)
		s.lead(1)
		r := switchover("r1")
		r.Kind, r.Force = failover.KindFailover, true
		if _, err := s.Recover(context.Background(), "main", r); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		s.want("history", s.history(), "r1 succeeded, before_failover 1: 3 asked\nfirst said no, before_failover 2: 3 asked\nsecond said no")
	})
}

// A client whose patience is shorter than the hooks' does not end them.
func TestAClientThatHangsUpEndsNoHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{BeforeSwitchover: one("slow")})
		s.answers(func(string) (hooks.Result, time.Duration) { return hooks.Result{}, 8 * time.Second })
		s.lead(1)
		ctx, hangUp := context.WithTimeout(context.Background(), time.Second)
		defer hangUp()
		if reply, err := s.Recover(ctx, "main", switchover("r1")); err != nil || reply.Recovery != "r1" {
			t.Fatalf("%v, %v", reply, err)
		}
		pass(5 * time.Second)
		s.want("history", s.history(), "r1 succeeded, before_switchover 1: 0")
	})
}

func TestTheEndOfTheTermEndsHooksBeforeARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{BeforeFailover: one("slow")})
		s.answers(func(string) (hooks.Result, time.Duration) { return hooks.Result{}, 8 * time.Second })
		_, end := s.lead(1)
		s.set(dbA, true)
		pass(time.Second)
		began := time.Now()
		end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the term took %s to end", took)
		}
		s.want("history", s.history())
		s.want("nothing was touched", s.done())
		if s.main().Intent != nil {
			t.Error("a leader of the past began a recovery")
		}
	})
}

// The hooks that are due are on record: the next leader runs the one that was
// interrupted, and those after it.
func TestTheNextLeaderRunsTheHooksThatAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{AfterSwitchover: []failover.Hook{{Command: "first"}, {Command: "second {successorHost}"}, {Command: "third"}}})
		slow := 5 * time.Second
		s.answers(func(line string) (hooks.Result, time.Duration) {
			if strings.HasPrefix(line, "second") {
				return hooks.Result{}, slow
			}
			return hooks.Result{}, 100 * time.Millisecond
		})
		_, end := s.lead(1)
		if _, err := s.Recover(context.Background(), "main", switchover("r1")); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Second)
		s.want("history", s.history(), "r1 succeeded, after_switchover 1: 0; due after_switchover")
		end()
		s.want("an interrupted one is not on record", s.history(), "r1 succeeded, after_switchover 1: 0; due after_switchover")
		slow = time.Second
		s.lead(2)
		pass(5 * time.Second)
		s.want("history", s.history(), "r1 succeeded, after_switchover 1: 0, after_switchover 2: 0, after_switchover 3: 0")
		s.want("commands", s.lines(), "first", "second b", "second b", "third")
	})
}

func TestAFailureIsDetectedOnceAlsoWhereNothingIsBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{OnDetection: one("detected {failureType}")})
		c := s.cfg.Clusters["main"]
		c.Policy.Failover = failover.Manual
		s.cfg.Clusters["main"] = c
		s.lead(1)
		s.set(dbA, true)
		pass(3 * time.Minute)
		s.want("commands", s.lines(), "detected DeadMaster")
		s.set(dbA, false)
		pass(2 * time.Minute)
		s.set(dbA, true)
		pass(time.Minute)
		s.want("commands, after it was well for two minutes", s.lines(), "detected DeadMaster", "detected DeadMaster")
		s.want("history", s.history())
	})
}
