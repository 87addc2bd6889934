package fleet_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// disturbance is something that goes wrong beside a healthy primary, and is put right again.
type disturbance struct {
	name string
	play func(context.Context, *fleet.Fleet) error
}

var disturbances = []disturbance{
	{"a replica killed, and started again", func(ctx context.Context, f *fleet.Fleet) error {
		r, err := replicas(ctx, f)
		if err != nil {
			return err
		}
		if err := r[0].Kill(); err != nil {
			return err
		}
		hold(ctx, 2*time.Second)
		return restart(ctx, r[0])
	}},
	{"all replicas killed at once, and started again", func(ctx context.Context, f *fleet.Fleet) error {
		all, err := replicas(ctx, f)
		if err != nil {
			return err
		}
		for _, r := range all {
			if err := r.Kill(); err != nil {
				return err
			}
		}
		hold(ctx, 3*time.Second)
		for _, r := range all {
			if err := restart(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}},
	{"the SQL threads stopped", func(ctx context.Context, f *fleet.Fleet) error {
		all, err := replicas(ctx, f)
		if err != nil {
			return err
		}
		for _, do := range []func(*lab.Server, context.Context) error{(*lab.Server).StopApplier, (*lab.Server).StartApplier} {
			if err := each(ctx, all, do); err != nil {
				return err
			}
			hold(ctx, 3*time.Second)
		}
		return nil
	}},
	{"every connection of the primary taken", func(ctx context.Context, f *fleet.Fleet) error {
		p, err := f.Primary(ctx)
		if err != nil {
			return err
		}
		db, err := sql.Open("mysql", p.DSN(lab.AppUser))
		if err != nil {
			return err
		}
		defer db.Close()
		for {
			conn, err := db.Conn(ctx)
			var refused *mysql.MySQLError
			if errors.As(err, &refused) && refused.Number == 1040 {
				break
			}
			if err != nil {
				return err
			}
			defer conn.Close()
		}
		hold(ctx, 5*time.Second)
		return nil
	}},
	{"a sidecar frozen for 20 s", func(ctx context.Context, f *fleet.Fleet) error {
		leader, err := f.Leader(ctx)
		if err != nil {
			return err
		}
		for _, s := range f.Sidecars {
			if s == leader {
				continue
			}
			if err := s.Freeze(); err != nil {
				return err
			}
			hold(ctx, 20*time.Second)
			return s.Thaw()
		}
		return nil
	}},
	{"the leading sidecar frozen for 20 s", func(ctx context.Context, f *fleet.Fleet) error {
		leader, err := f.Leader(ctx)
		if err != nil {
			return err
		}
		if err := leader.Freeze(); err != nil {
			return err
		}
		hold(ctx, 20*time.Second)
		return leader.Thaw()
	}},
}

// TestMeasureQuiet disturbs everything but the primary for as many minutes as REMORA_N says, under load, and expects
// that nothing is done: every failover would be a false alarm.
func TestMeasureQuiet(t *testing.T) {
	minutes := wanted(t, "quiet", 10)
	ctx, f, load := startLong(t, measured, 16)
	before, err := f.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	began, rounds := time.Now(), 0
	for time.Since(began) < time.Duration(minutes)*time.Minute {
		for _, d := range disturbances {
			from := time.Now()
			if err := d.play(ctx, f); err != nil {
				t.Fatalf("%s: %v", d.name, err)
			}
			if err := f.Converged(ctx); err != nil {
				t.Fatalf("after %q: %v", d.name, err)
			}
			seen := load.Window(from, time.Now())
			t.Logf("after %s: %s: %d writes acknowledged, %d client errors", from.Sub(began).Round(time.Second), d.name, seen.Acked, len(seen.Failures))
			if len(seen.Failures) > 0 {
				t.Logf("  the first: %s", seen.Failures[0])
			}
		}
		rounds++
	}
	after, err := f.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	alarms, err := f.Recoveries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("MEASURED quiet, proxies %s: %d rounds of %d disturbances in %s: %d failovers; %s\n",
		f.ProxyKind(), rounds, len(disturbances), time.Since(began).Round(time.Second), len(alarms), verify(t, ctx, f, load))
	for _, r := range alarms {
		t.Errorf("a false alarm: %s", r.Intent.Reason)
	}
	if before.Clusters[0].Primary != after.Clusters[0].Primary {
		t.Errorf("the primary was %s and is %s", before.Clusters[0].Primary, after.Clusters[0].Primary)
	}
}

// replicas are the servers that are not routed as writer.
func replicas(ctx context.Context, f *fleet.Fleet) ([]*lab.Server, error) {
	p, err := f.Primary(ctx)
	if err != nil {
		return nil, err
	}
	var list []*lab.Server
	for _, s := range f.DB.Servers {
		if s != p {
			list = append(list, s)
		}
	}
	return list, nil
}

// restart starts a replica and its replication, which the lab's servers do not begin by themselves.
func restart(ctx context.Context, r *lab.Server) error {
	if err := r.Start(ctx); err != nil {
		return err
	}
	return r.StartReplication(ctx)
}

// hold lets a disturbance last.
func hold(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
