package failover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// logEnd is where the binary log of a ends; every other server's own log is at 5.
var logEnd = place(100)

func place(pos uint64) topology.Coordinates {
	return topology.Coordinates{File: "binlog.000007", Pos: pos}
}

// byPosition turns GTID positioning off; who says nothing else has applied the whole of
// the log of its source.
func (b *build) byPosition() *build {
	for n := range b.c.Snapshot.Instances {
		st := b.c.Snapshot.Instances[n].State
		st.Flavor, st.GTIDMode, st.Version, st.Executed = "mysql", "OFF", "9.7.0", gtid.Set{}
		st.SuperReadOnly, st.ServerUUID = st.ReadOnly, fmt.Sprintf("uuid-%d", st.ServerID)
		for k := range st.Sources {
			src := &st.Sources[k]
			src.GTID, src.Received = false, gtid.Set{}
			if src.ReadTo.IsZero() {
				src.ReadTo, src.AppliedTo = logEnd, logEnd
			}
		}
	}
	return b
}

// stands sets how much of its source's log a replica has read and applied.
func stands(read, applied uint64) option {
	return func(_ *build, i *topology.Instance) {
		source(i).ReadTo, source(i).AppliedTo = place(read), place(applied)
	}
}

func (b *build) reaches(a topology.Addr) bool {
	i := b.c.Snapshot.Instance(a)
	return i != nil && i.Reach == topology.Up
}

// locate does what the act does: it applies all, stops, and the anchor is committed.
func (b *build) locate(i *topology.Instance, s Step) {
	src := source(i)
	if s.Source != "" {
		src.ReadTo = logEnd
	}
	src.IO, src.SQL, src.AppliedTo = topology.ThreadNo, topology.ThreadNo, src.Held()
	in := *b.c.Intent
	in.Anchor = &Anchor{Target: i.Addr, Source: src.AppliedTo, At: topology.Coordinates{File: "own.000001", Pos: 5}, Whole: s.Source != ""}
	b.c.Intent = &in
}

// pointAt does what the act does, or nothing where it would refuse.
func (b *build) pointAt(i *topology.Instance, s Step) {
	if src := i.State.Source(); src != nil && src.AppliedTo != s.Stands || src == nil && i.Addr == at("a") && s.Stands != logEnd {
		return
	}
	i.State.Sources = []topology.Source{{
		Addr: s.Source, IO: topology.ThreadYes, SQL: topology.ThreadYes, ReadTo: s.At, AppliedTo: s.At, Lag: ptr(topology.Duration(0)),
		Delay: delayOf(i.State),
	}}
	setSemiSync(i.State, s.SemiSync)
}

func TestCandidatesByPosition(t *testing.T) {
	two := func(opts ...option) *build { return primary("a").replica("b", opts...).replica("c") }
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"equal ones by address", two().byPosition(), []string{"b", "c"}},
		{"who received more goes first, applied or not", primary("a").replica("b", stands(90, 90)).replica("c", stands(95, 80)).byPosition(), []string{"c", "b"}},
		{"a later file is more", primary("a").replica("b").replica("c", func(_ *build, i *topology.Instance) {
			source(i).ReadTo, source(i).AppliedTo = topology.Coordinates{File: "binlog.000010", Pos: 4}, place(90)
		}).byPosition(), []string{"c", "b"}},
		{"one below another cannot be compared", primary("a").replica("b").replica("c", under("b")).byPosition(), []string{"b", "-c position"}},
		{"nor one that received from another server", two(func(_ *build, i *topology.Instance) { source(i).SourceID = "another" }).byPosition(), []string{"c", "-b position"}},
		{"who says nothing", two(unplaced()).byPosition(), []string{"c", "-b position"}},
		{"it cannot apply what it received", two(stands(100, 90), sqlError("1062 duplicate key")).byPosition(), []string{"c", "-b sql_error"}},
		{"beside one with GTIDs it is no candidate", two().byPosition().change("b", func(st *topology.State) { st.Sources[0].GTID = true }), []string{"b", "-c gtid"}},
		{"semi-sync: one that is behind could not acknowledge", primary("a").replica("b", stands(90, 90)).replica("c").semiSync(1).byPosition(), []string{"b", "-c durability"}},
		{"semi-sync: one that may yet come there could, and goes after who has nothing to apply", primary("a").replica("b", stands(100, 90)).replica("c").semiSync(1).byPosition(), []string{"c", "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.b.kill("a")
			if got := order(tt.b); !slices.Equal(got, tt.want) {
				t.Errorf("the order is %q, want %q", got, tt.want)
			}
		})
	}
}

// unplaced is a replica that does not say where it stands.
func unplaced() option {
	return func(_ *build, i *topology.Instance) {
		source(i).ReadTo = topology.Coordinates{File: "nonsense", Pos: 1}
	}
}

