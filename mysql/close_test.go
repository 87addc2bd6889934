package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// kept holds up read_only by a lock of a session that is not ended, until unlock.
func kept(t *testing.T, s *lab.Server) (cfg Config, unlock func()) {
	t.Helper()
	cfg = testConfig()
	cfg.Keep = []string{"root"}
	c := client(t, s, lab.User{Name: "root", Password: lab.RootUser.Password})
	do(t, c, "LOCK TABLES lab.held WRITE")
	return cfg, func() { do(t, c, "UNLOCK TABLES") }
}

// A leader that is deposed while its read_only waits ends nobody's session.
func TestADeposedLeaderEndsNoSession(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	primary := top.Primary()
	locker := client(t, primary, lab.AppUser)
	do(t, locker, "LOCK TABLES lab.writes WRITE")
	s, asked, deposed := servers(t, testConfig()), 0, errors.New("deposed")
	s.Confirm = func(context.Context) error {
		if asked++; asked > 2 { // the bound of the wait, and read_only
			return deposed
		}
		return nil
	}
	err := s.Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary), Wait: topology.Duration(time.Second)})
	if err == nil {
		t.Error("it succeeded")
	}
	if asked <= 2 {
		t.Errorf("asked %d times whether it may go on", asked)
	}
	do(t, locker, "UNLOCK TABLES")
	if !look(t, primary).Writable() {
		t.Error("it was closed")
	}
}

// waitingPrimary is one with a commit that no replica acknowledges.
func waitingPrimary(t *testing.T) (*lab.Server, <-chan error) {
	t.Helper()
	top := bare(t, 2)
	primary := top.Servers[0]
	must(t, primary.Exec(testContext(t), "CREATE TABLE lab.held (id INT)"))
	must(t, servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetSemiSync, Target: addr(primary),
		SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Forever}}))
	ctx, c, told := testContext(t), client(t, primary, lab.AppUser), make(chan error, 1)
	go func() {
		_, err := c.ExecContext(ctx, "INSERT INTO lab.writes VALUES (1, 1)")
		told <- err
	}()
	waits(t, primary)
	return primary, told
}

// TestClientsThatComeBackDoNotKeepAPrimaryOpen: at each look there is a session to end again, beside the commit that waits for an
// acknowledgement and on MySQL goes on waiting when its own was ended.
func TestClientsThatComeBackDoNotKeepAPrimaryOpen(t *testing.T) {
	primary, told := waitingPrimary(t)
	ctx, stop := context.WithCancel(testContext(t))
	db, err := sql.Open("mysql", primary.DSN(lab.AppUser))
	must(t, err)
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for ctx.Err() == nil {
				_, _ = db.ExecContext(ctx, "DO SLEEP(10)") // until it is ended
			}
		})
	}
	err = servers(t, testConfig()).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary), Wait: topology.Duration(5 * time.Second)})
	stop()
	clients.Wait()
	must(t, db.Close())
	must(t, err)
	if <-told == nil {
		t.Error("the client was told of a commit that no replica has")
	}
	if look(t, primary).Writable() {
		t.Error("it is open")
	}
}

// TestAPrimaryThatCouldNotBeClosedWaitsForItsReplicasAgain: to close MySQL, semi-sync is
// switched off for those that wait and have no client any more. Where read_only does not
// come all the same, the primary goes on, and would acknowledge what it alone has.
func TestAPrimaryThatCouldNotBeClosedWaitsForItsReplicasAgain(t *testing.T) {
	primary, told := waitingPrimary(t)
	cfg, unlock := kept(t, primary)
	if err := servers(t, cfg).Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary), Wait: topology.Duration(2 * time.Second)}); err == nil {
		t.Fatal("it succeeded")
	}
	if err := <-told; err == nil {
		t.Error("a client was told that its write is committed, and no replica has it")
	}
	if st := look(t, primary); !st.SemiSync.SourceEnabled || !st.Writable() {
		t.Errorf("after it could not be closed: semi-sync on %t, writable %t", st.SemiSync.SourceEnabled, st.Writable())
	}
	unlock()
	done := writing(t, primary, 2)
	waits(t, primary)
	select {
	case err := <-done:
		t.Errorf("a write ended that no replica has: %v", err)
	default:
	}
}

