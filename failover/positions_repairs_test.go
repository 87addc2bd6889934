package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

func TestRepairsByPosition(t *testing.T) {
	after := func(b *build) *build {
		anchor := &Anchor{Target: at("b"), Source: place(100), At: topology.Coordinates{File: "own.000001", Pos: 5}}
		b.c.Last = &Recovery{Intent: Intent{ID: "main-11", Kind: KindFailover, From: at("a"), To: at("b"), Positions: true, Anchor: anchor}, Outcome: Succeeded, To: at("b"), Ended: noon.Add(-time.Minute)}
		return b
	}
	cluster := func(opts ...option) *build {
		b := primary("b").replica("c", append([]option{under("a")}, opts...)...).orphan("a")
		return after(b.byPosition())
	}
	steps := func(b *build) string { return Stage(Repairs(&b.c)).String() }
	if got := steps(cluster()); got != "repoint a:3306 to b:3306, repoint c:3306 to b:3306" {
		t.Errorf("who stands where b took over: %s", got)
	}
	for _, s := range Repairs(&cluster().c) {
		if s.At != (topology.Coordinates{File: "own.000001", Pos: 5}) || s.Stands != place(100) {
			t.Errorf("%s at %s from %s", s, s.At, s.Stands)
		}
	}
	behind := cluster(stands(90, 90))
	if got := steps(behind); got != "repoint a:3306 to b:3306" {
		t.Errorf("one that is behind: %s", got)
	}
	if words := toJSON(Analyze(&behind.c)); !strings.Contains(words, "it stands at binlog.000007:90 of the binary log of a:3306, and b:3306 took over at binlog.000007:100; without GTID it can follow only from there, so it has to be cloned") {
		t.Errorf("the findings do not say so: %s", words)
	}
	unknown := cluster()
	unknown.c.Last = nil
	if got := steps(unknown); got != "" {
		t.Errorf("without an anchor: %s", got)
	}
	if _, no := PlanRejoin(&behind.c, RejoinRequest{Instance: at("c")}); no == nil || no.Rule != "position" {
		t.Errorf("a rejoin of one that is behind: %v", no)
	}
	if plan, no := PlanRejoin(&behind.c, RejoinRequest{Instance: at("a")}); no != nil || plan[0].Stands != place(100) {
		t.Errorf("a rejoin of the old primary: %v, %v", plan, no)
	}
	if _, no := PlanRejoin(&behind.c, RejoinRequest{Instance: at("a"), Clone: true}); no == nil {
		t.Error("a clone is planned")
	}
}

// A primary that restarted read-only is opened when all replicas receive from it.
func TestAReadOnlyPrimaryWithoutGTIDIsOpenedOnlyWhenItsReplicasReceive(t *testing.T) {
	restarted := func(io topology.Thread) *build {
		b := primary("a").replica("b", threads(io, topology.ThreadYes)).byPosition()
		st := b.inst("a").State
		st.ReadOnly, st.SuperReadOnly, st.Uptime = true, true, topology.Duration(time.Second)
		b.c.Watch = Watch{Writer: at("a"), Since: noon.Add(-time.Hour), Open: noon.Add(-time.Minute)}
		return b
	}
	if got := Stage(Repairs(&restarted(topology.ThreadYes).c)).String(); got != "set writable a:3306" {
		t.Errorf("its replica receives: %q", got)
	}
	if got := Stage(Repairs(&restarted(topology.ThreadConnecting).c)).String(); got != "" {
		t.Errorf("its replica does not: %q", got)
	}
}

