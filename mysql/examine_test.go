package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// ward are servers that the doctor looks after; the first is the primary.
type ward struct {
	*Servers
	top *lab.Topology
}

func newWard(t *testing.T) ward {
	t.Helper()
	top := replication(t, lab.Spec{Servers: 2})
	s := servers(t, testConfig())
	return ward{s, top}
}

// examine looks at all servers under a policy that promises much.
func (w ward) examine(t *testing.T) doctor.Report {
	t.Helper()
	c := doctor.Cluster{Name: "main", Writer: addr(w.top.Primary()), Epoch: 1, Policy: failover.DefaultPolicy(),
		Want: doctor.Want{ConnectRetry: topology.Duration(time.Second), Sidecars: 3}}
	c.Policy.Durability = failover.SemiSync
	for _, s := range w.top.Servers {
		c.Servers = append(c.Servers, w.Examine(testContext(t), addr(s)))
	}
	return doctor.Examine(&doctor.Facts{Taken: time.Now(), Node: "n1", Leader: "n1", Clusters: []doctor.Cluster{c}})
}

// finds is the finding of a check at a server; nil where there is none.
func finds(r doctor.Report, check string, s *lab.Server) *doctor.Finding {
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == check && f.Where == s.Addr })
	if i < 0 {
		return nil
	}
	return &r.Findings[i]
}

// ailment is a server that was set up badly.
type ailment struct {
	check   string
	replica bool     // it is done to the replica, else to the primary
	mariadb []string // statements as root; none: not of this flavor
	mysql   []string
	says    string
	fixed   bool // --fix mends it
}

func (a ailment) spoil(f lab.Flavor) []string {
	if f == lab.MySQL {
		return a.mysql
	}
	return a.mariadb
}

func both(statements ...string) (mariadb, mysql []string) { return statements, statements }

