package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// withoutGTID starts servers that replicate by file and position; Remora's account has
// what it needs there and no more.
func withoutGTID(t *testing.T, servers int) *lab.Topology {
	t.Helper()
	top := replication(t, lab.Spec{Servers: servers, Server: lab.ServerOptions{NoGTID: true, Appliers: 4}})
	leastPrivileges(t, top)
	for _, s := range top.Servers {
		unlogged(t, s, append(PositionGrants(string(s.Flavor())), "DO 0")...)
	}
	return top
}

// standsAt is how much of its source's log a replica has executed.
func standsAt(t *testing.T, s *lab.Server) topology.Coordinates {
	t.Helper()
	src := look(t, s).Source()
	if src == nil || src.GTID {
		t.Fatalf("%s: no replica without GTID: %+v", s.Name, src)
	}
	return src.AppliedTo
}

// locate locates a server, of which all of the old primary's log is wanted or not.
func locate(t *testing.T, s, from *lab.Server) failover.Anchor {
	t.Helper()
	step := failover.Step{Do: failover.Locate, Target: addr(s), Wait: failover.Duration(10 * time.Second)}
	if from != nil {
		step.Source = addr(from)
	}
	an, err := servers(t, testConfig()).Locate(testContext(t), step)
	must(t, err)
	t.Logf("located: %+v", an)
	return an
}

// refused does a step that must fail with words.
func refused(t *testing.T, step failover.Step, words ...string) {
	t.Helper()
	err := servers(t, testConfig()).Do(testContext(t), step)
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: want %q in: %v", step, w, err)
		}
	}
	t.Log(err)
}

func TestASwitchoverByPosition(t *testing.T) {
	top := withoutGTID(t, 3)
	a, b, c := top.Servers[0], top.Servers[1], top.Servers[2]
	// The logs of all three differ, and the old primary's turns to a new file just before it is closed.
	unlogged(t, b, "DO 0")
	must(t, b.Exec(testContext(t), "FLUSH BINARY LOGS"))
	for n := range 20 {
		write(t, a, n)
	}
	if src := look(t, c).Source(); src.SourceID != identityOf(t, a) || src.Held().IsZero() {
		t.Errorf("the source is read as %+v", src)
	}
	must(t, a.Exec(testContext(t), "FLUSH BINARY LOGS"))
	s := servers(t, testConfig())

	// While it takes writes nobody can have all of it.
	_, err := s.Locate(testContext(t), failover.Step{Do: failover.Locate, Target: addr(b), Source: addr(a)})
	if err == nil || !strings.Contains(err.Error(), "it still takes writes") {
		t.Errorf("the old primary is open: %v", err)
	}
	must(t, s.Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(a)}))
	an := locate(t, b, a)
	if again := locate(t, b, a); again != an || !an.Whole {
		t.Errorf("located at %+v, then at %+v", an, again)
	}
	must(t, s.Do(testContext(t), failover.Step{Do: failover.CatchUp, Target: addr(c), At: an.Source}))
	twice(t, s, failover.Step{Do: failover.Promote, Target: addr(b)})
	write(t, b, 100)
	for _, replica := range []*lab.Server{c, a} {
		twice(t, s, failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(b), At: an.At, Stands: an.Source})
		hasWritten(t, replica, 100)
		if src := look(t, replica).Source(); src.GTID {
			t.Errorf("%s positions by GTID now: %+v", replica.Name, src)
		}
	}
	write(t, b, 101)
	hasWritten(t, a, 101)
	hasWritten(t, c, 101)
}

func identityOf(t *testing.T, s *lab.Server) string {
	t.Helper()
	st := look(t, s)
	return in(s, "1", st.ServerUUID)
}

