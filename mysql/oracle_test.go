package mysql

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// oracleServers are the addresses of two empty MySQL servers with GTIDs, of which
// root has no password: "127.0.0.1:3307,127.0.0.1:3308". The test changes them.
const oracleServers = "REMORA_TEST_MYSQL"

func TestASwitchoverOfMySQLWithTheLeastPrivileges(t *testing.T) {
	names := strings.Split(os.Getenv(oracleServers), ",")
	if len(names) != 2 {
		t.Skipf("NOT RUN: %s does not name two MySQL servers", oracleServers)
	}
	a, b := topology.MustParseAddr(names[0]), topology.MustParseAddr(names[1])
	roots := map[topology.Addr]*sql.DB{}
	exec := func(at topology.Addr, statements ...string) {
		t.Helper()
		for _, st := range statements {
			if _, err := roots[at].ExecContext(testContext(t), st); err != nil {
				t.Fatalf("%s: %s: %v", at, st, err)
			}
		}
	}
	for _, at := range []topology.Addr{a, b} {
		db, err := sql.Open("mysql", "root@tcp("+string(at)+")/")
		must(t, err)
		defer db.Close()
		db.SetMaxOpenConns(1)
		roots[at] = db
		exec(at, "SET GLOBAL read_only=0")
		for _, plugin := range []string{"source", "replica"} {
			_, err := db.ExecContext(testContext(t), "INSTALL PLUGIN rpl_semi_sync_"+plugin+" SONAME 'semisync_"+plugin+".so'")
			if err != nil && Number(err) != 1125 { // it is there
				t.Fatal(err)
			}
		}
		exec(at, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL rpl_semi_sync_source_enabled=0",
			"SET sql_log_bin=0", "DROP DATABASE IF EXISTS lab", "RESET BINARY LOGS AND GTIDS", "DROP USER IF EXISTS remora@`%`, repl@`%`, app@`%`",
			"CREATE USER remora@`%` IDENTIFIED BY 'remora-secret'", "CREATE USER repl@`%` IDENTIFIED BY 'repl-secret'",
			"CREATE USER app@`%` IDENTIFIED BY 'app-secret'", "GRANT ALL ON lab.* TO app@`%`")
		exec(at, Grants("mysql")...)
		exec(at, "SET sql_log_bin=1", "SET GLOBAL super_read_only=1")
	}
	cfg := testConfig()
	look := func(at topology.Addr) *topology.State {
		t.Helper()
		p := NewProber(at, cfg, "tester", nil)
		defer p.Close()
		v := p.Probe(testContext(t))
		if v.Reach != topology.Answered || v.Error != "" {
			t.Fatalf("%s: %s: %s", at, v.Reach, v.Error)
		}
		return v.State
	}
	s := servers(t, cfg)
	twice(t, s, failover.Step{Do: failover.Promote, Target: a})
	exec(a, "DROP DATABASE IF EXISTS lab", "CREATE DATABASE lab", "CREATE TABLE lab.writes (n INT PRIMARY KEY)")
	twice(t, s, failover.Step{Do: failover.Repoint, Target: b, Source: a, SemiSync: &failover.SemiSyncPlan{Replica: true}})
	twice(t, s, failover.Step{Do: failover.SetWritable, Target: a, SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1}})

	p := NewProber(b, cfg, "tester", nil)
	defer p.Close()
	start := time.Now()
	for range 100 {
		p.Probe(testContext(t))
	}
	t.Logf("a probe takes %v", time.Since(start)/100)

	primary, next := a, b
	for round := range 2 {
		c, err := sql.Open("mysql", "app:app-secret@tcp("+string(primary)+")/lab")
		must(t, err)
		session, err := c.Conn(testContext(t))
		must(t, err)
		start := time.Now()
		_, err = session.ExecContext(testContext(t), "INSERT INTO writes VALUES (?)", round)
		must(t, err)
		t.Logf("a write takes %v", time.Since(start))
		st := look(primary)
		if st.Flavor != "mysql" || !st.Writable() || len(st.Replicas) != 1 || st.Replicas[0] != next || st.GTIDMode != "ON" ||
			!st.SemiSync.SourceActive || st.SemiSync.Clients != 1 || st.ServerUUID == "" || !st.LogReplicaUpdates {
			t.Errorf("the primary: %+v", st)
		}
		eventually(t, "heartbeats", func() (bool, string) {
			src := p.Probe(testContext(t)).State.Source()
			return primary == b || src != nil && src.Silence != nil && src.Heartbeat.D() == 500*time.Millisecond, ""
		})
		twice(t, s, failover.Step{Do: failover.SetReadOnly, Target: primary})
		if err := session.PingContext(context.Background()); err == nil {
			t.Error("the application's session lives")
		}
		_, _ = session, c.Close()
		twice(t, s, failover.Step{Do: failover.CatchUp, Target: next, Until: look(primary).Executed})
		twice(t, s, failover.Step{Do: failover.Drain, Target: next})
		twice(t, s, failover.Step{Do: failover.Promote, Target: next, SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1}})
		twice(t, s, failover.Step{Do: failover.Repoint, Target: primary, Source: next, SemiSync: &failover.SemiSyncPlan{Replica: true}})
		st = look(primary)
		src := st.Source()
		if !st.SuperReadOnly || src == nil || src.Addr != next || src.IO != topology.ThreadYes || !src.GTID || !st.SemiSync.ReplicaActive {
			t.Errorf("the old primary: %+v, %+v", st, src)
		}
		exec(next, "INSERT INTO lab.writes VALUES (100)", "DELETE FROM lab.writes WHERE n=100")
		primary, next = next, primary
	}
}