// A ring: each replicates from the other. When the primary comes back with writes that
// the other never got, nothing lets it go on as a replica by itself.
func TestTheOldPrimaryOfARingIsNotStartedUnseen(t *testing.T) {
	ringed := func(applied uint64) *build {
		b := ring().byPosition()
		source(b.inst("a")).ReadTo = topology.Coordinates{File: "own.000001", Pos: applied}
		source(b.inst("a")).AppliedTo = source(b.inst("a")).ReadTo
		b.kill("a").begin()
		for b.c.Intent != nil && !newFacts(&b.c).routed() {
			b.perform(Remaining(&b.c)[0])
		}
		a := b.inst("a")
		a.Reach, a.ReadAt, a.State.ReadOnly, a.State.SuperReadOnly = topology.Up, b.c.Snapshot.Taken, true, true
		failedBy(2003, 2003)(b, a)
		source(a).IOError, source(a).SQLError = "", ""
		return b
	}
	b := ringed(5)
	expectPlan(t, Remaining(&b.c), "repoint c:3306 to b:3306", "conclude")
	for _, tt := range []struct {
		applied uint64
		want    string
	}{{5, ""}, {4, ""}, {9, "start replica a:3306"}} { // after a repoint by Remora it has gone on
		b := ringed(tt.applied)
		b.c.Last = &Recovery{Intent: *b.c.Intent, Outcome: Succeeded, To: at("b"), Ended: noon}
		for b.c.Intent != nil {
			b.perform(Remaining(&b.c)[0])
		}
		source(b.inst("a")).IOError = "what the IO thread said"
		source(b.inst("a")).SQLErrno = 0
		b.c.Policy.Repair.Stopped, b.c.Policy.Repair.Grace = StoppedStart, 0
		if got := Stage(Repairs(&b.c)).String(); got != tt.want {
			t.Errorf("where it has executed up to own.000001:%d: %q, want %q", tt.applied, got, tt.want)
		}
		if words := toJSON(Analyze(&b.c)); strings.Contains(words, "it was the primary, and whether its own binary log goes on after binlog.000007:100 of it, where b:3306 took over, is not known") != (tt.want == "") {
			t.Errorf("the findings: %s", words)
		}
	}
}

// A chain that a recovery left is mended by position where its end stands at the anchor.
func TestWhoARecoveryLeftBehindByPositionIsMoved(t *testing.T) {
	left := func(opts ...option) *build {
		b := primary("b").replica("a").replica("c", append([]option{under("a")}, opts...)...).byPosition()
		anchor := &Anchor{Target: at("b"), Source: place(100), At: topology.Coordinates{File: "own.000001", Pos: 5}}
		return b.last(&Recovery{Intent: Intent{ID: "main-9", Kind: KindSwitchover, From: at("a"), To: at("b"), Positions: true, Anchor: anchor, Replicas: []topology.Addr{at("c")}},
			Outcome: Succeeded, To: at("b"), Ended: noon.Add(-time.Hour), Left: []topology.Addr{at("c")}})
	}
	if got := Stage(Repairs(&left().c)).String(); got != "repoint c:3306 to b:3306" {
		t.Errorf("repairs: %q", got)
	}
	b := left(stands(110, 110))
	if got := Stage(Repairs(&b.c)).String(); got != "" {
		t.Errorf("one that has gone on: %q", got)
	}
	if words := toJSON(Analyze(&b.c)); !strings.Contains(words, "it stands at binlog.000007:110 of the binary log of a:3306") {
		t.Errorf("the findings do not say why: %s", words)
	}
}

// On MariaDB a drain turns GTIDs off until the next repoint: where a roll-back leaves the
// only replica so, its coordinates mean nothing.
func TestADrainedReplicaDoesNotMakeTheClusterOneWithoutGTID(t *testing.T) {
	b := primary("a").replica("b", failedBy(-1, -1), func(_ *build, i *topology.Instance) {
		source(i).GTID, source(i).ReadTo, source(i).AppliedTo = false, logEnd, logEnd
	})
	b.c.Policy.Repair.Stopped, b.c.Policy.Repair.Grace = StoppedStart, 0
	if !newFacts(&b.c).positions {
		t.Fatal("without a recovery it is one without GTID")
	}
	b.last(&Recovery{Intent: Intent{ID: "main-9", Kind: KindFailover, From: at("a"), To: at("b")}, Outcome: RolledBack, To: at("a"), Ended: noon.Add(-time.Minute)})
	if newFacts(&b.c).positions {
		t.Error("it is taken for one without GTID")
	}
	if got := Stage(Repairs(&b.c)).String(); strings.Contains(got, "start replica") {
		t.Errorf("repairs: %q", got)
	}
}
