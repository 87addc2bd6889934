package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// failedBy stops threads by errors; 0 leaves a thread running, -1 stops it by hand.
func failedBy(io, sql int) option {
	return func(_ *build, i *topology.Instance) {
		src := source(i)
		if io != 0 {
			src.IO = topology.ThreadNo
		}
		if sql != 0 {
			src.SQL, src.Lag = topology.ThreadNo, nil
		}
		if io > 0 {
			src.IOErrno, src.IOError = io, "what the IO thread said"
		}
		if sql > 0 {
			src.SQLErrno, src.SQLError = sql, "what the SQL thread said"
		}
	}
}

func readOnly() option { return with(func(st *topology.State) { st.ReadOnly = true }) }

// restarted is a server that came up a minute ago, closed by its configuration.
func restarted() option {
	return with(func(st *topology.State) { st.ReadOnly, st.Uptime = true, topology.Duration(time.Minute) })
}

func (b *build) repair(change func(*Repair)) *build { change(&b.c.Policy.Repair); return b }

func (b *build) noticed(code Code, name string, ago time.Duration) *build {
	b.c.Noticed = append(b.c.Noticed, Noticed{Code: code, Instance: at(name), Since: noon.Add(-ago)})
	return b
}

// watched says for how long the leader has led, and when it last saw the writer open; 0 is never.
func (b *build) watched(since, open time.Duration) *build {
	b.c.Watch.Since = noon.Add(-since)
	if open > 0 {
		b.c.Watch.Writer, b.c.Watch.Open = at("a"), noon.Add(-open)
	}
	return b
}

func (b *build) routedAt(at time.Time) *build { b.c.Snapshot.Route.At = at; return b }

func (b *build) tried(step string, count int, first, last time.Duration, err string) *build {
	b.c.Tries = append(b.c.Tries, Try{Step: step, Count: count, First: noon.Add(-first), Last: noon.Add(-last), Error: err})
	return b
}

