package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

var toB = Request{ID: "r", Kind: KindSwitchover, To: at("b")}

// regrouping is a switchover from a to b that moves c first.
func regrouping() *build {
	return primary("a").replica("b").replica("c").semiSync(1).ask(toB).begin()
}

func (b *build) stages(n int) *build {
	for range n {
		b.perform(Remaining(&b.c)[0])
	}
	return b
}

func (b *build) first() Step { return Remaining(&b.c)[0][0] }

// Whoever was moved acknowledges nothing to the old primary any more: what it had
// acknowledged must be in the target's binary log before, and applied by itself, for its
// relay log is thrown away.
func TestNobodyIsMovedBeforeBothHaveWhatItReceived(t *testing.T) {
	for _, behind := range []string{"b", "c"} {
		b := regrouping().stages(1).change(behind, func(st *topology.State) { st.Executed = gtid.MustParse("0-1-99") })
		if step := b.first(); step.String() != "catch up "+behind+":3306" || step.Until.String() != "0-1-100" || !step.Optional {
			t.Errorf("c:3306 received 0-1-100 and %s:3306 has executed 0-1-99: the next is %s until %s, optional %v", behind, step, step.Until, step.Optional)
		}
		b.stages(1)
		expectPlan(t, Remaining(&b.c)[:2], "repoint c:3306 to b:3306", "pause a:3306")
	}
}

// The old primary keeps as many as its commits wait for, by its setting too; nobody is
// taken who could not follow at once.
func TestWhoIsMovedFirst(t *testing.T) {
	four := func() *build { return primary("a").replica("b").replica("c").replica("d").replica("e") }
	tests := []struct {
		name string
		b    *build
		want []topology.Addr
	}{
		{"one of two", primary("a").replica("b").replica("c").semiSync(1), []topology.Addr{at("c")}},
		{"two of four", four().onMySQL().semiSync(2), []topology.Addr{at("c"), at("d")}},
		{"the primary waits for two", primary("a").replica("b").replica("c").semiSync(1).semi("a", func(s *topology.SemiSync) { s.WaitCount = 2 }), nil},
		{"fewer are attached than there are", primary("a").replica("b").replica("c").semiSync(1).semi("a", func(s *topology.SemiSync) { s.Clients = 1 }), nil},
		{"one connected before semi-sync was on", four().semiSync(1).semi("c", func(s *topology.SemiSync) { s.ReplicaActive = false }), []topology.Addr{at("d")}},
		{"one is stopped", four().semiSync(1).change("c", func(st *topology.State) { st.Sources[0].IO = topology.ThreadNo }), []topology.Addr{at("d")}},
		{"one applies nothing", four().semiSync(1).change("c", func(st *topology.State) { st.Sources[0].SQL = topology.ThreadNo }), []topology.Addr{at("d")}},
		{"one has transactions of its own", four().semiSync(1).change("c", func(st *topology.State) { st.Executed = gtid.MustParse("0-1-100,1-3-5") }), []topology.Addr{at("d")}},
		{"one is older", four().semiSync(1).change("c", func(st *topology.State) { st.Version = "10.6.1-MariaDB" }), []topology.Addr{at("d")}},
		{"one lags", four().semiSync(1).change("c", func(st *topology.State) { st.Sources[0].Lag = ptr(topology.Duration(time.Hour)) }), []topology.Addr{at("d")}},
		{"one is delayed", four().semiSync(1).change("c", func(st *topology.State) { st.Sources[0].Delay = topology.Duration(time.Hour) }), []topology.Addr{at("d")}},
		{"one acknowledges nothing", four().semiSync(1).semi("c", func(s *topology.SemiSync) { s.ReplicaEnabled = false }), []topology.Addr{at("d")}},
		{"one is in downtime", four().semiSync(1).downtime("c"), []topology.Addr{at("d")}},
		{"one has a second source", four().semiSync(1).change("c", func(st *topology.State) {
			st.Sources = append(st.Sources, topology.Source{Channel: "other", Addr: at("x")})
		}), []topology.Addr{at("d")}},
		{"none can be moved", primary("a").replica("b").replica("c").semiSync(1).downtime("c"), nil},
		{"short of time", four().semiSync(1).policy(func(p *Policy) { p.Switchover.Timeout = Duration(3 * time.Second) }), nil},
		{"async", primary("a").replica("b").replica("c"), nil},
		{"by position", primary("a").replica("b", stands(100, 100)).replica("c", stands(100, 100)).byPosition().semiSync(1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.b.ask(toB)
			if d := Decide(&tt.b.c, Analyze(&tt.b.c)); d.Intent == nil || !slices.Equal(d.Intent.Regroup, tt.want) {
				t.Errorf("%s: %+v; want %v moved", d.Sentence, d.Intent, tt.want)
			}
		})
	}
}

