package fleet_test

import (
	"context"
	"strconv"
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
		row, err := s.Row(ctx, "SHOW SLAVE STATUS")
		if err != nil {
			return false, err.Error()
		}
		return row["Slave_IO_Running"] == "Yes" && row["Slave_SQL_Running"] == "Yes", row["Last_SQL_Error"]
	})
}

// lockWait holds a row's lock on the replica until its applier gives up.
func lockWait(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, replica *lab.Server) {
	must(t, primary.Exec(ctx, "CREATE TABLE lab.mended (id INT PRIMARY KEY, who VARCHAR(10))", "INSERT INTO lab.mended VALUES (0, 'primary')"))
	eventually(t, ctx, "the row on the replica", func() (bool, string) {
		row, err := replica.Row(ctx, "SELECT * FROM lab.mended")
		return err == nil && len(row) > 0, ""
	})
	must(t, replica.Exec(ctx, "SET GLOBAL innodb_lock_wait_timeout=1", "SET GLOBAL slave_transaction_retries=0", "STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"))
	lock, err := replica.DB().BeginTx(ctx, nil)
	must(t, err)
	_, err = lock.ExecContext(ctx, "UPDATE lab.mended SET who='replica' WHERE id=0")
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
	must(t, replica.Exec(ctx, "STOP SLAVE"))
	found(t, ctx, f, "ReplicationStopped", replica.Addr)
	replicates(t, ctx, replica)
}

func primaryClosed(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, _ *lab.Server) {
	before := latestRecovery(ctx, f)
	must(t, primary.Exec(ctx, "SET GLOBAL read_only=1"))
	found(t, ctx, f, "NoWriteableMaster", primary.Addr)
	eventually(t, ctx, "the writer to be opened", func() (bool, string) {
		row, err := primary.Row(ctx, "SELECT @@global.read_only AS closed")
		return err == nil && row["closed"] == "0", row["closed"]
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
	must(t, primary.Exec(ctx, "CHANGE MASTER TO MASTER_HOST='"+replica.Host+"', MASTER_PORT="+strconv.Itoa(replica.Port)+
		", MASTER_USER='"+lab.ReplUser.Name+"', MASTER_PASSWORD='"+lab.ReplUser.Password+"', MASTER_USE_GTID=slave_pos", "START SLAVE"))
	found(t, ctx, f, "RingOfPrimaries", primary.Addr)
	eventually(t, ctx, "the ring to be taken apart", func() (bool, string) {
		row, err := primary.Row(ctx, "SHOW SLAVE STATUS")
		return err == nil && len(row) == 0, row["Master_Host"]
	})
}

// duplicateKey: a row that was written on the replica behind everybody's back, so that the primary's cannot be applied.
func duplicateKey(t *testing.T, ctx context.Context, f *fleet.Fleet, primary, replica *lab.Server) {
	conn, err := replica.DB().Conn(ctx)
	must(t, err)
	defer conn.Close()
	for _, statement := range []string{"SET sql_log_bin=0", "INSERT INTO lab.mended VALUES (1, 'replica')"} {
		_, err := conn.ExecContext(ctx, statement)
		must(t, err)
	}
	must(t, primary.Exec(ctx, "INSERT INTO lab.mended VALUES (1, 'primary')"))
	broken := found(t, ctx, f, "ReplicationBroken", replica.Addr)
	if !strings.Contains(broken.Sentence, "1062 (duplicate key)") || strings.Contains(broken.Sentence, "started again") {
		t.Errorf("the finding says %q", broken.Sentence)
	}
	c, err := state(ctx, f)
	must(t, err)
	if strings.Contains(c.Sentence, "mending") {
		t.Errorf("it is being mended: %s", c.Sentence)
	}
	_, err = conn.ExecContext(ctx, "DELETE FROM lab.mended WHERE id=1")
	must(t, err)
	must(t, replica.Exec(ctx, "START SLAVE"))
	replicates(t, ctx, replica)
}