// Every ailment is seen on a real server, and what may be mended without a person is.
func TestTheDoctorSeesWhatIsSetBadly(t *testing.T) {
	w := newWard(t)
	w.onlyWhatTheTableAllows(t)
	first := w.examine(t)
	for _, f := range first.Findings {
		if f.Severity == doctor.Error || f.Severity == doctor.Unknown {
			t.Errorf("before anything was spoiled: %+v", f)
		}
	}
	like := func(check string, replica, fixed bool, says string, statements ...string) ailment {
		a := ailment{check: check, replica: replica, fixed: fixed, says: says}
		a.mariadb, a.mysql = both(statements...)
		return a
	}
	ailments := []ailment{
		like("durability", true, true, "sync_binlog is 0", "SET GLOBAL sync_binlog=0"),
		{check: "net_timeout", replica: true, fixed: true, says: "3600",
			mariadb: []string{"SET GLOBAL slave_net_timeout=3600"}, mysql: []string{"SET GLOBAL replica_net_timeout=3600"}},
		like("binlog_format", false, false, "STATEMENT", "SET GLOBAL binlog_format='STATEMENT'"),
		{check: "skipped_errors", replica: true, says: "IDEMPOTENT",
			mariadb: []string{"SET GLOBAL slave_exec_mode='IDEMPOTENT'"}, mysql: []string{"SET GLOBAL replica_exec_mode='IDEMPOTENT'"}},
		{check: "event_scheduler", replica: true, says: "ON at the primary", mysql: []string{"SET GLOBAL event_scheduler=OFF"}},
		{check: "gtid", says: "gtid_strict_mode is off", mariadb: []string{"SET GLOBAL gtid_strict_mode=OFF"}},
		{check: "read_only_at_boot", replica: true, fixed: true, says: "SET PERSIST made read_only OFF", mysql: []string{"SET PERSIST_ONLY read_only='OFF'"}},
		{check: "read_only_at_boot", says: "SET PERSIST made read_only ON at the primary", mysql: []string{"SET PERSIST_ONLY read_only='ON'"}},
		{check: "super_read_only", replica: true, fixed: true, says: "not super_read_only", mysql: []string{"SET GLOBAL super_read_only=OFF"}},
		{check: "appliers", replica: true, says: "OFF with 4 workers",
			mysql: []string{"STOP REPLICA SQL_THREAD", "SET GLOBAL replica_parallel_workers=4", "SET GLOBAL replica_preserve_commit_order=OFF", "START REPLICA SQL_THREAD"}},
		{check: "channel_retry", replica: true, says: "tries to connect every 1m0s",
			mariadb: []string{"STOP SLAVE", "CHANGE MASTER TO MASTER_CONNECT_RETRY=60", "START SLAVE"},
			mysql:   []string{"STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_CONNECT_RETRY=60", "START REPLICA"}},
		{check: "channel_retry", replica: true, says: "gives up for good after 10 attempts",
			mysql: []string{"STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=10", "START REPLICA"}},
		{check: "channel_failover", replica: true, says: "changes its source by itself",
			mysql: []string{"STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_CONNECTION_AUTO_FAILOVER=1", "START REPLICA"}},
		{check: "semi_sync_plugin", replica: true, says: "no plugin for it as a source", mysql: []string{"SET GLOBAL super_read_only=OFF", "UNINSTALL PLUGIN rpl_semi_sync_source"}},
		{check: "channel_heartbeat", replica: true, says: "no heartbeats", mysql: []string{"STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD=0", "START REPLICA"},
			mariadb: []string{"STOP SLAVE", "CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD=0", "START SLAVE"}},
		like("account_limits", false, false, "is 3, and it needs up to 7", "ALTER USER remora@'%' WITH MAX_USER_CONNECTIONS 3"),
		like("privileges", false, false, "lacks PROCESS", "REVOKE PROCESS ON *.* FROM remora@'%'"),
		like("replication_account", false, false, "lacks REPLICATION SLAVE", "REVOKE REPLICATION SLAVE ON *.* FROM repl@'%'"),
		like("server_id", true, false, "is that of "+w.top.Primary().Addr, fmt.Sprintf("SET GLOBAL server_id=%d", w.top.Primary().ServerID)),
	}
	for _, a := range ailments {
		on := w.top.Primary()
		if a.replica {
			on = w.top.Replicas()[0]
		}
		statements := a.spoil(on.Flavor())
		if statements == nil {
			continue
		}
		t.Run(a.check+" "+statements[len(statements)-1], func(t *testing.T) {
			must(t, on.Exec(testContext(t), statements...))
			found := finds(w.examine(t), a.check, on)
			if found == nil || !strings.Contains(found.Sentence, a.says) || found.Why == "" || found.Mend == "" {
				t.Fatalf("%s: %+v, want %q", a.check, found, a.says)
			}
			t.Logf("%s %s: %s\n%s\nmend: %s", found.Severity, found.Where, found.Sentence, found.Why, found.Mend)
			if (found.Fix != nil) != a.fixed {
				t.Fatalf("its fix is %v", found.Fix)
			}
			if a.fixed {
				must(t, w.Mend(testContext(t), *found.Fix))
				if still := finds(w.examine(t), a.check, on); still != nil {
					t.Errorf("after its fix: %+v", still)
				}
			}
		})
	}
}

// onlyWhatTheTableAllows: what it does not allow is never sent, whoever asks; and each
// statement asks for leave first.
func (w ward) onlyWhatTheTableAllows(t *testing.T) {
	on := w.top.Primary()
	before := w.Examine(testContext(t), addr(on)).Variables
	for _, set := range []doctor.Setting{
		{How: doctor.Global, Name: "sync_binlog", Value: "0"},
		{How: doctor.Global, Name: "read_only", Value: "ON"},
		{How: doctor.Global, Name: "innodb_flush_log_at_trx_commit", Value: "2"},
		{How: doctor.Global, Name: "sync_binlog", Value: "1; STOP SLAVE"},
	} {
		if err := w.Mend(testContext(t), doctor.Fix{Server: addr(on), Settings: []doctor.Setting{set}}); err == nil || !strings.Contains(err.Error(), "nothing was sent") {
			t.Errorf("%s: %v", set.Statement(), err)
		}
	}
	must(t, on.Exec(testContext(t), "SET GLOBAL sync_binlog=7"))
	w.Confirm = func(context.Context) error { return errors.New("another one leads") }
	fix := doctor.Fix{Server: addr(on), Settings: []doctor.Setting{{How: doctor.Global, Name: "sync_binlog", Value: "1"}}}
	if err := w.Mend(testContext(t), fix); err == nil || !strings.Contains(err.Error(), "another one leads") {
		t.Errorf("without a quorum: %v", err)
	}
	w.Confirm = nil
	after := w.Examine(testContext(t), addr(on)).Variables
	if before["sync_binlog"] = "7"; fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("it was\n%v\nand is\n%v", before, after)
	}
	must(t, w.Mend(testContext(t), fix))
}

