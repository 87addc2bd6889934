package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

func decide(b *build) Decision { return Decide(&b.c, Analyze(&b.c)) }

func refused(d Decision) []string {
	var list []string
	for _, r := range d.Refusals {
		list = append(list, r.Rule)
	}
	return slices.Compact(list)
}

func ended(ago time.Duration, kind Kind, ack bool) *Recovery {
	r := &Recovery{Intent: Intent{ID: "main-5", Kind: kind}, Outcome: Succeeded, Ended: noon.Add(-ago)}
	if ack {
		r.Acknowledged = &Acknowledgement{By: "ann"}
	}
	return r
}

// neverRead is a server that the ledger knows of and no sidecar that is heard has read.
func (b *build) neverRead(name string) *build {
	i := b.c.Snapshot.Instance(at(name))
	i.State, i.ReadAt = nil, time.Time{}
	return b
}

func (b *build) last(r *Recovery) *build { b.c.Last = r; return b }

func TestAutomaticFailover(t *testing.T) {
	dead := func() *build { return primary("a").replica("b").replica("c").kill("a") }
	diverged := func() *build {
		return primary("a").replica("b", has("0-1-101,1-1-5", "0-1-101,1-1-5")).replica("c", has("0-1-100,1-1-6", "0-1-100,1-1-6")).kill("a")
	}
	tests := []struct {
		name    string
		b       *build
		to      topology.Addr
		refused []string
	}{
		{"a dead primary", dead(), at("b"), nil},
		{"and a dead replica", primary("a").replica("b").replica("c").kill("a", "b"), at("c"), nil},
		{"a dead co-primary", ring().kill("a"), at("b"), nil},
		{"a living one", primary("a").replica("b"), "", nil},
		{"an unreachable one", primary("a").replica("b").freeze("a", 0), "", nil},
		{"one without connections", primary("a").replica("b").stuck("a", "Too many connections"), "", nil},
		{"all connections refused to one sidecar", primary("a").replica("b").unreachable("a", "s1"), "", nil},
		{"a read-only one", primary("a", with(func(st *topology.State) { st.ReadOnly = true })).replica("b"), "", nil},
		{"nobody to promote", primary("a").replica("b").kill("a", "b"), "", []string{"no_candidate", "stale"}},
		{"the policy is manual", dead().policy(func(p *Policy) { p.Failover = Manual }), "", []string{"manual"}},
		{"the primary is in downtime", dead().downtime("a"), "", []string{"downtime"}},
		{"soon after a failover", dead().last(ended(time.Minute, KindFailover, false)), "", []string{"anti_flap"}},
		{"which was acknowledged", dead().last(ended(time.Minute, KindFailover, true)), at("b"), nil},
		{"or long ago", dead().last(ended(time.Hour, KindFailover, false)), at("b"), nil},
		{"soon after a switchover", dead().last(ended(time.Minute, KindSwitchover, false)), at("b"), nil},
		{"diverged replicas", diverged(), "", []string{"divergent"}},
		{"all lag and the policy fails", primary("a").replica("b", lag(time.Minute)).kill("a").change("b", func(st *topology.State) { st.Sources[0].Lag = ptr(topology.Duration(time.Minute)) }).policy(func(p *Policy) { p.Lag.WhenAll = WhenAllFail }), "", []string{"no_candidate", "lag"}},
		{"Group Replication", primary("a", with(func(st *topology.State) { st.Member = "group_replication" })).replica("b").kill("a"), "", []string{"member"}},
		{"semi-sync, all replicas readable", primary("a").replica("b").replica("c").semiSync(1).kill("a"), at("b"), nil},
		{"semi-sync, the one that died may have acknowledged", primary("a").replica("b").replica("c").replica("d").semiSync(1).kill("a", "d"), "", []string{"durability"}},
		{"semi-sync, the one that died was gone before", primary("a").replica("b").replica("c").replica("d").semiSync(1).
			change("a", func(st *topology.State) { st.SemiSync.Clients = 2 }).kill("a", "d").readBefore("d"), at("b"), nil},
		{"semi-sync, one that nobody in this term has read may have acknowledged", primary("a").replica("b").replica("c").replica("d").semiSync(1).kill("a", "d").neverRead("d"), "", []string{"durability"}},
		{"semi-sync, one was never read, and all that acknowledged are", primary("a").replica("b").replica("c").replica("d").semiSync(1).
			change("a", func(st *topology.State) { st.SemiSync.Clients = 2 }).kill("a", "d").neverRead("d"), at("b"), nil},
		{"semi-sync, an errant one received more", primary("a").replica("b", has("0-1-100,0-2-101", "0-1-100,0-2-101")).replica("c", has("0-1-99", "0-1-99")).replica("d", has("0-1-99", "0-1-99")).semiSync(1).kill("a"), "", []string{"durability"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(tt.b)
			to := topology.Addr("")
			if d.Intent != nil {
				to = d.Intent.To
			}
			if to != tt.to || !slices.Equal(refused(d), tt.refused) {
				t.Errorf("%s\nto %q, refused by %q; want to %q, refused by %q", d.Sentence, to, refused(d), tt.to, tt.refused)
			}
			for _, r := range d.Refusals {
				if r.Sentence == "" || r.Change == "" {
					t.Errorf("a refusal without words: %+v", r)
				}
			}
		})
	}
}

