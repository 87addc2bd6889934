package proxysql

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestAFenceClosesTheWriter(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		r := route(5, "db1:3306", topology.Open)
		b.apply(t, r)
		must(t, b.admin.Fence(within(t), "main", tens, false))
		wantText(t, "soft", servers(t, b.Proxy, "runtime_mysql_servers"), strings.Replace(openDB1, "10 db1 ONLINE", "10 db1 OFFLINE_SOFT", 1))
		if p := b.status(t, r); p.Epoch != 0 || p.Mode != topology.Paused || p.Writer != "db1:3306" {
			t.Errorf("soft: %+v", p)
		}
		must(t, b.admin.Fence(within(t), "main", tens, true))
		if p := b.status(t, r); p.Epoch != 0 || p.Mode != topology.Fenced || p.Writer != "" {
			t.Errorf("hard: %+v", p)
		}
		must(t, b.admin.Fence(within(t), "main", tens, false)) // opens nothing
		if p := b.status(t, r); p.Mode != topology.Fenced {
			t.Errorf("soft after hard: %+v", p)
		}
		if p := b.apply(t, r); p.Epoch != 5 || p.Mode != topology.Open || len(p.Drift) > 0 {
			t.Errorf("opened again: %+v", p)
		}
		_, err := b.admin.Apply(within(t), route(4, "db2:3306", topology.Open), tens)
		wantErr(t, err, ErrStaleEpoch)
	})
}

// A proxy that was never told anything serves what its disk held: it is fenced
// all the same, whatever else is wrong with it.
func TestAFenceIsAlwaysCarriedOut(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		open := func() {
			sqlExec(t, b.Proxy, "DELETE FROM mysql_servers",
				"INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (10, 'db1', 3306), (10, 'db9', 3306), (11, 'db2', 3306)", "LOAD MYSQL SERVERS TO RUNTIME")
		}
		fenced := func(when string) {
			t.Helper()
			must(t, b.admin.Fence(within(t), "main", tens, true))
			wantText(t, when, servers(t, b.Proxy, "runtime_mysql_servers"), "11 db2 ONLINE")
		}
		open()
		fenced("without our table")
		open()
		sqlExec(t, b.Proxy, "INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 11)", "LOAD MYSQL SERVERS TO RUNTIME")
		fenced("in a conflict")
		open()
		sqlExec(t, b.Proxy, "DELETE FROM mysql_servers")
		fenced2 := servers(t, b.Proxy, "runtime_mysql_servers")
		if !strings.Contains(fenced2, "10 db1 ONLINE") {
			t.Fatalf("runtime is closed already: %s", fenced2)
		}
		must(t, b.admin.Fence(within(t), "main", tens, true))
		wantText(t, "rows gone from memory", servers(t, b.Proxy, "runtime_mysql_servers"), "")
		open()
		sqlExec(t, b.Proxy, "DROP TABLE remora_epoch", "CREATE TABLE remora_epoch (x INT)")
		if err := b.admin.Fence(within(t), "main", tens, true); err == nil {
			t.Error("a broken table was not reported")
		}
		_, err := b.admin.Apply(within(t), route(5, "db1:3306", topology.Open), tens)
		wantErr(t, err, ErrRefused)
		wantText(t, "with a broken table", servers(t, b.Proxy, "runtime_mysql_servers"), "11 db2 ONLINE")
	})
}

