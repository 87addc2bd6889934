package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// leastPrivileges gives Remora's account what Grants lists, and nothing else.
func leastPrivileges(t *testing.T, top *lab.Topology) {
	t.Helper()
	for _, s := range top.Servers {
		unlogged(t, s, append([]string{"DROP USER remora@`%`", fmt.Sprintf("CREATE USER remora@`%%` IDENTIFIED BY '%s'", lab.RemoraUser.Password)},
			Grants(string(s.Flavor()))...)...)
	}
}

// unlogged runs statements that no replica shall see, also on a closed server.
func unlogged(t *testing.T, s *lab.Server, statements ...string) {
	t.Helper()
	all := append([]string{"SET sql_log_bin=0"}, statements...)
	whileOpen(t, s, append(all, "SET sql_log_bin=1")...) // the connection goes back to a pool
}

// whileOpen runs statements as root. MySQL holds root, too, to read-only.
func whileOpen(t *testing.T, s *lab.Server, statements ...string) {
	t.Helper()
	closed, err := s.Closed(testContext(t))
	must(t, err)
	if closed {
		must(t, s.SetWritable(testContext(t), true))
	}
	must(t, s.Exec(testContext(t), statements...))
	if closed {
		must(t, s.SetWritable(testContext(t), false))
	}
}

func write(t *testing.T, s *lab.Server, seq int) {
	t.Helper()
	must(t, s.Exec(testContext(t), fmt.Sprintf("INSERT INTO lab.writes VALUES (1, %d)", seq)))
}

func hasWritten(t *testing.T, s *lab.Server, seq int) {
	t.Helper()
	eventually(t, fmt.Sprintf("write %d on %s", seq, s.Name), func() (bool, string) {
		row, err := s.Row(testContext(t), fmt.Sprintf("SELECT 1 AS found FROM lab.writes WHERE writer=1 AND seq=%d", seq))
		return err == nil && row["found"] == "1", fmt.Sprint(row, err)
	})
}

func TestASwitchoverAndBackWithTheLeastPrivileges(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 3, Server: lab.ServerOptions{SemiSync: true}})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	primary, next, third := top.Servers[0], top.Servers[1], top.Servers[2]
	for round := range 2 {
		write(t, primary, round)
		twice(t, s, failover.Step{Do: failover.SetReadOnly, Target: addr(primary)})
		until := look(t, primary).Executed
		twice(t, s, failover.Step{Do: failover.CatchUp, Target: addr(next), Until: until})
		twice(t, s, failover.Step{Do: failover.Drain, Target: addr(next)})
		if src := look(t, next).Source(); src.IO != topology.ThreadNo {
			t.Errorf("after Drain the IO thread is %s", src.IO)
		}
		twice(t, s, failover.Step{Do: failover.Promote, Target: addr(next), SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1}})
		st := look(t, next)
		if !st.Writable() || st.IsReplica() || !st.SemiSync.SourceEnabled || st.SemiSync.ReplicaEnabled {
			t.Errorf("the promoted server: %+v", st)
		}
		for _, replica := range []*lab.Server{third, primary} {
			twice(t, s, failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(next), SemiSync: &failover.SemiSyncPlan{Replica: true}})
			st := look(t, replica)
			src := st.Source()
			if st.Writable() || src == nil || src.Addr != addr(next) || src.IO != topology.ThreadYes || !src.GTID ||
				src.Heartbeat.D() != 500*time.Millisecond || !st.SemiSync.ReplicaActive || st.SemiSync.SourceEnabled {
				t.Errorf("the repointed server: %+v, %+v", st, src)
			}
		}
		write(t, next, 10+round)
		for _, replica := range []*lab.Server{third, primary} {
			hasWritten(t, replica, 10+round)
		}
		primary, next = next, primary
	}
}

func TestSetReadOnlyUndoneBySetWritable(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	a := addr(top.Primary())
	twice(t, s, failover.Step{Do: failover.SetReadOnly, Target: a})
	if look(t, top.Primary()).Writable() {
		t.Error("it is writable")
	}
	twice(t, s, failover.Step{Do: failover.SetWritable, Target: a, SemiSync: &failover.SemiSyncPlan{Source: true}})
	if st := look(t, top.Primary()); !st.Writable() || !st.SemiSync.SourceEnabled {
		t.Errorf("%+v", st)
	}
}

