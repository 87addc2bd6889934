package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

func TestFailoverPlan(t *testing.T) {
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"a killed primary", primary("a").replica("b").replica("c").kill("a").begin(), []string{
			"proxies: writer fenced", "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude",
		}},
		{"a relay log to apply", primary("a").replica("b", has("0-1-100", "0-1-95")).replica("c", has("0-1-99", "0-1-99")).kill("a").begin(), []string{
			"proxies: writer fenced", "drain b:3306", "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude",
		}},
		{"a frozen primary whose connections still stand", primary("a").replica("b").replica("c").freeze("a", 2*time.Second).begin(), []string{
			"proxies: writer fenced", "drain b:3306", "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude",
		}},
		{"the most advanced must not be promoted: it is the donor",
			primary("a").replica("b", has("0-1-90", "0-1-90")).replica("c").rule("c", ServerRule{Promotion: MustNot}).kill("a").begin(), []string{
				"proxies: writer fenced", "repoint b:3306 to c:3306", "catch up b:3306", "drain b:3306", "promote b:3306",
				"commit route b:3306", "repoint c:3306 to b:3306", "conclude",
			}},
		{"the target's receiver stands still under its donor",
			primary("a").replica("b").replica("c", under("b"), has("0-1-90", "0-1-90"), failedBy(-1, 0)).rule("b", ServerRule{Promotion: MustNot}).kill("a").begin(), []string{
				"proxies: writer fenced", "repoint c:3306 to b:3306", "catch up c:3306", "drain c:3306", "promote c:3306",
				"commit route c:3306", "repoint b:3306 to c:3306", "conclude",
			}},
		{"a delayed replica is moved last", primary("a").replica("b").replica("c", delay(time.Hour)).replica("d").kill("a").begin(), []string{
			"proxies: writer fenced", "promote b:3306", "commit route b:3306", "repoint d:3306 to b:3306", "repoint c:3306 to b:3306", "conclude",
		}},
		{"semi-sync: the acknowledging replicas move before it opens", primary("a").replica("b").replica("c").replica("d").semiSync(1).kill("a").begin(), []string{
			"proxies: writer fenced, stop receiving b:3306, stop receiving c:3306, stop receiving d:3306", "repoint c:3306 to b:3306, repoint d:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude",
		}},
		{"a chain moves with its head", primary("a").replica("b").replica("c").replica("d", under("c")).kill("a").begin(), []string{
			"proxies: writer fenced", "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude",
		}},
		{"forced, with a living primary", primary("a").replica("b").replica("c").ask(Request{ID: "r1", Kind: KindFailover, Force: true}).begin(), []string{
			"proxies: writer fenced, set read only a:3306", "drain b:3306", "promote b:3306", "commit route b:3306",
			"repoint a:3306 to b:3306, repoint c:3306 to b:3306", "conclude",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expectPlan(t, Remaining(&tt.b.c), tt.want...)
			interrupt(t, tt.b)
		})
	}
}

func TestSwitchoverPlan(t *testing.T) {
	ask := Request{ID: "r1", Kind: KindSwitchover, To: at("b"), By: "ann"}
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"planned", primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c").ask(ask).begin(), []string{
			"proxies: writer paused", "set read only a:3306", "catch up b:3306", "promote b:3306", "commit route b:3306",
			"repoint a:3306 to b:3306, repoint c:3306 to b:3306", "conclude",
		}},
		{"semi-sync: who will acknowledge is moved before writes are held", primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c", has("0-1-98", "0-1-98")).semiSync(1).ask(ask).begin(), []string{
			"stop receiving c:3306", "repoint c:3306 to b:3306", "pause a:3306", "proxies: writer paused", "set read only a:3306", "catch up b:3306",
			"promote b:3306", "commit route b:3306, repoint a:3306 to b:3306", "conclude",
		}},
		{"semi-sync: as many as the target's commits wait for, and as the old primary can do without",
			primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c", has("0-1-98", "0-1-98")).replica("d", has("0-1-98", "0-1-98")).replica("e").onMySQL().semiSync(2).ask(ask).begin(), []string{
				"stop receiving c:3306, stop receiving d:3306", "repoint c:3306 to b:3306, repoint d:3306 to b:3306", "pause a:3306", "proxies: writer paused",
				"set read only a:3306", "catch up b:3306", "promote b:3306, repoint e:3306 to b:3306", "commit route b:3306, repoint a:3306 to b:3306", "conclude",
			}},
		{"semi-sync: nobody can be spared before the old primary is closed; then all at once", primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c").replica("d").onMySQL().semiSync(2).ask(ask).begin(), []string{
			"proxies: writer paused", "set read only a:3306", "catch up b:3306", "promote b:3306, repoint c:3306 to b:3306, repoint d:3306 to b:3306",
			"commit route b:3306, repoint a:3306 to b:3306", "conclude",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expectPlan(t, Remaining(&tt.b.c), tt.want...)
			interrupt(t, tt.b)
		})
	}
}

