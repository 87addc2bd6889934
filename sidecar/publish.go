package sidecar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/topology"
)

const (
	// publishEvery is how often documents are made anew: readers come and go
	// without a commit. It is also when a store that failed is tried again.
	publishEvery = time.Second
	// publishAtOnce bounds how many clusters are published side by side.
	publishAtOnce = 16
)

// publishing keeps one store in line with the ledger while this node leads. It
// decides nothing, and nothing waits for it. A leader that was deposed and does
// not know it is stopped by the epoch in the store.
type publishing struct {
	*term
	store Store
	wake  signal

	mu    sync.Mutex
	known map[string]*publication
}

// publication is what is known of one cluster's document in the store.
type publication struct {
	topology.Publication
	held  topology.Document // the last that the store certainly held
	dirty bool              // another hand was there, or nobody knows
}

func newPublishing(t *term, store Store) *publishing {
	p := &publishing{term: t, store: store, known: map[string]*publication{}}
	for name := range t.cfg.Clusters {
		p.known[name] = &publication{Publication: topology.Publication{Store: store.Name}, dirty: true}
	}
	return p
}

// run publishes whenever the ledger changes, another hand was at the store, or
// readers changed, until ctx ends.
func (p *publishing) run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	for _, agent := range p.store.Agents {
		beside.Go(func() { agent.Watch(ctx, p.noticed) })
	}
	if p.store.Services {
		beside.Go(func() { p.registerAll(ctx) })
	}
	agreed, stopAgreed := p.agreed.watch()
	defer stopAgreed()
	woken, stopWoken := p.wake.watch()
	defer stopWoken()
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		p.all(ctx)
		select {
		case <-ctx.Done():
			return
		case <-agreed:
		case <-woken:
		case <-tick.C:
		}
	}
}

// all brings every cluster in line that is not.
func (p *publishing) all(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(publishAtOnce)
	for name := range p.cfg.Clusters {
		d, ok := p.document(name)
		if !ok || !p.due(d) {
			continue
		}
		group.Go(func() error {
			_ = p.publish(ctx, d) // it is kept for the findings
			return nil
		})
	}
	_ = group.Wait()
}

// document is what the store should hold of a cluster; false before its first route.
func (p *publishing) document(cluster string) (topology.Document, bool) {
	route := p.ports.Consensus.State().Clusters[cluster].Desired()
	if route.Epoch == 0 {
		return topology.Document{}, false
	}
	route.Cluster = cluster
	c := p.caseOf(cluster, nil)
	return topology.NewDocument(route, func(a topology.Addr) (string, topology.LagState) {
		return c.Policy.Server(a).DataCenter, lagState(c.Snapshot.Instance(a), c.Policy.Lag.Max)
	}), true
}

func lagState(i *topology.Instance, limit topology.Duration) topology.LagState {
	if !i.Fresh() || i.State.Source() == nil || i.State.Source().Lag == nil {
		return topology.LagUnknown
	}
	if *i.State.Source().Lag > limit {
		return topology.Lagging
	}
	return topology.LagOK
}

// due says whether a document differs, but for its time, from what the store holds.
func (p *publishing) due(d topology.Document) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[d.Cluster]
	return k.dirty || !d.Same(k.held)
}

