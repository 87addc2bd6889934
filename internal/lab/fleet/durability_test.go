package fleet_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
	"github.com/remora-ha/remora/topology"
)

// promotion is the step that opened the new primary.
func promotion(t *testing.T, r failover.Recovery) failover.Step {
	t.Helper()
	i := slices.IndexFunc(r.Steps, func(s failover.StepResult) bool { return s.Step.Do == failover.Promote })
	if i < 0 {
		t.Fatalf("nobody was promoted: %+v", r)
	}
	return r.Steps[i].Step
}

// TestASidecarThatIsNotHeardDoesNotHoldUpAFailover: it freezes beside its living proxy, and the primary dies. Under the
// durability fence nobody waits for its lease; where the primary's time-out may end, everybody does.
func TestASidecarThatIsNotHeardDoesNotHoldUpAFailover(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		left         bool // the proxy was left behind
	}{
		{"with the durability fence", "anti_flap: 0s", true},
		{"without it, for the time-out may end", "anti_flap: 0s\nsemi_sync: {timeout: 1h}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, f, load := start(t, fleet.Options{Topology: measured.Topology, Policy: c.policy}, lab.LoadOptions{Writers: 6, Pace: 10 * time.Millisecond})
			node := f.Sidecars[follower(t, ctx, f)]
			r, err := f.Blow(ctx, load, "kill beside a frozen sidecar", func(p *lab.Server) error {
				if err := node.Freeze(); err != nil {
					return err
				}
				return p.Kill()
			}, node.Thaw)
			must(t, err)
			why := promotion(t, r.Recovery).Why
			t.Logf("%s; %s", r, why)
			if left := strings.Contains(why, node.Name+" did not acknowledge"); left != c.left {
				t.Errorf("it was left behind: %t, want %t: %s", left, c.left, why)
			}
			_, err = f.Return(ctx, r.From)
			must(t, err)
			nothingLost(t, ctx, f, load)
		})
	}
}

// TestAProxyThatWasLeftBehindCommitsNothing: the primary freezes together with a sidecar, and thaws when another one was
// promoted. The sidecar's proxy sends it writes all the while.
func TestAProxyThatWasLeftBehindCommitsNothing(t *testing.T) {
	ctx, f, all := start(t, measured, lab.LoadOptions{})
	all.Stop()
	i := follower(t, ctx, f)
	node, proxy := f.Sidecars[i], f.Proxies[i]
	clients := lab.LoadOptions{Addrs: slices.Delete(f.ClientAddrs(), i, i+1), Writers: 6, Pace: 10 * time.Millisecond}
	load, err := f.Lab.Load(ctx, clients)
	must(t, err)
	clients.Addrs, clients.Timeout = []string{proxy.ClientAddr}, 2*time.Second
	behind, err := f.Lab.Load(ctx, clients)
	must(t, err)

	r, err := f.Blow(ctx, load, "freeze with a sidecar", func(p *lab.Server) error {
		if err := node.Freeze(); err != nil {
			return err
		}
		return p.Freeze()
	}, nil)
	must(t, err)
	t.Logf("%s; %s", r, promotion(t, r.Recovery).Why)
	opens(t, ctx, proxy, r.From.Addr) // it still sends writes there
	promoted := time.Now()
	must(t, r.From.Thaw())
	eventually(t, ctx, r.From.Name+" is closed", func() (bool, string) {
		row, err := r.From.Row(ctx, "SELECT @@read_only AS closed")
		return err == nil && row["closed"] == "1", fmt.Sprint(err)
	})
	// What a replica had acknowledged before the freeze may be told only now: that was written before.
	closed := time.Now()
	for _, back := range behind.Backs(promoted) {
		if !back.IsZero() && back.Before(closed) {
			t.Errorf("a client of %s was told of a commit that it asked for after another primary was opened", proxy.Name)
		}
	}
	must(t, node.Thaw())
	opens(t, ctx, proxy, r.To.Addr)
	_, err = behind.Back(ctx, time.Now())
	must(t, err)
	found(t, ctx, f, "OldPrimaryDiverged", r.From.Addr) // what its clients sent it and were never told of
	nothingLost(t, ctx, f, behind)
	nothingLost(t, ctx, f, load)
}

