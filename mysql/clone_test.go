package mysql

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestMariaDBHasNoCloneOfItsOwn(t *testing.T) {
	only(t, lab.MariaDB, "MySQL has")
	s := alone(t, lab.ServerOptions{})
	must(t, s.SetWritable(testContext(t), false))
	err := servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.Clone, Target: addr(s), Source: "127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "configure clone.command") {
		t.Errorf("%v", err)
	}
}

func TestACloneThatDoesNotBeginLeavesReplicationRunning(t *testing.T) {
	only(t, lab.MySQL, "MariaDB has no CLONE")
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	donor, target := top.Servers[0], top.Servers[1]
	unlogged(t, donor, CloneGrants()...)
	err := servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.Clone, Target: addr(target), Source: addr(donor)})
	if err == nil || !strings.Contains(err.Error(), "CLONE_ADMIN") || !strings.Contains(err.Error(), "started again") {
		t.Errorf("%v", err)
	}
	if !look(t, target).SuperReadOnly {
		t.Error("it is left open")
	}
	write(t, donor, 1)
	hasWritten(t, target, 1)
}

func TestADivergedMySQLIsClonedAnew(t *testing.T) {
	only(t, lab.MySQL, "MariaDB has no CLONE")
	top := replication(t, lab.Spec{Servers: 2})
	leastPrivileges(t, top)
	donor, target := top.Servers[0], top.Servers[1]
	for _, s := range top.Servers {
		unlogged(t, s, CloneGrants()...)
	}
	must(t, target.Exec(testContext(t), "STOP REPLICA", "RESET REPLICA ALL"))
	whileOpen(t, target, "INSERT INTO lab.writes VALUES (9, 9)")
	write(t, donor, 1)
	sv := servers(t, testConfig())
	step := failover.Step{Do: failover.Clone, Target: addr(target), Source: addr(donor), Wait: topology.Duration(2 * time.Minute)}

	must(t, target.SetWritable(testContext(t), true))
	if err := sv.Do(testContext(t), step); err == nil || !strings.Contains(err.Error(), "not closed") {
		t.Errorf("of a server that takes writes: %v", err)
	}
	must(t, target.SetWritable(testContext(t), false))
	wrong := step
	wrong.Source = "127.0.0.1:1"
	if err := sv.Do(testContext(t), wrong); err == nil || strings.Contains(err.Error(), lab.RemoraUser.Password) {
		t.Errorf("from nobody: %v", err)
	}
	if !look(t, target).SuperReadOnly {
		t.Error("after an attempt in vain it is open for Remora's like")
	}

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ended, back := target.Ended(), make(chan error, 1)
	go func() { // what systemd does
		select {
		case <-ended:
			back <- target.Start(ctx)
		case <-ctx.Done():
			back <- ctx.Err()
		}
	}()
	must(t, sv.Do(ctx, step))
	must(t, <-back)
	st := look(t, target)
	if !st.SuperReadOnly || !look(t, donor).Covers(st) {
		t.Errorf("cloned: closed %v, it stands at %s, its donor at %s", st.SuperReadOnly, st.Executed, look(t, donor).Executed)
	}
	must(t, sv.Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(target), Source: addr(donor)}))
	write(t, donor, 2)
	hasWritten(t, target, 2)
	if row, err := target.Row(testContext(t), "SELECT COUNT(*) AS n FROM lab.writes WHERE writer=9"); err != nil || row["n"] != "0" {
		t.Errorf("its own row: %v (%v)", row, err)
	}
}

// TestADonorThatDiesWhileItGetsThePluginIsAnError, and no more.
func TestADonorThatDiesWhileItGetsThePluginIsAnError(t *testing.T) {
	only(t, lab.MySQL, "MariaDB has no CLONE")
	top := replication(t, lab.Spec{Servers: 2})
	donor, target := top.Servers[0], top.Servers[1]
	must(t, donor.Exec(testContext(t), "UNINSTALL PLUGIN clone"))
	s := servers(t, testConfig())
	var once sync.Once
	s.Confirm = func(context.Context) error {
		once.Do(func() { must(t, donor.Kill()) })
		return nil
	}
	err := s.Do(testContext(t), failover.Step{Do: failover.Clone, Target: addr(target), Source: addr(donor)})
	if err == nil || !strings.Contains(err.Error(), "the donor needs the clone plugin") {
		t.Errorf("%v", err)
	}
	if src := look(t, target).Source(); src == nil || src.SQL != topology.ThreadYes {
		t.Errorf("%+v", src)
	}
}
