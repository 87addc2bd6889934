package sidecar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/topology"
)

const (
	// publishEvery is how often documents are made anew: readers come and go
	// without a commit. It is also when a store that failed is tried again.
	publishEvery = time.Second
)

// publishing keeps one store in line with the ledger while this node leads, each
// cluster by itself. It decides nothing, and nothing waits for it. A leader that was
// deposed and does not know it is stopped by the epoch in the store.
type publishing struct {
	*term
	store Store
	wake  signal
	agent atomic.Int32 // the one that did its work last
	known map[string]*publication
}

// publication is what is known of one cluster's document in the store.
type publication struct {
	turn sync.Mutex // one publishes at a time

	mu sync.Mutex
	topology.Publication
	held  topology.Document // the last that the store certainly held
	dirty bool              // another hand was there, or nobody knows
	begun bool              // this leader has published it, or tried
	lag   map[topology.Addr]topology.LagState
}

func newPublishing(t *term, store Store) *publishing {
	p := &publishing{term: t, store: store, known: map[string]*publication{}}
	for name := range t.cfg.Clusters {
		p.known[name] = &publication{
			Publication: topology.Publication{Store: store.Name}, dirty: true, lag: map[topology.Addr]topology.LagState{},
		}
		for _, agent := range store.Agents {
			agent.Forget(name) // another leader may have published since this one did
		}
	}
	return p
}

// run publishes until ctx ends.
func (p *publishing) run(ctx context.Context) {
	var loops sync.WaitGroup
	for _, agent := range p.store.Agents {
		loops.Go(func() { agent.Watch(ctx, p.noticed) })
	}
	for name := range p.cfg.Clusters {
		loops.Go(func() { p.keep(ctx, name) })
		if p.store.Services {
			loops.Go(func() { p.keepRegistered(ctx, name) })
		}
	}
	loops.Wait()
}

// keep brings a cluster's document in line whenever the ledger changes, another hand
// was at the store, or readers changed.
func (p *publishing) keep(ctx context.Context, cluster string) {
	agreed, stopAgreed := p.agreed.watch(cluster)
	defer stopAgreed()
	woken, stopWoken := p.wake.watch()
	defer stopWoken()
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		if d, ok := p.document(cluster); ok && p.known[cluster].due(d) && !p.premature(ctx, d) {
			_ = p.publish(ctx, d) // it is kept for the findings
		}
		select {
		case <-ctx.Done():
			return
		case <-agreed:
		case <-woken:
		case <-tick.C:
		}
	}
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
		return c.Policy.Server(a).DataCenter, p.known[cluster].lagOf(c.Snapshot.Instance(a), c.Policy.Lag.Max)
	}), true
}

// premature says that a document had better wait: this leader has just begun and has not read all readers
// yet, and the store has their route already, with what the leader before knew of their lag.
func (p *publishing) premature(ctx context.Context, d topology.Document) bool {
	unread := slices.ContainsFunc(d.Readers, func(r topology.Endpoint) bool { return r.Lag == topology.LagUnknown })
	k := p.known[d.Cluster]
	k.mu.Lock()
	begun := k.begun
	k.mu.Unlock()
	if !unread || begun || time.Since(p.evidence.born) >= unreadFor {
		return false
	}
	stored := p.show(ctx, d)
	return stored.Error == "" && stored.Epoch == d.Epoch
}

// lagOf is a reader's lag as a state. It changes less often than the lag: every
// change of it is written, and may reload who reads it.
func (k *publication) lagOf(i *topology.Instance, limit topology.Duration) topology.LagState {
	if i == nil {
		return topology.LagUnknown
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	state, known := k.lag[i.Addr]
	if !known {
		state = topology.LagUnknown
	}
	if i.Fresh() && i.State.Source() != nil && i.State.Source().Lag != nil {
		switch lag := *i.State.Source().Lag; {
		case lag > limit:
			state = topology.Lagging
		case lag <= limit/2 || state != topology.Lagging:
			state = topology.LagOK
		}
	}
	k.lag[i.Addr] = state
	return state
}

// due says whether a document differs, but for its time, from what the store holds.
func (k *publication) due(d topology.Document) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dirty || !d.Same(k.held)
}

