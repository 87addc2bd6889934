package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestATimeoutThatNoDurationHoldsIsForever(t *testing.T) {
	for text, want := range map[string]topology.Duration{
		"": 0, "no number": 0, "0": 0, "10000": topology.Duration(10 * time.Second),
		"18446744073709551615": topology.Forever, "99999999999999999999999": topology.Forever, endlessTimeout: topology.Forever,
	} {
		if got := milliseconds(text); got != want {
			t.Errorf("%q is read as %s, want %s", text, got, want)
		}
	}
}

// bare are servers whose semi-sync nobody has set up.
func bare(t *testing.T, servers int) *lab.Topology {
	t.Helper()
	top := replication(t, lab.Spec{Servers: servers})
	leastPrivileges(t, top)
	return top
}

// writing starts a write and tells when it has ended.
func writing(t *testing.T, s *lab.Server, seq int) <-chan error {
	t.Helper()
	done, ended := make(chan error, 1), make(chan struct{})
	ctx := testContext(t)
	go func() {
		defer close(ended)
		done <- s.Exec(ctx, fmt.Sprintf("INSERT INTO lab.writes VALUES (1, %d)", seq))
	}()
	t.Cleanup(func() {
		// Nobody may wait for an acknowledgement when the server is to end.
		must(t, s.SetSemiSync(testContext(t), false))
		<-ended
	})
	return done
}

func waits(t *testing.T, s *lab.Server) {
	t.Helper()
	eventually(t, "a session that waits", func() (bool, string) {
		return look(t, s).SemiSync.Waiting > 0, "none waits"
	})
}

func TestSetSemiSyncOnServersThatKeepTheirRoles(t *testing.T) {
	top := bare(t, 2)
	s := servers(t, testConfig())
	primary, replica := top.Servers[0], top.Servers[1]

	twice(t, s, failover.Step{Do: failover.SetSemiSync, Target: addr(replica), SemiSync: &failover.SemiSyncPlan{Replica: true}})
	st := look(t, replica)
	if src := st.Source(); !st.SemiSync.ReplicaActive || src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes {
		t.Errorf("the replica: %+v, %+v", st.SemiSync, src)
	}
	plan := &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Forever}
	if unmet := plan.Unmet(look(t, primary)); !strings.Contains(unmet, "off") ||
		!strings.Contains(unmet, in(primary, "AFTER_COMMIT", "not infinite")) {
		t.Errorf("before it is set: %q", unmet)
	}
	twice(t, s, failover.Step{Do: failover.SetSemiSync, Target: addr(primary), SemiSync: plan})
	have := look(t, primary).SemiSync
	if !have.Binds() || have.WaitPoint != "AFTER_SYNC" {
		t.Errorf("the primary: %+v", have)
	}
	eventually(t, "the primary counts its replica", func() (bool, string) {
		have := look(t, primary).SemiSync
		return have.Clients == 1, fmt.Sprintf("%+v", have)
	})
	write(t, primary, 1)
	hasWritten(t, replica, 1)

	twice(t, s, failover.Step{Do: failover.SetSemiSync, Target: addr(primary),
		SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Duration(90 * time.Second)}})
	if have := look(t, primary).SemiSync; have.Binds() || have.Timeout.D() != 90*time.Second {
		t.Errorf("with a time-out: %+v", have)
	}
}

func TestAPrimaryWhoseReplicasStoppedReceivingCommitsNothing(t *testing.T) {
	top := bare(t, 3)
	s := servers(t, testConfig())
	primary := top.Servers[0]
	for _, r := range top.Servers[1:] {
		must(t, s.Do(testContext(t), failover.Step{Do: failover.SetSemiSync, Target: addr(r), SemiSync: &failover.SemiSyncPlan{Replica: true}}))
	}
	must(t, s.Do(testContext(t), failover.Step{Do: failover.SetSemiSync, Target: addr(primary),
		SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Forever}}))
	write(t, primary, 1)
	for _, r := range top.Servers[1:] {
		hasWritten(t, r, 1) // one of them acknowledged it, the other may be late
		twice(t, s, failover.Step{Do: failover.StopReceiving, Target: addr(r), Source: addr(primary)})
		if src := look(t, r).Source(); src.IO != topology.ThreadNo || src.SQL != topology.ThreadYes || src.IOError != "" {
			t.Errorf("a replica that was stopped: %+v", src)
		}
	}
	done := writing(t, primary, 2)
	waits(t, primary)
	select {
	case err := <-done:
		t.Fatalf("nobody acknowledges, and the write ended: %v", err)
	default:
	}

	// As rolled back: it is pointed to where it was, and the write ends.
	twice(t, s, failover.Step{Do: failover.Repoint, Target: addr(top.Servers[1]), Source: addr(primary), SemiSync: &failover.SemiSyncPlan{Replica: true}})
	must(t, <-done)
	hasWritten(t, top.Servers[1], 2)
}

