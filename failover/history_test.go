package failover

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// uuid is the server_uuid of a server of the builder.
func uuid(name string) string {
	return strings.Repeat(name, 8) + "-0000-0000-0000-000000000000"
}

// oracle makes the cluster one of MySQL, whose servers executed what is said of
// them: "a:1-100,b:5". What a replica executed it has received.
func (b *build) oracle(executed map[string]string) *build {
	for n := range b.c.Snapshot.Instances {
		st := b.c.Snapshot.Instances[n].State
		name := b.c.Snapshot.Instances[n].Addr.Host()
		st.Flavor, st.Version, st.ServerUUID, st.SuperReadOnly = "mysql", "8.4.0", uuid(name), st.ReadOnly
		st.Executed = histories(executed[name])
		for k := range st.Sources {
			st.Sources[k].Received = st.Executed
		}
	}
	return b
}

func histories(text string) gtid.Set {
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		entries = append(entries, uuid(entry[:1])+entry[1:])
	}
	return gtid.MustParse(strings.Join(entries, ","))
}

func (b *build) purge(name, set string) *build {
	b.inst(name).State.Purged = histories(set)
	return b
}

func (b *build) gtid(level GTIDControl) *build {
	return b.policy(func(p *Policy) { p.GTID = level })
}

func TestGTIDControlOfAFailover(t *testing.T) {
	trio := func(onB, onC string) func() *build {
		return func() *build {
			return primary("a").replica("b").replica("c").oracle(map[string]string{"a": "a:1-100", "b": onB, "c": onC}).kill("a")
		}
	}
	tests := []struct {
		name                          string
		b                             func() *build
		strict, lastExecuted, declare string // who is promoted, or the rule that refuses
	}{
		{"equal", trio("a:1-100", "a:1-100"), "b:3306", "b:3306", "b:3306"},
		{"one is ahead", trio("a:1-99", "a:1-100"), "c:3306", "c:3306", "c:3306"},
		{"a gap further back", trio("a:1-50:52-100", "a:1-100"), "c:3306", "b:3306", "c:3306"},
		{"diverged further back", trio("a:1-50:52-100", "a:1-60:62-100"), "divergent", "b:3306", "b:3306"},
		{"errant", trio("a:1-100,b:1-3", "a:1-99"), "c:3306", "b:3306", "b:3306"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for level, want := range map[GTIDControl]string{GTIDStrict: tt.strict, GTIDLastExecuted: tt.lastExecuted, GTIDDeclarative: tt.declare} {
				b := tt.b().gtid(level)
				d := Decide(&b.c, Analyze(&b.c))
				got := ""
				if d.Intent != nil {
					got = string(d.Intent.To)
				} else if len(d.Refusals) > 0 {
					got = d.Refusals[0].Rule
				}
				if got != want {
					t.Errorf("%s: %s, want %s: %s", level, got, want, d.Sentence)
				}
			}
		})
	}
}

func TestGTIDControlOfWhoMayFollow(t *testing.T) {
	old := func() *build { // a was the primary, and returns
		return primary("b").replica("c").orphan("a").oracle(map[string]string{"a": "a:1-101,b:1-50", "b": "a:1-100,b:1-50", "c": "a:1-100,b:1-50"})
	}
	gap := func() *build { // what it lacks, b has purged
		return primary("b").replica("c").orphan("a").oracle(map[string]string{"a": "a:1-90,b:1-50", "b": "a:1-100,b:1-50", "c": "a:1-100,b:1-50"}).purge("b", "a:1-95")
	}
	const moved = "repoint a:3306 to b:3306"
	tests := []struct {
		name  string
		b     *build
		level GTIDControl
		want  string
	}{
		{"extra transactions", old(), GTIDStrict, ""},
		{"extra transactions, but the primary's last one", old(), GTIDLastExecuted, moved},
		{"extra transactions", old(), GTIDDeclarative, moved},
		{"purged", gap(), GTIDStrict, ""},
		{"purged", gap(), GTIDLastExecuted, moved},
		{"purged", gap(), GTIDDeclarative, moved},
		{"all kept", gap().purge("b", "a:1-90"), GTIDStrict, moved},
	}
	for _, tt := range tests {
		b := tt.b.gtid(tt.level).policy(func(p *Policy) { p.Repair.SaveExtra = false })
		if got := Stage(Repairs(&b.c)).String(); got != tt.want {
			t.Errorf("%s, %s: repairs are %q, want %q", tt.name, tt.level, got, tt.want)
		}
	}
}

func TestASwitchoverRefusesWhoLacksWhatIsPurged(t *testing.T) {
	build := func(level GTIDControl) *build {
		return primary("a").replica("b").replica("c").oracle(map[string]string{"a": "a:1-100", "b": "a:1-90", "c": "a:1-100"}).
			purge("a", "a:1-95").gtid(level).ask(Request{ID: "r", Kind: KindSwitchover, To: at("b")})
	}
	b := build(GTIDStrict)
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil || !strings.Contains(d.Sentence, "b:3306 lacks 5 transactions that primary a:3306 has purged") {
		t.Error(d.Sentence)
	}
	found := false
	for _, x := range Analyze(&b.c) {
		found = found || x.Code == "SourceHasPurged" && x.Instance == at("b")
	}
	if !found {
		t.Error("the gap is no finding")
	}
	b = build(GTIDDeclarative)
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil {
		t.Error(d.Sentence)
	}
}

func TestADonorMustKeepWhatIsMissing(t *testing.T) {
	b := primary("a").replica("b").replica("c").oracle(map[string]string{"a": "a:1-100", "b": "a:1-90", "c": "a:1-100"}).
		rule("c", ServerRule{Promotion: MustNot}).kill("a")
	f := newFacts(&b.c)
	if ch := f.choose(f.wish()); ch.donor == nil || ch.donor.addr() != at("c") {
		t.Fatalf("c keeps all, and the donor is %v", ch.donor)
	}
	f = newFacts(&b.purge("c", "a:1-95").c)
	if ch := f.choose(f.wish()); ch.donor != nil {
		t.Errorf("c has purged what b lacks, and is its donor")
	}
}

func TestReportsCompareInFullUnderEachLevel(t *testing.T) {
	for _, level := range []GTIDControl{GTIDStrict, GTIDLastExecuted, GTIDDeclarative} {
		b := primary("a").replica("b").oracle(map[string]string{"a": "a:1-100", "b": "a:1-100,b:1-3"}).gtid(level)
		found := false
		for _, x := range Analyze(&b.c) {
			found = found || x.Code == "ErrantGTIDStructureWarning" && x.Instance == topology.Addr("b:3306")
		}
		if !found {
			t.Errorf("%s: errant transactions are not told", level)
		}
	}
}