// A repair that was broken off leaves the target's receiver stopped, which it could not
// start again: the switchover does, or nothing of what is missing would ever come.
func TestASwitchoverStartsATargetThatStandsStill(t *testing.T) {
	ask := Request{ID: "r1", Kind: KindSwitchover, To: at("b"), By: "ann"}
	const pause, start = "proxies: writer paused", "start replica b:3306"
	rest := []string{"promote b:3306", "commit route b:3306", "repoint a:3306 to b:3306, repoint c:3306 to b:3306", "conclude"}
	lags := func() *build { return primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c") }
	tests := []struct {
		name   string
		b      *build
		closed bool
		want   []string
	}{
		{"it lags", lags(), false, []string{pause, start, "set read only a:3306", "catch up b:3306"}},
		{"found when the old primary is closed", lags(), true, []string{pause, start, "catch up b:3306"}},
		{"it has all", primary("a").replica("b").replica("c"), true, []string{pause}},
		{"without GTID", primary("a").replica("b", stands(90, 90)).replica("c").byPosition(), false,
			[]string{pause, start, "set read only a:3306", "locate b:3306"}},
	}
	halt := func(b *build, ioError string) {
		b.ask(ask).begin()
		src := source(b.inst("b"))
		src.IO, src.IOError = topology.ThreadNo, ioError
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			halt(tt.b, "")
			if tt.closed {
				tt.b.effect(Step{Do: SetReadOnly, Target: at("a")})
			}
			expectPlan(t, Remaining(&tt.b.c), append(tt.want, rest...)...)
			interrupt(t, tt.b)
		})
	}
	b := lags()
	halt(b, "could not find the log file")
	expectPlan(t, Remaining(&b.c), append([]string{pause, "set read only a:3306", "catch up b:3306"}, rest...)...)
}

// TestInterruptedAnywhere stops after every single step of each kind of recovery.
func TestInterruptedAnywhere(t *testing.T) {
	cases := map[string]*build{
		"failover": primary("a").replica("b", has("0-1-100", "0-1-95")).replica("c", has("0-1-99", "0-1-99")).replica("d", delay(time.Hour)).kill("a").begin(),
		"donor":    primary("a").replica("b", has("0-1-90", "0-1-90")).replica("c").rule("c", ServerRule{Promotion: MustNot}).kill("a").begin(),
		"semisync": primary("a").replica("b").replica("c").replica("d").semiSync(2).kill("a").begin(),
		"planned":  primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c").ask(Request{ID: "r", Kind: KindSwitchover}).begin(),
		"forced":   primary("a").replica("b").replica("c").ask(Request{ID: "r", Kind: KindFailover, Force: true}).begin(),
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) { interruptSteps(t, b) })
	}
}

func TestNothingIsPromotedWhileAProxyDoesNotHold(t *testing.T) {
	b := primary("a").replica("b").replica("c").kill("a").begin()
	for n := range 2 {
		b.c.Snapshot.Proxies[n].Epoch = b.c.Intent.Epoch
	}
	stages := Remaining(&b.c)
	if stages[0][0].Do != CloseProxies || stages[0][0].Why != "s3 may still send writes to a:3306" {
		t.Errorf("the first stage is %s: %s", stages[0], stages[0][0].Why)
	}
	b.c.Snapshot.Proxies[2].LeaseOver = true
	if first := Remaining(&b.c)[0]; first.String() != "promote b:3306" {
		t.Errorf("its lease is over, and the first stage is %s", first)
	}
}

// rollback begins a switchover of a to b, performs n stages and lets the
// deadline pass.
func rollback(n int) *build {
	b := primary("a").replica("b", has("0-1-98", "0-1-98")).replica("c").ask(Request{ID: "r1", Kind: KindSwitchover, To: at("b")}).begin()
	for range n {
		b.perform(Remaining(&b.c)[0])
	}
	return b.pass(time.Minute)
}

