package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

// semi changes the semi-sync state of a server.
func (b *build) semi(name string, change func(*topology.SemiSync)) *build {
	change(&b.inst(name).State.SemiSync)
	return b
}

func deaf(s *topology.SemiSync) { s.ReplicaEnabled, s.ReplicaActive = false, false }

// forcedOpen makes the primary one whose promotion an operator forced.
func forcedOpen(b *build) *build {
	b.c.Last = &Recovery{Intent: Intent{ID: "main-10", Kind: KindFailover, Forced: true, To: at("a")}, Outcome: Succeeded, To: at("a"), Ended: noon.Add(-time.Hour)}
	return b
}

func TestSemiSyncIsSetOnServersThatKeepTheirRoles(t *testing.T) {
	trio := func() *build { return primary("a").replica("b").replica("c").semiSync(1) }
	tests := []struct {
		name, want string
		b          *build
	}{
		{"all as it should be", "", trio()},
		{"a replica without semi-sync", "set semi-sync b:3306 (replica)", trio().semi("b", deaf)},
		{"two: one after the other", "set semi-sync b:3306 (replica)", trio().semi("b", deaf).semi("c", deaf)},
		{"a replica that would wait for others", "set semi-sync b:3306 (replica)", trio().semi("b", func(s *topology.SemiSync) { s.SourceEnabled = true })},
		{"one that connected before it was on", "set semi-sync b:3306 (replica)", trio().semi("b", func(s *topology.SemiSync) { s.ReplicaActive = false })},
		{"not while it lags", "", primary("a").replica("b", lag(time.Hour)).replica("c").semiSync(1).semi("b", deaf)},
		{"not while it is stopped", "", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadYes)).replica("c").semiSync(1).semi("b", deaf)},
		{"not in a downtime", "", trio().semi("b", deaf).downtime("b")},
		{"a primary without semi-sync", "set semi-sync a:3306 (wait for 1)", trio().semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false })},
		{"a time-out that ends", "set semi-sync a:3306 (wait for 1)", trio().semi("a", func(s *topology.SemiSync) { s.Timeout = topology.Duration(10 * time.Second) })},
		{"a commit that is seen too early", "set semi-sync a:3306 (wait for 1)", trio().semi("a", func(s *topology.SemiSync) { s.WaitPoint = "AFTER_COMMIT" })},
		{"waits for nobody without replicas", "set semi-sync a:3306 (wait for 1)", trio().semi("a", func(s *topology.SemiSync) { s.WaitsAlone = false })},
		{"not before anybody would acknowledge", "set semi-sync b:3306 (replica)", trio().semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false }).semi("b", deaf).semi("c", deaf)},
		{"but then also where nobody can: nothing is acknowledged alone", "set semi-sync a:3306 (wait for 1)", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadNo)).semiSync(1).semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false })},
		{"not where an operator forced it open", "", forcedOpen(primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadNo)).semiSync(1).semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false }))},
		{"a delayed replica that acknowledges", "set semi-sync c:3306 (off)", primary("a").replica("b").replica("c", delay(time.Hour), lag(time.Hour)).semiSync(1)},
		{"not while nobody else does", "", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadNo)).replica("c", delay(time.Hour), lag(time.Hour)).semiSync(1)},
		{"a delayed replica that does not", "", primary("a").replica("b").replica("c", delay(time.Hour), lag(time.Hour)).semiSync(1).semi("c", deaf)},
		{"unmanaged", "", trio().semi("b", deaf).policy(func(p *Policy) { p.SemiSync.Manage = false })},
		{"asynchronous", "", trio().semi("b", deaf).policy(func(p *Policy) { p.Durability = Async })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatIsSetIsFoundFirst(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1).semi("b", deaf).
		semi("a", func(s *topology.SemiSync) {
			s.Timeout, s.WaitPoint, s.WaitsAlone = topology.Duration(10*time.Second), "AFTER_COMMIT", false
		})
	var text strings.Builder
	for _, x := range Analyze(&b.c) {
		if x.Code == "PolicyMismatch" {
			text.WriteString(x.Sentence + "\n")
		}
	}
	want := "primary a:3306 is not set as the policy says: it waits 10s for acknowledgements and not infinite, its wait point is AFTER_COMMIT and not AFTER_SYNC, it waits for nobody while too few replicas are attached\n" +
		"replica b:3306 is not set as the policy says: semi-sync as a replica is off\n"
	if text.String() != want {
		t.Errorf("found\n%swant\n%s", text.String(), want)
	}
}