func TestPlansByPosition(t *testing.T) {
	ask := Request{ID: "r1", Kind: KindSwitchover, To: at("b"), By: "ann"}
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"a killed primary", primary("a").replica("b").replica("c").byPosition().kill("a").begin(), []string{
			"proxies: writer fenced", "locate b:3306", "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude",
		}},
		{"one that is behind is left out", primary("a").replica("b").replica("c", stands(90, 90)).replica("d").byPosition().kill("a").begin(), []string{
			"proxies: writer fenced", "locate b:3306", "promote b:3306", "commit route b:3306", "repoint d:3306 to b:3306", "conclude",
		}},
		{"semi-sync", primary("a").replica("b").replica("c").semiSync(1).byPosition().kill("a").begin(), []string{
			"proxies: writer fenced, stop receiving b:3306, stop receiving c:3306", "locate b:3306", "repoint c:3306 to b:3306", "promote b:3306", "commit route b:3306", "conclude",
		}},
		{"a switchover", primary("a").replica("b", stands(98, 98)).replica("c").byPosition().ask(ask).begin(), []string{
			"proxies: writer paused", "set read only a:3306", "locate b:3306", "promote b:3306", "commit route b:3306", "repoint a:3306 to b:3306, repoint c:3306 to b:3306", "conclude",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expectPlan(t, Remaining(&tt.b.c), tt.want...)
			interrupt(t, tt.b)
		})
	}
}

// A failover by position is refused, or waits, with both positions.
func TestWhoIsBehindByPositionIsNamed(t *testing.T) {
	b := primary("a").replica("b", stands(90, 90)).replica("c", with(func(*topology.State) {})).semiSync(1).byPosition()
	b.rule("b", ServerRule{Promotion: MustNot}).kill("a")
	d := Decide(&b.c, Analyze(&b.c))
	if d.Intent != nil || !strings.Contains(toJSON(d), "b:3306 received up to binlog.000007:90 of the binary log of a:3306, and c:3306 has executed up to binlog.000007:100") {
		t.Errorf("it goes on: %s", d.Sentence)
	}

	// It comes to light when the failover has begun: what b received last was no whole transaction.
	b = primary("a").replica("b", stands(95, 90)).replica("c", stands(100, 90)).semiSync(1).byPosition().kill("a").begin()
	for range 4 {
		b.perform(Remaining(&b.c)[0])
	}
	first := Remaining(&b.c)[0]
	if first[0].Do != CatchUp || !strings.Contains(first[0].Why, "b:3306: it stands at binlog.000007:90 of the binary log of a:3306, and c:3306 took over at binlog.000007:100") {
		t.Errorf("it goes on with %s: %s", first, first[0].Why)
	}
	b.pass(time.Hour)
	if again := Remaining(&b.c)[0]; again.String() != first.String() {
		t.Errorf("without patience it goes on with %s", again)
	}
	// The old primary answers: it gets its writes back.
	b.inst("a").Reach, b.inst("a").ReadAt, b.inst("a").State.SuperReadOnly = topology.Up, b.c.Snapshot.Taken, true
	if plan := words(Remaining(&b.c)); plan[len(plan)-1][:18] != "roll back a:3306, " || !strings.Contains(strings.Join(plan, "\n"), "start replica b:3306") {
		t.Errorf("the plan is\n%s", indent(plan))
	}
}