func TestSwitchoverIsRolledBackBeforeThePointOfNoReturn(t *testing.T) {
	tests := []struct {
		name   string
		stages int
		want   []string
	}{
		{"begun", 0, []string{"roll back a:3306"}},
		{"proxies paused", 1, []string{"roll back a:3306"}},
		{"old primary closed", 2, []string{"set writable a:3306", "roll back a:3306"}},
		{"caught up", 3, []string{"set writable a:3306", "roll back a:3306"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := rollback(tt.stages)
			expectPlan(t, Remaining(&b.c), tt.want...)
			interrupt(t, b)
			if w := b.c.Snapshot.Route.Writer; w != at("a") || !b.inst("a").State.Writable() {
				t.Errorf("the writer is %s; a writable: %v", w, b.inst("a").State.Writable())
			}
		})
	}
	t.Run("a sidecar fell silent before its proxy paused", func(t *testing.T) {
		b := rollback(0).pass(-time.Minute).proxy("s2", func(p *topology.Proxy) { p.LeaseOver = true })
		expectPlan(t, Remaining(&b.c), "roll back a:3306")
		b.c.Intent.Forced = true // then it counts as fenced: who forces it bears the errors
		if first := Remaining(&b.c)[0]; first.String() != "proxies: writer paused" || !strings.HasPrefix(first[0].Why, "s1 and s3 may") {
			t.Errorf("forced, the first stage is %s: %s", first, first[0].Why)
		}
	})
	t.Run("or after it: forward", func(t *testing.T) {
		b := rollback(1).pass(-time.Minute).proxy("s2", func(p *topology.Proxy) { p.LeaseOver = true })
		if first := Remaining(&b.c)[0]; first.String() != "set read only a:3306" {
			t.Errorf("the first stage is %s", first)
		}
	})
	t.Run("or when the old primary is closed: forward", func(t *testing.T) {
		b := rollback(2).pass(-time.Minute).proxy("s2", func(p *topology.Proxy) { p.LeaseOver, p.Epoch = true, 0 })
		if first := Remaining(&b.c)[0]; first.String() != "catch up b:3306" {
			t.Errorf("the first stage is %s", first)
		}
	})
	t.Run("promoted: only forward", func(t *testing.T) {
		b := rollback(4)
		expectPlan(t, Remaining(&b.c), "commit route b:3306", "repoint a:3306 to b:3306, repoint c:3306 to b:3306", "conclude")
	})
	t.Run("it forgot its source and was not opened", func(t *testing.T) {
		b := rollback(3)
		b.inst("b").State.Sources = nil
		expectPlan(t, Remaining(&b.c), "set writable a:3306", "roll back a:3306, repoint b:3306 to a:3306")
		b.inst("b").State.Executed = gtid.MustParse("0-1-100,0-2-101")
		expectPlan(t, Remaining(&b.c), "set writable a:3306", "roll back a:3306") // what a lacks would be lost on the way, or b break
	})
	t.Run("whether it was opened is not known: it is closed first", func(t *testing.T) {
		b := rollback(3)
		b.inst("b").Reach = topology.Unclear
		expectPlan(t, Remaining(&b.c), "set read only b:3306", "set writable a:3306", "roll back a:3306")
	})
	t.Run("it died", func(t *testing.T) {
		b := rollback(2).pass(-time.Minute).kill("b")
		expectPlan(t, Remaining(&b.c), "set writable a:3306", "roll back a:3306")
	})
}

func TestSwitchoverWhosePrimaryDiesBecomesAFailover(t *testing.T) {
	b := rollback(1).pass(-time.Minute).kill("a")
	expectPlan(t, Remaining(&b.c), // c received more by then, and takes b's place
		"retarget c:3306", "promote c:3306", "commit route c:3306", "repoint b:3306 to c:3306", "conclude")
	b = rollback(1).kill("a") // even after its deadline: there is nowhere to go back to
	b.inst("b").State.Sources[0].Received = b.inst("a").State.Executed
	expectPlan(t, Remaining(&b.c), "drain b:3306", "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude")
}

func TestSwitchoverDoesNotPromoteWhileTheOldPrimaryIsNotKnownToBeClosed(t *testing.T) {
	b := rollback(3).pass(-time.Minute)
	b.inst("a").Reach = topology.Unclear
	if first := Remaining(&b.c)[0]; first.String() != "set read only a:3306" {
		t.Errorf("the first stage is %s", first)
	}
}

