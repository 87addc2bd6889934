package mysql

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

var compareSets = cmp.Comparer(func(a, b gtid.Set) bool { return a.Equal(b) })

func TestTheVersionChoosesTheDialect(t *testing.T) {
	for version, want := range map[string]dialect{
		"5.5.5-10.5.23-MariaDB-1:10.5.23+maria~ubu2004-log": mariadb{},
		"10.11.19-MariaDB-0+deb12u1-log":                    mariadb{},
		"11.8.2-MariaDB":                                    mariadb{},
		"8.0.21":                                            mysql80{},
		"8.0.36-28":                                         mysql80{},
		"8.4.3":                                             mysql84{},
		"9.7.4-2":                                           mysql84{},
	} {
		if got, err := dialectOf(version); err != nil || got != want {
			t.Errorf("%s: %T, %v; want %T", version, got, err, want)
		}
	}
	if _, err := dialectOf("5.7.44-log"); !errors.Is(err, errTooOld) || reachOf(err) != topology.Garbled {
		t.Errorf("a version before the first that we know: %v", err)
	}
	if _, err := dialectOf("nonsense"); err == nil || reachOf(err) != topology.Garbled {
		t.Errorf("a version that is none: %v", err)
	}
}

// variables makes a result of names and values.
func variables(pairs ...string) result {
	var res result
	for i := 0; i < len(pairs); i += 2 {
		res = append(res, row{"Variable_name": pairs[i], "Value": pairs[i+1]})
	}
	return res
}

func second(n int) *topology.Duration {
	d := topology.Duration(time.Duration(n) * time.Second)
	return &d
}

func TestAReplicaOfMariaDB(t *testing.T) {
	r, err := mariadb{}.parse(map[string]result{
		partVariables: {{
			"version": "10.11.6-MariaDB-log", "server_id": "3", "read_only": "1", "log_bin": "1", "log_slave_updates": "1",
			"binlog_format": "MIXED", "gtid_strict_mode": "0", "gtid_binlog_state": "0-1-90,0-2-100,1-1-7", "gtid_slave_pos": "0-2-101,2-9-1",
			"report_host": "DB3", "report_port": "3307", "max_connections": "151", "slave_parallel_threads": "4",
			"rpl_semi_sync_master_enabled": "0", "rpl_semi_sync_master_timeout": "10000", "rpl_semi_sync_slave_enabled": "1",
		}},
		partReplication: {{
			"Connection_name": "", "Master_Host": "db2.example", "Master_Port": "3306", "Master_User": "repl",
			"Slave_IO_Running": "Connecting", "Slave_SQL_Running": "Yes", "Last_IO_Errno": "2003", "Last_IO_Error": "error connecting",
			"Last_SQL_Errno": "0", "Last_SQL_Error": "", "Using_Gtid": "Slave_Pos", "Gtid_IO_Pos": "0-2-120",
			"Master_Log_File": "b.2", "Read_Master_Log_Pos": "500", "Relay_Master_Log_File": "b.2", "Exec_Master_Log_Pos": "400",
			"SQL_Delay": "60", "Slave_heartbeat_period": "0.500", "Slave_received_heartbeats": "12",
			"Replicate_Do_DB": "", "Replicate_Ignore_Table": "a.b,a.c", "Replicate_Wild_Do_Table": "x.%",
			"Slave_SQL_Running_State": "Waiting until MASTER_DELAY seconds after master executed event",
		}, {
			"Connection_name": "other", "Master_Host": "", "Master_Port": "3306", // reset, and not a source any more
		}, {
			"Connection_name": "third", "Master_Host": "bad_host_", "Master_Port": "3306", "Slave_IO_Running": "No", "Slave_SQL_Running": "No",
			"Using_Gtid": "No", "Seconds_Behind_Master": "7", "Gtid_IO_Pos": "", "SQL_Delay": "0",
		}},
		partStatus: variables("Uptime", "77", "Threads_connected", "9", "Rpl_semi_sync_slave_status", "ON", "wsrep_cluster_size", "0"),
		partReplicas: {
			{"Server_id": "4", "Host": "db4", "Port": "3306"}, {"Server_id": "5", "Host": "", "Port": "3306"}, {"Server_id": "6", "Host": "db1", "Port": "3310"},
		},
	})
	must(t, err)
	want := &topology.State{
		Flavor: "mariadb", Version: "10.11.6-MariaDB-log", ServerID: 3, ReportedAs: "db3:3307", ReadOnly: true,
		LogBin: true, LogReplicaUpdates: true, BinlogFormat: "MIXED", GTIDMode: "ON",
		Executed: gtid.MustParse("0-1-90,0-2-101,1-1-7,2-9-1"),
		Sources: []topology.Source{{
			Addr: "db2.example:3306", IO: topology.ThreadConnecting, SQL: topology.ThreadYes, IOError: "error connecting", IOErrno: 2003,
			Received: gtid.MustParse("0-2-120"), Delay: *second(60), GTID: true, Filters: "ignore_table=a.b,a.c wild_do_table=x.%",
			Heartbeat: topology.Duration(500 * time.Millisecond),
		}, {
			Channel: "third", IO: topology.ThreadNo, SQL: topology.ThreadNo, Untried: true, Lag: second(7),
		}},
		Replicas: []topology.Addr{"db1:3310", "db4:3306"},
		SemiSync: topology.SemiSync{Timeout: *second(10), WaitCount: 1, ReplicaEnabled: true, ReplicaActive: true},
		Uptime:   *second(77), Connections: 9, MaxConnections: 151,
	}
	if diff := cmp.Diff(want, r.state, compareSets); diff != "" {
		t.Error(diff)
	}
	if c := r.channel(); c.IOErrno != 2003 || c.user != "repl" || c.received != "b.2:500" || c.executed != "b.2:400" || c.readAll() || r.workers != 4 {
		t.Errorf("%+v, %d workers", c, r.workers)
	}
}

