package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/remora-ha/remora/templates"
	"github.com/remora-ha/remora/topology"
)

// render keeps this node's files in line: each follows its store by itself, and
// is told at once what the ledger says.
func (s *Sidecar) render(ctx context.Context, r Renderer) {
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	defer running.Wait()
	agreed, stopAgreed := s.agreed.watch()
	defer stopAgreed()
	leased, stopLeased := s.lease.changed.watch()
	defer stopLeased()
	retry := time.NewTicker(lookEvery)
	defer retry.Stop()
	told := map[string]uint64{}
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

// tell says which writers are committed. Without a lease this node may not know
// the newest epoch, and says nothing.
func (s *Sidecar) tell(ctx context.Context, r Renderer, told map[string]uint64) {
	left, index := s.lease.left(time.Now())
	state := s.ports.Consensus.State()
	if left <= 0 || state.Index < index {
		return
	}
	for name := range s.cfg.Clusters {
		route := state.Clusters[name].Desired()
		if route.Epoch == told[name] {
			continue
		}
		a := templates.Assignment{Cluster: name, Epoch: route.Epoch}
		if route.Mode == topology.Open {
			a.Writer = string(route.Writer)
		}
		if err := r.Switch(ctx, a); err != nil {
			s.log.Warn("the runtime could not be switched; the file will do it", "cluster", name, "epoch", route.Epoch,
				"file", r.Status().Destination, "error", err)
		}
		told[name] = route.Epoch
	}
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