func TestPauseEndsWhenTransactionsHaveEndedOrTheirTimeIsOver(t *testing.T) {
	b := rollback(1).pass(-time.Minute)
	b.c.Snapshot.Proxies[1].Drained = false
	if first := Remaining(&b.c)[0]; first[0].Do != CloseProxies {
		t.Errorf("a transaction is in progress, and the first stage is %s", first)
	}
	if first := Remaining(&b.pass(3 * time.Second).c)[0]; first[0].Do != SetReadOnly {
		t.Errorf("the time to drain is over, and the first stage is %s", first)
	}
}

func TestRetarget(t *testing.T) {
	open := func() *build { return primary("a").replica("b").replica("c").kill("a").begin() }
	closed := func(b *build) *build { b.perform(Remaining(&b.c)[0]); return b }
	t.Run("the chosen one died", func(t *testing.T) {
		b := closed(open()).kill("b")
		expectPlan(t, Remaining(&b.c), "retarget c:3306", "promote c:3306", "commit route c:3306", "conclude")
		interrupt(t, b)
	})
	t.Run("another one received more", func(t *testing.T) {
		b := closed(open())
		has("0-1-105", "0-1-105")(b, b.inst("c"))
		expectPlan(t, Remaining(&b.c), "retarget c:3306", "promote c:3306", "commit route c:3306", "repoint b:3306 to c:3306", "conclude")
	})
	t.Run("it was opened and died before a client came: given up", func(t *testing.T) {
		b := closed(open())
		b.perform(Remaining(&b.c)[0])
		b.kill("b")
		expectPlan(t, Remaining(&b.c), "retarget c:3306", "promote c:3306", "commit route c:3306", "conclude")
	})
	t.Run("whether it was opened is not known: wait", func(t *testing.T) {
		b := closed(open())
		b.inst("b").Reach = topology.Partial
		expectPlan(t, Remaining(&b.c), "drain b:3306")
	})
	t.Run("nobody is left, and the old primary answers again", func(t *testing.T) {
		b := closed(open()).kill("b", "c")
		b.inst("a").Reach = topology.Up
		expectPlan(t, Remaining(&b.c), "roll back a:3306")
	})
}

func TestReplicasThatCannotBeMovedDoNotHoldUpTheEnd(t *testing.T) {
	b := primary("a").replica("b").replica("c").kill("a").begin()
	for range 3 {
		b.perform(Remaining(&b.c)[0])
	}
	expectPlan(t, Remaining(&b.c), "repoint c:3306 to b:3306", "conclude")
	expectPlan(t, Remaining(&b.pass(patience).c), "conclude")
	b.perform(Remaining(&b.c)[0])
	if got := Stage(Repairs(&b.c)).String(); got != "repoint c:3306 to b:3306" {
		t.Errorf("repairs: %q", got)
	}
}

func TestAReplicaThatHoldsMoreThanTheNewPrimaryIsNotMoved(t *testing.T) {
	b := primary("a").replica("b", has("0-1-90", "0-1-90")).replica("c", has("0-1-95", "0-1-95")).kill("a", "c").
		ask(Request{ID: "r1", Kind: KindFailover, Force: true, To: at("b")}).begin()
	for range 3 { // c comes back when b is already routed
		b.perform(Remaining(&b.c)[0])
	}
	b.inst("c").Reach = topology.Up
	expectPlan(t, Remaining(&b.c), "conclude")
	b.perform(Remaining(&b.c)[0])
	if got := Stage(Repairs(&b.c)).String(); got != "save extra c:3306" {
		t.Errorf("repairs: %s", got)
	}
}

func TestAWritableReplicaIsNotPromotedYet(t *testing.T) {
	b := primary("a").replica("b", writable()).replica("c").kill("a").begin()
	expectPlan(t, Remaining(fencedCase(b)), "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude")
}

func fencedCase(b *build) *Case { b.perform(Remaining(&b.c)[0]); return &b.c }

func TestOnMySQLReadOnlyAloneDoesNotCloseAPrimary(t *testing.T) {
	b := rollback(2).pass(-time.Minute)
	for _, name := range []string{"a", "b", "c"} {
		b.inst(name).State.Flavor = "mysql"
	}
	if first := Remaining(&b.c)[0]; first.String() != "set read only a:3306" {
		t.Errorf("with read_only=1 and super_read_only=0 the first stage is %s", first)
	}
	b.inst("a").State.SuperReadOnly = true
	if first := Remaining(&b.c)[0]; first.String() != "catch up b:3306" {
		t.Errorf("with super_read_only=1 the first stage is %s", first)
	}
}