func TestARestartIsNoticedAtOnceAndComesBackFenced(t *testing.T) {
	for _, standIn := range kinds(t) {
		p, err := sharedLab(t).Proxy(within(t), lab.ProxyOptions{Name: "restarted-" + map[bool]string{true: "stand-in", false: "real"}[standIn], StandIn: standIn})
		must(t, err)
		t.Run(p.Kind(), func(t *testing.T) {
			b := newBench(t, p)
			r := route(5, "db1:3306", topology.Open)
			b.apply(t, r)
			sqlExec(t, p, "INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (50, 'other', 3306)",
				"SAVE MYSQL SERVERS TO DISK") // an operator's, with an open writer
			wantText(t, "an operator's disk", servers(t, p, "disk.mysql_servers"), openDB1+"\n50 other ONLINE")
			must(t, b.admin.Save(within(t), tens))
			wantText(t, "disk", servers(t, p, "disk.mysql_servers"), strings.TrimPrefix(openDB1, "10 db1 ONLINE\n")+"\n50 other ONLINE")

			must(t, p.Kill())
			select {
			case <-b.breaks:
			case <-within(t).Done():
				t.Fatal("the break was not noticed")
			}
			if _, err := b.admin.Status(within(t), r, tens); err != nil {
				wantErr(t, err, ErrUnreachable)
				wantErr(t, err, syscall.ECONNREFUSED) // tells an ended proxy from a hung one
			} else {
				t.Error("the status of a dead proxy")
			}
			must(t, p.Start(within(t)))
			if got := b.status(t, r); got.Epoch != 0 || got.Mode != topology.Fenced || got.Error == "" {
				t.Errorf("restarted: %+v", got)
			}
			wantText(t, "runtime", servers(t, p, "runtime_mysql_servers"), strings.TrimPrefix(openDB1, "10 db1 ONLINE\n")+"\n50 other ONLINE")
			if got := b.apply(t, r); got.Epoch != 5 || got.Writer != "db1:3306" || len(got.Drift) > 0 {
				t.Errorf("applied again: %+v", got)
			}
			if n := len(b.breaks); n > 0 {
				t.Errorf("%d more breaks", n)
			}
			must(t, p.Kill())
		})
	}
}

// A row that left memory must not come back from the disk as a writer.
func TestTheDiskIsFencedToo(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		sqlExec(t, b.Proxy, "INSERT INTO disk.mysql_servers (hostgroup_id, hostname, port) VALUES (10, 'old', 3306), (50, 'other', 3306)")
		b.apply(t, route(5, "db1:3306", topology.Open))
		must(t, b.admin.Save(within(t), tens))
		wantText(t, "disk", servers(t, b.Proxy, "disk.mysql_servers"), strings.TrimPrefix(openDB1, "10 db1 ONLINE\n")+"\n50 other ONLINE")
		wantText(t, "limit", table(t, b.Proxy, "SELECT max_num_online_servers FROM disk.mysql_hostgroup_attributes WHERE hostgroup_id=10"), "1")
		must(t, b.admin.Save(within(t), tens))
		heavier := route(6, "db1:3306", topology.Open)
		heavier.Readers[0].Weight = 8
		b.apply(t, heavier)
		must(t, b.admin.Save(within(t), tens))
		wantText(t, "a changed weight", table(t, b.Proxy, "SELECT hostname FROM disk.mysql_servers WHERE weight=8"), "db2")
	})
}

// An admin interface that takes the connection and never answers costs no more
// than the deadline, and a fence no more than one retry.
func TestAHungAdminIsBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, listener.Close()) }()
	admin := New(Config{Addr: listener.Addr().String(), User: "admin", Password: "secret", Timeout: 50 * time.Millisecond}, nil, nil)
	defer admin.Close()
	for name, do := range map[string]func() error{
		"apply":  func() error { _, err := admin.Apply(within(t), route(1, "db1:3306", topology.Open), tens); return err },
		"status": func() error { _, err := admin.Status(within(t), route(1, "db1:3306", topology.Open), tens); return err },
		"fence":  func() error { return admin.Fence(within(t), "main", tens, true) },
	} {
		start := time.Now()
		err := do()
		wantErr(t, err, ErrUnreachable)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if text := err.Error(); strings.Contains(text, "secret") || !strings.Contains(text, "connect") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// A frozen ProxySQL: the statement's deadline, its name in the error, and a new
// connection when it thaws.
func TestAFrozenProxy(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		r := route(5, "db1:3306", topology.Open)
		b.apply(t, r)
		admin := New(Config{Addr: b.AdminAddr, User: "admin", Password: "admin", Timeout: 100 * time.Millisecond}, nil, nil)
		defer admin.Close()
		_, err := admin.Status(within(t), r, tens)
		must(t, err)
		must(t, b.Freeze())
		_, err = admin.Apply(within(t), route(6, "db2:3306", topology.Open), tens)
		wantErr(t, err, ErrUnreachable)
		wantErr(t, err, context.DeadlineExceeded)
		if !strings.Contains(err.Error(), "read servers") {
			t.Errorf("error: %v", err)
		}
		must(t, b.Thaw())
		eventually(t, "an answer", func() (bool, string) {
			p, err := admin.Status(within(t), r, tens)
			if err != nil {
				return false, err.Error()
			}
			return p.Epoch == 5, p.Error
		})
	})
}

