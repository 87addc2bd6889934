package mysql

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// client is one session of a user.
func client(t *testing.T, s *lab.Server, u lab.User) *sql.Conn {
	t.Helper()
	db, err := sql.Open("mysql", s.DSN(u))
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(testContext(t))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func do(t *testing.T, c *sql.Conn, statement string) {
	t.Helper()
	_, err := c.ExecContext(testContext(t), statement)
	must(t, err)
}

func TestSetReadOnlyEndsApplicationSessionsAndNoOthers(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	primary := top.Servers[0]
	cfg := testConfig()
	cfg.Keep = []string{lab.MonitorUser.Name}
	idle, busy, monitor := client(t, primary, lab.AppUser), client(t, primary, lab.AppUser), client(t, primary, lab.MonitorUser)
	p, broke := prober(t, addr(primary), cfg)
	probeWithin(t, p, time.Second)
	do(t, busy, "START TRANSACTION")
	do(t, busy, "INSERT INTO lab.writes VALUES (1, 1)")

	twice(t, servers(t, cfg), failover.Step{Do: failover.SetReadOnly, Target: addr(primary)})

	for name, c := range map[string]*sql.Conn{"idle": idle, "in a transaction": busy} {
		if _, err := c.ExecContext(testContext(t), "COMMIT"); err == nil {
			t.Errorf("the session that was %s lives", name)
		}
	}
	if _, err := monitor.ExecContext(testContext(t), "SELECT 1"); err != nil {
		t.Errorf("the monitor's session: %v", err)
	}
	if len(broke) > 0 {
		t.Error("our own session was ended")
	}
	if st := look(t, primary); len(st.Replicas) != 1 || st.Writable() {
		t.Errorf("replicas %v, writable %t", st.Replicas, st.Writable())
	}
}

func TestSetReadOnlyBreaksThroughLocksAndLongStatements(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	primary := top.Primary()
	locker, slow := client(t, primary, lab.AppUser), client(t, primary, lab.AppUser)
	do(t, locker, "LOCK TABLES lab.writes WRITE")
	ended := make(chan error, 1)
	go func() {
		_, err := slow.ExecContext(context.Background(), "INSERT INTO lab.writes VALUES (2, 2)") // waits for the lock
		ended <- err
	}()
	start := time.Now()
	must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary)}))
	t.Logf("it took %v", time.Since(start))
	if err := <-ended; err == nil { // who held the lock was ended first, and it went through before read_only was granted
		if row, err := primary.Row(testContext(t), "SELECT COUNT(*) AS n FROM lab.writes"); err != nil || row["n"] != "1" {
			t.Errorf("the statement that waited was acknowledged, and the server has %v (%v)", row, err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSetReadOnlyBreaksThroughACommitThatWaitsForAnAcknowledgement(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2, Server: lab.ServerOptions{SemiSync: true, SemiSyncTimeout: time.Hour}})
	primary := top.Primary()
	must(t, top.Servers[1].Freeze())
	c := client(t, primary, lab.AppUser)
	ended := make(chan error, 1)
	go func() {
		_, err := c.ExecContext(context.Background(), "INSERT INTO lab.writes VALUES (3, 3)")
		ended <- err
	}()
	eventually(t, "the commit to wait", func() (bool, string) { return look(t, primary).SemiSync.Waiting == 1, "" })
	start := time.Now()
	must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary)}))
	t.Logf("it took %v", time.Since(start))
	if err := <-ended; err == nil {
		t.Error("the client was told that its commit is done, and no replica has it")
	}
	must(t, top.Servers[1].Thaw())
}

// The statement of an act that gave up must not take effect later, after a roll-back.
func TestSetReadOnlyThatFailsLeavesNothingBehind(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	primary := top.Primary()
	cfg := testConfig()
	cfg.Keep = []string{"root"}
	locker := client(t, primary, lab.User{Name: "root", Password: lab.RootUser.Password})
	do(t, locker, "LOCK TABLES lab.writes WRITE")
	err := servers(t, cfg).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary), Wait: topology.Duration(300 * time.Millisecond)})
	if err == nil {
		t.Fatal("it succeeded")
	}
	t.Log(err)
	eventually(t, "the statement to be withdrawn", func() (bool, string) {
		var n int
		err := locker.QueryRowContext(testContext(t), "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SET GLOBAL %read_only%'").Scan(&n)
		return err == nil && n == 0, ""
	})
	do(t, locker, "UNLOCK TABLES")
	write(t, primary, 4)
	if !look(t, primary).Writable() {
		t.Error("it became read-only after the act had failed")
	}
}

