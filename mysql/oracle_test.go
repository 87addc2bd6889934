package mysql

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// ofMySQL is why the tests of this file run on MySQL alone.
const ofMySQL = "MariaDB has no such thing"

func TestALongHistoryIsReadWhole(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	s := alone(t, lab.ServerOptions{})
	var sets []string
	for i := range 60 {
		sets = append(sets, fmt.Sprintf("3e11fa47-71ca-11e1-9e33-c80aa94295%02d:1-%d", i, 1000+i))
	}
	if isOf(t, s, tagsSince) {
		sets = append(sets, "3e11fa47-71ca-11e1-9e33-c80aa9429500:billing:1-7")
	}
	must(t, s.Exec(testContext(t), "SET GLOBAL gtid_purged='+"+strings.Join(sets, ",")+"'"))
	st := look(t, s)
	want := gtid.MustParse(strings.Join(sets, ","))
	if !st.Executed.Contains(want) || !st.Purged.Contains(want) || want.Contains(st.Executed) {
		t.Errorf("executed %s, purged %s", st.Executed, st.Purged)
	}
}

func TestWhatIsPersistedIsTold(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	s := alone(t, lab.ServerOptions{})
	persisted := func(want ...string) {
		t.Helper()
		if got := look(t, s).PersistedOpen; !slices.Equal(got, want) {
			t.Errorf("persisted open: %v, want %v", got, want)
		}
	}
	persisted()
	must(t, s.Exec(testContext(t), "SET PERSIST_ONLY read_only=ON"))
	persisted()
	must(t, s.Exec(testContext(t), "SET PERSIST_ONLY read_only=OFF"))
	persisted("read_only")
	must(t, s.Exec(testContext(t), "SET PERSIST_ONLY super_read_only=ON"))
	persisted()
	must(t, s.Exec(testContext(t), "SET PERSIST_ONLY super_read_only=OFF"))
	persisted("read_only", "super_read_only")

	p, _ := prober(t, addr(s), testConfig())
	for range 2 { // the second reading does not ask, and tells what the first one saw
		if st := probeWithin(t, p, testLimit).State; len(st.PersistedOpen) != 2 {
			t.Errorf("%v", st.PersistedOpen)
		}
	}
	must(t, s.Kill())
	must(t, s.Start(testContext(t)))
	if st := look(t, s); !st.Writable() {
		t.Errorf("it did not start open: %+v", st)
	}
	must(t, s.Exec(testContext(t), "RESET PERSIST"))
	persisted()
}