func TestMySQLIsHeldToItsWaitCountAndMariaDBIsNot(t *testing.T) {
	plan := &SemiSyncPlan{Source: true, WaitCount: 2}
	st := &topology.State{Flavor: "mariadb", SemiSync: topology.SemiSync{SourceEnabled: true, WaitCount: 1}}
	if got := plan.Unmet(st); got != "" {
		t.Error(got)
	}
	st.Flavor = "mysql"
	if got := plan.Unmet(st); got != "it waits for 1 acknowledgements and not for 2" {
		t.Error(got)
	}
}

func TestATimeoutMayBeInfinite(t *testing.T) {
	var d AckTimeout
	for text, want := range map[string]AckTimeout{"infinite": Infinite, "10s": AckTimeout(10 * time.Second)} {
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want || d.String() != text {
			t.Errorf("%s is read as %s: %v", text, d, err)
		}
	}
	if err := d.UnmarshalText([]byte("never")); err == nil || !strings.Contains(err.Error(), "infinite") {
		t.Errorf("the error does not say what is allowed: %v", err)
	}
}

// blockedFor is a primary of whose replicas so many are dead, whose commits have
// stood still for some time.
func blockedFor(d time.Duration, blocked Blocked, dead ...string) *build {
	b := primary("a").replica("b").replica("c").semiSync(1).policy(func(p *Policy) { p.SemiSync.Blocked = blocked })
	b.kill(dead...).semi("a", func(s *topology.SemiSync) { s.Waiting, s.Clients = 3, 2-len(dead) })
	b.c.Noticed = []Noticed{{Code: "PrimarySemiSyncBlocked", Instance: at("a"), Since: noon.Add(-d)}}
	return b
}

// counting is a server that knows a wait count.
func counting(n int, b *build) *build {
	for k := range b.c.Snapshot.Instances {
		b.c.Snapshot.Instances[k].State.Flavor = "mysql"
	}
	b.c.Policy.WaitCount = n
	return b.semi("a", func(s *topology.SemiSync) { s.WaitCount = n })
}

func TestABlockedPrimaryIsResolvedAsThePolicySays(t *testing.T) {
	patience := DefaultPolicy().SemiSync.Patience.D()
	off := func(b *build) *build {
		return b.semi("a", func(s *topology.SemiSync) { s.SourceEnabled, s.SourceActive, s.Waiting = false, false, 0 })
	}
	idle := func(count, clients int, b *build) *build {
		return b.semi("a", func(s *topology.SemiSync) { s.WaitCount, s.Clients, s.Waiting = count, clients, 0 })
	}
	tests := []struct {
		name, want, words string
		b                 *build
	}{
		{"wait", "", "writes wait until replicas return", blockedFor(time.Hour, BlockedWait, "b", "c")},
		{"degrade is patient", "", "it goes on with fewer in 1.0s", blockedFor(patience-time.Second, BlockedDegrade, "b", "c")},
		{"degrade", "set semi-sync a:3306 (off)", "it goes on with fewer", blockedFor(patience, BlockedDegrade, "b", "c")},
		{"to as many as there are", "set semi-sync a:3306 (wait for 1)", "it goes on with fewer", counting(2, blockedFor(patience, BlockedDegrade, "b"))},
		{"not without being told to manage", "", "does not manage", blockedFor(patience, BlockedDegrade, "b", "c").policy(func(p *Policy) { p.SemiSync.Manage = false })},
		{"off, and nobody is back", "", "", off(blockedFor(patience, BlockedDegrade, "b", "c"))},
		{"one is back", "set semi-sync a:3306 (wait for 1)", "", off(blockedFor(patience, BlockedDegrade, "c"))},
		{"one of two is back", "set semi-sync a:3306 (wait for 1)", "", off(counting(2, blockedFor(patience, BlockedDegrade, "c")))},
		{"one of two is enough for now", "", "", idle(1, 1, counting(2, blockedFor(patience, BlockedDegrade, "c")))},
		{"both are back", "set semi-sync a:3306 (wait for 2)", "", idle(1, 2, counting(2, blockedFor(patience, BlockedDegrade)))},
		{"commits on their way block nothing", "", "", blockedFor(patience, BlockedDegrade)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
			sentence := ""
			for _, x := range Analyze(&tt.b.c) {
				if x.Code == blockedCode {
					sentence = x.Sentence
				}
			}
			if !strings.Contains(sentence, tt.words) || (sentence == "") != (tt.words == "") {
				t.Errorf("found %q, which is to say %q", sentence, tt.words)
			}
		})
	}
}