// publish writes a document through the first agent that answers.
func (p *publishing) publish(ctx context.Context, d topology.Document) error {
	p.mu.Lock()
	k := p.known[d.Cluster]
	k.dirty = false // what is noticed from now on counts again
	p.mu.Unlock()
	began := time.Now()
	var errs []error
	var res consul.Result
	for _, agent := range p.store.Agents {
		var err error
		if res, err = agent.Publish(ctx, d); err == nil {
			errs = nil
			break
		}
		errs = append(errs, err)
		if !errors.Is(err, consul.ErrUnreachable) {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := errors.Join(errs...)
	p.mu.Lock()
	defer p.mu.Unlock()
	before := k.Error
	if k.Error = ""; err != nil {
		k.Error, k.dirty = err.Error(), true
		if before == "" {
			p.log.Warn("a route could not be published", "cluster", d.Cluster, "epoch", d.Epoch, "store", p.store.Name, "error", err)
		}
		return err
	}
	k.held, k.Epoch = d, d.Epoch
	p.drifted(k, res.Drift)
	if res.Changed {
		p.log.Info("published", "cluster", d.Cluster, "epoch", d.Epoch, "mode", d.Mode, "store", p.store.Name, "took", time.Since(began))
	}
	return nil
}

// noticed is told by a watch what another hand did.
func (p *publishing) noticed(drift []topology.Change, err error) {
	p.mu.Lock()
	for cluster, k := range p.known {
		own := slices.DeleteFunc(slices.Clone(drift), func(c topology.Change) bool { return c.Cluster != cluster })
		if p.drifted(k, own); err != nil || len(own) > 0 {
			k.dirty = true
		}
	}
	p.mu.Unlock()
	p.wake.notify()
}

// drifted keeps a drift for the findings; the caller holds the lock.
func (p *publishing) drifted(k *publication, drift []topology.Change) {
	if len(drift) == 0 {
		return
	}
	k.Drift, k.DriftAt = nil, time.Now()
	for _, c := range drift {
		k.Drift = append(k.Drift, c.String())
	}
	p.log.Warn("another hand changed what was published; putting it back", "store", p.store.Name, "keys", k.Drift)
}

// state is how the store fares with a cluster.
func (p *publishing) state(cluster string) topology.Publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[cluster].Publication
}

// show asks the store what it holds of a cluster.
func (p *publishing) show(ctx context.Context, d topology.Document) topology.Stored {
	var errs []error
	for _, agent := range p.store.Agents {
		s, err := agent.Show(ctx, d)
		if s.Store = p.store.Name; err == nil {
			return s
		}
		errs = append(errs, err)
	}
	return topology.Stored{Store: p.store.Name, Error: errors.Join(errs...).Error()}
}

// KV compares what every store holds of a cluster with what it should hold, after
// publishing it once more where submit is true.
func (s *Sidecar) KV(ctx context.Context, cluster string, submit bool) ([]topology.Stored, error) {
	if _, err := s.decider(cluster); err != nil {
		return nil, err
	}
	t := s.leading()
	if t == nil {
		return nil, s.errFollower("cluster " + cluster)
	}
	if len(t.stores) == 0 {
		return nil, fmt.Errorf("%w: no store is configured; see `consul` in the configuration", api.ErrBadInput)
	}
	list := make([]topology.Stored, len(t.stores))
	var asking sync.WaitGroup
	for i, p := range t.stores {
		asking.Go(func() {
			d, ok := p.document(cluster)
			if !ok {
				list[i] = topology.Stored{Store: p.store.Name, Error: "the cluster has no route yet"}
				return
			}
			var err error
			if submit {
				err = p.publish(ctx, d)
			}
			if list[i] = p.show(ctx, d); err != nil {
				list[i].Error = err.Error()
			}
		})
	}
	asking.Wait()
	return list, nil
}

// registerAll tells the store again and again which services there are, and how
// they are.
func (p *publishing) registerAll(ctx context.Context) {
	tick := time.NewTicker(registerEvery)
	defer tick.Stop()
	for {
		for name := range p.cfg.Clusters {
			p.register(ctx, name)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *publishing) register(ctx context.Context, cluster string) {
	c := p.caseOf(cluster, nil)
	var services []consul.Service
	for _, i := range c.Snapshot.Instances {
		services = append(services, service(cluster, &i, c.Snapshot.Route))
	}
	for _, agent := range p.store.Agents {
		err := agent.Register(ctx, cluster, services)
		if err != nil && ctx.Err() == nil {
			p.log.Debug("services could not be registered", "cluster", cluster, "store", p.store.Name, "error", err)
		}
		if !errors.Is(err, consul.ErrUnreachable) {
			return
		}
	}
}

// serviceTTL is how long a service counts as it was told last.
const (
	serviceTTL    = 10 * time.Second
	registerEvery = 2 * time.Second
)

// service is an instance as the store shall know it: `mysql-CLUSTER`, tagged with its role.
func service(cluster string, i *topology.Instance, route topology.Route) consul.Service {
	s := consul.Service{Name: "mysql-" + cluster, Addr: i.Addr, Tags: []string{"replica"}, Health: consul.Passing, TTL: serviceTTL}
	if i.Addr == route.Writer {
		s.Tags = []string{"primary"}
	}
	switch {
	case i.Reach == topology.Down:
		s.Health, s.Note = consul.Critical, "a majority of the sidecars cannot reach it"
	case !i.Fresh():
		s.Health, s.Note = consul.Warning, "it cannot be read"
	case i.Addr != route.Writer && !route.Reads(i.Addr):
		s.Health, s.Note = consul.Warning, "no reads are routed to it"
	}
	return s
}