func (b *build) readBefore(name string) *build {
	b.inst(name).ReadAt = noon.Add(-time.Minute)
	return b
}

func TestTheAutomaticIntentIsDeterministic(t *testing.T) {
	in := decide(primary("a").replica("b").replica("c").kill("a")).Intent
	if in.ID != "main-12" || in.At != noon || !in.Deadline.IsZero() || in.Code != "DeadMaster" || in.From != at("a") || len(in.Evidence) == 0 {
		t.Errorf("%+v", in)
	}
}

func TestNeverTwoAtOnce(t *testing.T) {
	b := primary("a").replica("b").replica("c").orphan("d", writable()).kill("a").begin()
	for _, r := range []*Request{nil, {ID: "r2", Kind: KindFailover, Force: true}, {ID: "r2", Kind: KindSwitchover}} {
		b.c.Request = r
		d := decide(b)
		if d.Intent != nil || r != nil && !slices.Equal(refused(d), []string{"open_intent"}) {
			t.Errorf("%+v begins %+v, refused by %q", r, d.Intent, refused(d))
		}
	}
	if Repairs(&b.c) != nil {
		t.Error("repairs while an intent is open")
	}
}

func TestRequestedFailover(t *testing.T) {
	force := Request{ID: "r1", Kind: KindFailover, Force: true, By: "ann"}
	to := func(name string) Request { r := force; r.To = at(name); return r }
	tests := []struct {
		name    string
		b       *build
		to      topology.Addr
		refused []string
	}{
		{"of a living primary needs force", primary("a").replica("b").ask(Request{ID: "r1", Kind: KindFailover}), "", []string{"alive"}},
		{"forced", primary("a").replica("b").ask(force), at("b"), nil},
		{"goes on in the anti-flap period, by policy manual, in downtime", primary("a").replica("b").kill("a").downtime("a").last(ended(time.Minute, KindFailover, false)).policy(func(p *Policy) { p.Failover = Manual }).ask(Request{ID: "r1", Kind: KindFailover}), at("b"), nil},
		{"overrides must_not", primary("a").replica("b").rule("b", ServerRule{Promotion: MustNot}).ask(force), at("b"), nil},
		{"never one without a binary log", primary("a").replica("b", with(func(st *topology.State) { st.LogBin = false })).ask(force), "", []string{"no_candidate", "log_bin"}},
		{"diverged: it has to say for whom", primary("a").replica("b", has("0-1-101,1-1-5", "0-1-101,1-1-5")).replica("c", has("0-1-100,1-1-6", "0-1-100,1-1-6")).kill("a").ask(force), "", []string{"divergent"}},
		{"diverged, and it says so", primary("a").replica("b", has("0-1-101,1-1-5", "0-1-101,1-1-5")).replica("c", has("0-1-100,1-1-6", "0-1-100,1-1-6")).kill("a").ask(to("c")), at("c"), nil},
		{"to one that is behind: the other one is its donor", primary("a").replica("b").replica("c", has("0-1-90", "0-1-90")).kill("a").ask(to("c")), at("c"), nil},
		{"to the primary", primary("a").replica("b").ask(to("a")), "", []string{"target"}},
		{"to nobody", primary("a").replica("b").ask(to("z")), "", []string{"target"}},
		{"done before", primary("a").replica("b").last(&Recovery{Intent: Intent{ID: "r1"}, Outcome: Succeeded}).ask(force), "", []string{"repeated"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(tt.b)
			got := topology.Addr("")
			if d.Intent != nil {
				got = d.Intent.To
			}
			if got != tt.to || !slices.Equal(refused(d), tt.refused) {
				t.Errorf("%s\nto %q, refused by %q; want to %q, refused by %q", d.Sentence, got, refused(d), tt.to, tt.refused)
			}
		})
	}
}

func TestForcedFailoverStatesItsLoss(t *testing.T) {
	b := primary("a").replica("b", has("0-1-90", "0-1-90")).kill("a").ask(Request{ID: "r1", Kind: KindFailover, Force: true})
	b.inst("a").ReadAt = noon.Add(-3 * time.Second)
	want := []string{
		"10 transactions executed by primary a:3306 (read 3.0s ago) that b:3306 has not received: 0-1-(91..100)",
		"what primary a:3306 wrote in its last moments cannot be known: its last reading is 3.0s old",
	}
	if got := decide(b).Loss; !slices.Equal(got, want) {
		t.Errorf("loss %q\nwant %q", got, want)
	}
}

