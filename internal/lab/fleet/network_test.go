package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestThePrimarysHostIsCut takes the primary away together with the sidecar and the proxy beside it, and the clients
// there: the others elect a leader if they have to, and promote without hearing of them.
func TestThePrimarysHostIsCut(t *testing.T) {
	lab.NetworkForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	l := lab.ForTest(t, lab.Options{})
	f, err := fleet.Start(ctx, l, fleet.Options{
		Hosts:    true,
		Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, SemiSyncTimeout: 60 * 24 * time.Hour}}, Policy: "anti_flap: 0s",
	})
	must(t, err)
	t.Logf("proxies: %s", f.ProxyKind())
	load, err := f.Load(ctx, lab.LoadOptions{Writers: 6, Pace: 10 * time.Millisecond})
	must(t, err)
	host := []*lab.Host{f.Nodes[0], f.Network.Hosts[len(f.Nodes)]}
	began := time.Now()
	must(t, f.Network.Cut(ctx, lab.Apart(host, f.Network.Others(host...))...))
	cut := time.Now()
	back, err := load.First(ctx, cut) // the clients on the host that is cut are acknowledged nothing
	must(t, err)
	t.Logf("writes are back %s after the cut", back.Sub(began).Round(time.Millisecond))
	old := f.DB.Servers[0]
	eventually(t, ctx, "another primary", func() (bool, string) {
		s, err := f.Client(1).Status(ctx)
		if err != nil || len(s.Clusters) == 0 {
			return false, "no status"
		}
		c := s.Clusters[0]
		return string(c.Primary) != old.Addr && c.Mode == "open", c.Sentence
	})
	must(t, f.Network.Cut(ctx))
	nothingLost(t, ctx, f, load)
}