func TestDriftIsNamedAndHealed(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		r := route(5, "db1:3306", topology.Open)
		for _, c := range []struct {
			name, by string
			load     bool
			drift    []string
			epoch    uint64 // while it lasts
		}{
			{"a second writer", "UPDATE mysql_servers SET status='ONLINE' WHERE hostname='db2' AND hostgroup_id=10", true,
				[]string{"db2:3306 in hostgroup 10: status ONLINE, want OFFLINE_HARD"}, 0},
			{"no writer", "UPDATE mysql_servers SET status='OFFLINE_SOFT' WHERE hostname='db1' AND hostgroup_id=10", true,
				[]string{"db1:3306 in hostgroup 10: status OFFLINE_SOFT, want ONLINE"}, 5},
			{"a reader's weight", "UPDATE mysql_servers SET weight=77 WHERE hostname='db3'", true,
				[]string{"db3:3306 in hostgroup 11: weight 77, want 3"}, 5},
			{"an unknown reader", "INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (11, 'db9', 3306)", true,
				[]string{"db9:3306 in hostgroup 11: status ONLINE, want OFFLINE_HARD"}, 5},
			{"a row gone", "DELETE FROM mysql_servers WHERE hostname='db1' AND hostgroup_id=10", true,
				[]string{"db1:3306 in hostgroup 10: absent, want ONLINE"}, 5},
			{"memory alone", "UPDATE mysql_servers SET status='ONLINE' WHERE hostname='db2' AND hostgroup_id=10", false,
				[]string{"db2:3306 in hostgroup 10: status ONLINE, want OFFLINE_HARD (in memory, not loaded)"}, 5},
			{"the limit", "UPDATE mysql_hostgroup_attributes SET max_num_online_servers=9", true,
				[]string{"hostgroup 10: max_num_online_servers is not 1"}, 5},
		} {
			t.Run(c.name, func(t *testing.T) {
				reset(t, b.Proxy)
				b.apply(t, r)
				sqlExec(t, b.Proxy, c.by)
				if c.load {
					sqlExec(t, b.Proxy, "LOAD MYSQL SERVERS TO RUNTIME")
				}
				p := b.status(t, r)
				wantText(t, "drift seen", strings.Join(p.Drift, "\n"), strings.Join(c.drift, "\n"))
				if p.Epoch != c.epoch || c.epoch == 0 && p.Error == "" {
					t.Errorf("epoch %d, want %d: %+v", p.Epoch, c.epoch, p)
				}
				p = b.apply(t, r)
				wantText(t, "drift mended", strings.Join(p.Drift, "\n"), strings.Join(c.drift, "\n"))
				if p = b.status(t, r); len(p.Drift) > 0 || p.Epoch != 5 || p.Writer != "db1:3306" {
					t.Errorf("healed: %+v", p)
				}
			})
		}
	})
}