// A server that is not there, hangs or talks nonsense is a line, within the time given.
func TestAServerThatCannotBeExaminedIsALine(t *testing.T) {
	on := alone(t, lab.ServerOptions{})
	s := servers(t, testConfig())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	must(t, on.Freeze())
	for what, where := range map[string]topology.Addr{"nobody listens": "127.0.0.1:1", "it is frozen": addr(on), "it talks nonsense": topology.Addr(l.Addr().String())} {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		began := time.Now()
		found := s.Examine(ctx, where)
		cancel()
		if took := time.Since(began); found.Error == "" || found.State != nil || took > 10*time.Second {
			t.Errorf("%s: %+v after %s", what, found, took)
		}
		r := doctor.Examine(&doctor.Facts{Clusters: []doctor.Cluster{{Name: "main", Servers: []doctor.Server{found}}}})
		if i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "server_unreadable" }); i < 0 || r.Findings[i].Severity != doctor.Unknown {
			t.Errorf("%s: %+v", what, r.Findings)
		}
		t.Logf("%s: %s", what, found.Error)
	}
	must(t, on.Thaw())
}

func TestGrantsAreReadWithoutTheirHashes(t *testing.T) {
	g := parseGrants(result{
		{"Grants for remora@%": "GRANT RELOAD, PROCESS, SELECT (a, b) ON *.* TO `remora`@`%` IDENTIFIED BY PASSWORD '*ABC' WITH MAX_USER_CONNECTIONS 5"},
		{"Grants for remora@%": "GRANT SELECT ON `performance_schema`.`replication_connection_status` TO `remora`@`%`"},
		{"Grants for remora@%": "GRANT `ops`@`%` TO `remora`@`%`"},
	})
	if !g.has("PROCESS") || g.has("SUPER") || !g.on("performance_schema", "replication_connection_status", "SELECT") || strings.Contains(fmt.Sprint(g), "ABC") {
		t.Errorf("%v", g)
	}
	old, now := &reading{state: &topology.State{Flavor: "mysql", Version: "8.0.15"}}, &reading{state: &topology.State{Flavor: "mysql", Version: "8.0.16-7"}}
	for r, want := range map[*reading]bool{old: false, now: true} {
		lacks := granted{}.account("remora@%", r)
		if got := slices.Contains(lacks.Missing[doctor.UseAlways], "SYSTEM_USER"); got != want {
			t.Errorf("%s: SYSTEM_USER is asked for: %v", r.state.Version, got)
		}
		if !slices.Contains(lacks.Missing[doctor.UseEvents], "SET_USER_ID") {
			t.Errorf("%s: before 8.2 %v are asked for", r.state.Version, lacks.Missing[doctor.UseEvents])
		}
		if !strings.Contains(lacks.Grant[doctor.UseAlways], "replication_applier_status_by_worker") {
			t.Errorf("%s: not all tables are asked for: %s", r.state.Version, lacks.Grant[doctor.UseAlways])
		}
	}
	if all := parseGrants(result{{"x": "GRANT ALL PRIVILEGES ON *.* TO root@localhost"}}); len(all.lacking(mariadbPrivileges)) > 0 {
		t.Errorf("%v", all)
	}
}