// TestADeposedLeaderLeavesSemiSyncOn: neither off, nor on where another decides by now.
func TestADeposedLeaderLeavesSemiSyncOn(t *testing.T) {
	only(t, lab.MySQL, "the end of a session ends its wait")
	for name, until := range map[string]func(killed, off bool) bool{
		"before it is switched off": func(killed, off bool) bool { return killed },
		"after it is switched off":  func(killed, off bool) bool { return off },
	} {
		t.Run(name, func(t *testing.T) {
			primary, _ := waitingPrimary(t)
			cfg, unlock := kept(t, primary)
			defer unlock()
			s, deposed := servers(t, cfg), errors.New("deposed")
			s.Confirm = func(ctx context.Context) error {
				row, err := primary.Row(ctx, "SELECT (SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND='Killed') AS killed, @@GLOBAL.rpl_semi_sync_source_enabled AS enabled")
				if err != nil {
					return err
				}
				if until(row["killed"] != "0", row["enabled"] == "0") {
					return fmt.Errorf("%w: %v", deposed, row)
				}
				return nil
			}
			err := s.Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary), Wait: topology.Duration(2 * time.Second)})
			if err == nil {
				t.Fatal("it succeeded")
			}
			if on := look(t, primary).SemiSync.SourceEnabled; on != (name == "before it is switched off") {
				t.Errorf("semi-sync is on: %t", on)
			}
		})
	}
}

// A statement whose act is broken off is no longer on the server when the act returns.
func TestAStatementIsWithdrawnWhenItsActIsBrokenOff(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	primary := top.Primary()
	must(t, primary.Exec(testContext(t), "CREATE TABLE lab.held (id INT)"))
	cfg, unlock := kept(t, primary)
	s := servers(t, cfg)
	ctx, giveUp := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- s.Do(ctx, failover.Step{Do: failover.SetReadOnly, Target: addr(primary)}) }()
	eventually(t, "read_only to wait", func() (bool, string) { return waitingForReadOnly(t, primary), "" })
	giveUp()
	if err := <-ended; err == nil {
		t.Error("it succeeded")
	}
	if waitingForReadOnly(t, primary) {
		t.Error("the statement waits still")
	}
	unlock()
}

// A statement that was given up while its server stood still is not executed after a
// later act there.
func TestAStatementThatWasGivenUpIsEndedBeforeTheNextAct(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 1})
	primary := top.Primary()
	must(t, primary.Exec(testContext(t), "CREATE TABLE lab.held (id INT)"))
	cfg, unlock := kept(t, primary)
	s := servers(t, cfg)
	ctx, giveUp := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- s.Do(ctx, failover.Step{Do: failover.SetReadOnly, Target: addr(primary)}) }()
	eventually(t, "read_only to wait", func() (bool, string) { return waitingForReadOnly(t, primary), "" })
	must(t, primary.Freeze())
	giveUp()
	if err := <-ended; err == nil {
		t.Error("it succeeded")
	}
	must(t, primary.Thaw())
	if !waitingForReadOnly(t, primary) {
		t.Fatal("the statement does not wait any more: there is nothing to end")
	}
	if _, ok := s.Settled(addr(primary)); ok {
		t.Error("it may yet be executed, and that is not told")
	}
	before := time.Now()
	must(t, s.Do(testContext(t), failover.Step{Do: failover.SetWritable, Target: addr(primary)}))
	if waitingForReadOnly(t, primary) {
		t.Error("the statement of before still waits")
	}
	if since, ok := s.Settled(addr(primary)); !ok || !since.After(before) {
		t.Errorf("it was ended: %t, at %s", ok, since)
	}
	unlock()
	if !look(t, primary).Writable() {
		t.Error("it was closed by the statement of before")
	}
}

func waitingForReadOnly(t *testing.T, s *lab.Server) bool {
	t.Helper()
	row, err := s.Row(testContext(t), "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SET GLOBAL%read_only=1'")
	must(t, err)
	return row["n"] != "0"
}