// TestPositionsAreNeverGuessed performs plans to their end, drawing where everybody
// stands and what fails: nobody is promoted before the anchor is committed, nobody is
// pointed from where it does not stand, and under semi-sync nothing that somebody
// received is left behind.
func TestPositionsAreNeverGuessed(t *testing.T) {
	promoted := 0
	rapid.Check(t, func(t *rapid.T) {
		b := primary("a")
		most := uint64(0)
		for k := range rapid.IntRange(1, 4).Draw(t, "replicas") {
			read := drawn(t, "read", uint64(100), 100, 90, 80)
			b.replica(string(rune('b'+k)), stands(read, drawn(t, "applied", read, read, 80)))
			most = max(most, read)
		}
		semiSync := drawn(t, "semi-sync", false, true)
		if semiSync {
			b.semiSync(drawn(t, "wait count", 1, 2))
		}
		b.byPosition()
		if drawn(t, "switchover", false, true) {
			b.ask(Request{ID: "r1", Kind: KindSwitchover, To: at("b")})
		} else {
			b.kill("a")
		}
		if !b.commit() {
			return
		}
		for round := range 60 {
			stages := Remaining(&b.c)
			if stages == nil {
				return
			}
			for _, s := range stages[0] {
				switch an, i := b.c.Intent.Anchor, b.c.Snapshot.Instance(s.Target); {
				case s.Do == Promote && (an == nil || an.Target != s.Target):
					t.Fatalf("%s before it is known where it stands", s)
				case s.Do == Promote && semiSync && an.Source.Pos < most:
					t.Fatalf("%s at %s, and somebody received up to %d", s, an.Source, most)
				case s.Do == Repoint && (s.At != an.At || s.Stands != an.Source):
					t.Fatalf("%s at %s from %s", s, s.At, s.Stands)
				case s.Do == Repoint && i.State.IsReplica() && source(i).AppliedTo != an.Source:
					t.Fatalf("%s, which stands at %s and not at %s", s, source(i).AppliedTo, an.Source)
				case s.Do == Promote:
					promoted++
					if drawn(t, "cut short", true, false) {
						b.cutShort(t, s)
						continue
					}
				}
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
		if b.reaches(at("a")) {
			t.Fatalf("it does not end: %s", Remaining(&b.c)[0])
		}
	})
	if promoted == 0 {
		t.Error("nobody was ever promoted: nothing was tested")
	}
}

// The anchor is that of one target, as long as it has not moved from it.
func TestAnAnchorThatDoesNotHoldIsTakenAnew(t *testing.T) {
	located := func() *build {
		b := primary("a").replica("b").replica("c").byPosition().kill("a").begin()
		for range 2 {
			b.perform(Remaining(&b.c)[0])
		}
		expectPlan(t, Remaining(&b.c), "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude")
		return b
	}
	b := located()
	b.inst("b").State.Sources[0].SQL = topology.ThreadYes
	expectPlan(t, Remaining(&b.c)[:2], "locate b:3306", "promote b:3306")

	b = located()
	b.inst("b").State.Sources[0].AppliedTo = place(101)
	expectPlan(t, Remaining(&b.c)[:2], "locate b:3306", "promote b:3306")

	// A part of a transaction was left: the SQL thread was killed, and says so.
	b = located()
	b.inst("b").State.Sources[0].ReadTo, b.inst("b").State.Sources[0].SQLError = place(105), "1756 the workers are stopped"
	expectPlan(t, Remaining(&b.c), "promote b:3306", "commit route b:3306", "repoint c:3306 to b:3306", "conclude")

	// The same before the anchor was committed.
	b = primary("a").replica("b", stands(105, 100), failedBy(0, errWorkersStopped)).replica("c", stands(90, 90)).byPosition().kill("a").begin()
	b.perform(Remaining(&b.c)[0])
	expectPlan(t, Remaining(&b.c)[:2], "locate b:3306", "promote b:3306")

	b = located()
	b.unreachable("b", "s1", "s2", "s3")
	source(b.inst("c")).IO, source(b.inst("c")).SQL = topology.ThreadNo, topology.ThreadNo
	expectPlan(t, Remaining(&b.c)[:3], "retarget c:3306", "locate c:3306", "promote c:3306")
	b.perform(Remaining(&b.c)[0])
	expectPlan(t, Remaining(&b.c)[:2], "locate c:3306", "promote c:3306")
}

// A promotion that was cut short leaves a target without a source: what it had is known
// while it is the anchor's, and nobody waits for it when another has taken its place.
func TestATargetThatForgotItsSourceHoldsNobodyUp(t *testing.T) {
	forgot := func(opts ...option) *build {
		b := primary("a").replica("b").replica("c", opts...).byPosition().kill("a").begin()
		for range 2 {
			b.perform(Remaining(&b.c)[0])
		}
		b.inst("b").State.Sources = nil
		return b
	}
	expectPlan(t, Remaining(&forgot(stands(100, 90)).c)[:2], "promote b:3306", "commit route b:3306")

	behind := forgot(stands(90, 90)).policy(func(p *Policy) { p.Durability = SemiSync })
	behind.kill("b")
	behind.perform(Remaining(&behind.c)[0]) // c stops receiving
	if first := Remaining(&behind.c)[0][0]; !first.OnlyWaits() || !strings.Contains(first.Why, "what b:3306 received") {
		t.Errorf("it goes on without what the dead target had: %s: %s", first, first.Why)
	}

	b := forgot().kill("b")
	for _, want := range []string{"retarget c:3306", "locate c:3306"} {
		if got := Remaining(&b.c)[0].String(); got != want {
			t.Errorf("its next is %s, want %s", got, want)
		}
		b.perform(Remaining(&b.c)[0])
	}
	b.inst("b").Reach, b.inst("b").ReadAt = topology.Up, b.c.Snapshot.Taken
	expectPlan(t, Remaining(&b.c)[:2], "promote c:3306", "commit route c:3306")
}

// One that may not be promoted received more, and cannot be the donor without GTID.
func TestWhatAnUnfitOneHasByPositionIsLost(t *testing.T) {
	const words = "what c:3306 received (read 0.0s ago) up to binlog.000007:100 of the binary log of a:3306; b:3306 received up to binlog.000007:90"
	cluster := func() *build {
		return primary("a").replica("b", stands(90, 90)).replica("c").replica("d", stands(90, 90)).rule("c", ServerRule{Promotion: MustNot})
	}
	b := cluster().byPosition().kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil || d.Intent.To != at("b") || !slices.Contains(d.Loss, words) {
		t.Errorf("under async: %s, the loss is %q", d.Sentence, d.Loss)
	}
	b = cluster().semiSync(1).byPosition().kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil || !strings.Contains(d.Sentence, words) {
		t.Errorf("under semi-sync: %s", d.Sentence)
	}
}

func TestSemiSyncThatWasOffRefusesWithoutGTID(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1).byPosition()
	b.inst("a").State.SemiSync.SourceActive = false
	b.kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil || !strings.Contains(d.Sentence, "without GTID nobody knows what it had executed") {
		t.Errorf("it goes on: %s", d.Sentence)
	}
}