func TestSwitchoverChecks(t *testing.T) {
	ask := Request{ID: "r1", Kind: KindSwitchover, To: at("b")}
	force := ask
	force.Force = true
	fine := func() *build { return primary("a").replica("b").replica("c") }
	tests := []struct {
		name  string
		b     *build
		unmet []string
		begun bool
	}{
		{"all is well", fine().ask(ask), nil, true},
		{"the anti-flap period does not matter", fine().last(ended(time.Minute, KindFailover, false)).ask(ask), nil, true},
		{"the primary is dead", fine().kill("a").ask(ask), []string{"primary reachable", "candidate replicates directly"}, false},
		{"the primary is read-only", fine().change("a", func(st *topology.State) { st.ReadOnly = true }).ask(ask), []string{"primary writable"}, false},
		{"the candidate is dead", fine().kill("b").ask(ask), []string{"candidate reachable"}, false},
		{"it lags", primary("a").replica("b", lag(5*time.Second)).ask(ask), []string{"lag"}, false},
		{"it lags, and force", primary("a").replica("b", lag(5*time.Second)).ask(force), []string{"lag"}, true},
		{"its SQL thread is stopped", primary("a").replica("b", threads(topology.ThreadYes, topology.ThreadNo)).ask(ask), []string{"candidate replicates directly"}, false},
		{"it replicates by a chain", primary("a").replica("b", under("c")).replica("c").ask(ask), []string{"candidate replicates directly"}, false},
		{"it has errant transactions", primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).ask(ask), []string{"no errant transactions"}, false},
		{"must_not", fine().rule("b", ServerRule{Promotion: MustNot}).ask(ask), []string{"promotion rule"}, false},
		{"a forbidden region", fine().rule("a", ServerRule{Region: "x"}).rule("b", ServerRule{Region: "y"}).ask(ask), []string{"data centre"}, false},
		{"a proxy behind", fine().proxy("s1", func(p *topology.Proxy) { p.Epoch = 3 }).ask(ask), []string{"proxies"}, false},
		{"a lease over", fine().proxy("s1", func(p *topology.Proxy) { p.LeaseOver = true }).ask(ask), []string{"proxies"}, false},
		{"too few to acknowledge", primary("a").replica("b").semiSync(1).change("b", func(st *topology.State) {}).ask(ask), []string{"wait count"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(tt.b)
			var unmet []string
			for _, c := range d.Checks {
				if c.Sentence == "" {
					t.Errorf("check %s has no sentence", c.Name)
				}
				if !c.OK {
					unmet = append(unmet, c.Name)
				}
			}
			if !slices.Equal(unmet, tt.unmet) || (d.Intent != nil) != tt.begun {
				t.Errorf("%s\nunmet %q, want %q; begun %v", d.Sentence, unmet, tt.unmet, d.Intent != nil)
			}
		})
	}
}

func TestSwitchoverWithoutATargetPrefersByRuleNotByMomentaryPosition(t *testing.T) {
	b := primary("a").replica("b").replica("c", has("0-1-98", "0-1-98")).rule("c", ServerRule{Promotion: Prefer}).ask(Request{ID: "r1", Kind: KindSwitchover, Timeout: topology.Duration(time.Second)})
	in := decide(b).Intent
	if in.To != at("c") || in.Deadline != noon.Add(time.Second) || in.ID != "r1" || in.Chosen {
		t.Errorf("%+v", in)
	}
}

func TestEveryCycleYieldsOneSentence(t *testing.T) {
	tests := []struct {
		b    *build
		want string
	}{
		{primary("a").replica("b").replica("c"), "main: a:3306 is primary at epoch 12; 2 of 2 replicas replicate; nothing to do"},
		{primary("a").replica("b").replica("c").kill("c"), "main: a:3306 is primary at epoch 12; 1 of 2 replicas replicates; c:3306 cannot be reached by 3 of 3 sidecars; last read 0.3s ago; nothing to do"},
		{primary("a").replica("b").orphan("c"), "main: a:3306 is primary at epoch 12; 1 of 1 replica replicates; mending: repoint c:3306 to a:3306"},
		{primary("a").replica("b").kill("a"), "main: primary a:3306 is dead: 3 of 3 sidecars cannot reach it, all of its replicas can be read and none receives from it; failing over to b:3306"},
		{primary("a").replica("b").kill("a").begin(), "main: failover main-12 from a:3306 to b:3306 is under way; next: proxies: writer fenced"},
		{primary("a").replica("b").ask(Request{ID: "r", Kind: KindSwitchover, By: "ann"}), "main: switching over from a:3306 to b:3306 as ann asked, within 10s"},
	}
	for _, tt := range tests {
		if got := decide(tt.b).Sentence; got != tt.want {
			t.Errorf("%q\nwant %q", got, tt.want)
		}
		if strings.Contains(tt.want, "\n") {
			t.Error("one line")
		}
	}
}
