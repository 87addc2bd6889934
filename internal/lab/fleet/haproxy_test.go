package fleet_test

import (
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestHAProxyFollowsAFailover kills the primary under clients that write through
// HAProxy.
func TestHAProxyFollowsAFailover(t *testing.T) {
	lab.ConsulForTest(t)
	ctx, f, _ := start(t, fleet.Options{
		Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, DropUnacked: true, Appliers: 4}}, Policy: "anti_flap: 0s", HAProxy: true,
	}, lab.LoadOptions{Writers: 1, Pace: 20 * time.Millisecond})
	load, err := f.Lab.Load(ctx, lab.LoadOptions{Addrs: f.HAProxyAddrs(), Writers: 6, Pace: 10 * time.Millisecond})
	must(t, err)
	r, err := f.Blow(ctx, load, "kill", func(p *lab.Server) error { return p.Kill() }, nil)
	must(t, err)
	t.Log(r)
	d, err := f.Published(ctx)
	must(t, err)
	if d.Writer == nil || string(d.Writer.Address) != r.To.Addr {
		t.Errorf("Consul has writer %+v, the primary is %s", d.Writer, r.To.Addr)
	}
	_, err = f.Return(ctx, r.From)
	must(t, err)
	nothingLost(t, ctx, f, load)
}