func TestDrainAppliesAFilledRelayLogOfADeadSource(t *testing.T) {
	for _, c := range []struct {
		name          string
		stop, restart bool
		workers       int
	}{
		{"with the SQL thread stopped", false, false, 0},
		{"with both threads stopped", true, false, 0},
		{"after a restart", false, true, 0},
		{"with parallel workers", true, false, 4},
		{"with parallel workers, after a restart", false, true, 4},
	} {
		t.Run(c.name, func(t *testing.T) { drainOfADeadSource(t, c.stop, c.restart, c.workers) })
	}
}

func drainOfADeadSource(t *testing.T, stop, restart bool, workers int) {
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	primary, replica := top.Servers[0], top.Servers[1]
	must(t, replica.StopApplier(testContext(t)))
	const writes = 200
	for i := range writes {
		write(t, primary, i)
	}
	written := look(t, primary).Executed
	eventually(t, "the relay log", func() (bool, string) {
		src := look(t, replica).Source()
		return src.Received.Contains(written.Heads()), src.Received.String()
	})
	must(t, primary.Kill())
	if restart {
		must(t, replica.Kill())
		must(t, replica.Start(testContext(t)))
	}
	if stop {
		must(t, replica.StopReplication(testContext(t)))
	}
	variable := in(replica, "slave_parallel_threads", "replica_parallel_workers")
	if workers > 0 {
		must(t, replica.Exec(testContext(t), fmt.Sprintf("SET GLOBAL %s=%d", variable, workers)))
	}
	row, err := replica.Row(testContext(t), "SELECT @@GLOBAL."+variable+" AS n")
	must(t, err)
	before := row["n"]
	if st := look(t, replica); st.HasApplied(written.Heads()) {
		t.Fatal("the test has nothing to drain")
	}
	twice(t, s, failover.Step{Do: failover.Drain, Target: addr(replica)})
	if st := look(t, replica); !st.HasApplied(written.Heads()) {
		t.Errorf("it executed %s of %s", st.Executed, written)
	}
	if row, err := replica.Row(testContext(t), "SELECT @@GLOBAL."+variable+" AS n"); err != nil || row["n"] != before {
		t.Errorf("%s was %s and is %s, %v", variable, before, row["n"], err)
	}
	twice(t, s, failover.Step{Do: failover.Promote, Target: addr(replica)})
	hasWritten(t, replica, writes-1)
}

func TestDrainNamesTheErrorOfTheSQLThread(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	s := servers(t, testConfig())
	unlogged(t, top.Servers[1], "INSERT INTO lab.writes VALUES (1, 1)")
	write(t, top.Servers[0], 1)
	eventually(t, "the SQL thread's error", func() (bool, string) {
		src := look(t, top.Servers[1]).Source()
		return src.SQL == topology.ThreadNo && src.SQLError != "", src.SQLError
	})
	err := s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(top.Servers[1])})
	var failed *Error
	if !errors.As(err, &failed) || !failed.Arrived || !strings.Contains(err.Error(), "error 1062") {
		t.Errorf("%v", err)
	}
}

func TestDrainStopsAtTheEndOfItsTime(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2, Delayed: map[int]int{1: 3600}})
	s := servers(t, testConfig())
	write(t, top.Servers[0], 1)
	written := look(t, top.Servers[0]).Executed
	eventually(t, "the relay log", func() (bool, string) {
		src := look(t, top.Servers[1]).Source()
		return src.Received.Contains(written.Heads()), src.Received.String()
	})
	start := time.Now()
	err := s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(top.Servers[1]), Wait: topology.Duration(300 * time.Millisecond)})
	if err == nil || !strings.Contains(err.Error(), "did not apply its relay log in time") || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// A semi-sync replica of a frozen source takes two seconds to stop receiving, unless
