package failover

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// stale is a cluster of three under semi-sync whose primary was killed, and whose
// second proxy is not heard any more; its lease lasts.
func stale(change ...func(*build)) *build {
	b := primary("a").replica("b").replica("c").semiSync(1)
	for _, f := range change {
		f(b)
	}
	b.kill("a").begin()
	b.proxyOf("s2").Silent = true
	return b
}

func (b *build) proxyOf(node string) *topology.Proxy {
	for n := range b.c.Snapshot.Proxies {
		if p := &b.c.Snapshot.Proxies[n]; p.Node == node {
			return p
		}
	}
	panic(node)
}

// acknowledge lets the proxies that are heard hold.
func (b *build) acknowledge() *build {
	for n := range b.c.Snapshot.Proxies {
		if p := &b.c.Snapshot.Proxies[n]; !p.Silent {
			p.Epoch, p.Mode = b.c.Intent.Epoch, b.c.Intent.Mode()
		}
	}
	return b
}

// stop stops replicas, as StopReceiving does.
func (b *build) stop(names ...string) *build {
	for _, name := range names {
		b.effect(Step{Do: StopReceiving, Target: at(name), Source: at("a")})
	}
	return b
}

func TestTheDurabilityFenceStandsInForAProxyThatIsNotHeard(t *testing.T) {
	b := stale()
	expectPlan(t, Remaining(&b.c), "proxies: writer fenced, stop receiving b:3306, stop receiving c:3306",
		"repoint c:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude")
	b.acknowledge().stop("b", "c")
	expectPlan(t, Remaining(&b.c), "repoint c:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude")
	why := Remaining(&b.c)[1][0].Why
	if !strings.Contains(why, "s2 did not acknowledge") {
		t.Errorf("the promotion does not name who was not waited for: %s", why)
	}
	for b.c.Intent != nil {
		stage := Remaining(&b.c)[0]
		if stage[0].Do == CloseProxies {
			t.Fatalf("it waits: %s", stage[0].Why)
		}
		b.perform(stage)
	}
}

// Whom no stop has reached may have acknowledged more since it was read, while a proxy was still open: its relay log
// is not risked by a move, nor by the promotion, before it was stopped and read again.
func TestWhoMayHaveAcknowledgedSinceItWasReadIsStoppedFirst(t *testing.T) {
	unreached := func(stopped ...string) *build { // all proxies hold, and early is over
		b := stale().acknowledge().stop(stopped...).pass(promptly)
		b.proxyOf("s2").LeaseOver = true
		return b
	}
	rest := []string{"promote b:3306", "commit route b:3306", "conclude"}

	b := unreached("b")
	expectPlan(t, Remaining(&b.c), append([]string{"stop receiving c:3306", "repoint c:3306 to b:3306"}, rest...)...)
	if Remaining(&b.c)[0][0].Optional {
		t.Error("c may be moved while it is being stopped")
	}
	b.stop("c")
	source(b.inst("c")).Received = gtid.MustParse("0-1-101")
	expectPlan(t, Remaining(&b.c)[:1], "retarget c:3306")

	b = unreached("c")
	expectPlan(t, Remaining(&b.c), append([]string{"drain b:3306", "repoint c:3306 to b:3306"}, rest...)...)
}

