package failover

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/topology"
)

func TestPlanRejoin(t *testing.T) {
	diverged := func() *build { return primary("b").replica("c").orphan("a", has("", "0-1-105")) }
	saved := func() *build { return diverged().rescued("a", "0-1-105", "") }
	plain, discard, clone := RejoinRequest{}, RejoinRequest{Discard: true}, RejoinRequest{Clone: true}
	tests := []struct {
		name string
		b    *build
		who  string
		r    RejoinRequest
		want string // the steps, or what the refusal says
	}{
		{"contained", primary("b").replica("c").orphan("a"), "a", plain, "repoint a:3306 to b:3306"},
		{"contained, under any policy", primary("b").replica("c").orphan("a").policy(func(p *Policy) { p.Rejoin = RejoinManual }), "a", plain, "repoint a:3306 to b:3306"},
		{"diverged", saved(), "a", plain, "refused divergent: a:3306 holds 5 transactions that primary b:3306 lacks: 0-1-(101..105); they are saved as SQL"},
		{"taken back", saved(), "a", discard, "discard a:3306"},
		{"saved before", diverged(), "a", discard, "save extra a:3306, discard a:3306"},
		{"also where the policy saves nothing", diverged().repair(func(r *Repair) { r.SaveExtra = false }), "a", discard, "save extra a:3306, discard a:3306"},
		{"saved anew what is saved in part", diverged().rescued("a", "0-1-105", "TRUNCATED"), "a", discard, "save extra a:3306, discard a:3306"},
		{"unless there is a whole one", saved().rescued("a", "0-1-105", "TRUNCATED"), "a", discard, "discard a:3306"},
		{"nothing to take back", primary("b").replica("c").orphan("a"), "a", discard, "repoint a:3306 to b:3306"},
		{"a replica's own", primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).rescued("b", "0-2-(1..101)", ""), "b", discard, "discard b:3306"},
		{"cloned from a replica", saved(), "a", clone, "clone a:3306 from c:3306"},
		{"or the primary", saved().change("c", func(st *topology.State) { st.Sources[0].SQL = topology.ThreadNo }), "a", clone, "clone a:3306 from b:3306"},
		{"an empty one", primary("b").replica("c").orphan("a", has("", "")), "a", clone, "clone a:3306 from c:3306"},
		{"a broken one", primary("b").replica("c").replica("d", failedBy(1236, 0)), "d", clone, "clone d:3306 from c:3306"},
		{"not one that is well", primary("b").replica("c").replica("d"), "d", clone, "refused contained"},
		{"nor one that may start again", primary("b").replica("c").replica("d", failedBy(2013, 0)), "d", clone, "refused contained"},
		{"the primary", diverged(), "b", clone, "refused target: b:3306 is the primary"},
		{"a stranger", diverged(), "x", clone, "refused target: x:3306 is no instance"},
		{"one that takes writes", saved().change("a", func(st *topology.State) { st.ReadOnly = false }), "a", discard, "refused writable"},
		{"one that cannot be read", saved().kill("a"), "a", discard, "refused stale"},
		{"without a primary", saved().kill("b"), "a", discard, "refused primary"},
		{"one with replicas", saved().replica("d", under("a")), "a", discard, "refused replicas: d:3306 replicate from a:3306"},
		{"both ways", saved(), "a", RejoinRequest{Discard: true, Clone: true}, "refused request"},
		{"twice", saved().rejoins("a", ""), "a", discard, "refused busy: a:3306: clone"},
		{"again after a failure", saved().rejoins("a", "no disk"), "a", discard, "discard a:3306"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Instance = at(tt.who)
			steps, refusal := PlanRejoin(&tt.b.c, tt.r)
			got := Stage(steps).String()
			if refusal != nil {
				got = "refused " + refusal.Rule + ": " + refusal.Sentence
			}
			if !strings.HasPrefix(got, tt.want) || refusal == nil && got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func (b *build) rejoins(name, err string) *build {
	b.c.Rejoins = append(b.c.Rejoins, Rejoining{Instance: at(name), Doing: "clone", Since: noon.Add(-1e9), Error: err})
	return b
}

func TestACloneGoesByPolicyAndAfterSaving(t *testing.T) {
	auto := func(p *Policy) { p.Rejoin = RejoinClone }
	diverged := func() *build { return primary("b").replica("c").orphan("a", has("", "0-1-105")).policy(auto) }
	for name, tt := range map[string]struct {
		b    *build
		want string
	}{
		"not before it is saved":  {diverged(), "save extra a:3306"},
		"then":                    {diverged().rescued("a", "0-1-105", ""), "clone a:3306 from c:3306"},
		"not if it is so in part": {diverged().rescued("a", "0-1-105", "TRUNCATED"), ""},
		"not by default":          {diverged().rescued("a", "0-1-105", "").policy(func(p *Policy) { p.Rejoin = RejoinAuto }), ""},
		"not in downtime":         {diverged().rescued("a", "0-1-105", "").downtime("a"), ""},
		"not while it goes on":    {diverged().rescued("a", "0-1-105", "").rejoins("a", ""), ""},
		"a contained one follows": {primary("b").replica("c").orphan("a").policy(auto), "repoint a:3306 to b:3306"},
		"nor a replica's errors":  {primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).rescued("b", "0-2-101", "").policy(auto), ""},
	} {
		if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
			t.Errorf("%s: repairs are %q, want %q", name, got, tt.want)
		}
	}
}

func TestAnInstanceThatIsBroughtBackIsNoCandidate(t *testing.T) {
	b := primary("a").replica("b").rejoins("b", "").kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil {
		t.Errorf("decided: %s", d.Sentence)
	}
}

func TestACloneCommandIsTold(t *testing.T) {
	o := CloneOrder{Cluster: "main", Instance: "a:3306", Donor: "[::1]:3307", Primary: "b:3306"}
	if got := o.Expand("x {instance} {donorHost} {donorPort} {primaryHost} {cluster} ${HOME}"); got != "x a:3306 ::1 3307 b main ${HOME}" {
		t.Errorf("expanded: %q", got)
	}
	if env := strings.Join(o.Environment(), " "); !strings.Contains(env, "REMORA_DONOR_PORT=3307") || !strings.Contains(env, "REMORA_INSTANCE=a:3306") {
		t.Errorf("environment: %q", env)
	}
	p := DefaultPolicy()
	p.Clone.Command = "x {instance} ${HOME} {host}"
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "clone.command: {host} is not allowed") || strings.Contains(err.Error(), "HOME") {
		t.Errorf("%v", err)
	}
}

func TestADonorThatFailedIsNotAskedAgain(t *testing.T) {
	b := primary("a").replica("b").orphan("c", has("", "0-1-100,0-3-101")).onMySQL()
	ask := RejoinRequest{Instance: at("c"), Clone: true, Unsaved: true}
	donor := func() topology.Addr {
		t.Helper()
		steps, no := PlanRejoin(&b.c, ask)
		if no != nil || steps[len(steps)-1].Do != Clone {
			t.Fatalf("%v, %v", steps, no)
		}
		return steps[len(steps)-1].Source
	}
	if got := donor(); got != at("b") {
		t.Errorf("the donor is %s", got)
	}
	b.c.Tries = []Try{{Step: Step{Do: Clone, Target: at("c"), Source: at("b")}.String(), At: at("c"), Count: 1, First: noon, Last: noon, Error: "no plugin"}}
	if got := donor(); got != at("a") {
		t.Errorf("after it failed the donor is %s", got)
	}
}