func TestReadOnlyAsAWord(t *testing.T) {
	for word, want := range map[string]bool{"0": false, "OFF": false, "1": true, "ON": true, "NO_LOCK": true, "NO_LOCK_NO_ADMIN": true} {
		r, err := mariadb{}.parse(map[string]result{partVariables: {{"read_only": word}}})
		must(t, err)
		if r.state.ReadOnly != want {
			t.Errorf("%s: %t", word, r.state.ReadOnly)
		}
	}
}

func TestGaleraIsNamed(t *testing.T) {
	r, err := mariadb{}.parse(map[string]result{partVariables: {{}}, partStatus: variables("wsrep_cluster_size", "3")})
	must(t, err)
	if r.state.Member != "galera" {
		t.Error(r.state.Member)
	}
}

const uuids = "3e11fa47-71ca-11e1-9e33-c80aa9429562"

func TestAPrimaryAndAReplicaOfMySQL(t *testing.T) {
	old := map[string]result{
		partVariables: variables("version", "8.0.36", "server_id", "1", "server_uuid", uuids, "read_only", "OFF", "super_read_only", "OFF",
			"log_bin", "ON", "log_slave_updates", "ON", "binlog_format", "ROW", "gtid_mode", "ON",
			"report_host", "", "report_port", "3306", "max_connections", "100",
			"rpl_semi_sync_master_enabled", "ON", "rpl_semi_sync_master_timeout", "1000", "rpl_semi_sync_master_wait_for_slave_count", "2",
			"group_replication_group_name", ""),
		partSets:        {{"executed": uuids + ":1-9,\n" + uuids + ":11", "purged": uuids + ":1-3"}},
		partReplication: {},
		partStatus:      variables("Uptime", "5", "Threads_connected", "3", "Rpl_semi_sync_master_status", "ON", "Rpl_semi_sync_master_clients", "2"),
		partReplicas:    {{"Server_Id": "2", "Host": "db2", "Port": "3306"}},
	}
	r, err := mysql80{}.parse(old)
	must(t, err)
	want := &topology.State{
		Flavor: "mysql", Version: "8.0.36", ServerID: 1, ServerUUID: uuids, LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW",
		GTIDMode: "ON", GTIDStrict: true, Executed: gtid.MustParse(uuids + ":1-9:11"), Purged: gtid.MustParse(uuids + ":1-3"),
		Replicas: []topology.Addr{"db2:3306"}, Uptime: *second(5), Connections: 3, MaxConnections: 100,
		SemiSync: topology.SemiSync{SourceEnabled: true, SourceActive: true, Timeout: *second(1), WaitCount: 2, Clients: 2, NoReplica: true},
	}
	if diff := cmp.Diff(want, r.state, compareSets); diff != "" {
		t.Error(diff)
	}
	if r.semiSync != (semiSyncWords{"master", ""}) {
		t.Errorf("%+v", r.semiSync)
	}

	r, err = mysql84{}.parse(map[string]result{
		partVariables: variables("version", "9.7.4", "server_id", "2", "server_uuid", uuids, "read_only", "ON", "super_read_only", "ON",
			"log_replica_updates", "ON", "rpl_semi_sync_replica_enabled", "ON", "rpl_semi_sync_source_enabled", "OFF"),
		partSets: {{"executed": uuids + ":1-5", "purged": ""}},
		partReplication: {{
			"Channel_Name": "", "Source_Host": "db1", "Source_Port": "3306", "Source_User": "repl", "Source_SSL_Allowed": "Yes",
			"Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes", "Auto_Position": "1", "Retrieved_Gtid_Set": uuids + ":4-7",
			"Seconds_Behind_Source": "0", "Source_Log_File": "b.1", "Read_Source_Log_Pos": "9", "SQL_Delay": "0",
			"Replica_SQL_Running_State": "Replica has read all relay log; waiting for more updates", "Last_SQL_Errno": "0",
		}},
		partHeartbeats: {{"channel": "", "period": "1.500", "beats": "42", "last": "2026-01-01 00:00:00", "queued": uuids + ":7"}},
	})
	must(t, err)
	src, c := r.state.Source(), r.channel()
	if src.Addr != "db1:3306" || src.IO != topology.ThreadYes || !src.GTID || src.Heartbeat.D() != 1500*time.Millisecond ||
		!src.Received.Equal(gtid.MustParse(uuids+":4-7")) || *src.Lag != 0 || !c.tls || !c.readAll() || !strings.Contains(c.pulse, " 42 ") {
		t.Errorf("%+v", c)
	}
	if !r.state.SuperReadOnly || r.semiSync != (semiSyncWords{"source", "replica"}) || !r.state.SemiSync.ReplicaEnabled {
		t.Errorf("%+v", r)
	}
}