func TestWhoHoldsUpTheDurabilityFence(t *testing.T) {
	two := func(b *build) { // acknowledgements, of three replicas
		b.replica("d")
		for n := range b.c.Snapshot.Instances {
			b.c.Snapshot.Instances[n].State.Flavor = "mysql"
		}
		b.semiSync(2)
	}
	from := func(change func(*topology.SemiSync)) func(*build) { return func(b *build) { b.semi("a", change) } }
	tests := []struct {
		name    string
		change  func(*build) // before the primary dies
		stopped []string
		later   func(*build)
		why     string // of the wait for s2; empty when nobody waits
	}{
		{"all stopped", nil, []string{"b", "c"}, nil, ""},
		{"one still receives", nil, []string{"b"}, nil, "c:3306 might acknowledge"},
		{"one of two that are needed still receives", two, []string{"b", "c"}, nil, ""},
		{"two of two that are needed still receive", two, []string{"b"}, nil, "c:3306 and d:3306 might acknowledge"},
		{"one cannot be read", nil, []string{"b", "c"}, func(b *build) { b.inst("c").Reach = topology.Unclear }, "c:3306 might acknowledge"},
		{"one restarted and receives again", nil, []string{"b", "c"}, func(b *build) { source(b.inst("c")).IO = topology.ThreadYes }, "c:3306 might acknowledge"},
		{"one tries to", nil, []string{"b", "c"}, func(b *build) { source(b.inst("c")).IO = topology.ThreadConnecting }, "c:3306 might acknowledge"},
		{"one receives from an address that nobody knows", nil, []string{"b", "c"}, func(b *build) {
			source(b.inst("c")).Addr, source(b.inst("c")).IO = "vip:3306", topology.ThreadYes
		}, "c:3306 might acknowledge"},
		{"one was read before the intent", nil, []string{"b", "c"}, func(b *build) { b.inst("c").ReadAt = b.c.Intent.At }, "c:3306 might acknowledge"},
		{"a repair of one has not ended", nil, []string{"b", "c"}, func(b *build) { b.unsettled("c", time.Time{}) }, "c:3306 might acknowledge"},
		{"it has, and one was not read since", nil, []string{"b", "c"}, func(b *build) { b.unsettled("c", b.inst("c").ReadAt) }, "c:3306 might acknowledge"},
		{"it has, and one was read since", nil, []string{"b", "c"}, func(b *build) { b.unsettled("c", b.inst("c").ReadAt.Add(-time.Millisecond)) }, ""},
		{"it had more replicas than are known", from(func(s *topology.SemiSync) { s.Clients = 3 }), []string{"b", "c"}, nil, "1 replica that is not known here might acknowledge"},
		{"it named a replica that is not known", func(b *build) { b.inst("a").State.Replicas = []topology.Addr{at("b"), at("x")} }, []string{"b", "c"}, nil, "1 replica that is not known here"},
		{"its time-out ends", from(func(s *topology.SemiSync) { s.Timeout = topology.Duration(10 * time.Second) }), []string{"b", "c"}, nil, "it waits only 10s for an acknowledgement"},
		{"it goes on without replicas", from(func(s *topology.SemiSync) { s.WaitsAlone = false }), []string{"b", "c"}, nil, "it waits for nobody while too few replicas are attached"},
		{"it had fallen back", from(func(s *topology.SemiSync) { s.SourceActive = false }), []string{"b", "c"}, nil, "semi-sync was off"},
		{"it waits for fewer than the policy", func(b *build) { two(b); b.semi("a", func(s *topology.SemiSync) { s.WaitCount = 1 }) }, []string{"b", "c", "d"}, nil, "it waits for 1 acknowledgements and not for 2"},
		{"it was read before it became primary", nil, []string{"b", "c"}, func(b *build) { b.inst("a").ReadAt = noon.Add(-2 * time.Hour) }, "it was never read as primary"},
		{"it may be degraded", func(b *build) { b.c.Policy.SemiSync.Blocked = BlockedDegrade }, []string{"b", "c"}, nil, "it may have been degraded since it was read"},
		{"proxies hold on without a lease", func(b *build) { b.c.Policy.OnLeaseLoss = LeaseLossHold }, []string{"b", "c"}, func(b *build) { b.pass(promptly) }, "on_lease_loss is hold"},
		{"the proxy is heard", nil, []string{"b", "c"}, func(b *build) { b.proxyOf("s2").Silent = false }, "s2 may still send writes"},
		{"and does not acknowledge for long", nil, []string{"b", "c"}, func(b *build) { b.proxyOf("s2").Silent = false; b.pass(promptly) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := stale(func(b *build) {
				if tt.change != nil {
					tt.change(b)
				}
			}).acknowledge().stop(tt.stopped...)
			if tt.later != nil {
				tt.later(b)
			}
			first := Remaining(&b.c)[0][0]
			switch {
			case tt.why == "" && first.Do == CloseProxies:
				t.Errorf("it waits: %s", first.Why)
			case tt.why != "" && (first.Do != CloseProxies || !strings.Contains(first.Why, tt.why)):
				t.Errorf("%s: %q, which does not say %q", first, first.Why, tt.why)
			}
		})
	}
}

