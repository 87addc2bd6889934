package mysql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestRepointKeepsWhatAReplicaHas(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 3, Delayed: map[int]int{2: 7}})
	leastPrivileges(t, top)
	replica := top.Servers[2]
	must(t, replica.StopReplication(testContext(t)))
	want := map[string]string{"SQL_Delay": "7", "Replicate_Ignore_Table": "lab.none", "Connect_Retry": "3"}
	if replica.Flavor() == lab.MySQL {
		must(t, replica.Exec(testContext(t), "CHANGE REPLICATION SOURCE TO SOURCE_SSL_CA='/etc/ssl/ca.pem', SOURCE_RETRY_COUNT=10, SOURCE_CONNECT_RETRY=60",
			"CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE=(lab.none)"))
		for name, v := range map[string]string{"Source_User": lab.ReplUser.Name, "Source_SSL_CA_File": "/etc/ssl/ca.pem", "Source_SSL_Allowed": "No",
			"Auto_Position": "1", "Source_Retry_Count": "86400", "Get_Source_public_key": "1"} {
			want[name] = v
		}
	} else {
		must(t, replica.Exec(testContext(t), "CHANGE MASTER TO MASTER_SSL_CA='/etc/ssl/ca.pem', MASTER_SSL_VERIFY_SERVER_CERT=0",
			"SET GLOBAL replicate_ignore_table='lab.none'"))
		for name, v := range map[string]string{"Master_User": lab.ReplUser.Name, "Master_SSL_CA_File": "/etc/ssl/ca.pem", "Using_Gtid": "Slave_Pos"} {
			want[name] = v
		}
	}
	must(t, replica.StartReplication(testContext(t)))
	cfg := testConfig()
	cfg.ReplicationUser, cfg.ReplicationPassword = "", ""
	cfg.Heartbeat = topology.Duration(1500 * time.Millisecond)
	cfg.ConnectRetry = topology.Duration(2500 * time.Millisecond)
	twice(t, servers(t, cfg), failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(top.Servers[1])})
	row, err := replica.Row(testContext(t), in(replica, "SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS"))
	must(t, err)
	for name, want := range want {
		if row[name] != want {
			t.Errorf("%s is %q, want %q", name, row[name], want)
		}
	}
	src := look(t, replica).Source()
	if src.Filters != "ignore_table=lab.none" || src.Delay.D() != 7*time.Second || src.Heartbeat.D() != 1500*time.Millisecond {
		t.Errorf("the source is read as %+v", src)
	}
}

func TestAReplicaThatWasPointedAndNeverStartedIsTold(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	replica := top.Servers[1]
	untried := func(want bool, after string) {
		t.Helper()
		if src := look(t, replica).Source(); src == nil || src.Untried != want {
			t.Errorf("after %s: untried is not %v: %+v", after, want, src)
		}
	}
	untried(false, "its start")
	must(t, replica.StopReplication(testContext(t)))
	untried(false, "a stop")
	must(t, replica.Kill())
	must(t, replica.Start(testContext(t)))
	untried(false, "a restart")
	must(t, replica.Exec(testContext(t), in(replica, "CHANGE MASTER TO MASTER_HOST='127.0.0.1'", "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1'")))
	untried(true, "a change of the source")
	step := failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(top.Primary())}
	must(t, servers(t, testConfig()).Do(testContext(t), step))
	untried(false, "a repoint")
}

func TestAnOldPrimaryNeedsAnAccount(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	cfg := testConfig()
	cfg.ReplicationUser = ""
	step := failover.Step{Do: failover.Repoint, Target: addr(top.Servers[0]), Source: addr(top.Servers[1])}
	if err := servers(t, cfg).Do(testContext(t), step); err == nil || !strings.Contains(err.Error(), "replication_user is not configured") {
		t.Errorf("%v", err)
	}
}

func TestRepointNamesTheErrorOfTheIOThread(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 3})
	replica, source := top.Servers[1], top.Servers[2]
	step := failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(source)}

	cfg := testConfig()
	cfg.ReplicationPassword = "it's \\ wrong-secret"
	err := servers(t, cfg).Do(testContext(t), step)
	if err == nil || !strings.Contains(err.Error(), "error 1045") || strings.Contains(err.Error(), "secret") {
		t.Errorf("with a wrong password: %v", err)
	}
	// With the right one the same source is tried again.
	twice(t, servers(t, testConfig()), step)

	// A transaction that the source does not have. MySQL minds only one that bears the source's name.
	if replica.Flavor() == lab.MySQL {
		must(t, replica.StopReplication(testContext(t)))
		whileOpen(t, replica, "SET SESSION gtid_next='"+look(t, top.Servers[0]).ServerUUID+":999'",
			"INSERT INTO lab.writes VALUES (9, 9)", "SET SESSION gtid_next='AUTOMATIC'")
	} else {
		must(t, replica.Exec(testContext(t), "INSERT INTO lab.writes VALUES (9, 9)"))
		must(t, replica.StopReplication(testContext(t)))
		must(t, replica.Exec(testContext(t), "SET GLOBAL gtid_slave_pos=@@gtid_binlog_pos"))
	}
	step.Source = addr(top.Servers[0])
	err = servers(t, testConfig()).Do(testContext(t), step)
	if err == nil || !strings.Contains(err.Error(), "error 1236") {
		t.Errorf("with an errant transaction: %v", err)
	}
	t.Log(err)
}

