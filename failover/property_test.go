package failover

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// sets are histories of which some contain each other and some do not.
var sets = []string{"0-1-100", "0-1-99", "0-1-90", "0-1-100,1-1-5", "0-1-100,1-1-6", "0-1-99,1-1-7", "0-1-100,0-2-101", "0-1-103"}

func drawn[T any](t *rapid.T, label string, of ...T) T { return rapid.SampledFrom(of).Draw(t, label) }

// drawCase draws any cluster of two to five instances in any state, with any
// policy; begun or not.
func drawCase(t *rapid.T) *build {
	b := primary("a")
	n := rapid.IntRange(1, 4).Draw(t, "replicas")
	for k := range n {
		b.drawReplica(t, string(rune('b'+k)))
	}
	b.policy(func(p *Policy) {
		p.Lag.WhenAll = drawn(t, "when all", WhenAllWait, WhenAllFail, WhenAllPromote)
		p.Errant = drawn(t, "errant", ErrantRefuse, ErrantTolerate)
		p.Rejoin = drawn(t, "rejoin", RejoinAuto, RejoinManual)
		p.DataCenter.Cross = drawn(t, "cross", Allow, LastResort, Forbid)
	})
	if drawn(t, "durability", false, true) {
		b.semiSync(drawn(t, "wait count", 1, 2))
		for k := range b.c.Snapshot.Instances {
			b.drawPlugins(t, &b.c.Snapshot.Instances[k])
		}
	}
	switch drawn(t, "primary", "fine", "killed", "killed", "frozen", "unclear") {
	case "killed":
		b.kill("a")
	case "frozen":
		b.freeze("a", drawn(t, "silence", 0, 2*time.Second))
	case "unclear":
		b.inst("a").Reach = topology.Unclear
	}
	if kind := drawn(t, "request", "", "", KindFailover, KindSwitchover); kind != "" {
		r := Request{ID: "r1", Kind: kind, Force: drawn(t, "force", false, true)}
		if drawn(t, "named", false, true) {
			r.To = at("b")
		}
		b.ask(r)
	}
	return b
}

// drawPlugins takes away one of the two plugins that MySQL has semi-sync by, or none.
func (b *build) drawPlugins(t *rapid.T, i *topology.Instance) {
	switch s := &i.State.SemiSync; drawn(t, string(i.Addr)+" lacks", "", "", "", "source", "replica") {
	case "source":
		s.NoSource, s.SourceEnabled, s.SourceActive = true, false, false
	case "replica":
		s.NoReplica, s.ReplicaEnabled, s.ReplicaActive = true, false, false
	}
}

func (b *build) drawReplica(t *rapid.T, name string) {
	received, executed := drawn(t, name+" received", sets...), drawn(t, name+" executed", sets...)
	if !gtid.MustParse(received).Contains(gtid.MustParse(executed)) {
		executed = received
	}
	b.replica(name, has(received, executed))
	i := b.inst(name)
	src := source(i)
	src.IO = drawn(t, name+" IO", topology.ThreadYes, topology.ThreadYes, topology.ThreadNo, topology.ThreadConnecting)
	src.SQL = drawn(t, name+" SQL", topology.ThreadYes, topology.ThreadYes, topology.ThreadNo)
	src.Silence = drawn(t, name+" silence", nil, ptr(topology.Duration(0)), ptr(topology.Duration(time.Minute)))
	src.Lag = drawn(t, name+" lag", nil, ptr(topology.Duration(0)), ptr(topology.Duration(time.Minute)))
	src.Delay = drawn(t, name+" delay", 0, 0, 0, topology.Duration(time.Hour))
	i.Reach = drawn(t, name+" reach", topology.Up, topology.Up, topology.Up, topology.Down, topology.Unclear)
	i.State.ReadOnly = drawn(t, name+" read-only", true, true, true, false)
	i.State.Version = drawn(t, name+" version", "10.11.6-MariaDB", "10.11.6-MariaDB", "11.4.2-MariaDB")
	if name != "b" {
		src.Addr = drawn(t, name+" source", at("a"), at("a"), at("b"))
	}
	b.rule(name, ServerRule{Promotion: drawn(t, name+" promotion", Neutral, Prefer, MustNot), DataCenter: drawn(t, name+" dc", "x", "y")})
	b.rule("a", ServerRule{DataCenter: "x"})
}

// commit begins what is decided, if anything is.
func (b *build) commit() bool {
	d := Decide(&b.c, Analyze(&b.c))
	if d.Intent == nil {
		return false
	}
	in := *d.Intent
	in.Epoch = routeEpoch + 1
	b.c.Intent, b.c.Request = &in, nil
	return true
}

