package sidecar

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// fence is what a keeper did to close a writer by its own decision.
type fence int

const (
	notFenced fence = iota
	softFenced
	hardFenced
)

// fence closes the writer by this node's own decision: softly at once, so that
// transactions may end, then for good within the fence time. `over` is for how
// long the proxy should have been closed, `why` begins a sentence.
func (k *keeper) fence(ctx context.Context, over time.Duration, why string) time.Duration {
	k.applied = false
	hardAfter := k.cfg.Lease.FenceTime.D() / 2
	want := softFenced
	if over >= hardAfter {
		want = hardFenced
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.ProxySQL.Timeout.D())
	defer cancel()
	if k.fenced >= want {
		return k.stayFenced(ctx, max(time.Millisecond, min(lookEvery, hardAfter-over)))
	}
	if err := k.ports.Proxy.Fence(ctx, k.cluster, k.hostgroups(), want == hardFenced); err != nil {
		k.failed(topology.Proxy{Mode: topology.Fenced}, err)
		k.say(fmt.Sprintf("%s, and the proxy could not be fenced: %v", why, err))
		return retryProxy
	}
	k.fenced = want
	k.report(topology.Proxy{Mode: topology.Fenced})
	if want == hardFenced {
		k.say(why + ": the proxy routes no writes until the current epoch is known")
		return lookEvery
	}
	return max(time.Millisecond, hardAfter-over)
}

// stayFenced sees to it that a proxy which was closed for good stays so: another
// hand may open it, and one that restarted serves what its disk holds.
func (k *keeper) stayFenced(ctx context.Context, wait time.Duration) time.Duration {
	if k.fenced != hardFenced {
		return wait
	}
	p, err := k.ports.Proxy.Status(ctx, topology.Route{Cluster: k.cluster}, k.hostgroups())
	if err != nil || p.Mode != topology.Fenced {
		k.fenced = notFenced
		return 0
	}
	return lookEvery
}
