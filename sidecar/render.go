package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/remora-ha/remora/templates"
	"github.com/remora-ha/remora/topology"
)

// tellEvery is how often a renderer is told what it knows: its runtime may have been
// started anew from an old file.
const tellEvery = 5 * time.Second

// render keeps this node's files in line: each follows its store by itself, and
// is told at once what the ledger says.
func (s *Sidecar) render(ctx context.Context, r Renderer) {
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	defer running.Wait()
	agreed, stopAgreed := s.agreed.watch("")
	defer stopAgreed()
	leased, stopLeased := s.lease.changed.watch()
	defer stopLeased()
	retry := time.NewTicker(s.cfg.Lease.FenceTime.D() / 4)
	defer retry.Stop()
	told := map[string]telling{}
	for {
		s.tell(ctx, r, told)
		select {
		case <-ctx.Done():
			return
		case <-agreed:
		case <-leased:
		case <-retry.C:
		}
	}
}

// telling is what a renderer was told of a cluster last.
type telling struct {
	epoch  uint64
	at     time.Time
	failed bool // the runtime was not switched, or closed
	fenced bool // it was closed, for there was no lease
}

// tell says which writers are committed, and again what failed: an HAProxy that was
// reloading just then would otherwise wait for its file, which Consul may hold up.
// Without a lease this node may not know the newest epoch: the leader may open another
// writer, so this one is closed, as it is in the proxy.
func (s *Sidecar) tell(ctx context.Context, r Renderer, told map[string]telling) {
	for name := range s.cfg.Clusters {
		// Asked for each: telling the one before may have taken seconds.
		left := s.lease.left()
		state := s.ports.Consensus.State()
		if _, enough := s.lease.knows(state.Index); left <= 0 || !enough {
			if last := told[name]; last.epoch == 0 || !(s.lease.unbroken() && s.holds(name)) {
				s.fenceRuntime(ctx, r, name, -left, told)
			}
			continue
		}
		route := state.Clusters[name].Desired()
		last := told[name]
		if since := time.Since(last.at); route.Epoch == last.epoch && since < tellEvery && !(last.failed && since >= lookEvery) {
			continue
		}
		a := templates.Assignment{Cluster: name, Epoch: route.Epoch}
		if route.Mode == topology.Open {
			a.Writer = string(route.Writer)
		}
		err := r.Switch(ctx, a)
		if err != nil && (route.Epoch != last.epoch || !last.failed) {
			s.log.Warn("the runtime could not be switched; the file will do it, or the next try", "cluster", name, "epoch", route.Epoch,
				"file", r.Status().Destination, "error", err)
		}
		told[name] = telling{epoch: route.Epoch, at: time.Now(), failed: err != nil}
	}
}

// fenceRuntime closes a cluster's writer when the lease has been over for as long as
// the proxy's own sessions get.
func (s *Sidecar) fenceRuntime(ctx context.Context, r Renderer, cluster string, over time.Duration, told map[string]telling) {
	last := told[cluster]
	if over < s.cfg.Lease.FenceTime.D()/2 || last.fenced && (!last.failed || time.Since(last.at) < lookEvery) {
		return
	}
	err := r.Fence(ctx, cluster)
	if err != nil && !last.fenced {
		s.log.Warn("no lease, and the runtime could not be closed", "cluster", cluster, "file", r.Status().Destination, "error", err)
	}
	told[cluster] = telling{fenced: true, failed: err != nil, at: time.Now()}
}

// files is how this node's files are.
func (s *Sidecar) files() []topology.File {
	var list []topology.File
	for _, r := range s.ports.Renderers {
		st := r.Status()
		list = append(list, topology.File{
			Node: s.cfg.Node, Destination: st.Destination, Good: st.Good(), Sentence: st.Sentence, Output: st.Output,
		})
	}
	return list
}
