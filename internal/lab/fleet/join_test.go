package fleet_test

import (
	"fmt"
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
	eventually(t, ctx, "a switchover by the restarted sidecar", func() (bool, string) {
		_, err := f.Switchover(ctx, load, 1, "")
		return err == nil, fmt.Sprint(err) // not yet: it listens, hears from the leader, and opens its proxy
	})
	nothingLost(t, ctx, f, load)
}