func TestRepairsOfReplication(t *testing.T) {
	start := func(r *Repair) { r.Stopped = StoppedStart }
	off := func(r *Repair) { r.BrokenReplication = false }
	tests := []struct {
		name string
		b    *build
		want string
	}{
		{"a deadlock passes", primary("a").replica("b", failedBy(0, 1213)), "start replica b:3306"},
		{"a lock wait passes", primary("a").replica("b", failedBy(0, 1205)), "start replica b:3306"},
		{"a network error passes", primary("a").replica("b", failedBy(1158, 0)), "start replica b:3306"},
		{"both pass", primary("a").replica("b", failedBy(2003, 1205)), "start replica b:3306"},
		{"a damaged relay log is fetched again", primary("a").replica("b", failedBy(0, 1594)), "repoint b:3306 to a:3306"},
		{"also as MySQL says it", primary("a").replica("b", failedBy(0, 13121)), "repoint b:3306 to a:3306"},
		{"also where the network failed too", primary("a").replica("b", failedBy(2003, 1594)), "repoint b:3306 to a:3306"},
		{"a duplicate key is never retried", primary("a").replica("b", failedBy(0, 1062)), ""},
		{"nor with an error beside it that passes", primary("a").replica("b", failedBy(2003, 1062)), ""},
		{"nor a missing row", primary("a").replica("b", failedBy(0, 1032)), ""},
		{"nor purged logs", primary("a").replica("b", failedBy(1236, 0)), ""},
		{"nor purged logs as MySQL says it", primary("a").replica("b", failedBy(13114, 0)), ""},
		{"nor a denied log-in", primary("a").replica("b", failedBy(1045, 0)), ""},
		{"nor what nobody knows", primary("a").replica("b", failedBy(0, 4711)), ""},
		{"nor under any policy", primary("a").replica("b", failedBy(0, 1062)).repair(start).noticed("ReplicationBroken", "b", time.Hour), ""},
		{"the policy may say no", primary("a").replica("b", failedBy(0, 1213)).repair(off), ""},
		{"so may a downtime", primary("a").replica("b", failedBy(0, 1213)).downtime("b"), ""},
		{"a relay log that the source lacks is not thrown away", primary("a").replica("b", failedBy(0, 1213), has("0-3-105", "0-1-100")), "save extra b:3306"},
		{"what the primary wrote since it was read is no gap", primary("a").replica("b", failedBy(0, 1213), has("0-1-105", "0-1-100")), "start replica b:3306"},
		{"nor is anything started under a dead primary", primary("a").replica("b", failedBy(0, 1213)).replica("c").kill("a"), ""},
		{"in a chain its own source counts", primary("a").replica("b").replica("c", under("b"), failedBy(0, 1213)), "start replica c:3306"},
		{"an intermediate primary that was behind is asked again", primary("a").replica("b").replica("c", under("b"), failedBy(1236, 0)), "start replica c:3306"},
		{"also as MySQL says it", primary("a").replica("b").replica("c", under("b"), failedBy(13114, 0)), "start replica c:3306"},
		{"not while it lacks what the replica has", primary("a").replica("b").replica("c", under("b"), failedBy(1236, 0), has("0-3-105", "0-3-105")), "save extra c:3306"},
		{"stopped by hand it stays so", primary("a").replica("b", failedBy(-1, -1)), ""},
		{"an error does not explain the other thread", primary("a").replica("b", failedBy(2003, -1)), ""},
		{"or is started after the grace", primary("a").replica("b", failedBy(-1, -1)).repair(start).noticed("ReplicationStopped", "b", time.Minute), "start replica b:3306"},
		{"not before", primary("a").replica("b", failedBy(-1, -1)).repair(start).noticed("ReplicationStopped", "b", 59*time.Second), ""},
		{"not in downtime", primary("a").replica("b", failedBy(-1, -1)).repair(start).noticed("ReplicationStopped", "b", time.Hour).downtime("b"), ""},
		{"one that a source outside feeds is left alone", primary("a").replica("b", under("x"), failedBy(0, 1213)), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRepairsOfTheWriter(t *testing.T) {
	open := func(r *Repair) { r.ReadOnlyPrimary = ReadOnlyOpen }
	after := func(r *Repair) { r.ReadOnlyPrimary = ReadOnlyRestarted }
	apart := func(r *Repair) { r.Ring = RingBreak }
	own := func(newest string) *build {
		return primary("a", restarted()).replica("b", has("0-1-100", "0-1-100,"+newest)).replica("c").repair(after)
	}
	rolledBack := func(to topology.Addr, ago time.Duration) *build {
		return primary("a", readOnly(), with(func(st *topology.State) { st.Uptime = topology.Duration(2 * time.Hour) })).replica("b").repair(after).
			last(&Recovery{Intent: Intent{ID: "main-9", From: to, To: at("c")}, Outcome: RolledBack, To: to, Ended: noon.Add(-ago)})
	}
	tests := []struct {
		name string
		b    *build
		want string
	}{
		{"a read-only writer stays so", primary("a", readOnly()).replica("b"), ""},
		{"or is opened", primary("a", readOnly()).replica("b").repair(open), "set writable a:3306"},
		{"alone as well", primary("a", readOnly()).repair(open), "set writable a:3306"},
		{"after a restart", primary("a", restarted()).replica("b").repair(after), "set writable a:3306"},
		{"also where the readers changed after it", primary("a", restarted()).replica("b").repair(after).
			last(&Recovery{Intent: Intent{ID: "main-9", To: at("a")}, Outcome: Succeeded, To: at("a"), Routed: noon.Add(-time.Hour), Ended: noon.Add(-time.Hour)}).routedAt(noon.Add(-time.Second)), "set writable a:3306"},
		{"a late statement closed it, just after a roll-back", rolledBack(at("a"), 70*time.Second).watched(time.Hour, 20*time.Second), "set writable a:3306"},
		{"not one that came later", rolledBack(at("a"), 2*time.Minute).watched(time.Hour, 20*time.Second), ""},
		{"nor where it was never seen open", rolledBack(at("a"), 70*time.Second).watched(time.Hour, 0), ""},
		{"nor where it was closed before the recovery's end", rolledBack(at("a"), 70*time.Second).watched(time.Hour, 71*time.Second), ""},
		{"nor after another's", rolledBack(at("b"), 70*time.Second).watched(time.Hour, 20*time.Second), ""},
		{"not where somebody closed it", primary("a", readOnly(), with(func(st *topology.State) { st.Uptime = topology.Duration(2 * time.Hour) })).replica("b").repair(after), ""},
		{"nor where somebody closed it after that", primary("a", restarted()).replica("b").repair(after).watched(time.Hour, 30*time.Second), ""},
		{"it was open before the restart", primary("a", restarted()).replica("b").repair(after).watched(time.Hour, 61*time.Second), "set writable a:3306"},
		{"a new leader knows a restart of late", primary("a", restarted()).replica("b").repair(after).watched(0, 0), "set writable a:3306"},
		{"and not what came after an old one", primary("a", restarted(), with(func(st *topology.State) { st.Uptime = topology.Duration(11 * time.Minute) })).replica("b").repair(after).watched(0, 0), ""},
		{"not while another takes writes", primary("a", readOnly()).replica("b").orphan("c", writable()).repair(open), "set read only c:3306"},
		{"nor while one may", primary("a", readOnly()).replica("b").replica("c", gone()).repair(open), ""},
		{"a dead one takes none", primary("a", readOnly()).replica("b").replica("c").kill("c").repair(open), "set writable a:3306"},
		{"not without what a replica received", primary("a", readOnly()).replica("b", has("0-1-101", "0-1-100")).repair(open), ""},
		{"nor what a dead one had", primary("a", readOnly()).replica("b").replica("c", has("0-1-101", "0-1-101")).kill("c").repair(open), ""},
		{"nor what one has of its own", own("0-2-101"), "save extra b:3306"},
		{"but for what was saved before it was seen to take writes", own("0-2-101").rescued("b", "0-2-101", "").savedAgo(2*time.Minute).watched(time.Hour, 90*time.Second), "set writable a:3306"},
		{"not what was saved before a restart of which nobody knows whether it took writes until then", own("0-2-101").rescued("b", "0-2-101", "").savedAgo(2 * time.Minute), ""},
		{"not after it, for then it may be the writer's loss", own("0-2-101").rescued("b", "0-2-101", "").savedAgo(30 * time.Second), ""},
		{"nor at about that time", own("0-2-101").rescued("b", "0-2-101", "").savedAgo(time.Minute + time.Millisecond), ""},
		{"unless it took writes since", own("0-2-101").repair(open).rescued("b", "0-2-101", "").savedAgo(30*time.Second).watched(time.Hour, 10*time.Second), "set writable a:3306"},
		{"not what was saved in part", own("0-2-101").rescued("b", "0-2-101", "TRUNCATED").savedAgo(2 * time.Minute), ""},
		{"nor what came after", own("0-2-103").rescued("b", "0-2-101", "").savedAgo(2 * time.Minute), "save extra b:3306"},
		{"nor another's", own("0-2-101").rescued("c", "0-2-101", "").savedAgo(2 * time.Minute), "save extra b:3306"},
		{"an old primary that is kept out is no loss either", primary("a", restarted()).replica("b").orphan("c", has("", "0-1-100,0-3-105")).repair(after).rescued("c", "0-3-105", "").savedAgo(time.Hour).watched(2*time.Hour, 2*time.Minute), "set writable a:3306"},
		{"not in downtime", primary("a", readOnly()).replica("b").downtime("a").repair(open), ""},
		{"not as a replica", ring().change("a", func(st *topology.State) { st.ReadOnly = true }).repair(open), ""},
		{"a ring stays", ring(), ""},
		{"or is taken apart", ring().repair(apart), "detach a:3306"},
		{"when nothing comes from it any more", ring().repair(apart).change("b", func(st *topology.State) { st.Executed = gtid.MustParse("0-2-101") }), ""},
		{"and the other is closed", ring().repair(apart).change("b", func(st *topology.State) { st.ReadOnly = false }), "set read only b:3306"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
			if tt.b.c.Policy.Repair.ReadOnlyPrimary == ReadOnlyLeave || tt.b.inst("a").State.Writable() {
				return
			}
			sentence := newFacts(&tt.b.c).readOnlyPrimary()
			if opened := strings.Contains(tt.want, "set writable"); opened == strings.Contains(sentence, "it is not opened: ") {
				t.Errorf("the finding says %q", sentence)
			}
		})
	}
}

func TestRepairsByPolicy(t *testing.T) {
	far := func(b *build) *build {
		for name, place := range map[string]string{"a": "west", "b": "east", "c": "east", "d": "east"} {
			b.rule(name, ServerRule{DataCenter: place})
		}
		return b
	}
	chain := func() *build { return primary("a").replica("b").replica("c", under("b")).replica("d") }
	tests := []struct {
		name string
		b    *build
		want string
	}{
		{"a writable replica may be left", primary("a").replica("b", writable()).repair(func(r *Repair) { r.WritableReplica = false }), ""},
		{"a second writer never", primary("a").replica("b").orphan("c", writable()).repair(func(r *Repair) { r.WritableReplica = false }), "set read only c:3306"},
		{"a wrong source may be left", primary("b").replica("c", under("a")).orphan("a").kill("a").repair(func(r *Repair) { r.WrongSource = false }), ""},
		{"orphans may be left", chain().kill("b").repair(func(r *Repair) { r.Orphans = false }), ""},
		{"orphans go to the primary", chain().kill("b"), "repoint c:3306 to a:3306"},
		{"or to a sibling of the dead one at their place", far(chain()).kill("b"), "repoint c:3306 to d:3306"},
		{"if it has all that they have", far(primary("a").replica("b").replica("c", under("b")).replica("d", has("0-1-99", "0-1-99"))).kill("b"), "repoint c:3306 to a:3306"},
		{"keeps a log", far(primary("a").replica("b").replica("c", under("b")).replica("d", with(func(st *topology.State) { st.LogReplicaUpdates = false }))).kill("b"), "repoint c:3306 to a:3306"},
		{"and replicates", far(primary("a").replica("b").replica("c", under("b")).replica("d", failedBy(0, 1062))).kill("b"), "repoint c:3306 to a:3306"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
		})
	}
}

// A chain that a recovery left is taken apart; one of another origin is somebody's intention.
func TestWhoARecoveryLeftBehindIsMoved(t *testing.T) {
	chain := func() *build { return primary("b").replica("a").replica("c", under("a")) }
	ended := func(outcome Outcome, from, to, primary string, left ...topology.Addr) *Recovery {
		return &Recovery{Intent: Intent{ID: "main-9", Kind: KindSwitchover, From: at(from), To: at(to), Replicas: []topology.Addr{at("c")}},
			Outcome: outcome, To: at(primary), Ended: noon.Add(-time.Hour), Left: left}
	}
	tests := []struct {
		name string
		b    *build
		want string
		left bool
	}{
		{"under the old primary", chain().last(ended(Succeeded, "a", "b", "b", at("c"))), "repoint c:3306 to b:3306", true},
		{"under the one that did not become primary", chain().last(ended(RolledBack, "b", "a", "b", at("c"))), "repoint c:3306 to b:3306", true},
		{"not where the policy leaves wrong sources", chain().last(ended(Succeeded, "a", "b", "b", at("c"))).repair(func(r *Repair) { r.WrongSource = false }), "", true},
		{"not in downtime", chain().last(ended(Succeeded, "a", "b", "b", at("c"))).downtime("c"), "", true},
		{"not where it was in its place when the recovery ended", chain().last(ended(Succeeded, "a", "b", "b")), "", false},
		{"not when it is back", primary("b").replica("a").replica("c").last(ended(RolledBack, "b", "a", "b", at("c"))), "", false},
		{"under one that was to become primary too", primary("b").replica("a").replica("d").replica("c", under("d")).last(func() *Recovery {
			r := ended(Succeeded, "a", "b", "b", at("c"))
			r.Intent.Replicas = append(r.Intent.Replicas, at("d"))
			return r
		}()), "repoint c:3306 to b:3306", true},
		{"not under a third", primary("b").replica("a").replica("d").replica("c", under("d")).last(ended(Succeeded, "a", "b", "b", at("c"))), "", false},
		{"not without a recovery", chain(), "", false},
		{"not what the primary lacks", primary("b").replica("a").replica("c", under("a"), has("0-3-105", "0-3-105")).last(ended(Succeeded, "a", "b", "b", at("c"))), "save extra c:3306", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
			found := slices.ContainsFunc(Analyze(&tt.b.c), func(x Finding) bool { return x.Code == "ConnectedToWrongPrimary" && x.Instance == at("c") })
			if found != tt.left {
				t.Errorf("found: %t, want %t", found, tt.left)
			}
		})
	}
}