func TestABlockedPrimaryIsNotFailedOverBlindly(t *testing.T) {
	for name, b := range map[string]*build{
		"alive":          blockedFor(time.Hour, BlockedWait, "b", "c"),
		"alive, degrade": blockedFor(time.Hour, BlockedDegrade, "b", "c"),
		"dead too":       blockedFor(time.Hour, BlockedWait, "b", "c").kill("a"),
		"forced":         blockedFor(time.Hour, BlockedWait, "b", "c").ask(Request{ID: "r", Kind: KindFailover, Force: true}),
	} {
		if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil {
			t.Errorf("%s: %s", name, d.Sentence)
		}
	}
}

func TestWhatADegradedPrimaryHadAloneIsNotGivenUp(t *testing.T) {
	degraded := func(b *build) *build {
		return b.semiSync(1).semi("a", func(s *topology.SemiSync) { s.SourceEnabled, s.SourceActive = false, false }).kill("a")
	}
	b := degraded(primary("a", has("", "0-1-105")).replica("b", has("0-1-100", "0-1-100")).replica("c", has("0-1-100", "0-1-100")))
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil || !strings.Contains(d.Sentence, "semi-sync was off on primary a:3306 when it was last read, 0.3s ago, and b:3306 lacks 5 transactions") {
		t.Error(d.Sentence)
	}
	b = degraded(primary("a").replica("b").replica("c"))
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil {
		t.Errorf("b has all that is known: %s", d.Sentence)
	}
}

// Closing the old primary can cost it its semi-sync, also where it was withdrawn.
func TestARollBackGivesTheOldPrimaryItsSemiSyncBack(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1).ask(Request{ID: "s", Kind: KindSwitchover, To: at("b")}).begin().until(t, CloseProxies).kill("b")
	expectPlan(t, Remaining(&b.c), "repoint c:3306 to a:3306", "roll back a:3306")
	b.semi("a", func(s *topology.SemiSync) { s.SourceEnabled, s.SourceActive = false, false })
	expectPlan(t, Remaining(&b.c), "set writable a:3306", "repoint c:3306 to a:3306", "roll back a:3306")
	if plan := Remaining(&b.c)[0][0].SemiSync; plan == nil || !plan.Source || plan.WaitCount != 1 {
		t.Errorf("it is opened %s", plan)
	}
	expectPlan(t, Remaining(&b.pass(patience).c), "roll back a:3306, repoint c:3306 to a:3306") // it may not know semi-sync at all
}

func TestADelayedReplicaIsNoneThatAcknowledges(t *testing.T) {
	b := primary("a").replica("b").replica("c", delay(time.Hour), lag(time.Hour)).semiSync(1).semi("c", deaf).kill("a")
	d := Decide(&b.c, Analyze(&b.c))
	if d.Intent != nil || !slices.ContainsFunc(d.Refusals, func(r Refusal) bool {
		return strings.Contains(r.Sentence, "b:3306 would have 0 replicas to acknowledge its writes")
	}) {
		t.Errorf("the refusals are %v", d.Refusals)
	}
	b = primary("a").replica("b").replica("c").replica("d", delay(time.Hour), lag(time.Hour)).semiSync(1).semi("d", deaf).kill("a").begin().until(t, CommitRoute)
	for _, stage := range Remaining(&b.c) {
		for _, s := range stage {
			if s.Do == Repoint && s.Target == at("d") && s.SemiSync.Replica {
				t.Errorf("%s as one that acknowledges", s)
			}
		}
	}
}
