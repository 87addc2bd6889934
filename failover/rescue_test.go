package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

func TestErrantTransactionsAreInjected(t *testing.T) {
	policy := func(p *Policy) { p.Errant = ErrantInject }
	errant := func() *build {
		return primary("a").replica("b").replica("c").oracle(map[string]string{"a": "a:1-100", "b": "a:1-100,b:1-2", "c": "a:1-100"}).policy(policy)
	}
	own := uuid("b") + ":1-2"
	for name, tt := range map[string]struct {
		b    *build
		want string
	}{
		"saved first":            {errant(), "save extra b:3306"},
		"then injected":          {errant().rescued("b", own, ""), "inject a:3306"},
		"at once if not saved":   {errant().repair(func(r *Repair) { r.SaveExtra = false }), "inject a:3306"},
		"not if saved in part":   {errant().rescued("b", own, "TRUNCATED"), ""},
		"not by default":         {errant().rescued("b", own, "").policy(func(p *Policy) { p.Errant = ErrantRefuse }), ""},
		"not in downtime":        {errant().rescued("b", own, "").downtime("b"), ""},
		"not on a closed server": {errant().rescued("b", own, "").change("a", func(st *topology.State) { st.ReadOnly, st.SuperReadOnly = true, true }), ""},
		"nor thousands":          {primary("a").replica("b").oracle(map[string]string{"a": "a:1-100", "b": "a:1-100,b:1-1001"}).policy(policy).repair(func(r *Repair) { r.SaveExtra = false }), ""},
		"nor on MariaDB":         {primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).policy(policy).rescued("b", "0-2-101", ""), ""},
	} {
		if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
			t.Errorf("%s: repairs are %q, want %q", name, got, tt.want)
		}
	}
	var said string
	for _, x := range Analyze(&primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).policy(policy).c) {
		said += x.Sentence
	}
	if !strings.Contains(said, "they are not injected: MariaDB orders") {
		t.Errorf("on MariaDB the finding says %q", said)
	}
}

func (b *build) rescued(name, set, note string) *build {
	b.c.Rescued = append(b.c.Rescued, Rescued{Instance: at(name), Set: gtid.MustParse(set), Node: "s1", File: "/r/x.sql", Transactions: 5, Changes: 7, Note: note})
	return b
}

func (b *build) savedAgo(ago time.Duration) *build {
	b.c.Rescued[len(b.c.Rescued)-1].At = noon.Add(-ago)
	return b
}

func TestExtraTransactionsAreSavedOnce(t *testing.T) {
	diverged := func() *build { return primary("b").replica("c").orphan("a", has("", "0-1-105")) }
	errant := func() *build { return primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).replica("c") }
	off := func(r *Repair) { r.SaveExtra = false }
	tests := []struct {
		name, want string
		b          *build
		words      string
	}{
		{"of a diverged primary", "save extra a:3306", diverged(), "it is kept out; they are not saved yet"},
		{"once", "", diverged().rescued("a", "0-1-(101..105)", ""), "it is kept out; they are saved as SQL in /r/x.sql on s1 (5 transactions, 7 changes)"},
		{"what is missing is said", "", diverged().rescued("a", "0-1-105", "TRUNCATED"), "they are not all saved as SQL in /r/x.sql on s1 (5 transactions, 7 changes); TRUNCATED"},
		{"more of them later", "save extra a:3306 until 0-1-(104..105)", diverged().rescued("a", "0-1-(101..103)", ""), "0-1-(104..105), of these, are not saved yet; the others are saved as SQL in /r/x.sql on s1 (5 transactions, 7 changes)"},
		{"in two files", "", diverged().rescued("a", "0-1-(101..103)", "").rescued("a", "0-1-(104..105)", ""),
			"they are saved as SQL in /r/x.sql on s1 (5 transactions, 7 changes) and saved as SQL in /r/x.sql on s1 (5 transactions, 7 changes)"},
		{"one of them not whole", "", diverged().rescued("a", "0-1-(101..103)", "").rescued("a", "0-1-(101..105)", "TRUNCATED"),
			"(5 transactions, 7 changes) and not all saved as SQL in /r/x.sql on s1 (5 transactions, 7 changes); TRUNCATED"},
		{"another's do not count", "save extra a:3306", diverged().rescued("c", "0-1-(101..105)", ""), "not saved yet"},
		{"not by this policy", "", diverged().repair(off), "the policy's repair.save_extra is off"},
		{"a failure is said", "save extra a:3306", diverged().tried("save extra a:3306", 1, 1e9, 1e9, "grant BINLOG MONITOR"), "they are not saved: grant BINLOG MONITOR"},
		{"of a replica", "save extra b:3306", errant(), "not saved yet"},
		{"not while it takes writes", "set read only a:3306", diverged().change("a", func(st *topology.State) { st.ReadOnly = false }), "it is kept out"},
		{"nor without a primary to compare with", "", diverged().kill("b"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps := Repairs(&tt.b.c)
			step, set, _ := strings.Cut(tt.want, " until ")
			if got := Stage(steps).String(); got != step || set != "" && steps[0].Until.String() != set {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
			var sentence string
			for _, x := range Analyze(&tt.b.c) {
				if x.Code == "OldPrimaryDiverged" || x.Code == "ErrantGTIDStructureWarning" {
					sentence = x.Sentence
				}
			}
			if !strings.HasSuffix(sentence, tt.words) {
				t.Errorf("the finding says %q, want %q at its end", sentence, tt.words)
			}
		})
	}
}

// A rejoin that gives transactions up saves those that no whole file has, also where a file has a part of them.
func TestARejoinSavesWhatNoWholeFileHas(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"nothing is saved", "0-1-(101..105)"},
		{"a part is", "0-1-(104..105)"},
		{"all is", ""},
		{"one file is not whole", "0-1-(104..105)"},
	} {
		b := primary("b").replica("c").orphan("a", has("", "0-1-105"))
		if tt.name != "nothing is saved" {
			b.rescued("a", "0-1-(101..103)", "")
		}
		switch tt.name {
		case "all is":
			b.rescued("a", "0-1-(104..105)", "")
		case "one file is not whole":
			b.rescued("a", "0-1-(101..105)", "TRUNCATED")
		}
		steps, refusal := PlanRejoin(&b.c, RejoinRequest{Instance: at("a"), Discard: true})
		var got string
		if refusal == nil && steps[0].Do == SaveExtra {
			got = steps[0].Until.String()
		}
		if last := steps[len(steps)-1]; refusal != nil || got != tt.want || last.Do != Discard || last.Until.String() != "0-1-(101..105)" {
			t.Errorf("%s: it saves %q, want %q: %v, %v", tt.name, got, tt.want, steps, refusal)
		}
	}
}
