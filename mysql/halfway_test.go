package mysql

import (
	"fmt"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// halfway has a replica lose its source in the middle of a transaction.
func halfway(t *testing.T, primary, replica *lab.Server) {
	t.Helper()
	must(t, primary.Exec(testContext(t), "CREATE TABLE lab.big (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT)"))
	for range 10 {
		must(t, replica.StopReceiver(testContext(t)))
		must(t, primary.Exec(testContext(t), "INSERT INTO lab.big (v) SELECT REPEAT('x', 1000000) FROM lab.writes LIMIT 20"))
		whole := look(t, primary).Executed
		must(t, replica.StartReceiver(testContext(t)))
		before := relayed(t, replica)
		eventually(t, "a part of it", func() (bool, string) {
			now := relayed(t, replica)
			return now > before+1_000_000, fmt.Sprint(before, now)
		})
		must(t, replica.StopReceiver(testContext(t)))
		st, end := look(t, replica), logEndOf(t, primary)
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
	row, err := s.Row(testContext(t), in(s, "SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"))
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

func TestATransactionThatCameHalfwayHoldsNothingUp(t *testing.T) {
	for _, step := range []failover.Step{{Do: failover.Promote}, {Do: failover.Repoint}} {
		t.Run(string(step.Do), func(t *testing.T) {
			top := replication(t, lab.Spec{Servers: 3, Server: lab.ServerOptions{Appliers: 4}})
			leastPrivileges(t, top)
			s := servers(t, testConfig())
			for i := range 20 {
				write(t, top.Servers[0], i)
			}
			halfway(t, top.Servers[0], top.Servers[1])
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
