package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestAReadingOfAReplicationTopology(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2, Server: lab.ServerOptions{SemiSync: true}})
	primary, replica := top.Servers[0], top.Servers[1]

	st := look(t, primary)
	if st.Flavor != string(primary.Flavor()) || st.ServerID != uint32(primary.ServerID) || st.ReportedAs != addr(primary) ||
		!st.LogBin || !st.LogReplicaUpdates || st.BinlogFormat != "ROW" || st.GTIDMode != "ON" || !st.GTIDStrict {
		t.Errorf("the primary's identity: %+v", st)
	}
	if !st.Writable() || st.IsReplica() || len(st.Replicas) != 1 || st.Replicas[0] != addr(replica) {
		t.Errorf("the primary's role: writable %t, sources %v, replicas %v", st.Writable(), st.Sources, st.Replicas)
	}
	if ss := st.SemiSync; !ss.SourceEnabled || !ss.SourceActive || ss.Clients != 1 || ss.WaitCount != 1 || ss.Timeout.D() != 10*time.Second {
		t.Errorf("the primary's semi-sync: %+v", ss)
	}
	if st.MaxConnections != 200 || st.Connections < 1 || st.Member != "" || st.Executed.Empty() {
		t.Errorf("the primary's figures: %+v", st)
	}

	st = look(t, replica)
	src := st.Source()
	if src == nil || st.Writable() {
		t.Fatalf("the replica's role: writable %t, source %v", st.Writable(), src)
	}
	if src.Addr != addr(primary) || src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes || !src.GTID ||
		src.Heartbeat.D() != 500*time.Millisecond || src.Lag == nil || src.Lag.D() > 2*time.Second || src.Filters != "" || src.Silence != nil {
		t.Errorf("the replica's source: %+v", src)
	}
	if !st.SemiSync.ReplicaActive || src.Received.Empty() || !st.HasApplied(src.Received) {
		t.Errorf("the replica received %v and executed %v; semi-sync %+v", src.Received, st.Executed, st.SemiSync)
	}
}

func TestAFrozenServerTimesOutWithinTheDeadline(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	kept, broke := prober(t, addr(s), testConfig())
	if v := probeWithin(t, kept, time.Second); v.Reach != topology.Answered {
		t.Fatalf("%+v", v)
	}
	must(t, s.Freeze())
	fresh, _ := prober(t, addr(s), testConfig())
	for _, c := range []struct {
		name string
		p    *Prober
	}{{"on the kept connection", kept}, {"again, on a new one", kept}, {"without any connection yet", fresh}} {
		v := probeWithin(t, c.p, 200*time.Millisecond)
		if v.Reach != topology.TimedOut || v.Failures == 0 {
			t.Errorf("%s: %s, failures %d: %s", c.name, v.Reach, v.Failures, v.Error)
		}
	}
	if v := probeWithin(t, kept, 50*time.Millisecond); v.Failures != 3 || v.State == nil || v.StateAt.IsZero() {
		t.Errorf("failures %d, state %v of %v", v.Failures, v.State, v.StateAt)
	}
	if len(broke) != 0 {
		t.Error("a connection that we gave up was reported as broken")
	}
	must(t, s.Thaw())
	if v := probeWithin(t, kept, time.Second); v.Reach != topology.Answered || v.Failures != 0 {
		t.Errorf("after the thaw: %s, failures %d: %s", v.Reach, v.Failures, v.Error)
	}
}

func TestAKilledServerIsNoticedAtOnceAndRefuses(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, broke := prober(t, addr(s), testConfig())
	if v := probeWithin(t, p, time.Second); v.Reach != topology.Answered {
		t.Fatalf("%+v", v)
	}
	killed := time.Now()
	must(t, s.Kill())
	select {
	case at := <-broke:
		t.Logf("onBreak came %v after the kill was sent", at.Sub(killed)) // nobody probes, so the broken connection itself was seen
	case <-time.After(testLimit):
		t.Fatal("onBreak never came")
	}
	v := probeWithin(t, p, time.Second)
	if v.Reach != topology.Refused || v.Failures != 1 || v.State == nil {
		t.Errorf("%s, failures %d: %s", v.Reach, v.Failures, v.Error)
	}
	must(t, s.Start(testContext(t)))
	if v := probeWithin(t, p, time.Second); v.Reach != topology.Answered {
		t.Errorf("after the restart: %s: %s", v.Reach, v.Error)
	}
	if len(broke) != 0 {
		t.Errorf("%d more breaks", len(broke))
	}
}