func TestIncomparableSetsAreNeverPromotedWithoutForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawCase(t)
		d := Decide(&b.c, Analyze(&b.c))
		if d.Intent == nil || d.Intent.Forced || d.Intent.Kind != KindFailover {
			return
		}
		f := newFacts(&b.c)
		for _, i := range f.direct {
			if !i.Fresh() || !f.errant(i).Empty() {
				continue
			}
			if topology.CompareReceived(i.State, f.s.State(d.Intent.To)) == gtid.Divergent && f.errant(f.s.Instance(d.Intent.To)).Empty() {
				t.Fatalf("%s is promoted, and %s diverges from it", d.Intent.To, i.Addr)
			}
		}
	})
}

func TestAnAutomaticFailoverNeedsADeadPrimary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawCase(t)
		b.c.Request = nil
		if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil {
			return
		}
		if reach := b.inst("a").Reach; reach != topology.Down {
			t.Fatalf("the primary is %s", reach)
		}
		for _, i := range b.c.Snapshot.Instances[1:] {
			src := source(&i)
			if i.Fresh() && src.Addr == at("a") && src.IO == topology.ThreadYes && (src.Silence == nil || src.Silence.D() < time.Second) {
				t.Fatalf("%s still receives", i.Addr)
			}
		}
	})
}

// TestAPlanIsSafeAndEnds performs plans to their end, drawing what holds and what
// answers on the way.
func TestAPlanIsSafeAndEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawCase(t)
		if !b.commit() {
			return
		}
		for k := range b.c.Snapshot.Proxies {
			b.c.Snapshot.Proxies[k].Epoch = drawn(t, "proxy epoch", uint64(routeEpoch), routeEpoch+1)
			b.c.Snapshot.Proxies[k].LeaseOver = drawn(t, "lease over", false, false, true)
		}
		for round := range 60 {
			stages := Remaining(&b.c)
			if stages == nil {
				if w := b.c.Snapshot.State(b.c.Snapshot.Route.Writer); !w.Writable() {
					t.Fatalf("it ended with a writer that is closed: %s", b.c.Snapshot.Route.Writer)
				}
				return
			}
			b.checkFirst(t, stages[0])
			for _, s := range stages[0] {
				if s.Optional && drawn(t, fmt.Sprintf("%d fails", round), true, false) {
					continue
				}
				b.effect(s)
				b.oneWriter(t)
				if b.c.Intent == nil {
					break
				}
			}
			b.pass(drawn(t, "time", time.Second, 8*time.Second))
		}
		t.Fatalf("it does not end: %s", Remaining(&b.c)[0])
	})
}

// checkFirst checks the only stage that is executed.
func (b *build) checkFirst(t *rapid.T, s Stage) {
	in := b.c.Intent
	from := b.inst("a")
	for _, step := range s {
		if step.Do != Promote && step.Do != CommitRoute {
			continue
		}
		for _, p := range b.c.Snapshot.Proxies {
			if !p.Holds(in.Epoch) {
				t.Fatalf("%s while the proxy of %s does not hold", s, p.Node)
			}
		}
		if step.Do == Promote && in.Kind == KindSwitchover && from.Reach == topology.Up && from.State.Writable() {
			t.Fatalf("%s while %s is writable", s, from.Addr)
		}
	}
}

func TestTheOrderOfACaseDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawCase(t)
		if drawn(t, "begin", false, true) {
			b.commit()
		}
		want, again := toJSON(Examine(&b.c)), toJSON(Examine(&b.c))
		if want != again {
			t.Fatal(cmp.Diff(want, again))
		}
		s := &b.c.Snapshot
		r := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		r.Shuffle(len(s.Instances), func(i, j int) { s.Instances[i], s.Instances[j] = s.Instances[j], s.Instances[i] })
		r.Shuffle(len(s.Proxies), func(i, j int) { s.Proxies[i], s.Proxies[j] = s.Proxies[j], s.Proxies[i] })
		r.Shuffle(len(s.Observers), func(i, j int) { s.Observers[i], s.Observers[j] = s.Observers[j], s.Observers[i] })
		for _, i := range s.Instances {
			r.Shuffle(len(i.Views), func(x, y int) { i.Views[x], i.Views[y] = i.Views[y], i.Views[x] })
		}
		if diff := cmp.Diff(want, toJSON(Examine(&b.c))); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestACaseSurvivesJSON holds that what is attached to a report decides as the
// cluster itself did.
func TestACaseSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawCase(t)
		if drawn(t, "begin", false, true) {
			b.commit()
		}
		var read Case
		if err := json.NewDecoder(strings.NewReader(toJSON(b.c))).Decode(&read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(toJSON(Examine(&b.c)), toJSON(Examine(&read))); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestExamineChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawCase(t)
		before := toJSON(b.c)
		Examine(&b.c)
		RouteTo(&b.c, at("b"))
		if diff := cmp.Diff(before, toJSON(b.c)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func toJSON(v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(err)
	}
	return string(text)
}
