package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/remora-ha/remora/topology"
)

// attempts bounds how often a transaction is planned anew when another hand wrote
// between reading and writing.
const attempts = 10

// Publisher writes to one Consul. Its methods may be called from any goroutine.
type Publisher struct {
	cfg      Config
	client   *api.Client
	wire     *http.Transport
	resolver *resolver

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu       sync.Mutex
	clusters map[string]*published
}

// published is what a Publisher knows of its own writes to a cluster.
type published struct {
	busy  int               // Publish calls under way
	calls uint64            // Publish calls begun
	epoch uint64            // of want
	want  map[string]string // as last written or found in order; nil: nothing, or a write's outcome is unknown
}

// Result is what Publish did.
type Result struct {
	// Changed says that something was written.
	Changed bool
	// Drift lists what another hand had changed since this Publisher published last;
	// it is healed when Publish returns without an error.
	Drift []topology.Change
}

// New makes a Publisher. It connects when first used: a Consul that is down is no
// error here, an unreadable certificate is.
func New(cfg Config) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Wait == 0 {
		cfg.Wait = DefaultWait
	}
	client, wire, err := newClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.where(), err)
	}
	p := &Publisher{cfg: cfg, client: client, wire: wire, resolver: newResolver(), clusters: map[string]*published{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Close breaks off what is under way and ends the connections.
func (p *Publisher) Close() {
	p.cancel()
	p.wire.CloseIdleConnections()
}

// Publish brings the keys of the document's cluster to the document, all or none.
// With nothing to change it reads, and no more. It heals what another hand changed.
//
// Errors: ErrStale, ErrDenied, ErrConflict (all: nothing was changed), ErrUnreachable,
// ErrRefused.
func (p *Publisher) Publish(ctx context.Context, d topology.Document) (Result, error) {
	what := fmt.Sprintf("publish %s at epoch %d", d.Cluster, d.Epoch)
	if err := check(d); err != nil {
		return Result{}, fmt.Errorf("%s: %s: %w", p.cfg.where(), what, err)
	}
	ctx, end := p.bound(ctx)
	defer end()
	p.enter(d.Cluster)
	defer p.leave(d.Cluster)
	addrs := p.resolver.resolve(ctx, d)
	k := newKeyset(p.cfg.prefix(), d.Cluster)
	var drift []topology.Change
	for range attempts {
		have, err := p.read(ctx, k)
		if err != nil {
			return Result{Drift: drift}, p.explain(what, err)
		}
		if stored := storedEpoch(k, have); stored > d.Epoch {
			p.forget(d.Cluster)
			return Result{}, fmt.Errorf("%s: %s: %w, %d", p.cfg.where(), what, ErrStale, stored)
		}
		if drift == nil {
			drift = p.drifted(k, have)
		}
		w := want(k, d, addrs, have)
		ops := diff(k, d.Epoch, w, have)
		if ops == nil {
			p.settle(d, w)
			return Result{Drift: drift}, nil
		}
		switch err := p.write(ctx, ops); {
		case err == nil:
			p.settle(d, w)
			return Result{Changed: true, Drift: drift}, nil
		case errors.Is(err, ErrConflict):
		default:
			if !errors.Is(err, ErrDenied) {
				p.forget(d.Cluster)
			}
			return Result{Drift: drift}, p.explain(what, err)
		}
	}
	return Result{Drift: drift}, fmt.Errorf("%s: %s: %w", p.cfg.where(), what, ErrConflict)
}

// Show compares without changing anything. Errors: as of Publish, without ErrStale
// and ErrConflict.
func (p *Publisher) Show(ctx context.Context, d topology.Document) (topology.Stored, error) {
	s := topology.Stored{Store: p.cfg.Name}
	if s.Store == "" {
		s.Store = p.cfg.Address
	}
	what := "read " + d.Cluster
	if err := check(d); err != nil {
		return s, fmt.Errorf("%s: %s: %w", p.cfg.where(), what, err)
	}
	ctx, end := p.bound(ctx)
	defer end()
	k := newKeyset(p.cfg.prefix(), d.Cluster)
	have, err := p.read(ctx, k)
	if err != nil {
		return s, p.explain(what, err)
	}
	s.Epoch = storedEpoch(k, have)
	if stored, ok := decode(have[k.document()].value); ok {
		s.Document = &stored
	}
	s.Changes = compare(k, want(k, d, p.resolver.resolve(ctx, d), have), have)
	return s, nil
}

// bound gives a call its deadline, and ends it with the Publisher.
func (p *Publisher) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	unlink := context.AfterFunc(p.ctx, cancel)
	return ctx, func() {
		unlink()
		cancel()
	}
}

// read gives a cluster's keys as they are stored.
func (p *Publisher) read(ctx context.Context, k keyset) (map[string]entry, error) {
	pairs, meta, err := p.client.KV().List(k.address(), (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k, err)
	}
	have, err := visible(pairs, meta)
	if err != nil {
		return nil, err
	}
	return have, p.confirm(ctx, k, have)
}

// confirm asks whether a document that was not listed may be read at all: a list
// leaves out what may not, and to an anonymous caller Consul does not even say so.
func (p *Publisher) confirm(ctx context.Context, k keyset, have map[string]entry) error {
	if _, ok := have[k.document()]; ok {
		return nil
	}
	if _, _, err := p.client.KV().Get(k.document(), (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("read %s: %w", k.document(), err)
	}
	return nil
}

// visible refuses an answer that Consul shortened: what a token may not see is not
// missing.
func visible(pairs api.KVPairs, meta *api.QueryMeta) (map[string]entry, error) {
	if meta.ResultsFilteredByACLs {
		return nil, &answerError{code: http.StatusForbidden, text: "keys were left out, as the token may not read them"}
	}
	have := make(map[string]entry, len(pairs))
	for _, pair := range pairs {
		if pair == nil || pair.ModifyIndex == 0 {
			return nil, errors.New("a key without an index: this is not Consul's answer")
		}
		have[pair.Key] = entry{value: string(pair.Value), flags: pair.Flags, index: pair.ModifyIndex}
	}
	return have, nil
}

// write carries out a transaction. ErrConflict: it was rolled back, as its first
// operation did not find the document that was read.
func (p *Publisher) write(ctx context.Context, ops api.TxnOps) error {
	ok, resp, _, err := p.client.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	switch {
	case err != nil:
		return fmt.Errorf("write %d keys: %w", len(ops), err)
	case ok && len(resp.Results) == len(ops):
		return nil
	case ok:
		return fmt.Errorf("write %d keys: %d results came back", len(ops), len(resp.Results))
	}
	var texts []string
	for _, e := range resp.Errors {
		if e != nil && deniedText(e.What) {
			return &answerError{code: http.StatusForbidden, text: e.What}
		}
		if e != nil && e.OpIndex == 0 && outrun(e.What) {
			return ErrConflict
		}
		if e != nil {
			texts = append(texts, e.What)
		}
	}
	return &answerError{code: http.StatusConflict, text: strings.Join(texts, "; ")}
}

// outrun tells by Consul's words that a check of an index failed.
func outrun(text string) bool {
	return strings.Contains(text, "index") || strings.Contains(text, "doesn't exist")
}

// explain says what was attempted on which Consul, and names the kind of failure.
func (p *Publisher) explain(what string, err error) error {
	sentinel := kind(err)
	if p.ctx.Err() != nil {
		return fmt.Errorf("%s: %s: %w: the publisher is closed", p.cfg.where(), what, sentinel)
	}
	return fmt.Errorf("%s: %s: %w: %w", p.cfg.where(), what, sentinel, err)
}