// it is helped.
func TestAFrozenSourceHoldsNothingUp(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 3, Server: lab.ServerOptions{SemiSync: true}})
	leastPrivileges(t, top)
	s := servers(t, testConfig())
	write(t, top.Servers[0], 1)
	hasWritten(t, top.Servers[1], 1) // one of them acknowledged it, the other may be late
	must(t, top.Servers[0].Freeze())
	for _, step := range []failover.Step{
		{Do: failover.Drain, Target: addr(top.Servers[1])},
		{Do: failover.Promote, Target: addr(top.Servers[1]), SemiSync: &failover.SemiSyncPlan{Source: true}},
		{Do: failover.Repoint, Target: addr(top.Servers[2]), Source: addr(top.Servers[1]), SemiSync: &failover.SemiSyncPlan{Replica: true}},
	} {
		start := time.Now()
		must(t, s.Do(testContext(t), step))
		took := time.Since(start)
		t.Logf("%s took %v", step, took)
		if took > time.Second {
			t.Errorf("%s took %v", step, took)
		}
	}
	write(t, top.Servers[1], 2)
	hasWritten(t, top.Servers[2], 2)
	must(t, top.Servers[0].Thaw())
}

func TestAnActOfAnotherPackageIsRefused(t *testing.T) {
	s := servers(t, testConfig())
	if err := s.Do(testContext(t), failover.Step{Do: failover.CommitRoute}); !errors.Is(err, ErrNotMine) {
		t.Errorf("%v", err)
	}
}

func TestAnErrorTellsRefusedFromNotArrived(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	a := addr(top.Primary())
	var failed *Error

	revoked := in(top.Primary(), "READ_ONLY ADMIN", "SYSTEM_VARIABLES_ADMIN")
	must(t, top.Primary().Exec(testContext(t), "REVOKE "+revoked+" ON *.* FROM remora@'%'"))
	err := servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: a})
	if !errors.As(err, &failed) || !failed.Arrived || failed.Op != "set_read_only" || failed.Addr != a ||
		failed.Statement != in(top.Primary(), "SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1") ||
		Number(err) != erSpecificAccessDenied || !strings.Contains(err.Error(), revoked) {
		t.Errorf("refused: %#v: %v", failed, err)
	}

	must(t, top.Primary().Freeze())
	start := time.Now()
	err = servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: a, Wait: topology.Duration(200 * time.Millisecond)})
	if !errors.As(err, &failed) || failed.Arrived || time.Since(start) > time.Second {
		t.Errorf("not arrived, after %v: %#v: %v", time.Since(start), failed, err)
	}
	must(t, top.Primary().Kill())
	err = servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: a})
	if !errors.As(err, &failed) || failed.Arrived {
		t.Errorf("nobody there: %#v: %v", failed, err)
	}
}

func TestCloseEndsActsOnTheirWay(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	s := NewServers(testConfig(), nil)
	must(t, top.Primary().Freeze())
	done := make(chan error, 1)
	go func() {
		done <- s.Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(top.Primary())})
	}()
	time.AfterFunc(50*time.Millisecond, s.Close)
	select {
	case err := <-done:
		if err == nil {
			t.Error("the act succeeded")
		}
	case <-time.After(5 * time.Second):
		t.Error("the act goes on")
	}
	s.Close()
	must(t, top.Primary().Thaw())
}

// A leader that is deposed in the middle of an act goes no further: a promotion
// that has forgotten its source does not open the server.
func TestADeposedLeaderSendsNoFurtherStatement(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 2})
	a := addr(top.Servers[1])
	deposed := errors.New("deposed")
	must(t, top.CaughtUp(testContext(t)))    // what rests is stopped in one statement
	for round, may := range []int{0, 1, 1} { // first nothing, then it stops, then it forgets its source
		s := servers(t, testConfig())
		asked := 0
		s.Confirm = func(context.Context) error {
			if asked++; asked > may {
				return deposed
			}
			return nil
		}
		err := s.Do(testContext(t), failover.Step{Do: failover.Promote, Target: a})
		var failed *Error
		if !errors.As(err, &failed) || failed.Arrived || failed.Statement == "" || !errors.Is(err, deposed) {
			t.Errorf("after %d statements: %v", may, err)
		}
		if look(t, top.Servers[1]).Writable() {
			t.Fatalf("after %d statements the server is open", may)
		}
		if replica := look(t, top.Servers[1]).IsReplica(); replica != (round < 2) {
			t.Errorf("in round %d it is a replica: %v", round, replica)
		}
	}
	s := servers(t, testConfig())
	s.Confirm = func(context.Context) error { return deposed }
	if err := s.Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(top.Servers[0])}); !errors.Is(err, deposed) {
		t.Errorf("closing: %v", err)
	}
	if !look(t, top.Servers[0]).Writable() {
		t.Error("a deposed leader closed the primary")
	}
}