func TestAServerWithoutAFreeConnectionIsFenced(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1, Server: lab.ServerOptions{MaxConnections: 10}})
	leastPrivileges(t, top)
	db, err := sql.Open("mysql", top.Primary().DSN(lab.AppUser))
	must(t, err)
	defer db.Close()
	for range 20 {
		if conn, err := db.Conn(testContext(t)); err == nil {
			defer conn.Close()
			continue
		}
		must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(top.Primary())}))
		if look(t, top.Primary()).Writable() {
			t.Error("it is writable")
		}
		return
	}
	t.Error("there was always a free connection")
}

func TestApplicationSessions(t *testing.T) {
	line := func(id, user, command string) row {
		return row{"Id": id, "User": user, "Host": "h:1", "Command": command, "Time": "3"}
	}
	list := result{
		line("1", "system user", "Slave_IO"), line("2", "system user", "Daemon"), line("3", "event_scheduler", "Daemon"),
		line("4", "repl", "Binlog Dump"), line("5", "other", "Binlog Dump GTID"), line("6", "remora", "Sleep"),
		line("7", "app", "Sleep"), line("8", "app", "Query"), line("9", "app", "Killed"), line("10", "unauthenticated user", "Connect"),
		line("11", "monitor", "Query"), line("12", "root", "Execute"), line("13", "other", "Register Slave"), line("14", "", "Query"),
	}
	list[6]["State"] = "Waiting for semi-sync ACK from slave" // it is ended last
	var ids []uint64
	for _, p := range applicationSessions(list, []string{"remora", "", "monitor"}) {
		ids = append(ids, p.id)
	}
	if diff := cmp.Diff([]uint64{8, 12, 7}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestEventsThatAReplicaHasDisabled(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	must(t, top.Servers[0].Exec(testContext(t),
		"CREATE USER owner@`%`", "GRANT ALL ON lab.* TO owner@`%`",
		"CREATE DEFINER=owner@`%` EVENT lab.`a``b` ON SCHEDULE EVERY 1 HOUR DO DELETE FROM lab.writes WHERE writer=99",
		"CREATE DEFINER=owner@`%` EVENT lab.off ON SCHEDULE EVERY 1 HOUR DISABLE DO DELETE FROM lab.writes WHERE writer=99"))
	eventually(t, "the events", func() (bool, string) {
		row, err := top.Servers[1].Row(testContext(t), "SELECT COUNT(*) AS n FROM information_schema.EVENTS WHERE STATUS LIKE '%SIDE%DISABLED'")
		return err == nil && row["n"] == "2", row["n"]
	})
	takes := mariadbEvents
	if top.Servers[1].Flavor() == lab.MySQL {
		if takes = oracleEvents; !isOf(t, top.Servers[1], 80200) {
			takes = oracleEventsBefore82
		}
	}
	unlogged(t, top.Servers[1], "GRANT "+strings.Join(takes, ", ")+" ON *.* TO remora@`%`")
	cfg := testConfig()
	state := func() string {
		row, err := top.Servers[1].Row(testContext(t), "SELECT GROUP_CONCAT(EVENT_NAME, ' ', STATUS, ' ', DEFINER ORDER BY EVENT_NAME) AS s FROM information_schema.EVENTS")
		must(t, err)
		return row["s"]
	}
	twice(t, servers(t, cfg), failover.Step{Do: failover.Promote, Target: addr(top.Servers[1])})
	if s := state(); strings.Contains(s, "ENABLED") {
		t.Errorf("not asked for, and yet: %s", s)
	}
	before := look(t, top.Servers[1]).Executed
	cfg.EnableEvents = true
	twice(t, servers(t, cfg), failover.Step{Do: failover.Promote, Target: addr(top.Servers[1])})
	if s := state(); s != "a`b ENABLED owner@%,off ENABLED owner@%" {
		t.Errorf("%s", s)
	}
	if after := look(t, top.Servers[1]).Executed; !after.Equal(before) {
		t.Errorf("enabling events was logged: %s, then %s", before, after)
	}
}