func TestAFailoverByPosition(t *testing.T) {
	top := withoutGTID(t, 4)
	a, b, c, behind := top.Servers[0], top.Servers[1], top.Servers[2], top.Servers[3]
	write(t, a, 1)
	hasWritten(t, behind, 1)
	must(t, behind.StopReceiver(testContext(t)))
	// What b received waits in its relay log, with its SQL thread stopped.
	must(t, b.StopApplier(testContext(t)))
	must(t, c.StopApplier(testContext(t)))
	for n := range 20 {
		write(t, a, 2+n)
	}
	read := func(s *lab.Server) topology.Coordinates { return look(t, s).Source().ReadTo }
	eventually(t, "both to receive all", func() (bool, string) {
		return read(b) == read(c) && read(b).Compare(read(behind)) == gtid.Ahead, read(b).String() + " " + read(c).String()
	})
	must(t, a.Kill())

	an := locate(t, b, nil)
	if an.Whole || an.Source != read(b) || standsAt(t, b) != an.Source {
		t.Errorf("located at %+v, it received up to %s", an, read(b))
	}
	s := servers(t, testConfig())
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(b)}))
	write(t, b, 100)
	follow := failover.Step{Do: failover.Repoint, Target: addr(c), Source: addr(b), At: an.At, Stands: an.Source}

	// One that is behind is refused with both positions, and left as it was.
	follow.Target = addr(behind)
	refused(t, follow, "it stands at "+standsAt(t, behind).String(), "and not at "+an.Source.String())
	wait := failover.Step{Do: failover.CatchUp, Target: addr(behind), At: an.Source, Wait: failover.Duration(time.Second)}
	refused(t, wait, "executed up to "+standsAt(t, behind).String(), "not exactly up to "+an.Source.String())
	if src := look(t, behind).Source(); src.Addr != addr(a) {
		t.Errorf("it was moved to %s", src.Addr)
	}
	// One that has yet to apply what it received comes there.
	wait.Target, wait.Wait = addr(c), 0
	must(t, s.Do(testContext(t), wait))
	follow.Target = addr(c)
	twice(t, s, follow)
	hasWritten(t, c, 100)

	// The old primary comes back: its log ends where b took over, in a new file by now.
	// Compared with any other place it is refused.
	must(t, a.Start(testContext(t)))
	follow.Target = addr(a)
	elsewhere := func(stands topology.Coordinates, words ...string) {
		t.Helper()
		step := follow
		step.Stands = stands
		refused(t, step, words...)
		if look(t, a).IsReplica() {
			t.Error("it was pointed all the same")
		}
	}
	earlier := standsAt(t, behind)
	elsewhere(earlier, "its binary log goes on after "+earlier.String(), "without GTID it cannot follow")
	elsewhere(topology.Coordinates{File: an.Source.File, Pos: an.Source.Pos + 1<<20}, "it has lost what came there")
	elsewhere(topology.Coordinates{File: "binlog.000099", Pos: 4}, "it has no binary log binlog.000099 any more")
	refused(t, failover.Step{Do: failover.CatchUp, Target: addr(a), At: an.Source}, "it has no source")
	twice(t, s, follow)
	hasWritten(t, a, 100)
}

// What came halfway is not executed: an SQL thread that begins anew says so too before it
// is believed.
func TestATransactionThatCameHalfwayIsNotLocated(t *testing.T) {
	top := withoutGTID(t, 2)
	a, b := top.Servers[0], top.Servers[1]
	for i := range 20 {
		write(t, a, i)
	}
	hasWritten(t, b, 19)
	halfway(t, a, b, func() error { return b.StopReceiver(testContext(t)) })
	must(t, a.Kill())
	// Its SQL thread has been begun anew when both were stopped and one of it is counted.
	begun := func() (n int) {
		row, err := b.Row(testContext(t), "SHOW GLOBAL STATUS LIKE '"+in(b, "Com_start_slave", "Com_replica_start")+"'")
		must(t, err)
		_, err = fmt.Sscan(row["Value"], &n)
		must(t, err)
		return n
	}
	before := begun()
	an := locate(t, b, nil)
	if read := look(t, b).Source().ReadTo; an.Source.Compare(read) != gtid.Behind || standsAt(t, b) != an.Source {
		t.Errorf("located at %+v, it received up to %s", an, read)
	}
	if got := begun() - before; got != 1 {
		t.Errorf("its SQL thread was begun anew %d times", got)
	}
	if again := locate(t, b, nil); again != an {
		t.Errorf("located at %+v, then at %+v", an, again)
	}
}

// Few readings say nothing, however long apart: the machine may have stood still.
func TestQuietIsSeenOftenAndForLong(t *testing.T) {
	at, now := topology.Coordinates{File: "binlog.000001", Pos: 4}, time.Now()
	var few quiet
	if few.lasts(at, now) || few.lasts(at, now.Add(time.Hour)) {
		t.Error("two readings are believed")
	}
	var short, long, moved quiet
	for n := range 2 * calmReadings {
		short.lasts(at, now)
		long.lasts(at, now.Add(time.Duration(n)*calm))
		moved.lasts(topology.Coordinates{File: at.File, Pos: at.Pos + uint64(n)}, now.Add(time.Duration(n)*calm))
	}
	later := now.Add(100 * calm)
	if short.lasts(at, now) || !short.lasts(at, later) || !long.lasts(at, later) || moved.lasts(topology.Coordinates{File: at.File, Pos: 1 << 20}, later) {
		t.Error("what is seen often, for long, at one place is to be believed, and nothing else")
	}
}