// It is logged, once, and no drift: whoever mends drift would try for ever.
func TestWhatIsNotOursIsReportedAndLeft(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		var logged strings.Builder
		b.admin.log = slog.New(slog.NewTextHandler(&logged, nil))
		r := route(5, "db1:3306", topology.Open)
		b.apply(t, r)
		sqlExec(t, b.Proxy, "INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (50, 'other', 3306)",
			"UPDATE mysql_servers SET weight=0 WHERE hostname='db1' AND hostgroup_id=10")
		for range 2 {
			if p := b.status(t, r); len(p.Drift) > 0 || p.Epoch != 5 {
				t.Errorf("status: %+v", p)
			}
			b.apply(t, r)
		}
		wantText(t, "untouched and not loaded", table(t, b.Proxy, "SELECT COUNT(*) FROM runtime_mysql_servers WHERE hostgroup_id=50"), "0")
		for _, says := range []string{"other:3306 in hostgroup 50, not ours", "db1:3306 in hostgroup 10: weight 0"} {
			if n := strings.Count(logged.String(), says); n != 1 {
				t.Errorf("%q was logged %d times in\n%s", says, n, logged.String())
			}
		}
	})
}

func TestAProxyThatKillsForClientsThatWentAwaySaysSo(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		for _, value := range []string{"true", "false"} { // the lab's own last
			sqlExec(t, b.Proxy, "UPDATE global_variables SET variable_value='"+value+"' WHERE variable_name='mysql-kill_backend_connection_when_disconnect'", "LOAD MYSQL VARIABLES TO RUNTIME")
			p, err := newBench(t, b.Proxy).admin.Status(within(t), route(5, "db1:3306", topology.Open), tens)
			if err != nil || p.Kills != (value == "true") {
				t.Errorf("set to %s: it kills %v, %v", value, p.Kills, err)
			}
		}
	})
}

func TestAConflictIsRefusedOrTakenOver(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		mine := tens
		mine.TakeOver = true
		cluster := "UPDATE global_variables SET variable_value='%' WHERE variable_name='admin-cluster_mysql_servers_diffs_before_sync'"
		for _, c := range []struct {
			name, says string
			by, undo   []string
		}{
			{"replication hostgroups", "mysql_replication_hostgroups has a row (writer_hostgroup 10, reader_hostgroup 11) that names hostgroup 10",
				[]string{"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 11)", "LOAD MYSQL SERVERS TO RUNTIME"}, nil},
			{"not yet loaded", "mysql_replication_hostgroups has a row (writer_hostgroup 7, reader_hostgroup 10)",
				[]string{"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (7, 10)"}, nil},
			{"gone from memory only", "runtime_mysql_replication_hostgroups has a row",
				[]string{"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 11)", "LOAD MYSQL SERVERS TO RUNTIME", "DELETE FROM mysql_replication_hostgroups"}, nil},
			{"galera", "mysql_galera_hostgroups has a row (writer_hostgroup 7, reader_hostgroup 9) that names hostgroup 10 or 11",
				[]string{"INSERT INTO mysql_galera_hostgroups (writer_hostgroup, backup_writer_hostgroup, reader_hostgroup, offline_hostgroup) VALUES (7, 8, 9, 11)"}, nil},
			{"ProxySQL Cluster", "admin-cluster_mysql_servers_diffs_before_sync is 3",
				[]string{"INSERT INTO proxysql_servers (hostname, port) VALUES ('127.0.0.1', 1)", "LOAD PROXYSQL SERVERS TO RUNTIME", strings.Replace(cluster, "%", "3", 1), "LOAD ADMIN VARIABLES TO RUNTIME"},
				[]string{"DELETE FROM proxysql_servers", "LOAD PROXYSQL SERVERS TO RUNTIME"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				reset(t, b.Proxy)
				defer sqlExec(t, b.Proxy, c.undo...)
				b := newBench(t, b.Proxy) // who looked before would look for ProxySQL Cluster again only after seconds
				sqlExec(t, b.Proxy, c.by...)
				r := route(5, "db1:3306", topology.Open)
				p, err := b.admin.Apply(within(t), r, tens)
				wantErr(t, err, ErrConflict)
				if !strings.Contains(p.Conflict, c.says) {
					t.Errorf("conflict: %s, want %s", p.Conflict, c.says)
				}
				if p := b.status(t, r); p.Conflict == "" {
					t.Errorf("status: %+v", p)
				}
				wantText(t, "refused", servers(t, b.Proxy, "mysql_servers"), "")

				p, err = b.admin.Apply(within(t), r, mine)
				must(t, err)
				if p.Conflict != "" || p.Writer != "db1:3306" || p.Epoch != 5 {
					t.Errorf("taken over: %+v", p)
				}
				if p := b.status(t, r); p.Conflict != "" {
					t.Errorf("status: %+v", p)
				}
				sqlExec(t, b.Proxy, "INSERT OR IGNORE INTO disk.mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 7), (20, 21)")
				must(t, b.admin.Save(within(t), mine))
				wantText(t, "disk", table(t, b.Proxy, "SELECT writer_hostgroup FROM disk.mysql_replication_hostgroups"), "20")
			})
		}
	})
}