func (b *build) unsettled(name string, until time.Time) {
	b.c.Unsettled = append(b.c.Unsettled, Unsettled{Instance: at(name), Until: until})
}

// A replica that may yet be started is stopped, though it stands still or follows nobody.
func TestWhoMayYetBeStartedIsStopped(t *testing.T) {
	b := stale().acknowledge().stop("b", "c")
	b.unsettled("c", time.Time{})
	const want = "proxies: writer fenced, stop receiving c:3306"
	if first := Remaining(&b.c)[0]; first.String() != want {
		t.Errorf("the first stage is %s", first)
	}
	b.inst("c").State.Sources = nil // as in the middle of a repoint
	if first := Remaining(&b.c)[0]; first.String() != want || first[1].Source != at("a") {
		t.Errorf("of one that follows nobody the first stage is %s", first)
	}
	b.inst("c").Reach = topology.Unclear
	if first := Remaining(&b.c)[0]; first.String() != "proxies: writer fenced" {
		t.Errorf("of one that is frozen the first stage is %s", first)
	}
	b.proxyOf("s2").LeaseOver = true
	if first := Remaining(&b.c)[0]; first[0].Do == CloseProxies {
		t.Errorf("it is waited for longer than the lease: %s", first[0].Why)
	}
}

func TestUnderAsyncNothingStandsInForALease(t *testing.T) {
	b := stale(func(b *build) { b.c.Policy.Durability = Async }).acknowledge().stop("b", "c").pass(time.Second)
	if first := Remaining(&b.c)[0]; first.String() != "proxies: writer fenced" || strings.Contains(first[0].Why, "durability") {
		t.Errorf("the first stage is %s: %s", first, first[0].Why)
	}
}

func TestAPrimaryThatAnswersIsClosedBeforeItsReplicasLeave(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1).ask(Request{ID: "r", Kind: KindFailover, Force: true}).begin()
	if first := Remaining(&b.c)[0]; first.String() != "proxies: writer fenced, set read only a:3306" {
		t.Errorf("the first stage is %s", first)
	}
	if first := Remaining(&b.pass(promptly).c)[0]; first.String() != "proxies: writer fenced, stop receiving b:3306, stop receiving c:3306, set read only a:3306" {
		t.Errorf("when it is not closed for long, the first stage is %s", first)
	}
}

// Beside the promotion nobody is moved who has what the target lacks: that would be thrown away, or break it.
func TestASwitchoverMovesNobodyBesideThePromotionWhoHasMore(t *testing.T) {
	for _, tt := range []struct {
		name, has, want string
	}{
		{"no more than the target", "0-1-100", "promote b:3306, repoint c:3306 to b:3306"},
		{"a transaction of its own", "0-1-100,1-3-5", "promote b:3306"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := primary("a").replica("b").replica("c").semiSync(1).ask(Request{ID: "r", Kind: KindSwitchover, To: at("b")}).begin()
			b.c.Intent.Regroup = nil
			b.effect(Remaining(&b.c)[0][0]) // the proxies pause
			b.change("a", func(st *topology.State) { st.ReadOnly = true }).change("c", func(st *topology.State) { st.Executed = gtid.MustParse(tt.has) })
			if first := Remaining(&b.c)[0]; first.String() != tt.want {
				t.Errorf("the first stage is %s, want %s", first, tt.want)
			}
		})
	}
}

