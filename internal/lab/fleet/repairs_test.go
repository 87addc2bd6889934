package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestAFleetMendsItself breaks replication and the writer in ways that pass, and in one that does not.
func TestAFleetMendsItself(t *testing.T) {
	opts := measured
	opts.Policy += "\nrepair: {stopped: start, grace: 300ms, read_only_primary: open, ring: break, backoff: 200ms}"
	ctx, f, load := start(t, opts, lab.LoadOptions{Writers: 4, Pace: 10 * time.Millisecond})
	for _, trouble := range []struct {
		name string
		play func(*testing.T, context.Context, *fleet.Fleet, *lab.Server, *lab.Server)
	}{
		{"an applier that waited too long for a lock is started again", lockWait},
		{"replication that somebody stopped is started after the grace", replicaStopped},
		{"a read-only writer is opened", primaryClosed},
		{"a ring is taken apart", ringOfTwo},
		{"a replica whose data differ is left alone, and told", duplicateKey},
	} {
		primary, err := f.Primary(ctx)
		must(t, err)
		others, err := replicas(ctx, f)
		must(t, err)
		if !t.Run(trouble.name, func(t *testing.T) { trouble.play(t, ctx, f, primary, others[0]) }) {
			return
		}
	}
	nothingLost(t, ctx, f, load)
}

// replicates waits until both threads of a replica run.
func replicates(t *testing.T, ctx context.Context, s *lab.Server) {
	t.Helper()
	eventually(t, ctx, s.Name+" to replicate", func() (bool, string) {
		r, err := s.Replica(ctx)
		return err == nil && r != nil && r.IO == "Yes" && r.SQL == "Yes", fmt.Sprintf("%+v, %v", r, err)
	})
}

// lockWait holds a row's lock on the replica until its applier gives up.
func lockWait(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, replica *lab.Server) {
	must(t, primary.Exec(ctx, "CREATE TABLE lab.mended (id INT PRIMARY KEY, who VARCHAR(10))", "INSERT INTO lab.mended VALUES (0, 'primary')"))
	eventually(t, ctx, "the row on the replica", func() (bool, string) {
		row, err := replica.Row(ctx, "SELECT * FROM lab.mended")
		return err == nil && len(row) > 0, ""
	})
	retries := "slave_transaction_retries"
	if replica.Flavor() == lab.MySQL {
		retries = "replica_transaction_retries"
	}
	must(t, replica.StopApplier(ctx))
	must(t, replica.Exec(ctx, "SET GLOBAL innodb_lock_wait_timeout=1", "SET GLOBAL "+retries+"=0"))
	must(t, replica.StartApplier(ctx))
	lock, err := replica.DB().BeginTx(ctx, nil)
	must(t, err)
	_, err = lock.ExecContext(ctx, "SELECT who FROM lab.mended WHERE id=0 LOCK IN SHARE MODE")
	must(t, err)
	must(t, primary.Exec(ctx, "UPDATE lab.mended SET who='again' WHERE id=0"))
	broken := found(t, ctx, f, "ReplicationBroken", replica.Addr)
	if !strings.Contains(broken.Sentence, "1205 (a lock was waited for too long)") {
		t.Errorf("the finding says %q", broken.Sentence)
	}
	must(t, lock.Rollback())
	replicates(t, ctx, replica)
}

func replicaStopped(t *testing.T, ctx context.Context, f *fleet.Fleet, _, replica *lab.Server) {
	must(t, replica.StopReplication(ctx))
	found(t, ctx, f, "ReplicationStopped", replica.Addr)
	replicates(t, ctx, replica)
}

func primaryClosed(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, _ *lab.Server) {
	before := latestRecovery(ctx, f)
	must(t, primary.SetWritable(ctx, false)) // that it is found may be over before anybody asks
	eventually(t, ctx, "the writer to be opened", func() (bool, string) {
		closed, err := primary.Closed(ctx)
		return err == nil && !closed, fmt.Sprint(err)
	})
	if after := latestRecovery(ctx, f); after != before {
		t.Errorf("a recovery was begun: %s", after)
	}
}

// latestRecovery is the id of the newest recovery, if there is one.
func latestRecovery(ctx context.Context, f *fleet.Fleet) string {
	list, err := f.Recoveries(ctx)
	if err != nil || len(list) == 0 {
		return ""
	}
	return list[0].Intent.ID
}

func ringOfTwo(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, replica *lab.Server) {
	must(t, primary.Follow(ctx, replica, 0))
	found(t, ctx, f, "RingOfPrimaries", primary.Addr)
	eventually(t, ctx, "the ring to be taken apart", func() (bool, string) {
		r, err := primary.Replica(ctx)
		return err == nil && r == nil, fmt.Sprintf("%+v, %v", r, err)
	})
}

// duplicateKey: a row that was deleted on the primary behind everybody's back, so that it cannot come again on a replica.
func duplicateKey(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, replica *lab.Server) {
	must(t, primary.Exec(ctx, "SET sql_log_bin=0", "DELETE FROM lab.mended WHERE id=0", "SET sql_log_bin=1", "INSERT INTO lab.mended VALUES (0, 'anew')"))
	broken := found(t, ctx, f, "ReplicationBroken", replica.Addr)
	if !strings.Contains(broken.Sentence, "1062 (duplicate key)") || strings.Contains(broken.Sentence, "started again") {
		t.Errorf("the finding says %q", broken.Sentence)
	}
	c, err := state(ctx, f)
	must(t, err)
	if strings.Contains(c.Sentence, "mending") {
		t.Errorf("it is being mended: %s", c.Sentence)
	}
	others, err := replicas(ctx, f)
	must(t, err)
	for _, s := range others {
		eventually(t, ctx, "the row to be deleted on "+s.Name, func() (bool, string) { // Remora may close it at any moment
			err := errors.Join(s.SetWritable(ctx, true), s.Exec(ctx, "SET sql_log_bin=0", "DELETE FROM lab.mended WHERE id=0", "SET sql_log_bin=1"),
				s.SetWritable(ctx, false))
			return err == nil, fmt.Sprint(err)
		})
		eventually(t, ctx, s.Name+" to be started", func() (bool, string) { // closing it ends sessions, also those of our pool
			err := s.StartReplication(ctx)
			return err == nil, fmt.Sprint(err)
		})
		replicates(t, ctx, s)
	}
}