func TestWhoIsNotInItsPlaceIsLeft(t *testing.T) {
	b := primary("b").replica("a").replica("c", under("a")).replica("d").replica("e", gone())
	b.c.Intent = &Intent{ID: "main-9", Kind: KindFailover, From: at("a"), To: at("b"), Replicas: []topology.Addr{at("b"), at("c"), at("d"), at("e")}}
	if got := Left(&b.c, at("b")); !slices.Equal(got, []topology.Addr{at("c"), at("e")}) {
		t.Errorf("left: %v", got)
	}
}

// Whoever is opened again waits for acknowledgements as before.
func TestAWriterIsOpenedWithItsSemiSync(t *testing.T) {
	open := func(r *Repair) { r.ReadOnlyPrimary = ReadOnlyOpen }
	if steps := Repairs(&primary("a", readOnly()).replica("b").repair(open).c); len(steps) != 1 || steps[0].SemiSync != nil {
		t.Errorf("async: %+v", steps)
	}
	b := primary("a", readOnly()).replica("b").semiSync(1).repair(open)
	if steps := Repairs(&b.c); len(steps) != 1 || !steps[0].SemiSync.Source || steps[0].SemiSync.WaitCount != 1 {
		t.Errorf("semi-sync: %+v", steps)
	}
}