// TestARepointKeepsEveryOption sets all options of CHANGE REPLICATION SOURCE that have nothing to do with where the source is,
// and compares what the server keeps of them, password included.
func TestARepointKeepsEveryOption(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	s := alone(t, lab.ServerOptions{})
	const channel = "c1"
	must(t, s.Exec(testContext(t),
		"CREATE USER applier", "GRANT REPLICATION_APPLIER ON *.* TO applier",
		"CHANGE REPLICATION SOURCE TO SOURCE_HOST='old', SOURCE_PORT=3307, SOURCE_USER='somebody', SOURCE_PASSWORD='a secret', SOURCE_AUTO_POSITION=1,"+
			" SOURCE_BIND='127.0.0.1', NETWORK_NAMESPACE='ns1', SOURCE_CONNECT_RETRY=60, SOURCE_RETRY_COUNT=10, SOURCE_DELAY=3600, SOURCE_HEARTBEAT_PERIOD=10,"+
			" SOURCE_COMPRESSION_ALGORITHMS='zstd', SOURCE_ZSTD_COMPRESSION_LEVEL=7, SOURCE_SSL=1, SOURCE_SSL_CA='/ca.pem', SOURCE_SSL_CAPATH='/ca',"+
			" SOURCE_SSL_CERT='/cert.pem', SOURCE_SSL_CRL='/crl.pem', SOURCE_SSL_CRLPATH='/crl', SOURCE_SSL_KEY='/key.pem', SOURCE_SSL_CIPHER='AES256-SHA256',"+
			" SOURCE_SSL_VERIFY_SERVER_CERT=1, SOURCE_TLS_VERSION='TLSv1.3', SOURCE_TLS_CIPHERSUITES='TLS_AES_128_GCM_SHA256',"+
			" SOURCE_PUBLIC_KEY_PATH='/pub.pem', GET_SOURCE_PUBLIC_KEY=0, PRIVILEGE_CHECKS_USER='applier'@'%',"+
			" REQUIRE_ROW_FORMAT=1, REQUIRE_TABLE_PRIMARY_KEY_CHECK=ON, GTID_ONLY=1, SOURCE_CONNECTION_AUTO_FAILOVER=1 FOR CHANNEL 'c1'",
		"CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB=(nothing) FOR CHANNEL 'c1'"))
	kept := func() map[string]string {
		all := map[string]string{}
		for _, query := range []string{
			"SELECT * FROM mysql.slave_master_info", "SELECT * FROM mysql.slave_relay_log_info",
			"SELECT * FROM performance_schema.replication_connection_configuration", "SELECT * FROM performance_schema.replication_applier_configuration",
			"SELECT FILTER_NAME, FILTER_RULE FROM performance_schema.replication_applier_filters",
		} {
			row, err := s.Row(testContext(t), query)
			must(t, err)
			maps.Copy(all, row)
		}
		return all
	}
	before := kept()
	p := pointing{channel: channel, source: "new:3306", heartbeat: testConfig().Heartbeat.D(), retry: testConfig().ConnectRetry.D()}
	must(t, s.Exec(testContext(t), (mysql84{}).point(p).sql))
	p.source, p.running = "newer:3306", true // the statement for a running SQL thread says less, and that too keeps all
	must(t, s.Exec(testContext(t), (mysql84{}).point(p).sql))
	after := kept()
	want := maps.Clone(before)
	for name, value := range map[string]string{ // what a repoint sets, in the words of each table
		"Host": "newer", "HOST": "newer", "Port": "3306", "PORT": "3306", "Heartbeat": "0.5", "HEARTBEAT_INTERVAL": "0.5",
		"Connect_retry": "1", "CONNECTION_RETRY_INTERVAL": "1", "Retry_count": strconv.Itoa(sourceRetries), "CONNECTION_RETRY_COUNT": strconv.Itoa(sourceRetries),
		"Source_connection_auto_failover": "0", "SOURCE_CONNECTION_AUTO_FAILOVER": "0",
	} {
		want[name] = value
	}
	for name, value := range want {
		switch name {
		case "Relay_log_name", "Relay_log_pos", "Master_log_name", "Master_log_pos", "Uuid":
			continue // where it stood at the old source
		}
		if after[name] != value {
			t.Errorf("%s was %q, is %q, and has to be %q", name, before[name], after[name], value)
		}
	}
	if before["User_password"] != "a secret" || before["Network_namespace"] != "ns1" || before["Bind"] != "127.0.0.1" || before["SOURCE_CONNECTION_AUTO_FAILOVER"] != "1" {
		t.Errorf("the server keeps other columns than this test knows: %v", slices.Sorted(maps.Keys(before)))
	}
}

// TestAReplicaThatWandersIsHeld: also where it follows whom it shall.
func TestAReplicaThatWandersIsHeld(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	replica := top.Servers[1]
	s := servers(t, testConfig())
	wanders := func(want bool) {
		t.Helper()
		found := s.Examine(testContext(t), addr(replica))
		if len(found.Channels) != 1 || found.Channels[0].Wanders != want {
			t.Errorf("it wanders is not %v: %+v, %v", want, found.Channels, found.Error)
		}
	}
	wanders(false)
	must(t, replica.Exec(testContext(t), "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_CONNECTION_AUTO_FAILOVER=1", "START REPLICA"))
	wanders(true)
	facts := &doctor.Facts{Clusters: []doctor.Cluster{{Name: "main", Writer: addr(top.Servers[0]), Servers: []doctor.Server{s.Examine(testContext(t), addr(replica))}}}}
	mend := finds(doctor.Examine(facts), "channel_failover", replica).Mend
	must(t, replica.Exec(testContext(t), strings.Split(mend, "; ")...))
	wanders(false)
	must(t, replica.Exec(testContext(t), strings.Split(strings.Replace(mend, "= 0", "= 1", 1), "; ")...))
	wanders(true)
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(top.Servers[0])}))
	wanders(false)
}

// TestARepointLetsTheSQLThreadRun tells by the threads' numbers. To stop and start parallel threads takes longer than all the rest.
func TestARepointLetsTheSQLThreadRun(t *testing.T) {
	only(t, lab.MySQL, "MariaDB wants both threads stopped")
	top := replication(t, lab.Spec{Servers: 3, Server: lab.ServerOptions{Appliers: 4, SemiSync: true}})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	replica := top.Servers[2]
	threads := func() string {
		row, err := replica.Row(testContext(t), "SELECT GROUP_CONCAT(THREAD_ID ORDER BY THREAD_ID) AS ids FROM performance_schema.replication_applier_status_by_worker")
		must(t, err)
		return row["ids"]
	}
	for i := range 20 {
		write(t, top.Servers[0], i)
	}
	before := threads()
	step := failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(top.Servers[1]), SemiSync: &failover.SemiSyncPlan{Replica: true}}
	twice(t, s, step)
	if after := threads(); after != before || before == "" {
		t.Errorf("its SQL threads were %s and are %s", before, after)
	}
	if src := look(t, replica).Source(); !src.GTID || src.Addr != addr(top.Servers[1]) || src.IO != topology.ThreadYes {
		t.Errorf("%+v", src)
	}
	write(t, top.Servers[0], 20)
	hasWritten(t, replica, 20)
	step.Source = addr(top.Servers[0])
	twice(t, s, step)
	write(t, top.Servers[0], 21)
	hasWritten(t, replica, 21)
}

