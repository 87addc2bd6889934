package fleet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestWithoutGTID is a fleet whose servers replicate by file and position, under
// semi-sync: a planned change, a killed primary that comes back as a replica, and a
// failover that is refused as nobody could follow.
func TestWithoutGTID(t *testing.T) {
	ctx, f, load := start(t, fleet.Options{
		Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, NoGTID: true}},
		Policy:   "anti_flap: 0s\nrepair: {stopped: leave, read_only_primary: open}", // all happens within the second that servers tell their uptime by
	}, lab.LoadOptions{Writers: 4, Pace: 5 * time.Millisecond})
	r, err := f.Switchover(ctx, load, 1, "")
	must(t, err)
	t.Log(r)
	for _, e := range r.Failures {
		t.Errorf("a client saw the switchover: %s", e)
	}
	must(t, f.Converged(ctx))
	rec := newest(t, ctx, f)
	if an := rec.Intent.Anchor; !rec.Intent.Positions || an == nil || !an.Whole || len(rec.Lost) > 0 {
		t.Errorf("the recovery was by position: %v; anchor %+v, lost %q", rec.Intent.Positions, an, rec.Lost)
	}

	// Nobody writes when the primary dies: both replicas stand at the same position.
	nothingLost(t, ctx, f, load)
	old, err := f.Primary(ctx)
	must(t, err)
	must(t, old.Kill())
	eventually(t, ctx, "another primary", func() (bool, string) {
		now, err := f.Primary(ctx)
		return err == nil && now != old, fmt.Sprint(err)
	})
	nothingLost(t, ctx, f, load)
	took, err := f.Return(ctx, old)
	must(t, err)
	t.Logf("%s replicates again %s after its start", old.Name, took.Round(time.Millisecond))

	// One replica has what the other lacks: whoever was promoted, one would be left out. MySQL tells a moment late what it
	// has applied, so that the failover may have begun when that is seen; it is rolled back then.
	primary, err := f.Primary(ctx)
	must(t, err)
	others, err := replicas(ctx, f)
	must(t, err)
	must(t, others[0].StopReceiver(ctx))
	must(t, primary.Exec(ctx, "INSERT INTO lab.writes VALUES (900, 1)"))
	looks := []func(){neverRouted(t, ctx, f, others[0].Addr), neverRouted(t, ctx, f, others[1].Addr)}
	must(t, primary.Kill())
	eventually(t, ctx, "the refusal", func() (bool, string) {
		c, err := state(ctx, f)
		return err == nil && strings.Contains(c.Sentence, "of the binary log of "+primary.Addr), fmt.Sprint(c.Sentence, err)
	})
	c, err := state(ctx, f)
	must(t, err)
	t.Log(c.Sentence)
	must(t, primary.Start(ctx))
	must(t, others[0].StartReceiver(ctx))
	must(t, f.Converged(ctx))
	for _, stop := range looks {
		stop()
	}
	nothingLost(t, ctx, f, load)
}