func TestAPrimaryThatReturnsFollowsTheNewOne(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	old, next := top.Servers[0], top.Servers[1]
	write(t, old, 1)
	must(t, s.Do(testContext(t), failover.Step{Do: failover.CatchUp, Target: addr(next), Until: look(t, old).Executed}))
	must(t, old.Kill())
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(next)}))
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(next)}))
	write(t, next, 2)
	must(t, old.Start(testContext(t)))
	if !look(t, next).Covers(look(t, old)) {
		t.Fatal("the old primary has more than the new one")
	}
	twice(t, s, failover.Step{Do: failover.Repoint, Target: addr(old), Source: addr(next)})
	hasWritten(t, old, 2)
}

// stops are the ways in which replication may be stopped.
var stops = map[string]func(*lab.Server, context.Context) error{
	"both threads": (*lab.Server).StopReplication, "the receiver": (*lab.Server).StopReceiver, "the applier": (*lab.Server).StopApplier,
}

func TestRepointResumesWhatOnlyStopped(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	step := failover.Step{Do: failover.Repoint, Target: addr(top.Servers[1]), Source: addr(top.Servers[0])}
	for what, change := range stops {
		must(t, change(top.Servers[1], testContext(t)))
		twice(t, s, step)
		if st := look(t, top.Servers[1]); st.Writable() || st.Source().IO != topology.ThreadYes || st.Source().SQL != topology.ThreadYes {
			t.Errorf("after a stop of %s: %+v", what, st)
		}
	}
	must(t, top.Servers[1].SetWritable(testContext(t), true))
	twice(t, s, step)
	if st := look(t, top.Servers[1]); st.Writable() {
		t.Error("a replica that took writes still does")
	}
	step.SemiSync = &failover.SemiSyncPlan{Replica: true}
	must(t, top.Servers[0].SetSemiSync(testContext(t), true))
	twice(t, s, step)
	if st := look(t, top.Servers[1]); !st.SemiSync.ReplicaActive {
		t.Errorf("semi-sync is not active: %+v", st.SemiSync)
	}
}

func TestStoppedReplicationIsStarted(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	replica := top.Servers[1]
	step := failover.Step{Do: failover.StartReplica, Target: addr(replica), Source: addr(top.Servers[0])}
	for what, stop := range stops {
		must(t, stop(replica, testContext(t)))
		twice(t, s, step)
		if src := look(t, replica).Source(); src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes {
			t.Errorf("after a stop of %s: %+v", what, src)
		}
	}

	// An error that comes back is told with its number, and nothing is skipped.
	unlogged(t, replica, "INSERT INTO lab.writes VALUES (7, 7)")
	must(t, top.Servers[0].Exec(testContext(t), "INSERT INTO lab.writes VALUES (7, 7)"))
	eventually(t, "the SQL thread to stop", func() (bool, string) {
		src := look(t, replica).Source()
		return src.SQL == topology.ThreadNo && src.SQLErrno == 1062, src.SQLError
	})
	eventually(t, "the duplicate key to be told", func() (bool, string) { // it may be met after the thread was seen to run
		err := s.Do(testContext(t), step)
		return err != nil && strings.Contains(err.Error(), "1062"), fmt.Sprint(err)
	})

	step.Source = "127.0.0.1:1"
	if err := s.Do(testContext(t), step); err == nil || !strings.Contains(err.Error(), "someone else repoints it") {
		t.Errorf("with another source: %v", err)
	}
}

func TestDetachForgetsTheSource(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	a, b := top.Servers[0], top.Servers[1]
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(a), Source: addr(b)}))
	must(t, a.SetWritable(testContext(t), true))
	twice(t, s, failover.Step{Do: failover.Detach, Target: addr(a)})
	if st := look(t, a); st.IsReplica() || !st.Writable() {
		t.Errorf("%+v", st)
	}
	if src := look(t, b).Source(); src == nil || src.IO != topology.ThreadYes {
		t.Errorf("its replica does not follow any more: %+v", src)
	}
}
