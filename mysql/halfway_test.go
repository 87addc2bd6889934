package mysql

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// halfway has a replica lose its source in the middle of a transaction, by what cuts
// them off: the stop of the receiver, or a freeze of the primary.
func halfway(t *testing.T, primary, replica *lab.Server, cut func() error) {
	t.Helper()
	must(t, primary.Exec(testContext(t), "CREATE TABLE lab.big (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT)"))
	for range 10 {
		must(t, primary.Thaw())
		must(t, replica.StopReceiver(testContext(t)))
		must(t, primary.Exec(testContext(t), "INSERT INTO lab.big (v) SELECT REPEAT('x', 1000000) FROM lab.writes LIMIT 20"))
		whole, end := look(t, primary).Executed, logEndOf(t, primary)
		must(t, replica.StartReceiver(testContext(t)))
		before := relayed(t, replica)
		eventually(t, "a part of it", func() (bool, string) {
			now := relayed(t, replica)
			return now > before+1_000_000, fmt.Sprint(before, now)
		})
		must(t, cut())
		st := look(t, replica)
		if src := st.Source(); !src.GTID && src.ReadTo.Compare(end) == gtid.Behind || src.GTID && !st.Received().Contains(whole) {
			t.Logf("received %d bytes of it", relayed(t, replica)-before)
			return
		}
	}
	t.Fatal("the transaction was always received whole")
}

// logEndOf is where a server's binary log ends.
func logEndOf(t *testing.T, s *lab.Server) topology.Coordinates {
	t.Helper()
	d, err := dialectOf(look(t, s).Version)
	must(t, err)
	row, err := s.Row(testContext(t), d.logEnd())
	must(t, err)
	return coordinates(row["File"], row["Position"])
}

// relayed is the size of the relay logs.
func relayed(t *testing.T, s *lab.Server) (size int) {
	t.Helper()
	row, err := s.Row(testContext(t), in(s, "SHOW SLAVE STATUS", "SHOW REPLICA STATUS"))
	must(t, err)
	_, err = fmt.Sscan(row["Relay_Log_Space"], &size)
	must(t, err)
	return size
}

// A source that freezes in the middle of a transaction leaves the receiver running, which
// waits for the rest, and the SQL thread with it.
func TestAPromotionWaitsForNoRestOfATransaction(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2, Server: lab.ServerOptions{Appliers: 4}})
	leastPrivileges(t, top)
	for i := range 20 {
		write(t, top.Servers[0], i)
	}
	primary, replica := top.Servers[0], top.Servers[1]
	halfway(t, primary, replica, primary.Freeze)
	start := time.Now()
	must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(replica)}))
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	write(t, replica, 1000)
}

// Clients wait for a promotion: to stop each thread by itself and look between takes longer.
func TestAPromotionStopsWhatRestsInOneStatement(t *testing.T) {
	only(t, lab.MySQL, "MariaDB stops both threads in one statement always")
	top := replication(t, lab.Spec{Servers: 2, Server: lab.ServerOptions{Appliers: 4}})
	replica := top.Servers[1]
	stops := func() int {
		row, err := replica.Row(testContext(t), "SHOW GLOBAL STATUS LIKE 'Com_replica_stop'")
		must(t, err)
		n, err := strconv.Atoi(row["Value"])
		must(t, err)
		return n
	}
	until := look(t, top.Servers[0]).Executed
	eventually(t, "the replica to rest", func() (bool, string) {
		row, err := replica.Row(testContext(t), "SHOW REPLICA STATUS")
		must(t, err)
		state := row["Replica_SQL_Running_State"]
		return look(t, replica).HasApplied(until) && strings.Contains(state, "has read all relay log"), state
	})
	before := stops()
	must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(replica)}))
	if after := stops(); after != before+1 {
		t.Errorf("it was stopped %d times", after-before)
	}
	if st := look(t, replica); !st.Writable() || st.IsReplica() {
		t.Errorf("%+v", st)
	}
}

func TestATransactionThatCameHalfwayHoldsNothingUp(t *testing.T) {
	for _, step := range []failover.Step{{Do: failover.Promote}, {Do: failover.Repoint}} {
		t.Run(string(step.Do), func(t *testing.T) {
			top := replication(t, lab.Spec{Servers: 3, Server: lab.ServerOptions{Appliers: 4}})
			leastPrivileges(t, top)
			s := servers(t, testConfig())
			for i := range 20 {
				write(t, top.Servers[0], i)
			}
			halfway(t, top.Servers[0], top.Servers[1], func() error { return top.Servers[1].StopReceiver(testContext(t)) })
			must(t, top.Servers[0].Kill())
			must(t, s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(top.Servers[1])}))
			step.Target = addr(top.Servers[1])
			if step.Do == failover.Repoint {
				must(t, s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(top.Servers[2])}))
				must(t, s.Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(top.Servers[2])}))
				step.Source = addr(top.Servers[2])
			}
			start := time.Now()
			must(t, s.Do(testContext(t), step))
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
			if step.Do == failover.Repoint {
				write(t, top.Servers[2], 1000)
			} else {
				write(t, top.Servers[1], 1000)
			}
			hasWritten(t, top.Servers[1], 1000)
		})
	}
}