// Under async an opening says what may be gone after a restart.
func TestAnOpeningSaysWhatCannotBeKnown(t *testing.T) {
	open := func(r *Repair) { r.ReadOnlyPrimary = ReadOnlyOpen }
	for _, tt := range []struct {
		name string
		b    *build
		want bool
	}{
		{"a restart may have lost what was not synced", primary("a", restarted()).replica("b"), true},
		{"nothing without one", primary("a", readOnly(), with(func(st *topology.State) { st.Uptime = topology.Duration(2 * time.Hour) })).replica("b"), false},
		{"under semi-sync a replica would have it", primary("a", restarted()).replica("b").semiSync(1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := Repairs(&tt.b.repair(open).c)
			if len(steps) != 1 || strings.Contains(steps[0].Why, "cannot be known") != tt.want {
				t.Errorf("repairs: %+v", steps)
			}
		})
	}
}

// A repair that does not help is not repeated for ever.
func TestRepairsAreBounded(t *testing.T) {
	const step = "start replica b:3306"
	mend := func() *build { return primary("a").replica("b", failedBy(0, 1213)).replica("c") }
	fence := func() *build { return primary("a").replica("b", writable()) }
	tests := []struct {
		name    string
		b       *build
		due     bool
		failing bool
	}{
		{"the first at once", mend(), true, false},
		{"the second after the wait", mend().tried(step, 1, 2*time.Second, 2*time.Second, ""), true, false},
		{"not before", mend().tried(step, 1, 1900*time.Millisecond, 1900*time.Millisecond, ""), false, false},
		{"the third after twice as long", mend().tried(step, 2, 6*time.Second, 4*time.Second, ""), true, false},
		{"not before that", mend().tried(step, 2, 5*time.Second, 3*time.Second, ""), false, false},
		{"not after the last", mend().tried(step, 5, 9*time.Minute, 8*time.Minute, "refused"), false, true},
		{"but once the window is over", mend().tried(step, 5, 10*time.Minute, 9*time.Minute, "refused"), true, false},
		{"another's attempts do not count", mend().tried("start replica c:3306", 5, time.Minute, time.Second, ""), true, false},
		{"who takes writes is closed for ever", fence().tried("set read only b:3306", 50, time.Minute, 2*time.Second, "refused"), true, true},
		{"at a steady pace", fence().tried("set read only b:3306", 50, time.Minute, time.Second, "refused"), false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFacts(&tt.b.c)
			wanted := f.wantedRepairs()
			if len(wanted) != 1 {
				t.Fatalf("repairs are %q", Stage(wanted))
			}
			if got := Due(&tt.b.c, wanted[0]); got != tt.due {
				t.Errorf("due is %v, want %v", got, tt.due)
			}
			found := strings.Contains(strings.Join(codes(tt.b), " "), "RepairFailing b")
			if found != tt.failing {
				t.Errorf("found %q", codes(tt.b))
			}
			if listed := len(f.repairs()) == 1; listed != (tt.due || !tt.failing || wanted[0].Do == SetReadOnly) {
				t.Errorf("listed is %v", listed)
			}
		})
	}
}