// publish writes a document through the agent that did its work last, else through
// the next one that does.
func (p *publishing) publish(ctx context.Context, d topology.Document) error {
	k := p.known[d.Cluster]
	k.turn.Lock()
	defer k.turn.Unlock()
	k.mu.Lock()
	k.dirty, k.begun = false, true // what is noticed from now on counts again
	k.mu.Unlock()
	began := time.Now()
	res, err := p.through(ctx, d)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.dirty = true // perhaps it was written, perhaps not
		if ctx.Err() != nil {
			return err
		}
		if k.Error == "" {
			p.log.Warn("a route could not be published", "cluster", d.Cluster, "epoch", d.Epoch, "store", p.store.Name, "error", err)
		}
		k.Error = err.Error()
		return err
	}
	k.held, k.Epoch, k.Error = d, d.Epoch, ""
	p.drifted(k, res.Drift)
	if res.Changed {
		p.log.Info("published", "cluster", d.Cluster, "epoch", d.Epoch, "mode", d.Mode, "store", p.store.Name, "took", time.Since(began))
	}
	return nil
}

// through tries agent after agent. That the store holds more, or is written by
// others, is the store's own answer; all else may be the agent's fault.
func (p *publishing) through(ctx context.Context, d topology.Document) (consul.Result, error) {
	var errs []error
	for _, n := range p.inTurn() {
		res, err := p.store.Agents[n].Publish(ctx, d)
		if err == nil {
			if p.agent.Swap(int32(n)) != int32(n) {
				p.forgetElsewhere(n, d.Cluster)
			}
			return res, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.Is(err, consul.ErrStale) || errors.Is(err, consul.ErrConflict) {
			break
		}
	}
	return consul.Result{}, errors.Join(errs...)
}

// inTurn are the agents' numbers, from the one that did its work last.
func (p *publishing) inTurn() []int {
	order := make([]int, len(p.store.Agents))
	for i := range order {
		order[i] = (int(p.agent.Load()) + i) % len(order)
	}
	return order
}

// forgetElsewhere has the other agents not take for drift what was written through
// this one.
func (p *publishing) forgetElsewhere(agent int, cluster string) {
	for n, a := range p.store.Agents {
		if n != agent {
			a.Forget(cluster)
		}
	}
}

// noticed is told by a watch what another hand did.
func (p *publishing) noticed(drift []topology.Change, err error) {
	for cluster, k := range p.known {
		own := slices.DeleteFunc(slices.Clone(drift), func(c topology.Change) bool { return c.Cluster != cluster })
		k.mu.Lock()
		if p.drifted(k, own); err != nil || len(own) > 0 {
			k.dirty = true
		}
		k.mu.Unlock()
	}
	p.wake.notify()
}

// drifted keeps a drift for the findings; the caller holds the publication's lock.
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
	k := p.known[cluster]
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.Publication
}

// show asks the store what it holds of a cluster.
func (p *publishing) show(ctx context.Context, d topology.Document) topology.Stored {
	var errs []error
	for _, n := range p.inTurn() {
		s, err := p.store.Agents[n].Show(ctx, d)
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

// keepRegistered tells the store again and again which services a cluster has, and
// how they are.
func (p *publishing) keepRegistered(ctx context.Context, cluster string) {
	tick := time.NewTicker(registerEvery)
	defer tick.Stop()
	for {
		p.register(ctx, cluster)
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
	for _, n := range p.inTurn() {
		err := p.store.Agents[n].Register(ctx, cluster, services)
		if err == nil || ctx.Err() != nil {
			return
		}
		p.log.Debug("services could not be registered", "cluster", cluster, "store", p.store.Name, "error", err)
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