// Until the writes are held nothing is promoted, whatever happens; a primary that dies
// meanwhile is closed at the proxies before anything else.
func TestThePrimaryDiesWhileReplicasAreMoved(t *testing.T) {
	for name, stages := range map[string]int{"at once": 0, "one has stopped": 1, "one was moved": 2} {
		t.Run(name, func(t *testing.T) {
			b := regrouping().stages(stages).kill("a")
			if got := b.first().String(); got != "pause a:3306" {
				t.Fatalf("the first stage is %s", got)
			}
			if b.stages(1); !strings.HasPrefix(Remaining(&b.c)[0].String(), "proxies: writer paused") {
				t.Fatalf("then %s", Remaining(&b.c)[0])
			}
			interruptSteps(t, b)
			if w := b.c.Snapshot.Route.Writer; w != at("b") {
				t.Errorf("the writer is %s", w)
			}
		})
	}
}

// Who was moved under a target that another one takes the place of is moved on: it would
// acknowledge nothing to the one that is promoted.
func TestWhoWasMovedGoesOnToTheOneThatIsPromoted(t *testing.T) {
	more := func() *build {
		b := primary("a").replica("b").replica("c").replica("d").replica("e").onMySQL().semiSync(2).ask(toB).begin().stages(3).kill("a")
		return b.change("e", func(st *topology.State) { st.Sources[0].Received = gtid.MustParse("0-1-101") })
	}
	b := more()
	interruptSteps(t, b)
	if w := b.c.Snapshot.Route.Writer; w != at("e") {
		t.Fatalf("the writer is %s, and e:3306 received the most", w)
	}
	for _, name := range []string{"b", "c", "d"} {
		if source := b.c.Snapshot.SourceOf(at(name)); source != at("e") {
			t.Errorf("%s:3306 replicates from %s", name, source)
		}
	}

	b = more()
	b.c.Snapshot.Route.Writer, b.c.Last = at("e"), &Recovery{Intent: *b.c.Intent, Outcome: Succeeded, To: at("e"), Left: []topology.Addr{at("c")}}
	b.c.Last.Intent.To, b.c.Intent = at("e"), nil
	if f := newFacts(&b.c); !f.leftBehind(at("c"), at("b")) {
		t.Error("one that the recovery left under its first target is taken for somebody's intention")
	}
}

