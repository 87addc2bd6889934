package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// start makes a fleet with writing clients; deadlines are generous, for the
// machine may be busy.
func start(t *testing.T, opts fleet.Options, load lab.LoadOptions) (context.Context, *fleet.Fleet, *lab.Load) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	l := lab.ForTest(t, lab.Options{Logf: t.Logf})
	f, err := fleet.Start(ctx, l, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("proxies: %s", f.ProxyKind())
	load.Addrs = f.ClientAddrs()
	ld, err := l.Load(ctx, load)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, f, ld
}

// nothingLost checks every acknowledged write against the primary.
func nothingLost(t *testing.T, ctx context.Context, f *fleet.Fleet, load *lab.Load) {
	t.Helper()
	load.Stop()
	p, err := f.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, err := load.Verify(ctx, p.DB())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(v)
	if len(v.Lost) > 0 || v.Doubled > 0 || v.Acked == 0 {
		t.Errorf("acknowledged writes were lost or doubled: %s", v)
	}
}

// TestSwitchoverThenKillThenReturn is the main job, on real servers: a planned
// change without an error, a killed primary without a lost write, and the old
// primary back as a replica.
func TestSwitchoverThenKillThenReturn(t *testing.T) {
	ctx, f, load := start(t, fleet.Options{Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, DropUnacked: true}}, Policy: "anti_flap: 0s"},
		lab.LoadOptions{Writers: 6, Pace: 5 * time.Millisecond})

	r, err := f.Switchover(ctx, load, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	for _, e := range r.Failures {
		t.Errorf("a client saw the switchover: %s", e)
	}

	r, err = f.Blow(ctx, load, "kill", func(p *lab.Server) error { return p.Kill() }, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.To == r.From {
		t.Errorf("%s was killed and is still the primary", r.From.Name)
	}

	took, err := f.Return(ctx, r.From)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s replicates again %s after its start", r.From.Name, took.Round(time.Millisecond))
	nothingLost(t, ctx, f, load)
}