func TestDrained(t *testing.T) {
	st := &topology.State{Executed: gtid.MustParse("0-1-10"), GTIDStrict: true}
	with := func(change func(c *channel)) *channel {
		c := &channel{Source: topology.Source{IO: topology.ThreadNo, SQL: topology.ThreadYes, GTID: true, Received: gtid.MustParse("0-1-10")},
			sqlState: "Slave has read all relay log; waiting for more updates", received: "b:9", executed: "b:9"}
		change(c)
		return c
	}
	for _, c := range []struct {
		name string
		c    *channel
		want bool
	}{
		{"all applied", with(func(*channel) {}), true},
		{"the IO thread runs", with(func(c *channel) { c.IO = topology.ThreadConnecting }), false},
		{"more was received", with(func(c *channel) { c.Received = gtid.MustParse("0-1-11") }), false},
		{"the SQL thread still reads", with(func(c *channel) { c.sqlState = "Reading event from the relay log" }), false},
		{"stopped, with nothing left", with(func(c *channel) { c.SQL = topology.ThreadNo; c.executed = "b:5" }), true},
		{"stopped after a restart, with nothing left", with(func(c *channel) { c.SQL = topology.ThreadNo; c.Received = gtid.Set{} }), true},
		{"stopped after a restart, with something left", with(func(c *channel) {
			c.SQL, c.Received, c.executed = topology.ThreadNo, gtid.Set{}, "b:5"
		}), false},
		{"stopped after a repoint to the relay log", with(func(c *channel) { c.SQL, c.Received, c.GTID = topology.ThreadNo, gtid.Set{}, false }), false},
	} {
		if got := drained(st, c.c); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestAStatementWithAPasswordIsNotShown(t *testing.T) {
	tls := true
	p := pointing{channel: "c'1", source: "db1:3307", user: "re'pl", password: `s\e'cret`, heartbeat: 500 * time.Millisecond, retry: 1200 * time.Millisecond, tls: &tls, plain: true}
	for _, c := range []struct {
		d         dialect
		sql, show string
	}{
		{mariadb{}, `CHANGE MASTER 'c''1' TO MASTER_HOST='db1', MASTER_PORT=3307, MASTER_USER='re''pl', MASTER_PASSWORD='s\\e''cret', ` +
			`MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=2, MASTER_HEARTBEAT_PERIOD=0.500, MASTER_SSL=1`, "MASTER_PASSWORD=***, MASTER_USE_GTID"},
		{mysql80{}, `CHANGE MASTER TO MASTER_HOST='db1', MASTER_PORT=3307, MASTER_USER='re''pl', MASTER_PASSWORD='s\\e''cret', MASTER_AUTO_POSITION=1, ` +
			`MASTER_CONNECT_RETRY=2, MASTER_RETRY_COUNT=86400, MASTER_HEARTBEAT_PERIOD=0.500, GET_MASTER_PUBLIC_KEY=1, MASTER_SSL=1 /*!80022 , SOURCE_CONNECTION_AUTO_FAILOVER=0 */ FOR CHANNEL 'c''1'`, "MASTER_PASSWORD=***,"},
		{mysql84{}, `CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3307, SOURCE_USER='re''pl', SOURCE_PASSWORD='s\\e''cret', SOURCE_AUTO_POSITION=1, ` +
			`SOURCE_CONNECT_RETRY=2, SOURCE_RETRY_COUNT=86400, SOURCE_HEARTBEAT_PERIOD=0.500, GET_SOURCE_PUBLIC_KEY=1, SOURCE_SSL=1 /*!80022 , SOURCE_CONNECTION_AUTO_FAILOVER=0 */ FOR CHANNEL 'c''1'`, "SOURCE_PASSWORD=***,"},
	} {
		st := c.d.point(p)
		if diff := cmp.Diff(c.sql, st.sql); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(st.shown, "cret") || !strings.Contains(st.shown, c.show) {
			t.Errorf("shown: %s", st.shown)
		}
	}
	for _, d := range []dialect{mysql80{}, mysql84{}} {
		p.plain = false
		if st := d.point(p); strings.Contains(st.sql, "PUBLIC_KEY") {
			t.Errorf("with TLS it asks for a key: %s", st.sql)
		}
	}
	p.user, p.tls = "", nil
	if st := (mariadb{}).point(p); strings.Contains(st.sql, "PASSWORD") || strings.Contains(st.sql, "SSL") {
		t.Error(st.sql)
	}
}

func TestAHistoryThatIsNotLinearHasNoPosition(t *testing.T) {
	st := &topology.State{Executed: gtid.MustParse("0-1-10,0-2-10,1-1-5")}
	if _, err := (mariadb{}).adopt(&reading{state: st}); err == nil || !strings.Contains(err.Error(), "0-1-10 and 0-2-10") {
		t.Errorf("%v", err)
	}
	st.Executed = gtid.MustParse("0-1-10,0-2-12,1-1-5")
	if got, err := (mariadb{}).adopt(&reading{state: st}); err != nil || got[0].sql != "SET GLOBAL gtid_slave_pos='0-2-12,1-1-5'" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSemiSyncOfMySQLNeedsItsPlugins(t *testing.T) {
	none := &reading{}
	if got, err := (oracle{}).semiSync(none, semiSyncPlan{}); err != nil || got.sql != "" {
		t.Errorf("off, not installed: %v, %v", got, err)
	}
	if _, err := (oracle{}).semiSync(none, semiSyncPlan{source: true}); err == nil {
		t.Error("on, not installed")
	}
	got, err := oracle{}.semiSync(&reading{semiSync: semiSyncWords{"master", "slave"}}, semiSyncPlan{source: true, waitCount: 2})
	must(t, err)
	want := "SET GLOBAL rpl_semi_sync_slave_enabled=0, GLOBAL rpl_semi_sync_master_wait_for_slave_count=2, GLOBAL rpl_semi_sync_master_enabled=1"
	if got.sql != want {
		t.Error(got.sql)
	}
}

func TestSilence(t *testing.T) {
	s, at := silences{}, time.Unix(1000, 0)
	look := func(after int, source topology.Addr, pulse string) *topology.Duration {
		r := &reading{state: &topology.State{Sources: []topology.Source{{Addr: source}}}, channels: []channel{{Source: topology.Source{Addr: source}, pulse: pulse}}}
		s.note(at.Add(time.Duration(after)*time.Second), r)
		return r.state.Sources[0].Silence
	}
	for i, c := range []struct {
		after  int
		source topology.Addr
		pulse  string
		want   *topology.Duration
	}{
		{0, "a:1", "x", nil}, {1, "a:1", "x", second(1)}, {2, "a:1", "y", second(0)}, {5, "a:1", "y", second(3)},
		{6, "b:1", "y", nil}, {7, "a:1", "y", nil}, {8, "a:1", "y", second(1)},
	} {
		if diff := cmp.Diff(c.want, look(c.after, c.source, c.pulse)); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
	}
}