// What makes the switchover impossible costs the clients nothing: no write was held. Who
// was stopped or moved receives from the old primary before the recovery ends.
func TestRegroupingIsGivenUp(t *testing.T) {
	half := DefaultPolicy().Switchover.Timeout.D() / 2
	back := []string{"repoint c:3306 to a:3306", "roll back a:3306"}
	tests := []struct {
		name string
		b    *build
		why  string
		want []string
	}{
		{"the target dies", regrouping().stages(2).kill("b"), "too few replicas are left to acknowledge what a:3306 writes", back},
		{"the target stops receiving", regrouping().stages(2).change("b", func(st *topology.State) { st.Sources[0].IO = topology.ThreadNo }),
			"too few replicas are left", []string{"repoint b:3306 to a:3306, repoint c:3306 to a:3306", "roll back a:3306"}},
		{"somebody opens the target", regrouping().stages(1).change("b", func(st *topology.State) { st.Sources, st.ReadOnly = nil, false }),
			"b:3306 takes writes, which nobody has routed to it", append([]string{"set read only b:3306"}, "repoint c:3306 to a:3306", "roll back a:3306, repoint b:3306 to a:3306")},
		{"the target falls behind", regrouping().stages(2).change("b", func(st *topology.State) { st.Sources[0].Lag = ptr(topology.Duration(time.Hour)) }).pass(half),
			"b:3306 lags by 1h0m0s, more than", back},
		{"the old primary cannot be read", regrouping().stages(1).unclear("a").pass(half), "a:3306 and b:3306 cannot both be read", back},
		{"a replica has got a transaction of its own", regrouping().stages(1).change("c", func(st *topology.State) { st.Executed = gtid.MustParse("0-1-100,1-3-5") }).unclear("a").pass(half),
			"a:3306 and b:3306 cannot both be read", []string{"roll back a:3306"}},
		{"a replica that was read later has more", regrouping().stages(1).change("c", func(st *topology.State) { st.Sources[0].Received = gtid.MustParse("0-1-101") }).kill("b"),
			"too few replicas are left", back},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := Remaining(&tt.b.c)
			expectPlan(t, plan, tt.want...)
			for _, step := range slices.Concat(plan...) {
				if step.Do == RollBack && !strings.Contains(step.Why, tt.why) {
					t.Errorf("the reason is %q, want %q", step.Why, tt.why)
				}
			}
		})
	}
}

// One that cannot be moved holds up nothing for longer than half of the time; it is moved
// beside the promotion, as where nobody can be spared before.
func TestOneThatCannotBeMovedIsLeftToThePromotion(t *testing.T) {
	for name, b := range map[string]*build{
		"it does not stop":              regrouping(),
		"it has stopped, and is silent": regrouping().stages(1).unclear("c"),
		"it cannot connect": regrouping().stages(2).change("c", func(st *topology.State) {
			st.Sources[0].IO, st.Sources[0].IOError = topology.ThreadConnecting, "access denied"
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if step := b.first(); step.Do == Pause {
				t.Fatal("it is not waited for")
			}
			b.pass(DefaultPolicy().Switchover.Timeout.D() / 2)
			if step := b.first(); step.Do != Pause || !strings.Contains(step.Why, "c:3306 could not be moved to b:3306 in time") {
				t.Errorf("after half of the time the next is %s: %s", step, step.Why)
			}
		})
	}
}

// What a leader that died left half done is found: a replica that was moved and did not
// start, and one that something sent before may yet start.
func TestTheNextLeaderGoesOnWithTheRegrouping(t *testing.T) {
	b := regrouping().stages(2).change("c", func(st *topology.State) { st.Sources[0].IO = topology.ThreadNo })
	if got := b.first().String(); got != "repoint c:3306 to b:3306" {
		t.Errorf("c:3306 was moved and did not start: the next is %s", got)
	}
	b = regrouping().stages(1)
	b.c.Unsettled = []Unsettled{{Instance: at("c")}}
	if got := b.first().String(); got != "stop receiving c:3306" {
		t.Errorf("c:3306 may yet be started: the next is %s", got)
	}
}

// Somebody who stops a replica is told so; the regrouping is not somebody.
func TestWhoIsMovedIsNotFoundStopped(t *testing.T) {
	b := regrouping().stages(1)
	for _, f := range Analyze(&b.c) {
		if f.Code == "ReplicationStopped" {
			t.Error(f.Sentence)
		}
	}
}

// unclear makes an instance one that cannot be read and is not called dead.
func (b *build) unclear(name string) *build { b.inst(name).Reach = topology.Unclear; return b }
