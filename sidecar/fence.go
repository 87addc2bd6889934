package sidecar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-ha/remora/proxysql"
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
// long the proxy should have been closed, `why` begins a sentence. Where there is a
// ladder, for good means after a quarter of that time, so that the rungs have a half.
func (k *keeper) fence(ctx context.Context, over time.Duration, why string) time.Duration {
	k.applied = false
	hardAfter, bound := k.cfg.Lease.FenceTime.D()/2, k.cfg.ProxySQL.Timeout.D()
	if k.ports.Ladder != nil {
		// The second half is for the rungs: the admin interface has failed before. Who
		// comes late asks it all the same.
		half := hardAfter
		hardAfter /= 2
		bound = min(bound, half, max(half-over, hardAfter))
	}
	want := softFenced
	if over >= hardAfter {
		want = hardFenced
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if k.fenced >= want {
		return k.stayFenced(ctx, max(time.Millisecond, min(lookEvery, hardAfter-over)))
	}
	k.freed = false
	if err := k.close(ctx, want == hardFenced); err != nil {
		err = k.cutOff(err)
		k.failed(topology.Proxy{Mode: topology.Fenced}, err)
		k.say(fmt.Sprintf("%s, and the proxy could not be fenced: %v", why, err))
		return retryProxy
	}
	k.fenced = want
	if want == softFenced {
		k.report(topology.Proxy{Mode: topology.Fenced})
		return max(time.Millisecond, hardAfter-over)
	}
	if err := k.release(ctx); err != nil {
		k.log.Warn("the proxy answers and is fenced, but what cut it off was not released", "error", err)
	}
	k.report(topology.Proxy{Mode: topology.Fenced})
	k.say(why + ": the proxy routes no writes until the current epoch is known")
	return k.untilLook()
}

// close fences the proxy through its admin interface. When that is for good, the
// sessions that are attached to the writer are ended too: one that is idle in a
// transaction could commit it.
func (k *keeper) close(ctx context.Context, hard bool) error {
	if err := k.ports.Proxy.Fence(ctx, k.cluster, k.hostgroups(), hard); err != nil || !hard {
		return err
	}
	_, err := k.ports.Proxy.EndSessions(ctx, k.hostgroups(), "")
	return err
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
	return k.untilLook()
}

// cutOff climbs the ladder, where there is one, because the admin interface did not
// close the writer. It returns why that was so, with what came of the climb.
func (k *keeper) cutOff(cause error) error {
	needed := errors.Is(cause, proxysql.ErrUnreachable) || errors.Is(cause, proxysql.ErrRefused) || errors.Is(cause, proxysql.ErrNotReadBack)
	switch {
	case gone(cause) || k.cut.Lasting:
		return cause
	case k.ports.Ladder == nil || !needed:
		k.cut = Cut{}
		return cause
	}
	// Every rung is bounded by itself: what is left of the attempt before must not
	// cut it short.
	cut, err := k.ports.Ladder.Cut(context.Background(), k.cluster, k.known(k.cluster))
	if k.cut = cut; err != nil {
		return fmt.Errorf("%w; nor could it be cut off: %w", cause, err)
	}
	return fmt.Errorf("%w; it is cut off: %s", cause, cut.How)
}

// release undoes what cut the proxy off, when the admin interface answers again and
// has closed the writer: what this process did, the one before, or the watchdog.
func (k *keeper) release(ctx context.Context) error {
	if k.ports.Ladder == nil || k.freed && k.cut.How == "" {
		return nil
	}
	if k.cut.How != "" || !k.sure {
		if err := k.close(ctx, true); err != nil {
			return err
		}
	}
	if err := k.ports.Ladder.Release(ctx, k.cluster); err != nil {
		return fmt.Errorf("release what cut the proxy off: %w", err)
	}
	k.cut, k.sure, k.freed = Cut{}, true, true
	return nil
}
