package lab_test

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
)

func TestTopologyOfThree(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	l := lab.ForTest(t, lab.Options{})
	top, err := l.Topology(ctx, lab.Spec{Server: lab.ServerOptions{SemiSync: true}})
	must(t, err)
	primary, replica := top.Primary(), top.Servers[1]

	t.Run("writes arrive", func(t *testing.T) {
		must(t, primary.Exec(ctx, "INSERT INTO lab.writes VALUES (1, 1)"))
		must(t, top.CaughtUp(ctx))
		for _, s := range top.Servers {
			if got := row(t, s, "SELECT COUNT(*) AS n FROM lab.writes WHERE writer=1")["n"]; got != "1" {
				t.Errorf("%s has %s rows", s.Name, got)
			}
		}
	})
	t.Run("only the primary is writable", func(t *testing.T) {
		for i, s := range top.Servers {
			if closed, err := s.Closed(ctx); err != nil || closed != (i > 0) {
				t.Errorf("%s is closed: %v, %v", s.Name, closed, err)
			}
		}
	})
	t.Run("semi-sync waits for both", func(t *testing.T) {
		side := "Rpl_semi_sync_master"
		if primary.Flavor() == lab.MySQL {
			side = "Rpl_semi_sync_source"
		}
		status := func(name string) string { return row(t, primary, "SHOW GLOBAL STATUS LIKE '"+side+name+"'")["Value"] }
		if status("_clients") != "2" || status("_no_tx") != "0" || status("_yes_tx") == "0" {
			t.Errorf("clients %s, acknowledged %s, not acknowledged %s", status("_clients"), status("_yes_tx"), status("_no_tx"))
		}
		if row(t, primary, "SELECT @@"+side+"_wait_point AS p")["p"] != "AFTER_SYNC" {
			t.Error("it does not wait after the sync")
		}
	})
	t.Run("the replica reports its address", func(t *testing.T) {
		if r := row(t, replica, "SELECT CONCAT(@@report_host, ':', @@report_port) AS a"); r["a"] != replica.Addr {
			t.Errorf("%s reports %q", replica.Addr, r["a"])
		}
	})
	t.Run("the accounts may do what they are for", func(t *testing.T) { accounts(t, top) })
	t.Run("a killed replica returns", func(t *testing.T) {
		pid := replica.PID()
		must(t, replica.Kill())
		if replica.Running() {
			t.Error("it runs")
		}
		must(t, replica.Kill()) // once more is no error
		must(t, replica.Start(ctx))
		if !replica.Running() || replica.PID() == pid {
			t.Error("it does not run anew")
		}
		must(t, replica.StartReplication(ctx))
		must(t, replica.Replicating(ctx))
		must(t, primary.Exec(ctx, "INSERT INTO lab.writes VALUES (1, 2)"))
		must(t, top.CaughtUp(ctx))
	})
	t.Run("a stopped replica returns", func(t *testing.T) {
		must(t, replica.Freeze()) // which a stop undoes
		must(t, replica.Restart(ctx))
		if closed, err := replica.Closed(ctx); err != nil || !closed {
			t.Errorf("it came back closed: %v, %v", closed, err)
		}
	})
}

// sidecarStatements are what a sidecar does to a server, as it does it.
var sidecarStatements = map[lab.Flavor][]string{
	lab.MariaDB: {
		"SHOW ALL SLAVES STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", "SHOW PROCESSLIST", "SHOW BINARY LOGS",
		"SELECT @@gtid_binlog_pos, @@gtid_slave_pos, @@gtid_current_pos",
		"STOP SLAVE", "SET GLOBAL gtid_slave_pos=@@gtid_current_pos", "SET GLOBAL rpl_semi_sync_master_enabled=1",
		"SET GLOBAL rpl_semi_sync_master_enabled=0", "SET GLOBAL read_only=0", "SET GLOBAL read_only=1",
		"CHANGE MASTER TO MASTER_CONNECT_RETRY=1", "START SLAVE",
	},
	lab.MySQL: {
		"SHOW REPLICA STATUS", "SHOW REPLICAS", "SHOW PROCESSLIST", "SHOW BINARY LOGS",
		"SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged", "SELECT COUNT(*) FROM performance_schema.replication_connection_status",
		"STOP REPLICA", "SET GLOBAL rpl_semi_sync_source_enabled=1", "SET GLOBAL rpl_semi_sync_source_enabled=0",
		"SET GLOBAL read_only=0", "SET GLOBAL super_read_only=1", "CHANGE REPLICATION SOURCE TO SOURCE_CONNECT_RETRY=1", "START REPLICA",
	},
}