// Whom a switchover has moved acknowledges to the old primary again before that takes writes.
func TestARollBackMovesReplicasBack(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1).ask(Request{ID: "r", Kind: KindSwitchover, To: at("b")}).begin().acknowledge()
	b.change("a", func(st *topology.State) { st.ReadOnly = true }).change("c", func(st *topology.State) { st.Sources[0].Addr = at("b") })
	b.kill("b")
	expectPlan(t, Remaining(&b.c), "set writable a:3306", "repoint c:3306 to a:3306", "roll back a:3306")
	b.c.Intent.Replicas = nil
	expectPlan(t, Remaining(&b.c), "set writable a:3306", "roll back a:3306") // a chain of another origin
}

func TestARelayLogIsNotRiskedForTheFence(t *testing.T) {
	b := stale(func(b *build) { sqlError("Duplicate entry")(b, b.inst("c")) })
	if first := Remaining(&b.c)[0]; first.String() != "proxies: writer fenced, stop receiving b:3306" {
		t.Errorf("the first stage is %s", first)
	}
	b = stale(func(b *build) { sqlError("")(b, b.inst("c")) })
	if first := Remaining(&b.c)[0]; first.String() != "proxies: writer fenced, stop receiving b:3306, stop receiving c:3306" {
		t.Errorf("c was stopped by hand, and the first stage is %s", first)
	}
}

func TestRollingBackLetsReplicasReceiveAgain(t *testing.T) {
	b := stale().acknowledge().stop("b", "c")
	b.policy(func(p *Policy) { // nobody may take over any more
		p.Servers = append(p.Servers, ServerRule{Match: "b", Promotion: MustNot}, ServerRule{Match: "c", Promotion: MustNot})
	})
	b.inst("a").Reach = topology.Up
	want := []string{"repoint b:3306 to a:3306, repoint c:3306 to a:3306", "roll back a:3306"}
	expectPlan(t, Remaining(&b.c), want...)
	late := *b
	expectPlan(t, Remaining(&late.pass(patience).c), "roll back a:3306, repoint b:3306 to a:3306, repoint c:3306 to a:3306")
	b.perform(Remaining(&b.c)[0])
	expectPlan(t, Remaining(&b.c), "roll back a:3306")
	b.stop("c")
	c := b.inst("c").State
	c.Executed = c.Executed.Union(gtid.MustParse("0-9-999"))
	expectPlan(t, Remaining(&b.c), "roll back a:3306")
}

// TestAStaleProxyIsLeftBehindOnlyWhenTooFewMightAcknowledge: against what the
// servers really do, not what was read of them.
func TestAStaleProxyIsLeftBehindOnlyWhenTooFewMightAcknowledge(t *testing.T) {
	left := 0
	check := func(t *rapid.T) {
		b := primary("a")
		for k := range rapid.IntRange(1, 4).Draw(t, "replicas") {
			b.drawReplica(t, string(rune('b'+k)))
		}
		if drawn(t, "flavor", false, true) {
			for n := range b.c.Snapshot.Instances {
				b.c.Snapshot.Instances[n].State.Flavor = "mysql"
			}
		}
		want := rapid.IntRange(1, 3).Draw(t, "wait count")
		b.semiSync(want)
		b.kill("a")
		if !b.commit() {
			return
		}
		needed := newFacts(&b.c).waitCount(b.inst("a"))
		receives := map[topology.Addr]bool{} // in truth, or for all that can be known
		for _, i := range b.c.Snapshot.Instances {
			receives[i.Addr] = i.Addr != at("a") && (!i.Fresh() || source(&i).Addr == at("a") && source(&i).IO != topology.ThreadNo)
		}
		b.proxyOf("s2").Silent = drawn(t, "silent", true, false)
		for round := range 30 {
			stages := Remaining(&b.c)
			if stages == nil {
				return
			}
			for _, s := range stages[0] {
				if s.Do == Promote || s.Do == CommitRoute {
					might := 0
					for _, yes := range receives {
						if yes {
							might++
						}
					}
					if stuck := b.proxyOf("s2"); !stuck.Holds(b.c.Intent.Epoch) {
						left++
						if might >= needed {
							t.Fatalf("%s while %d might acknowledge what a writes and it waits for %d", s, might, needed)
						}
					}
				}
				if s.Do == CloseProxies {
					b.acknowledge()
					p := b.proxyOf("s2")
					p.Epoch, p.Mode = routeEpoch, topology.Open
					continue
				}
				if s.Optional && drawn(t, "fails", false, true) {
					continue
				}
				b.effect(s)
				if s.Do == StopReceiving || s.Do == Drain || s.Do == Repoint || s.Do == Promote {
					receives[s.Target] = false
				}
				if b.c.Intent == nil || s.Do == CommitRoute {
					return
				}
			}
			b.pass(200 * time.Millisecond)
			if again := at(drawn(t, "restarts", "", "", "", "b", "c")); round > 2 && receives[again] == false && b.c.Snapshot.Instance(again) != nil {
				if i := b.c.Snapshot.Instance(again); i.Fresh() && b.c.Snapshot.ChannelTo(i, at("a")) != nil {
					b.c.Snapshot.ChannelTo(i, at("a")).IO, receives[again] = topology.ThreadYes, true
				}
			}
			b.proxyOf("s2").LeaseOver = round > 12
		}
	}
	for range 5 { // one run in fifty leaves none behind
		if rapid.Check(t, check); left > 0 {
			return
		}
	}
	t.Error("no plan ever left a proxy behind: nothing was tested")
}

