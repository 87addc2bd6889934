package fleet_test

import (
	"net"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestSidecarsFindEachOtherThroughConsul has no list of nodes. Once they have met,
// Consul may be away when one starts again.
func TestSidecarsFindEachOtherThroughConsul(t *testing.T) {
	lab.ConsulForTest(t)
	ctx, f, load := start(t, fleet.Options{HAProxy: true, Join: true, Policy: "anti_flap: 0s"}, lab.LoadOptions{Writers: 3, Pace: 20 * time.Millisecond})
	s, err := f.Status(ctx)
	must(t, err)
	if len(s.Nodes) != 3 || s.Leader == "" {
		t.Errorf("the fleet is %+v, led by %q", s.Nodes, s.Leader)
	}
	must(t, f.Consul.Kill())
	must(t, f.Sidecars[1].Kill())
	must(t, f.Sidecars[1].Start(ctx))
	eventually(t, ctx, "the restarted sidecar to serve", func() (bool, string) {
		c, err := net.Dial("tcp", f.APIs[1])
		if err != nil {
			return false, err.Error()
		}
		return c.Close() == nil, ""
	})
	must(t, f.Converged(ctx))
	if _, err := f.Switchover(ctx, load, 1, ""); err != nil {
		t.Error(err)
	}
	nothingLost(t, ctx, f, load)
}
