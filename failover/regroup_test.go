package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

func regrouping(opts ...option) *build {
	return primary("a").replica("b", opts...).replica("c").semiSync(1).ask(Request{ID: "r", Kind: KindSwitchover, To: at("b")}).begin()
}

// Whoever was moved acknowledges nothing to the old primary any more: what it had
// acknowledged must be had by the target before, in its binary log.
func TestNobodyIsMovedBeforeTheTargetHasWhatItReceived(t *testing.T) {
	b := regrouping()
	b.perform(Remaining(&b.c)[0])
	b.change("b", func(st *topology.State) { st.Executed = gtid.MustParse("0-1-99") })
	stages := Remaining(&b.c)
	if got := stages[0].String(); got != "catch up b:3306" || stages[0][0].Until.String() != "0-1-100" {
		t.Fatalf("c:3306 received 0-1-100 and b:3306 has executed 0-1-99: the first stage is %s until %s", got, stages[0][0].Until)
	}
	b.perform(stages[0])
	expectPlan(t, Remaining(&b.c)[:2], "repoint c:3306 to b:3306", "pause a:3306")
}

// The old primary keeps as many as its commits wait for, by its setting too.
func TestWhoIsNeededIsNotMoved(t *testing.T) {
	for name, b := range map[string]*build{
		"one replica":                        primary("a").replica("b").semiSync(1),
		"the primary waits for two":          primary("a").replica("b").replica("c").semiSync(1).semi("a", func(s *topology.SemiSync) { s.WaitCount = 2 }),
		"the other one does not acknowledge": primary("a").replica("b").replica("c").replica("d", delay(time.Hour), lag(time.Hour)).semiSync(1).semi("c", deaf),
		"by position":                        primary("a").replica("b", stands(100, 100)).replica("c", stands(100, 100)).semiSync(1).byPosition(),
		"async":                              primary("a").replica("b").replica("c"),
	} {
		t.Run(name, func(t *testing.T) {
			b.ask(Request{ID: "r", Kind: KindSwitchover, To: at("b")})
			if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil && d.Intent.Regroup {
				t.Errorf("%s, and it regroups", d.Sentence)
			}
		})
	}
}

// Until the writes are held nothing is promoted, whatever happens; a primary that dies
// meanwhile is closed at the proxies before anything else.
func TestThePrimaryDiesWhileReplicasAreMoved(t *testing.T) {
	for name, stages := range map[string]int{"at once": 0, "one has stopped": 1, "one was moved": 2} {
		t.Run(name, func(t *testing.T) {
			b := regrouping()
			for range stages {
				b.perform(Remaining(&b.c)[0])
			}
			b.kill("a")
			plan := Remaining(&b.c)
			if got := plan[0].String(); got != "pause a:3306" {
				t.Fatalf("the first stage is %s", got)
			}
			if b.effect(plan[0][0]); !strings.HasPrefix(Remaining(&b.c)[0].String(), "proxies: writer paused") {
				t.Fatalf("then %s", Remaining(&b.c)[0])
			}
			interruptSteps(t, b)
			if w := b.c.Snapshot.Route.Writer; w != at("b") {
				t.Errorf("the writer is %s", w)
			}
		})
	}
}

// A target that is lost, or that nobody can be brought to follow in half of the time,
// costs the clients nothing: no write was held.
func TestRegroupingIsGivenUp(t *testing.T) {
	b := regrouping()
	b.perform(Remaining(&b.c)[0])
	b.perform(Remaining(&b.c)[0])
	b.kill("b")
	expectPlan(t, Remaining(&b.c), "repoint c:3306 to a:3306", "roll back a:3306")

	b = regrouping()
	b.perform(Remaining(&b.c)[0])
	b.change("c", func(st *topology.State) { source(b.inst("c")).IOError = "access denied" })
	first := Remaining(&b.c)[0]
	if step := first[0]; !step.OnlyWaits() || !strings.Contains(step.Why, "b:3306 has 1 replica too few to acknowledge its writes") {
		t.Errorf("the first stage is %s: %s", first, step.Why)
	}
	b.pass(DefaultPolicy().Switchover.Timeout.D() / 2)
	plan := Remaining(&b.c)
	expectPlan(t, plan, "roll back a:3306, repoint c:3306 to a:3306")
	if why := plan[0][0].Why; !strings.Contains(why, "after half of the time b:3306 still has 1 replica too few") {
		t.Error(why)
	}
}