// ConnUsed and the sessions behind it, with real servers and clients.
func TestSessions(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(within(t), lab.ServerOptions{Name: "db", Writable: true})
	must(t, err)
	must(t, s.Exec(within(t), "CREATE DATABASE lab"))
	onProxies(t, func(t *testing.T, b *bench) {
		writer := topology.MustParseAddr(s.Addr)
		r := topology.Route{Cluster: "main", Epoch: 1, Writer: writer, Mode: topology.Open}
		b.apply(t, r)
		idle, busy := openClient(t, b), openClient(t, b)
		idle.exec(t, "SELECT 1")
		busy.exec(t, "BEGIN")
		busy.exec(t, "SELECT 1")

		r.Epoch, r.Mode = 2, topology.Paused
		if p := b.apply(t, r); p.Drained || p.Mode != topology.Paused {
			t.Fatalf("paused with a transaction in progress: %+v", p)
		}
		busy.exec(t, "SELECT 2") // goes on
		if p := b.status(t, r); p.Drained {
			t.Fatalf("still in progress: %+v", p)
		}
		busy.exec(t, "COMMIT")
		eventually(t, "drained", func() (bool, string) { p := b.status(t, r); return p.Drained, p.Error })

		r.Epoch, r.Mode = 3, topology.Open
		b.apply(t, r)
		busy.exec(t, "SET @kept = 1") // no multiplexing from here on
		r.Epoch, r.Mode = 4, topology.Paused
		if p := b.apply(t, r); p.Drained {
			t.Fatalf("drained, though a session kept its connection: %+v", p)
		}
		n, err := b.admin.EndSessions(within(t), tens, writer)
		must(t, err)
		if n != 1 {
			t.Errorf("%d sessions ended, want 1", n)
		}
		eventually(t, "drained", func() (bool, string) { p := b.status(t, r); return p.Drained, p.Error })
		if busy.ping() == nil {
			t.Error("the ended session lives")
		}

		r.Epoch, r.Mode = 5, topology.Open
		b.apply(t, r)
		idle.exec(t, "SELECT 3") // never noticed anything
		busy = openClient(t, b)
		busy.exec(t, "BEGIN")
		busy.exec(t, "SELECT 1")
		r.Epoch, r.Mode = 6, topology.Fenced
		if p := b.apply(t, r); p.Mode != topology.Fenced {
			t.Errorf("fenced: %+v", p)
		}
		if busy.ping() == nil {
			t.Error("a transaction on a fenced writer lives")
		}
		if !slices.Contains([]string{"", writer.Host()}, string(b.status(t, r).Writer)) {
			t.Error("a writer")
		}
	})
}