func TestAnEndedSessionIsReplacedWithinTheProbe(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, broke := prober(t, addr(s), testConfig())
	probeWithin(t, p, time.Second)
	must(t, s.Exec(testContext(t), fmt.Sprintf("KILL CONNECTION %d", p.session.id)))
	<-broke
	if v := probeWithin(t, p, time.Second); v.Reach != topology.Answered {
		t.Errorf("%s: %s", v.Reach, v.Error)
	}
}

func TestCloseIsNoBreak(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, broke := prober(t, addr(s), testConfig())
	probeWithin(t, p, time.Second)
	p.Close()
	p.Close()
	if v := probeWithin(t, p, time.Second); v.Reach != topology.Unknown || v.Error == "" {
		t.Errorf("a probe after Close: %s: %q", v.Reach, v.Error)
	}
	if len(broke) != 0 {
		t.Error("Close was reported as a break")
	}
}

func TestTooManyConnectionsDenyAllButTheKeptOne(t *testing.T) {
	s := alone(t, lab.ServerOptions{MaxConnections: 10})
	// This account may not use the connection that is set aside for administrators.
	must(t, s.Exec(testContext(t), "REVOKE "+in(s, "CONNECTION ADMIN", "CONNECTION_ADMIN")+" ON *.* FROM remora@'%'"))
	kept, _ := prober(t, addr(s), testConfig())
	if v := probeWithin(t, kept, time.Second); v.Reach != topology.Answered {
		t.Fatalf("%+v", v)
	}
	db, err := sql.Open("mysql", s.DSN(lab.AppUser))
	must(t, err)
	defer db.Close()
	for range 20 {
		conn, err := db.Conn(testContext(t))
		if err != nil {
			break
		}
		defer conn.Close()
	}
	fresh, _ := prober(t, addr(s), testConfig())
	if v := probeWithin(t, fresh, time.Second); v.Reach != topology.Denied || !strings.Contains(v.Error, "Too many connections") {
		t.Errorf("a new connection: %s: %s", v.Reach, v.Error)
	}
	if v := probeWithin(t, kept, time.Second); v.Reach != topology.Answered || v.State.Connections < v.State.MaxConnections {
		t.Errorf("the kept connection: %s: %s", v.Reach, v.Error)
	}
}

func TestWrongCredentialsAreADenialThatTellsNoPassword(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	cfg := testConfig()
	cfg.Password = "wrong-secret"
	p, _ := prober(t, addr(s), cfg)
	v := probeWithin(t, p, time.Second)
	if v.Reach != topology.Denied || v.Failures != 0 || !strings.Contains(v.Error, "Access denied") || strings.Contains(v.Error, "secret") {
		t.Errorf("%s, failures %d: %s", v.Reach, v.Failures, v.Error)
	}
}

