package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

func noSource(s *topology.SemiSync) { s.NoSource = true }
func noReplica(s *topology.SemiSync) {
	s.NoReplica, s.ReplicaEnabled, s.ReplicaActive = true, false, false
}

// MySQL has semi-sync as two plugins, and a server may lack either.

func TestWithoutTheSourcesPluginNobodyIsPromoted(t *testing.T) {
	b := primary("a").replica("b").replica("c").replica("d").onMySQL().semiSync(1).semi("b", noSource).kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil || d.Intent.To != at("c") {
		t.Errorf("the others have it: %s", d.Sentence)
	}
	b.semi("c", noSource).semi("d", noSource)
	d := Decide(&b.c, Analyze(&b.c))
	if d.Intent != nil || !slices.ContainsFunc(d.Refusals, func(r Refusal) bool {
		return r.Rule == "semi_sync_plugin" && strings.Contains(r.Sentence, "rpl_semi_sync_source") && strings.Contains(r.Change, "remora doctor")
	}) {
		t.Errorf("nobody has it: %s; %v", d.Sentence, d.Refusals)
	}
	b.ask(Request{ID: "r", Kind: KindFailover, Force: true}).begin()
	for _, stage := range Remaining(&b.c) {
		for _, s := range stage {
			if s.Do == Promote && (s.SemiSync == nil || *s.SemiSync != (SemiSyncPlan{})) {
				t.Errorf("forced, it is to be promoted with what it does not have: %s", s.SemiSync)
			}
		}
	}
	b.policy(func(p *Policy) { p.Durability = Async }).c.Intent = nil
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil {
		t.Errorf("asynchronous, nobody needs it: %s", d.Sentence)
	}
}

func TestWithoutTheReplicasPluginOneFollowsAndIsNotCountedOn(t *testing.T) {
	b := primary("a").replica("b").replica("c").onMySQL().semiSync(1).semi("c", noReplica).kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil || d.Intent.To != at("c") {
		t.Errorf("b can acknowledge to c, and c not to b: %s", d.Sentence)
	}
	b = primary("a").replica("b").replica("c").replica("d").onMySQL().semiSync(1).semi("d", noReplica)
	if steps := Repairs(&b.c); len(steps) > 0 {
		t.Errorf("what cannot be set is tried: %v", steps)
	}
	if !slices.ContainsFunc(Analyze(&b.c), func(x Finding) bool {
		return x.Code == "PolicyMismatch" && x.Instance == at("d") && strings.Contains(x.Sentence, "rpl_semi_sync_replica")
	}) {
		t.Error("it is not told")
	}
	b.kill("a").begin()
	follows := false
	for _, stage := range Remaining(&b.c) {
		for _, s := range stage {
			if s.Do == Repoint && s.Target == at("d") {
				follows = !s.SemiSync.Replica
			}
		}
	}
	if !follows {
		t.Errorf("it is not moved, or as one that acknowledges: %v", Remaining(&b.c))
	}
}

func TestWhoCannotAcknowledgeDoesNotHoldAFailoverUp(t *testing.T) {
	b := primary("a").replica("b").replica("c").replica("d").onMySQL().semiSync(1).semi("c", noReplica).kill("a").begin()
	for _, stage := range Remaining(&b.c) {
		if stage[0].Do != Repoint {
			continue
		}
		for _, s := range stage {
			if s.Optional != (s.Target == at("c")) {
				t.Errorf("%s, optional: %v", s, s.Optional)
			}
		}
		return
	}
	t.Errorf("nobody is moved before the promotion: %v", Remaining(&b.c))
}

func TestAPrimaryWithoutThePluginIsToldAndOpenedAgain(t *testing.T) {
	off := func(s *topology.SemiSync) { *s = topology.SemiSync{NoSource: true} }
	b := primary("a").replica("b").replica("c").onMySQL().semiSync(1).semi("a", off)
	if steps := Repairs(&b.c); len(steps) > 0 {
		t.Errorf("what cannot be set is tried: %v", steps)
	}
	if !slices.ContainsFunc(Analyze(&b.c), func(x Finding) bool {
		return x.Code == "PolicyMismatch" && x.Instance == at("a") && strings.Contains(x.Sentence, "no plugin for it (rpl_semi_sync_source)")
	}) {
		t.Error("it is not told")
	}
	// A switchover away from it that fails gives the writes back, without what it does not have.
	b.ask(Request{ID: "s", Kind: KindSwitchover, To: at("b")}).begin().until(t, SetReadOnly)
	b.kill("b").pass(time.Second)
	opens := false
	for _, stage := range Remaining(&b.c) {
		for _, s := range stage {
			if s.Do == SetWritable && s.Target == at("a") {
				if opens = true; s.SemiSync != nil {
					t.Errorf("it is opened %s", s.SemiSync)
				}
			}
		}
	}
	if !opens {
		t.Errorf("it is not opened again: %v", Remaining(&b.c))
	}
}

func TestAForcedPromotionWaitsForNobodyWhoIsNotMoved(t *testing.T) {
	for name, other := range map[string]option{
		"several sources": alsoFrom("x"), "a member": with(func(st *topology.State) { st.Member = "galera" }),
	} {
		b := primary("a").replica("b").replica("c", other).semiSync(1).kill("a").ask(Request{ID: "r", Kind: KindFailover, Force: true, To: at("b")}).begin()
		promoted := false
		for _, stage := range Remaining(&b.c) {
			for _, s := range stage {
				if s.Do == Promote {
					if promoted = true; s.SemiSync == nil || *s.SemiSync != (SemiSyncPlan{}) {
						t.Errorf("%s: it is to wait for %s, which is not moved: %s", name, at("c"), s.SemiSync)
					}
				}
			}
		}
		if !promoted {
			t.Errorf("%s: %v", name, Remaining(&b.c))
		}
	}
}

// One that another cluster's own software manages may replicate from the primary.
func TestAMemberOfAClusterIsLeftAlone(t *testing.T) {
	member := with(func(st *topology.State) { st.Member, st.ReadOnly = "galera", false })
	touched := func(steps []Step) bool {
		return slices.ContainsFunc(steps, func(s Step) bool { return s.Target == at("c") && s.Do != StopReceiving })
	}
	for _, durability := range []Durability{Async, SemiSync} {
		b := primary("a").replica("b").replica("d").replica("c", member).semiSync(1).policy(func(p *Policy) { p.Durability = durability })
		if steps := Repairs(&b.c); touched(steps) {
			t.Errorf("%s: it is repaired: %v", durability, steps)
		}
		b.kill("a").begin()
		for range 12 {
			for _, stage := range Remaining(&b.c) {
				if touched(stage) {
					t.Errorf("%s: a failover acts on it: %v", durability, stage)
				}
			}
			if len(Remaining(&b.c)) == 0 {
				break
			}
			b.perform(Remaining(&b.c)[0])
		}
	}
	b := primary("a").replica("b").replica("d").replica("c", member).semiSync(1).kill("a").begin()
	source(b.inst("c")).IO = topology.ThreadNo
	p := planner{facts: newFacts(&b.c), in: b.c.Intent}
	if steps := p.receiveAgain(); len(steps) != 1 || steps[0].Do != StartReplica {
		t.Errorf("a roll-back does not start its channel where it stands: %v", steps)
	}
}