// Every error that is listed says what it means, and what people do where nothing
// else is done.
func TestReplicationErrorsAreExplained(t *testing.T) {
	for number, e := range replicationErrors {
		if e.means == "" || e.remedy == byHand && e.advice == "" {
			t.Errorf("error %d: %+v", number, e)
		}
	}
	for _, tt := range []struct {
		b    *build
		want string
	}{
		{primary("a").replica("b", failedBy(0, 1062)), "replica b:3306: its SQL thread is stopped by error 1062 (duplicate key); the data differ from the source's: compare the row on both, mend it or clone the replica again; never skip it blindly: what the SQL thread said"},
		{primary("a").replica("b", failedBy(0, 1213)), "replica b:3306: its SQL thread is stopped by error 1213 (a deadlock); it is started again: what the SQL thread said"},
		{primary("a").replica("b", failedBy(0, 1213)).downtime("b"), "replica b:3306: its SQL thread is stopped by error 1213 (a deadlock); it is not started: b:3306 is in downtime"},
		{primary("a").replica("b", failedBy(4711, 0)), "replica b:3306: its IO thread is stopped by error 4711; it is not started again by itself: mend what the message names, then start it: what the IO thread said"},
		{primary("a").replica("b", failedBy(-1, -1)), "replica b:3306: replication is stopped; somebody stopped it, and the policy's repair.stopped is leave"},
	} {
		var got string
		for _, x := range Analyze(&tt.b.c) {
			if x.Code == "ReplicationBroken" || x.Code == "ReplicationStopped" {
				got = x.Sentence
			}
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