// TestUnderSemiSyncNobodyIsPromotedWithoutAllThatWasReceived: whoever is not read
// for a while, dies, or comes back on the way.
func TestUnderSemiSyncNobodyIsPromotedWithoutAllThatWasReceived(t *testing.T) {
	promoted, waited := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		b := primary("a")
		names := []string{"b", "c", "d", "e"}[:rapid.IntRange(2, 4).Draw(t, "replicas")]
		all := gtid.Set{}
		for _, name := range names {
			received := drawn(t, name+" received", "0-1-97", "0-1-99", "0-1-100")
			b.replica(name, has(received, drawn(t, name+" executed", "0-1-97", received)))
			b.inst(name).State.Version = drawn(t, name+" version", "10.11.6-MariaDB", "10.11.6-MariaDB", "11.4.2-MariaDB")
			b.rule(name, ServerRule{Promotion: drawn(t, name+" promotion", Neutral, Prefer, MustNot), DataCenter: drawn(t, name+" dc", "x", "y")})
			all = all.Union(gtid.MustParse(received))
		}
		b.rule("a", ServerRule{DataCenter: "x"})
		b.semiSync(1).kill("a")
		if !b.commit() {
			return
		}
		for range 60 {
			stages := Remaining(&b.c)
			if stages == nil {
				return
			}
			for _, s := range stages[0] {
				i := b.c.Snapshot.Instance(s.Target)
				if s.Do == Promote {
					promoted++
					if had := b.c.Snapshot.State(s.Target).Received(); !had.Contains(all) {
						t.Fatalf("%s with %s, and %s was received", s, had, all)
					}
				}
				if i != nil && !i.Fresh() && s.Do != Retarget && s.Do != CommitRoute {
					waited++
					continue // it fails: nobody answers there
				}
				b.effect(s)
			}
			if b.c.Intent == nil || b.routed() {
				return // what dies then is the next recovery's
			}
			b.pass(200 * time.Millisecond)
			switch name := drawn(t, "who", names...); drawn(t, "what", "", "unread", "dies", "returns", "returns") {
			case "unread":
				b.unread(name)
			case "dies":
				b.died(name)
			case "returns":
				b.returns(name)
			}
		}
	})
	if promoted == 0 || waited == 0 {
		t.Errorf("%d promotions, %d steps on who did not answer: nothing was tested", promoted, waited)
	}
}

func (b *build) routed() bool { return newFacts(&b.c).routed() }
