package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

// until performs the plan, stage by stage, to where an act has been done.
func (b *build) until(t *testing.T, do Act) *build {
	t.Helper()
	for range 20 {
		stages := Remaining(&b.c)
		if len(stages) == 0 {
			t.Fatalf("the plan has no %s", do)
		}
		b.perform(stages[0])
		if slices.ContainsFunc(stages[0], func(s Step) bool { return s.Do == do }) {
			return b
		}
	}
	t.Fatalf("the plan does not come to %s", do)
	return b
}

// returns has a killed server answer again.
func (b *build) returns(name string, opts ...option) *build {
	i := b.inst(name)
	i.Reach, i.ReadAt = topology.Up, b.c.Snapshot.Taken
	for k := range i.Views {
		i.Views[k].Reach, i.Views[k].Failures, i.Views[k].Error = topology.Answered, 0, ""
	}
	for _, o := range opts {
		o(b, i)
	}
	return b
}

// donorAlone is a failover under semi_sync in which c alone, which must not become
// primary, has what was acknowledged last.
func donorAlone() *build {
	return primary("a").replica("b", has("0-1-99", "0-1-99")).replica("c").replica("d", has("0-1-99", "0-1-99")).
		rule("c", ServerRule{Promotion: MustNot}).semiSync(1).kill("a").begin()
}

// aheadAlone is one in which c alone has it, and is promoted.
func aheadAlone() *build {
	return primary("a").replica("b", has("0-1-99", "0-1-99")).replica("c").replica("d", has("0-1-99", "0-1-99")).semiSync(1).kill("a").begin()
}

// unread has a server not be read for a while; nobody calls it down.
func (b *build) unread(name string) *build {
	b.inst(name).Reach = topology.Unclear
	return b
}

// died has a server die that was read a moment ago.
func (b *build) died(name string) *build {
	at := b.inst(name).ReadAt
	b.kill(name).inst(name).ReadAt = at
	return b
}

// A second failure of the cluster while its recovery is open.
func TestAFailureDuringARecovery(t *testing.T) {
	four := func() *build { return primary("a").replica("b").replica("c").replica("d").kill("a").begin() }
	tests := []struct {
		name string
		b    func(t *testing.T) *build
		plan []string
	}{
		{"the candidate dies at once", func(*testing.T) *build { return four().kill("b") },
			[]string{"proxies: writer fenced", "retarget c:3306", "promote c:3306", "commit route c:3306", "repoint d:3306 to c:3306", "conclude"}},
		{"the candidate dies when the proxies are closed", func(t *testing.T) *build { return four().until(t, CloseProxies).kill("b") },
			[]string{"retarget c:3306", "promote c:3306", "commit route c:3306", "repoint d:3306 to c:3306", "conclude"}},
		{"the candidate dies when it was promoted", func(t *testing.T) *build { return four().until(t, Promote).kill("b") },
			[]string{"retarget c:3306", "promote c:3306", "commit route c:3306", "repoint d:3306 to c:3306", "conclude"}},
		{"the candidate is not heard when it was promoted, nor called dead", func(t *testing.T) *build {
			b := four().until(t, Promote)
			b.inst("b").Reach = topology.Unclear
			return b
		}, []string{"promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306, repoint d:3306 to b:3306", "conclude"}},
		{"another replica dies", func(t *testing.T) *build { return four().until(t, Promote).kill("c") },
			[]string{"commit route b:3306", "repoint d:3306 to b:3306", "conclude"}},
		{"all other replicas die", func(t *testing.T) *build { return four().until(t, CloseProxies).kill("c", "d") },
			[]string{"promote b:3306", "commit route b:3306", "conclude"}},
		{"the new primary dies when it is routed", func(t *testing.T) *build { return four().until(t, CommitRoute).kill("b") },
			[]string{"conclude"}},
		{"the new primary is not heard when it is routed", func(t *testing.T) *build {
			b := four().until(t, CommitRoute)
			b.inst("b").Reach = topology.Unclear
			return b
		}, []string{"catch up b:3306", "repoint c:3306 to b:3306, repoint d:3306 to b:3306", "conclude"}},
		{"the old primary comes back before the promotion", func(t *testing.T) *build {
			return four().until(t, CloseProxies).returns("a", writable())
		}, []string{"drain b:3306, set read only a:3306", "promote b:3306", "commit route b:3306", "repoint a:3306 to b:3306, repoint c:3306 to b:3306, repoint d:3306 to b:3306", "conclude"}},
		{"the old primary comes back after it", func(t *testing.T) *build {
			return four().until(t, Promote).returns("a", writable())
		}, []string{"commit route b:3306", "set read only a:3306, repoint c:3306 to b:3306, repoint d:3306 to b:3306", "conclude"}},
		{"the old primary comes back when all candidates are dead", func(t *testing.T) *build {
			return four().until(t, CloseProxies).kill("b", "c", "d").returns("a", writable())
		}, []string{"roll back a:3306"}},
		// Under semi_sync what one alone received may be acknowledged: it is waited for.
		{"the donor is not read for a while", func(t *testing.T) *build {
			return donorAlone().until(t, CloseProxies).unread("c")
		}, []string{"catch up c:3306"}},
		{"the donor is not read for a while, and comes back", func(t *testing.T) *build {
			return donorAlone().until(t, CloseProxies).unread("c").returns("c")
		}, []string{"repoint b:3306 to c:3306", "catch up b:3306", "drain b:3306", "repoint c:3306 to b:3306, repoint d:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude"}},
		{"the donor dies", func(t *testing.T) *build { return donorAlone().until(t, CloseProxies).kill("c") },
			[]string{"catch up c:3306"}},
		{"the donor dies, and the old primary comes back", func(t *testing.T) *build {
			return donorAlone().until(t, CloseProxies).kill("c").returns("a", writable())
		}, []string{"repoint b:3306 to a:3306, repoint d:3306 to a:3306", "roll back a:3306"}},
		{"the candidate that alone has everything restarts", func(t *testing.T) *build {
			return aheadAlone().until(t, CloseProxies).kill("c")
		}, []string{"catch up c:3306"}},
		{"the candidate that alone has everything is forgotten", func(t *testing.T) *build {
			return aheadAlone().until(t, CloseProxies).kill("c").rule("c", ServerRule{Ignore: true})
		}, []string{"retarget b:3306", "repoint d:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude"}},
		{"the candidate dies when others were moved to it", func(t *testing.T) *build {
			b := donorAlone().until(t, Promote)
			return b.kill("b").until(t, Retarget)
		}, []string{"repoint d:3306 to c:3306", "catch up d:3306", "drain d:3306", "repoint c:3306 to d:3306", "promote d:3306", "commit route d:3306", "conclude"}},
		{"one that may have acknowledged what nobody else has dies before it was stopped", func(t *testing.T) *build {
			return primary("a").replica("b").replica("c").replica("d").semiSync(1).kill("a").begin().kill("d").acknowledge().stop("b", "c")
		}, []string{"catch up d:3306"}},
		{"the same dies when it was stopped", func(t *testing.T) *build {
			return primary("a").replica("b").replica("c").replica("d").semiSync(1).kill("a").begin().until(t, CloseProxies).died("d")
		}, []string{"repoint c:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude"}},
		{"the candidate of a switchover dies", func(t *testing.T) *build {
			return primary("a").replica("b").replica("c").ask(Request{ID: "s", Kind: KindSwitchover, To: at("b")}).begin().until(t, SetReadOnly).kill("b")
		}, []string{"set writable a:3306", "roll back a:3306"}},
		{"the primary of a switchover dies", func(t *testing.T) *build {
			return primary("a").replica("b").replica("c").ask(Request{ID: "s", Kind: KindSwitchover, To: at("b")}).begin().until(t, SetReadOnly).kill("a")
		}, []string{"promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.b(t)
			got := words(Remaining(&b.c))
			if !slices.Equal(got, tt.plan) {
				t.Errorf("the plan is\n%s\nwant\n%s", indent(got), indent(tt.plan))
			}
			if len(got) == 1 && strings.HasPrefix(got[0], "catch up") {
				return // it waits for somebody
			}
			for range 20 { // and it ends, with one writer all the way
				stages := Remaining(&b.c)
				if stages == nil {
					return
				}
				b.perform(stages[0])
				b.oneWriter(t)
			}
			t.Error("the plan does not end")
		})
	}
}

