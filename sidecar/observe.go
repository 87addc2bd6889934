package sidecar

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// observer keeps a watcher for every instance of every cluster.
type observer struct {
	ports Ports
	// changed is notified when a view of the cluster says something else than the one before.
	changed news

	mu       sync.Mutex
	watchers map[topology.Addr]*watching
	wg       sync.WaitGroup
}

type watching struct {
	*watcher
	stop context.CancelFunc
}

func newObserver(ports Ports) *observer {
	return &observer{ports: ports, watchers: map[topology.Addr]*watching{}}
}

// target is how an instance is to be watched.
type target struct {
	cluster string
	failover.Detection
}

// watch brings the set of watchers in line: `want` says which instances, and how.
func (o *observer) watch(ctx context.Context, want map[topology.Addr]target) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for addr, w := range o.watchers {
		d, keep := want[addr]
		if keep && w.interval == d.Interval.D() && w.timeout == d.Timeout.D() {
			continue
		}
		w.stop()
		delete(o.watchers, addr)
	}
	for addr, d := range want {
		if o.watchers[addr] != nil {
			continue
		}
		run, stop := context.WithCancel(ctx)
		w := newWatcher(addr, d.Interval.D(), d.Timeout.D(), func(before, after topology.View) { o.noticed(d.cluster, before, after) })
		w.prober = o.ports.Prober(d.cluster, addr, w.poke)
		o.watchers[addr] = &watching{watcher: w, stop: stop}
		o.wg.Go(func() { w.run(run) })
	}
}

// noticed tells those who wait for news; a view that only confirms the one
// before it is left to the next heartbeat.
func (o *observer) noticed(cluster string, before, after topology.View) {
	if before.Reach != after.Reach || before.Failures != after.Failures || differs(before.State, after.State) {
		o.changed.notify(cluster)
	}
}

// differs says whether a reading changed in what decisions look at.
func differs(a, b *topology.State) bool {
	if a == nil || b == nil {
		return a != b
	}
	if a.ReadOnly != b.ReadOnly || a.SuperReadOnly != b.SuperReadOnly || len(a.Sources) != len(b.Sources) ||
		!slices.Equal(a.Replicas, b.Replicas) || a.SemiSync.SourceActive != b.SemiSync.SourceActive {
		return true
	}
	for i := range a.Sources {
		x, y := a.Sources[i], b.Sources[i]
		if x.Addr != y.Addr || x.IO != y.IO || x.SQL != y.SQL || x.IOError != y.IOError || x.SQLError != y.SQLError {
			return true
		}
	}
	return false
}

// views are the newest views of the given instances.
func (o *observer) views(addrs []topology.Addr) []topology.View {
	o.mu.Lock()
	defer o.mu.Unlock()
	var views []topology.View
	for _, addr := range addrs {
		if w := o.watchers[addr]; w != nil {
			views = w.append(views)
		}
	}
	return views
}

// all are the newest views of everything that is watched.
func (o *observer) all() []topology.View {
	o.mu.Lock()
	defer o.mu.Unlock()
	views := make([]topology.View, 0, len(o.watchers))
	for _, w := range o.watchers {
		views = w.append(views)
	}
	return views
}

func (w *watching) append(views []topology.View) []topology.View {
	if v := w.last(); v.Reach != topology.Unknown {
		views = append(views, v)
	}
	return views
}

// now probes instances at once and waits for their views, or for ctx's end.
func (o *observer) now(ctx context.Context, addrs []topology.Addr) []topology.View {
	o.mu.Lock()
	var asked []*watching
	for _, a := range addrs {
		if w := o.watchers[a]; w != nil {
			asked = append(asked, w)
		}
	}
	o.mu.Unlock()
	views := make([]topology.View, len(asked))
	var wg sync.WaitGroup
	for i, w := range asked {
		wg.Go(func() { views[i] = w.now(ctx) })
	}
	wg.Wait()
	return slices.DeleteFunc(views, func(v topology.View) bool { return v.Reach == topology.Unknown })
}

// close stops all watchers and waits for them.
func (o *observer) close() {
	o.watch(context.Background(), nil)
	o.wg.Wait()
}

// known are the instances of a cluster to be watched: those in the ledger and
// the seeds, less those that the policy ignores.
func (s *Sidecar) known(cluster string) []topology.Addr {
	cfg := s.cfg.Clusters[cluster]
	addrs := slices.Clone(s.ports.Consensus.State().Clusters[cluster].Known)
	if len(addrs) == 0 {
		addrs = slices.Clone(cfg.Seeds)
	}
	addrs = slices.DeleteFunc(addrs, func(a topology.Addr) bool { return cfg.Policy.Server(a).Ignore })
	return topology.SortAddrs(addrs)
}

// observe keeps the watchers in line with the ledger.
func (s *Sidecar) observe(ctx context.Context) {
	changed, stop := s.agreed.watch("")
	defer stop()
	for {
		want := map[topology.Addr]target{}
		for name, c := range s.cfg.Clusters {
			for _, a := range s.known(name) {
				want[a] = target{name, c.Policy.Detection}
			}
		}
		s.observer.watch(ctx, want)
		select {
		case <-ctx.Done():
			s.observer.close()
			return
		case <-changed:
		case <-time.After(time.Second):
		}
	}
}
