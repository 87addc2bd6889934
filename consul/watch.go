package consul

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/remora-ha/remora/topology"
)

const (
	watchPause    = 20 * time.Millisecond // between two queries, however busy the folder is
	watchMaxPause = 5 * time.Second       // between two that failed
)

// Watch follows the keys of all clusters published here, by blocking queries, until
// ctx or the Publisher ends. It calls notice, from the calling goroutine, whenever
// there is news: what another hand changed or deleted, an error, or neither once all
// is well again. What stays as it is is told once, save drift: that is told again
// every Config.Wait. Watch changes nothing: to heal is to publish again, which notice
// may do itself.
//
// What another Publisher wrote at a higher epoch is no drift.
func (p *Publisher) Watch(ctx context.Context, notice func(drift []topology.Change, err error)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	var index uint64
	var lastErr error
	well := true
	pause := watchPause
	for {
		have, next, err := p.await(ctx, index)
		if ctx.Err() != nil {
			return
		}
		var drift []topology.Change
		again := false
		if err == nil {
			drift, again, err = p.inspect(ctx, have)
			if ctx.Err() != nil {
				return
			}
		}
		switch {
		case err != nil:
			// The next answer comes at once: there may be another store behind the address.
			index, pause = 0, min(pause*2, watchMaxPause)
		case again || next < index:
			index, pause = 0, watchPause
		default:
			index, pause = next, watchPause
		}
		switch {
		case again, err != nil && lastErr != nil && err.Error() == lastErr.Error():
		case err != nil, len(drift) > 0, !well:
			well, lastErr = err == nil && len(drift) == 0, err
			notice(drift, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// await asks for all keys below the prefix, once their index is another one.
func (p *Publisher) await(ctx context.Context, index uint64) (map[string]entry, uint64, error) {
	limit := p.cfg.Timeout
	if index > 0 {
		limit += p.cfg.Wait + p.cfg.Wait/16 // Consul's own spread
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	opts := &api.QueryOptions{WaitIndex: index, WaitTime: p.cfg.Wait}
	pairs, meta, err := p.client.KV().List(p.cfg.prefix()+"/", opts.WithContext(ctx))
	if err != nil {
		return nil, 0, p.explain("watch "+p.cfg.prefix(), err)
	}
	have, err := visible(pairs, meta)
	if err != nil {
		return nil, 0, p.explain("watch "+p.cfg.prefix(), err)
	}
	return have, meta.LastIndex, nil
}

// inspect compares what is there with what was published. A difference counts when
// it is still there on a second look with no Publish before, between or after;
// otherwise the answer is to look again.
func (p *Publisher) inspect(ctx context.Context, have map[string]entry) (drift []topology.Change, again bool, err error) {
	before := p.expected()
	suspects := differences(p.cfg.prefix(), before, have)
	if len(suspects) == 0 {
		return nil, false, nil
	}
	have, _, err = p.await(ctx, 0)
	if err != nil {
		return nil, false, err
	}
	for _, c := range suspects {
		ctx, end := p.bound(ctx)
		err := p.confirm(ctx, newKeyset(p.cfg.prefix(), c.Cluster), have)
		end()
		if err != nil {
			return nil, false, p.explain("watch "+p.cfg.prefix(), err)
		}
	}
	after := p.expected()
	for _, c := range differences(p.cfg.prefix(), after, have) {
		if b := before[c.Cluster]; b == nil || after[c.Cluster].calls != b.calls || after[c.Cluster].busy+b.busy > 0 {
			again = true
			continue
		}
		drift = append(drift, c)
	}
	if again {
		drift = nil
	}
	return drift, again, nil
}

// differences lists them cluster by cluster; a cluster with a higher epoch is
// another Publisher's now.
func differences(prefix string, expected map[string]*published, have map[string]entry) []topology.Change {
	var all []topology.Change
	for _, cluster := range slices.Sorted(maps.Keys(expected)) {
		k, e := newKeyset(prefix, cluster), expected[cluster]
		if e.want != nil && storedEpoch(k, have) <= e.epoch {
			all = append(all, compare(k, e.want, have)...)
		}
	}
	return all
}

// expected copies what was published.
func (p *Publisher) expected() map[string]*published {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := make(map[string]*published, len(p.clusters))
	for cluster, e := range p.clusters {
		c := *e // want is never changed, only replaced
		m[cluster] = &c
	}
	return m
}

func (p *Publisher) enter(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.clusters[cluster]
	if e == nil {
		e = &published{}
		p.clusters[cluster] = e
	}
	e.busy++
	e.calls++
}

func (p *Publisher) leave(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clusters[cluster].busy--
}

// settle notes that the store was seen, or made, as wanted.
func (p *Publisher) settle(d topology.Document, want map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.clusters[d.Cluster]; d.Epoch >= e.epoch {
		e.epoch, e.want = d.Epoch, want
	}
}

// forget notes that nothing is known of the store.
func (p *Publisher) forget(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clusters[cluster].want = nil
}

// Forget drops what is known of a cluster, for another Publisher writes it now: until
// it is published here again nothing of it is drift.
func (p *Publisher) Forget(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.clusters[cluster]; e != nil {
		e.want = nil
	}
}

// drifted lists how the store differs from what was published here last.
func (p *Publisher) drifted(k keyset, have map[string]entry) []topology.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.clusters[k.cluster()]
	if e.want == nil || storedEpoch(k, have) > e.epoch {
		return nil
	}
	return compare(k, e.want, have)
}