// The new primary dies right after it was routed: the recovery ends at once, and
// the next one is not held back as a flap, also where no replica was moved yet.
func TestTheNewPrimaryDiesBeforeTheFailoverHasEnded(t *testing.T) {
	for name, moved := range map[string]bool{"before the others follow it": false, "when one follows it": true} {
		t.Run(name, func(t *testing.T) {
			b := primary("a").replica("b").replica("c").replica("d").kill("a").begin().until(t, CommitRoute)
			if moved {
				b.effect(Step{Do: Repoint, Target: at("c"), Source: at("b")})
			}
			b.pass(time.Second).kill("b")
			if words := CutShort(&b.c); words != "b:3306 died before the failover had ended" {
				t.Errorf("the recovery's error is %q", words)
			}
			b.conclude(CutShort(&b.c))
			d := Decide(&b.c, Analyze(&b.c))
			if d.Intent == nil {
				t.Fatalf("nothing is begun: %s", d.Sentence)
			}
			if d.Intent.From != at("b") || d.Intent.To != at("c") || len(d.Loss) == 0 {
				t.Errorf("from %s to %s, loss %q", d.Intent.From, d.Intent.To, d.Loss)
			}
			b.begin().until(t, Conclude)
			if b.c.Intent != nil || b.c.Snapshot.SourceOf(at("d")) != at("c") {
				t.Errorf("at the end d replicates from %s, the intent is %+v", b.c.Snapshot.SourceOf(at("d")), b.c.Intent)
			}
		})
	}
}

// A primary that dies after the recovery has ended is a flap.
func TestTheNewPrimaryDiesAfterTheFailoverHasEnded(t *testing.T) {
	b := primary("a").replica("b").replica("c").kill("a").begin().until(t, Repoint).pass(time.Second)
	b.conclude(CutShort(&b.c))
	b.pass(time.Second).kill("b")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil || !strings.Contains(d.Sentence, "anti-flap") {
		t.Errorf("the sentence is %q", d.Sentence)
	}
}

// conclude ends the open recovery as the ledger does.
func (b *build) conclude(problem string) {
	b.c.Last = &Recovery{Intent: *b.c.Intent, Outcome: Succeeded, To: b.c.Intent.To, Ended: b.c.Snapshot.Taken, Error: problem}
	b.c.Intent = nil
}
