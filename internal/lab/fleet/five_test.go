package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
	"github.com/remora-ha/remora/topology"
)

// The roles in fiveServers.
const (
	oldPrimary = iota
	direct
	intermediate
	below
	delayed
)

// fiveServers replicate asynchronously; the last one an hour late.
var fiveServers = fleet.Options{
	Topology: lab.Spec{
		Servers: 5, Chain: map[int]int{below: intermediate}, Delayed: map[int]int{delayed: 3600},
		Server: lab.ServerOptions{Appliers: 4},
	},
	Policy: "anti_flap: 0s",
}

// TestFiveServers: a primary with a replica, a chain and a delayed replica dies with a write that only the delayed one
// received. That one has the most, and is no candidate all the same.
func TestFiveServers(t *testing.T) {
	ctx, f, load := start(t, fiveServers, lab.LoadOptions{Writers: 3, Pace: 10 * time.Millisecond})
	nothingLost(t, ctx, f, load)
	before := snapshot(t, ctx, f)
	old := f.DB.Servers[oldPrimary]
	only := writeUnsent(t, ctx, f, old)
	must(t, old.Kill())
	must(t, each(ctx, f.DB.Servers[direct:delayed], (*lab.Server).StartReceiver))

	var promoted *lab.Server
	t.Run("a direct replica is promoted and the others follow", func(t *testing.T) {
		eventually(t, ctx, "another primary", func() (bool, string) {
			p, err := f.Primary(ctx)
			promoted = p
			return err == nil && p != old, fmt.Sprint(err)
		})
		if i := slices.Index(f.DB.Servers, promoted); i != direct && i != intermediate {
			t.Errorf("%s was promoted, which is neither of the direct replicas in time", promoted.Name)
		}
		must(t, f.Converged(ctx))
		routed(t, ctx, f, promoted.Addr)
		eventually(t, ctx, "all to follow "+promoted.Name, func() (bool, string) {
			c, err := state(ctx, f)
			if err != nil {
				return false, err.Error()
			}
			for _, i := range c.Instances {
				if string(i.Addr) != old.Addr && i.Addr != c.Primary && !leadsTo(c.Instances, i.Addr, c.Primary) {
					return false, fmt.Sprintf("%s replicates from %q", i.Addr, i.Source)
				}
			}
			return true, ""
		})
		replica, err := f.DB.Servers[delayed].Replica(ctx)
		must(t, err)
		if replica == nil || replica.Delay != 3600 {
			t.Errorf("the delayed one follows with the state %+v, want a delay of 3600 s", replica)
		}
	})

	t.Run("the old primary is kept out with what it alone has", func(t *testing.T) {
		// A load begins when each of its clients has written.
		load, err := f.Lab.Load(ctx, lab.LoadOptions{Addrs: f.ClientAddrs(), Writers: 3, Pace: 10 * time.Millisecond})
		must(t, err)
		stop := neverRouted(t, ctx, f, old.Addr)
		must(t, old.Start(ctx))
		keptOut(t, ctx, f, old, lastOf(t, ctx, old, only, 0))
		stop()
		nothingLost(t, ctx, f, load)
		if diff := cmp.Diff(before.Policy, snapshot(t, ctx, f).Policy); diff != "" {
			t.Errorf("the policy is another one:\n%s", diff)
		}
	})
}

// writeUnsent writes on the primary what only the delayed replica receives, and gives the position after it.
func writeUnsent(t *testing.T, ctx context.Context, f *fleet.Fleet, p *lab.Server) (id string) {
	t.Helper()
	must(t, f.DB.CaughtUp(ctx))
	must(t, each(ctx, f.DB.Servers[direct:delayed], (*lab.Server).StopReceiver))
	must(t, p.Exec(ctx, "INSERT INTO lab.writes VALUES (0, 1)"))
	id, err := p.Position(ctx)
	must(t, err)
	eventually(t, ctx, "the delayed replica to receive "+id, func() (bool, string) {
		r, err := f.DB.Servers[delayed].Replica(ctx)
		if err != nil || r == nil {
			return false, fmt.Sprint(r, err)
		}
		received, err := gtid.Parse(r.Received)
		return err == nil && received.Contains(gtid.MustParse(id)), fmt.Sprint(r.Received, err)
	})
	return id
}

// leadsTo says whether an instance replicates from the primary, by itself or through others.
func leadsTo(list []api.InstanceStatus, a, primary topology.Addr) bool {
	for range list {
		i := slices.IndexFunc(list, func(i api.InstanceStatus) bool { return i.Addr == a })
		if i < 0 {
			return false
		}
		if a = list[i].Source; a == primary {
			return true
		}
	}
	return false
}

// snapshot is all that a decision about the cluster depends on.
func snapshot(t *testing.T, ctx context.Context, f *fleet.Fleet) (c failover.Case) {
	t.Helper()
	eventually(t, ctx, "a snapshot", func() (bool, string) { // not while a leader is being elected
		out := remora(t, ctx, f, "", "snapshot", fleet.Cluster)
		return out.code == 0 && json.Unmarshal([]byte(out.stdout), &c) == nil, out.stderr
	})
	return c
}