func TestAMissingPrivilegeIsNamed(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, _ := prober(t, addr(s), testConfig())

	list := in(s, "REPLICATION MASTER ADMIN", "REPLICATION SLAVE")
	must(t, s.Exec(testContext(t), "REVOKE "+list+" ON *.* FROM remora@'%'"))
	for range 2 {
		v := probeWithin(t, p, time.Second)
		if v.Reach != topology.Answered || !strings.Contains(v.Error, "grant "+list+" ON *.*") || !v.State.Writable() {
			t.Errorf("without the list of replicas: %s: %s", v.Reach, v.Error)
		}
	}
	later := time.Now().Add(2 * deniedRetry)
	p.now = func() time.Time { return later }
	must(t, s.Exec(testContext(t), "GRANT "+list+" ON *.* TO remora@'%'"))
	if v := probeWithin(t, p, time.Second); v.Reach != topology.Answered || v.Error != "" {
		t.Errorf("after the grant: %s: %s", v.Reach, v.Error)
	}

	see := in(s, "SLAVE MONITOR", "REPLICATION CLIENT")
	must(t, s.Exec(testContext(t), "REVOKE "+in(s, "SLAVE MONITOR, REPLICATION SLAVE ADMIN", see)+" ON *.* FROM remora@'%'"))
	blind, _ := prober(t, addr(s), testConfig())
	if v := probeWithin(t, blind, time.Second); v.Reach != topology.Denied || v.State != nil || !strings.Contains(v.Error, see) {
		t.Errorf("a server whose replication cannot be seen is not believed to be a primary: %s: %s, %+v", v.Reach, v.Error, v.State)
	}
}

func TestSilenceGrowsWhileTheSourceIsFrozen(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	p, _ := prober(t, addr(top.Servers[1]), testConfig())
	silence := func() *topology.Duration {
		v := probeWithin(t, p, time.Second)
		if v.Reach != topology.Answered {
			t.Fatalf("%s: %s", v.Reach, v.Error)
		}
		return v.State.Source().Silence
	}
	if d := silence(); d != nil {
		t.Errorf("silence at first sight is %v", d)
	}
	// An idle source beats every 500 ms.
	start := time.Now()
	eventually(t, "the heartbeats of an idle source", func() (bool, string) {
		d := silence()
		if d.D() > 700*time.Millisecond {
			t.Errorf("an idle source is silent for %v", d)
		}
		return time.Since(start) > 1200*time.Millisecond, d.String()
	})
	must(t, top.Servers[0].Freeze())
	eventually(t, "silence", func() (bool, string) {
		d := silence()
		return d.D() > 900*time.Millisecond, d.String()
	})
	must(t, top.Servers[0].Thaw())
	eventually(t, "the end of the silence", func() (bool, string) {
		d := silence()
		return d.D() < 100*time.Millisecond, d.String()
	})
}

func TestExecutedKnowsWhatWasWrittenHereAndWhatCameFromElsewhere(t *testing.T) {
	only(t, lab.MariaDB, "gtid_slave_pos and gtid_binlog_pos are two positions")
	s := alone(t, lab.ServerOptions{})
	must(t, s.Exec(testContext(t), "SET GLOBAL gtid_slave_pos=CONCAT(@@gtid_binlog_pos, ',7-70-700')"))
	st := look(t, s)
	if !st.Executed.Contains(gtid.MustParse("7-70-700")) || len(st.Executed.String()) <= len("7-70-700") {
		t.Errorf("executed: %s", st.Executed)
	}
}

func TestProbesWaitForEachOtherNoLongerThanTheirDeadline(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, _ := prober(t, addr(s), testConfig())
	must(t, s.Freeze())
	first := make(chan topology.View, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
		defer cancel()
		first <- p.Probe(ctx)
	}()
	eventually(t, "the first probe to begin", func() (bool, string) { return len(p.turn) == 0, "" })
	if v := probeWithin(t, p, 50*time.Millisecond); v.Reach != topology.Unknown {
		t.Errorf("the second probe: %s", v.Reach)
	}
	if v := <-first; v.Reach != topology.TimedOut {
		t.Errorf("the first probe: %s", v.Reach)
	}
	must(t, s.Thaw())
}

func BenchmarkProbe(b *testing.B) {
	l := lab.ForTest(b, lab.Options{})
	top, err := l.Topology(context.Background(), lab.Spec{Servers: 2})
	if err != nil {
		b.Fatal(err)
	}
	p := NewProber(addr(top.Servers[1]), testConfig(), "tester", nil)
	defer p.Close()
	for b.Loop() {
		if v := p.Probe(context.Background()); v.Reach != topology.Answered {
			b.Fatal(v.Error)
		}
	}
}