func accounts(t *testing.T, top *lab.Topology) {
	open := func(s *lab.Server, u lab.User) *sql.DB {
		db, err := sql.Open("mysql", s.DSN(u))
		must(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	replica := open(top.Servers[2], lab.RemoraUser)
	for _, st := range sidecarStatements[top.Primary().Flavor()] {
		if _, err := replica.ExecContext(within(t), st); err != nil {
			t.Errorf("remora: %s: %v", st, err)
		}
	}
	app := open(top.Servers[2], lab.AppUser)
	if _, err := app.ExecContext(within(t), "INSERT INTO lab.writes VALUES (9, 9)"); err == nil {
		t.Error("the application could write to a replica")
	}
	must(t, top.Servers[2].Replicating(within(t)))
	monitor := open(top.Servers[2], lab.MonitorUser)
	if _, err := monitor.ExecContext(within(t), sidecarStatements[top.Primary().Flavor()][0]); err != nil {
		t.Errorf("monitor: %v", err)
	}
}

// What a primary had in its binary log when it was killed, and no replica had acknowledged, no client was told of.
func TestKilledPrimaryDropsTheUnacknowledged(t *testing.T) {
	t.Parallel()
	for _, drop := range []bool{false, true} {
		t.Run("DropUnacked="+strconv.FormatBool(drop), func(t *testing.T) {
			t.Parallel()
			ctx := within(t)
			l := lab.ForTest(t, lab.Options{})
			top, err := l.Topology(ctx, lab.Spec{Servers: 2, Server: lab.ServerOptions{SemiSync: true, DropUnacked: drop}})
			must(t, err)
			primary := top.Primary()
			before, err := primary.Position(ctx)
			must(t, err)
			must(t, top.Servers[1].Freeze())
			written := make(chan error, 1)
			go func() { written <- primary.Exec(ctx, "INSERT INTO lab.writes VALUES (1, 1)") }()
			must(t, lab.Eventually(ctx, "the write to wait for its acknowledgement", 10*time.Millisecond, func() (bool, string) {
				n, err := primary.AwaitingAcks(ctx)
				return n == 1, fmt.Sprint(n, " sessions wait, ", err)
			}))
			must(t, primary.Kill())
			if err := <-written; err == nil {
				t.Error("the write was acknowledged")
			}
			must(t, primary.Start(ctx))
			// MySQL keeps it in any case.
			dropped := drop && primary.Flavor() == lab.MariaDB
			if after, err := primary.Position(ctx); err != nil || (after == before) != dropped {
				t.Errorf("at %s before, at %s after, %v", before, after, err)
			}
		})
	}
}

// A server that is set up anew gets all from the beginning, also what it had written itself.
func TestARenewedServerReplicatesItsOwnWrites(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	l := lab.ForTest(t, lab.Options{})
	top, err := l.Topology(ctx, lab.Spec{Servers: 2})
	must(t, err)
	must(t, top.Primary().Exec(ctx, "INSERT INTO lab.writes VALUES (1, 1)"))
	must(t, top.CaughtUp(ctx))
	must(t, top.Primary().Renew(ctx))
	must(t, top.Servers[1].StopReplication(ctx))
	must(t, top.Primary().Replicate(ctx, top.Servers[1], 0))
	pos, err := top.Servers[1].Position(ctx)
	must(t, err)
	must(t, top.Primary().Applied(ctx, pos))
	if got := row(t, top.Primary(), "SELECT COUNT(*) AS n FROM lab.writes")["n"]; got != "1" {
		t.Errorf("it has %s rows", got)
	}
}

func TestChainAndDelay(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	l := lab.ForTest(t, lab.Options{})
	top, err := l.Topology(ctx, lab.Spec{Servers: 4, Chain: map[int]int{2: 1}, Delayed: map[int]int{3: 3600}})
	must(t, err)
	for i, source := range []int{1: 0, 2: 1, 3: 0} {
		if i == 0 {
			continue
		}
		if status, err := top.Servers[i].Replica(ctx); err != nil || status.SourcePort != top.Servers[source].Port {
			t.Errorf("server %d has the state %+v, %v, want port %d", i, status, err, top.Servers[source].Port)
		}
	}
	must(t, top.Primary().Exec(ctx, "INSERT INTO lab.writes VALUES (1, 1)"))
	must(t, top.CaughtUp(ctx)) // not waiting for the delayed one
	if got := row(t, top.Servers[2], "SELECT COUNT(*) AS n FROM lab.writes")["n"]; got != "1" {
		t.Errorf("the end of the chain has %s rows", got)
	}
	if status, err := top.Servers[3].Replica(ctx); err != nil || status.Delay != 3600 {
		t.Errorf("the delayed one has the state %+v, %v", status, err)
	}
	// The primary's first transactions are received there, and not applied.
	_, err = top.Servers[3].DB().ExecContext(ctx, "SELECT 1 FROM lab.writes")
	var refused *mysql.MySQLError
	if !isMySQL(err, &refused) || refused.Number != 1146 && refused.Number != 1049 {
		t.Errorf("the delayed one applied what it should hold back: %v", err)
	}
}

func TestBadChainIsRefused(t *testing.T) {
	t.Parallel()
	l, err := lab.New(t.Context(), lab.Options{Dir: t.TempDir()})
	must(t, err)
	defer l.Close()
	for _, chain := range []map[int]int{{1: 2}, {1: 1}, {3: 0}} {
		if _, err := l.Topology(within(t), lab.Spec{Servers: 3, Chain: chain}); err == nil {
			t.Errorf("the chain %v was accepted", chain)
		}
	}
}

func TestFrozenServerAnswersNothing(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	other := "nobody"
	if lab.DefaultFlavor() == lab.MySQL {
		other = "" // what scripts/mysql fetched is in this user's own cache
	}
	l := lab.ForTest(t, lab.Options{User: other})
	s, err := l.Server(ctx, lab.ServerOptions{Name: "alone"})
	must(t, err)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(s.PID()) + "/status")
	must(t, err)
	if other != "" && strings.Contains(string(status), "\nUid:\t0\t") {
		t.Error("it runs as root")
	}
	must(t, s.Freeze())
	if !s.Running() || !s.Frozen() {
		t.Error("it should run, frozen")
	}
	answered := make(chan error, 1)
	go func() { answered <- s.Exec(ctx, "DO 1") }()
	select {
	case err := <-answered:
		t.Errorf("a frozen server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	must(t, s.Thaw())
	must(t, <-answered)
	if s.Frozen() {
		t.Error("it should be thawed")
	}
}