// TestABlockedPrimaryIsLetGoAndHeldAgain: its replicas stop receiving, so its commits stand still; the policy lets them
// go after a second, and holds them to an acknowledgement again when a replica is back.
func TestABlockedPrimaryIsLetGoAndHeldAgain(t *testing.T) {
	ctx, f, load := start(t, fleet.Options{Topology: measured.Topology, Policy: "semi_sync: {blocked: degrade, patience: 1s}"},
		lab.LoadOptions{Writers: 4, Pace: 10 * time.Millisecond})
	primary, err := f.Primary(ctx)
	must(t, err)
	side := "master"
	if primary.Flavor() == lab.MySQL {
		side = "source"
	}
	semiSync := func(want string) {
		eventually(t, ctx, "semi-sync to be "+want, func() (bool, string) {
			row, err := primary.Row(ctx, fmt.Sprintf("SELECT @@rpl_semi_sync_%s_enabled AS enabled, @@rpl_semi_sync_%s_timeout AS timeout", side, side))
			return err == nil && row["enabled"] == want, fmt.Sprint(row, err)
		})
	}
	semiSync("1")
	others, err := replicas(ctx, f)
	must(t, err)
	began := time.Now()
	must(t, each(ctx, others, (*lab.Server).StopReceiver))
	found(t, ctx, f, "PrimarySemiSyncBlocked", primary.Addr)
	semiSync("0")
	back, err := load.Back(ctx, time.Now())
	must(t, err)
	t.Logf("writes go on %s after the replicas stopped", back.Sub(began).Round(time.Millisecond))
	found(t, ctx, f, "PolicyMismatch", primary.Addr)
	must(t, each(ctx, others, (*lab.Server).StartReceiver))
	semiSync("1")
	must(t, f.Converged(ctx))
	nothingLost(t, ctx, f, load)
}

// TestWhoDisconnectsAcknowledgesNothing: clients give up while commits stand still, one after the other. MariaDB commits
// in groups, and ends the wait of a whole group with the session that waits for it.
func TestWhoDisconnectsAcknowledgesNothing(t *testing.T) {
	ctx, f, load := start(t, measured, lab.LoadOptions{})
	load.Stop()
	primary, err := f.Primary(ctx)
	must(t, err)
	eventually(t, ctx, "the time-out to be infinite", func() (bool, string) {
		c := snapshot(t, ctx, f)
		have := c.Snapshot.State(topology.Addr(primary.Addr)).SemiSync
		return have.Binds(), fmt.Sprintf("%+v", have)
	})
	others, err := replicas(ctx, f)
	must(t, err)
	must(t, each(ctx, others, (*lab.Server).StopReceiver))
	const clients = 10
	told := make([]chan error, clients)
	leave := make([]context.CancelFunc, clients)
	for i := range clients {
		db, err := sql.Open("mysql", f.Proxies[0].DSN(lab.AppUser, "lab"))
		must(t, err)
		t.Cleanup(func() { _ = db.Close() })
		var client context.Context
		client, leave[i] = context.WithCancel(ctx)
		t.Cleanup(leave[i])
		told[i] = make(chan error, 1)
		go func() {
			_, err := db.ExecContext(client, fmt.Sprintf("INSERT INTO lab.writes VALUES (77, %d)", i))
			told[i] <- err
		}()
	}
	eventually(t, ctx, "all to commit", func() (bool, string) {
		row, err := primary.Row(ctx, "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO lab.writes%'")
		return err == nil && row["n"] == fmt.Sprint(clients), fmt.Sprint(row, err)
	})
	for i := range clients {
		leave[i]()
		err := <-told[i]
		if err == nil {
			t.Fatalf("client %d was told that its write is committed, and no replica has it", i)
		}
		hold(ctx, 100*time.Millisecond) // for what the proxy does about it
	}
	must(t, each(ctx, others, (*lab.Server).StartReceiver))
	must(t, f.Converged(ctx))
}