// TestARepointDropsWhatIsNotApplied: the new source may lack what the old one sent and is not applied yet.
func TestARepointDropsWhatIsNotApplied(t *testing.T) {
	only(t, lab.MySQL, "MariaDB drops its relay log at every repoint")
	top := replication(t, lab.Spec{Servers: 3, Delayed: map[int]int{2: 3600}})
	leastPrivileges(t, top)
	behind, replica := top.Servers[1], top.Servers[2]
	must(t, behind.StopReceiver(testContext(t)))
	write(t, top.Servers[0], 1)
	all := look(t, top.Servers[0]).Executed
	eventually(t, "the write to be received", func() (bool, string) {
		st := look(t, replica)
		return st.Received().Contains(all), st.Received().String()
	})
	must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(behind)}))
	if st := look(t, replica); st.Received().Contains(all) || st.Source().SQL != topology.ThreadYes || st.Source().Delay.D() != time.Hour {
		t.Errorf("its relay log still holds what %s lacks: %s; %+v", behind.Name, st.Received(), st.Source())
	}
}

func TestAReplicaOfSeveralSourcesIsNotRepointed(t *testing.T) {
	only(t, lab.MySQL, "its connections have names of another kind")
	top := replication(t, lab.Spec{Servers: 3})
	leastPrivileges(t, top)
	replica, second := top.Servers[1], top.Servers[2]
	s := servers(t, testConfig())
	p := pointing{channel: "billing", source: addr(second), user: lab.ReplUser.Name, password: lab.ReplUser.Password,
		heartbeat: testConfig().Heartbeat.D(), retry: testConfig().ConnectRetry.D(), plain: true}
	must(t, replica.Exec(testContext(t), (mysql84{}).point(p).sql, "START REPLICA FOR CHANNEL 'billing'"))
	st := look(t, replica)
	if !st.MultiSource() || st.Source().Addr != addr(top.Servers[0]) {
		t.Fatalf("%+v", st.Sources)
	}
	err := s.Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(second)})
	if err == nil || !strings.Contains(err.Error(), "replicates from several sources") {
		t.Errorf("%v", err)
	}
	// Under semi-sync a failover stops the receiver from the old primary, that alone, and a roll-back starts it.
	twice(t, s, failover.Step{Do: failover.StopReceiving, Target: addr(replica), Source: addr(top.Servers[0])})
	running := func(want ...topology.Thread) {
		t.Helper()
		var got []topology.Thread
		for _, src := range look(t, replica).Sources {
			got = append(got, src.IO)
		}
		if !slices.Equal(got, want) {
			t.Errorf("its receivers are %v, want %v", got, want)
		}
	}
	running(topology.ThreadNo, topology.ThreadYes)
	twice(t, s, failover.Step{Do: failover.StartReplica, Target: addr(replica), Source: addr(top.Servers[0])})
	running(topology.ThreadYes, topology.ThreadYes)
}

func TestAGroupMemberIsKnown(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	l := lab.ForTest(t, lab.Options{})
	port, err := l.Port()
	must(t, err)
	s, err := l.Server(testContext(t), lab.ServerOptions{Name: "member", ExtraArgs: []string{
		"--plugin-load-add=group_replication.so", "--loose-group-replication-group-name=" + uuids, "--loose-group-replication-bootstrap-group=ON",
		fmt.Sprintf("--loose-group-replication-local-address=127.0.0.1:%d", port), "--loose-group-replication-ip-allowlist=127.0.0.1",
	}})
	must(t, err)
	eventually(t, "the group to have its primary", func() (bool, string) {
		row, err := s.Row(testContext(t), "SELECT MEMBER_STATE AS state, MEMBER_ROLE AS role FROM performance_schema.replication_group_members")
		return err == nil && row["state"] == "ONLINE" && row["role"] == "PRIMARY", fmt.Sprint(row, err)
	})
	st := look(t, s)
	if st.Member != "group_replication" || st.IsReplica() {
		t.Errorf("the group's primary: %+v", st)
	}
	err = servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(s), Source: "127.0.0.1:1"})
	if st := look(t, s); err == nil || !strings.Contains(err.Error(), "managed by group_replication") || !st.Writable() || st.IsReplica() {
		t.Errorf("a repoint of it: %v; %+v", err, st)
	}
	must(t, s.Exec(testContext(t), "STOP GROUP_REPLICATION"))
	if st := look(t, s); st.Member != "group_replication" || !st.SuperReadOnly {
		t.Errorf("a member that left its group, and may come back: %+v", st)
	}
}