// TestWhatAHelperSentIsEndedBeforeTheNextAct: semi-sync that a server which stood still
// switches off late would let it acknowledge what it alone has.
func TestWhatAHelperSentIsEndedBeforeTheNextAct(t *testing.T) {
	only(t, lab.MySQL, "the end of a session ends its wait")
	for sent, until := range map[string]func(killed, on bool) bool{
		"SET GLOBAL rpl_semi_sync_source_enabled=0": func(killed, on bool) bool { return killed && on },
		"SET GLOBAL rpl_semi_sync_source_enabled=1": func(_, on bool) bool { return !on },
	} {
		t.Run(sent, func(t *testing.T) {
			primary, _ := waitingPrimary(t)
			cfg, unlock := kept(t, primary)
			s, frozen := servers(t, cfg), false
			s.Confirm = func(ctx context.Context) error {
				if frozen {
					return nil
				}
				row, err := primary.Row(ctx, "SELECT (SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND='Killed') AS killed, @@GLOBAL.rpl_semi_sync_source_enabled AS enabled")
				if err == nil && until(row["killed"] != "0", row["enabled"] == "1") {
					frozen = true
					return primary.Freeze()
				}
				return err
			}
			err := s.Do(testContext(t), failover.Step{Do: failover.SetReadOnly, Target: addr(primary), Wait: topology.Duration(2 * time.Second)})
			if err == nil || !frozen {
				t.Fatalf("it stood still: %t; %v", frozen, err)
			}
			if left := s.strays.at(addr(primary)); !slices.ContainsFunc(left, func(o stray) bool { return o.shown == sent }) {
				t.Errorf("what may yet be executed is %+v", left)
			}
			must(t, primary.Thaw())
			plan := &failover.SemiSyncPlan{Source: true, WaitCount: 1, Timeout: topology.Forever}
			must(t, s.Do(testContext(t), failover.Step{Do: failover.SetWritable, Target: addr(primary), SemiSync: plan}))
			if _, ok := s.Settled(addr(primary)); !ok || !look(t, primary).SemiSync.SourceEnabled {
				t.Errorf("settled %t, left %+v", ok, s.strays.at(addr(primary)))
			}
			unlock()
		})
	}
}

// A session that was killed may take hours to end; the server is not asked two hundred
// times a second until then. This one reads a pipe that nobody writes to.
func TestASessionThatDoesNotEndIsAskedForNowAndThen(t *testing.T) {
	only(t, lab.MariaDB, "MySQL reads files of one directory only")
	top := replication(t, lab.Spec{Servers: 1})
	primary := top.Primary()
	must(t, primary.Exec(testContext(t), "GRANT FILE ON *.* TO remora@`%`"))
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o644))
	c := client(t, primary, lab.RemoraUser)
	var id uint32
	must(t, c.QueryRowContext(testContext(t), "SELECT CONNECTION_ID()").Scan(&id))
	ctx, ended := testContext(t), make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.ExecContext(ctx, fmt.Sprintf("DO LOAD_FILE('%s')", pipe))
	}()
	eventually(t, "it to read", func() (bool, string) {
		row, err := primary.Row(testContext(t), fmt.Sprintf("SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE ID=%d AND COMMAND='Query'", id))
		return err == nil && row["n"] == "1", fmt.Sprint(row, err)
	})
	asked := func() (n int) {
		row, err := primary.Row(testContext(t), "SELECT VARIABLE_VALUE AS n FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='Com_show_processlist'")
		must(t, err)
		_, err = fmt.Sscan(row["n"], &n)
		must(t, err)
		return n
	}
	s := servers(t, testConfig())
	s.strays.add(addr(primary), stray{id, "DO LOAD_FILE"})
	before := asked()
	err := s.Do(testContext(t), failover.Step{Do: failover.SetWritable, Target: addr(primary), Wait: topology.Duration(2 * time.Second)})
	if err == nil || !strings.Contains(err.Error(), "is still being executed there") {
		t.Errorf("%v", err)
	}
	if n := asked() - before; n < 2 || n > 60 {
		t.Errorf("asked %d times in two seconds", n)
	}
	writer, err := os.OpenFile(pipe, os.O_RDWR, 0) // does not block
	must(t, err)
	must(t, writer.Close())
	<-ended
}