func TestStopReceivingKeepsWhatIsNotAppliedYet(t *testing.T) {
	top := bare(t, 2)
	s := servers(t, testConfig())
	primary, replica := top.Servers[0], top.Servers[1]
	must(t, replica.StopApplier(testContext(t)))
	write(t, primary, 7)
	eventually(t, "the write in the relay log", func() (bool, string) {
		return look(t, replica).Received().Contains(look(t, primary).Executed), "not received"
	})
	twice(t, s, failover.Step{Do: failover.StopReceiving, Target: addr(replica), Source: addr(primary)})
	must(t, primary.Kill())
	twice(t, s, failover.Step{Do: failover.Drain, Target: addr(replica)})
	hasWritten(t, replica, 7)
}

func TestStopReceivingConcernsOneSourceOnly(t *testing.T) {
	top := bare(t, 2)
	s := servers(t, testConfig())
	replica := top.Servers[1]
	twice(t, s, failover.Step{Do: failover.StopReceiving, Target: addr(replica), Source: "elsewhere:3306"})
	if src := look(t, replica).Source(); src.IO != topology.ThreadYes {
		t.Errorf("it receives from another source, and its IO thread is %s", src.IO)
	}
}

func TestSwitchingSemiSyncOffFreesTheSessionsThatWait(t *testing.T) {
	top := bare(t, 2)
	s := servers(t, testConfig())
	primary := top.Servers[0]
	must(t, s.Do(testContext(t), failover.Step{Do: failover.SetSemiSync, Target: addr(primary),
		SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Forever}}))
	done := writing(t, primary, 1)
	waits(t, primary)
	twice(t, s, failover.Step{Do: failover.SetSemiSync, Target: addr(primary), SemiSync: &failover.SemiSyncPlan{}})
	must(t, <-done)
	if st := look(t, primary); st.SemiSync.SourceEnabled {
		t.Errorf("it is on: %+v", st.SemiSync)
	}
}

// TestAPrimaryThatWaitsForAcknowledgementsIsClosedWithoutTellingAnyone: a forced
// failover closes one whose replicas have left. Its clients commit as a group, of
// which one session waits for all.
func TestAPrimaryThatWaitsForAcknowledgementsIsClosedWithoutTellingAnyone(t *testing.T) {
	top := bare(t, 2)
	s := servers(t, testConfig())
	primary := top.Servers[0]
	must(t, s.Do(testContext(t), failover.Step{Do: failover.SetSemiSync, Target: addr(primary),
		SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Forever}}))
	const clients = 12
	told := make(chan error, clients)
	for n := range clients {
		ctx, conn := testContext(t), client(t, primary, lab.AppUser)
		go func() {
			_, err := conn.ExecContext(ctx, fmt.Sprintf("INSERT INTO lab.writes VALUES (1, %d)", n))
			told <- err
		}()
	}
	waits(t, primary)
	eventually(t, "all to commit", func() (bool, string) {
		row, err := primary.Row(testContext(t), "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO lab.writes%'")
		return err == nil && row["n"] == fmt.Sprint(clients), fmt.Sprint(row, err)
	})
	twice(t, s, failover.Step{Do: failover.SetReadOnly, Target: addr(primary)})
	for range clients {
		if err := <-told; err == nil {
			t.Error("a client was told that its write is committed, and no replica has it")
		}
	}
}
