// Package sidecar is one Remora process: it puts the parts together and runs the
// one cycle, a file for each loop. Every sidecar observes and reports
// (observe.go, heartbeat.go) and keeps its own proxy in line with what was
// agreed (reconcile.go); the leader decides (decide.go) and acts (act.go).
//
// Safety rules that this package keeps:
//
//   - A proxy routes writes only while the lease holds and the local ledger has
//     reached the index that came with it; a sidecar starts without a lease.
//   - Nothing on a server is changed without a quorum round just before.
//   - What remains to be done is asked anew after every stage.
package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/remora-ha/remora/api"
)

// Sidecar is one node. Make it with New, run it with Run.
type Sidecar struct {
	cfg      Config
	ports    Ports
	log      *slog.Logger
	version  string
	started  time.Time
	observer *observer
	lease    *lease
	// leaseFile is nil where nothing is written.
	leaseFile *leaseFile
	proxies   *proxies
	// agreed is notified after the ledger changed.
	agreed signal
	// proxyBroke is notified when the connection to the proxy breaks.
	proxyBroke signal

	mu   sync.Mutex
	term *term // while this node leads
}

// New puts a sidecar together. The ports are closed by Run.
func New(cfg Config, ports Ports, log *slog.Logger, version string) *Sidecar {
	if ports.Clock == nil {
		ports.Clock = goClock()
	}
	return &Sidecar{
		cfg: cfg, ports: ports, log: log, version: version, started: time.Now(),
		observer: newObserver(ports), lease: newLease(ports.Clock), proxies: newProxies(),
	}
}

// Run runs all loops until ctx ends, then closes the ports. The proxy keeps
// what it routes: stopping a sidecar is no reason to stop the writes, and the
// leader waits for its lease before it opens another writer.
func (s *Sidecar) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { s.followLedger(ctx) })
	loops.Go(func() { s.watchClocks(ctx) })
	loops.Go(func() { s.observe(ctx) })
	loops.Go(func() { s.report(ctx) })
	if s.leaseFile != nil {
		loops.Go(func() { s.keepLeaseFile(ctx) })
	}
	loops.Go(func() { s.lead(ctx) })
	if s.ports.Proxy != nil {
		loops.Go(func() { s.relayBreaks(ctx) })
		for name := range s.cfg.Clusters {
			loops.Go(func() { s.reconcile(ctx, name) })
		}
	}
	if s.cfg.Join.Service != "" {
		loops.Go(func() { s.announceAll(ctx, s.ports.agents(s.cfg.Join.Consul)) })
	}
	for _, r := range s.ports.Renderers {
		loops.Go(func() { s.render(ctx, r) })
	}
	loops.Wait()

	bounded, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.ports.Consensus.Close(bounded)
	for _, servers := range s.ports.Servers {
		servers.Close()
	}
	if s.ports.Proxy != nil {
		s.ports.Proxy.Close()
	}
	for _, store := range s.ports.Stores {
		for _, agent := range store.Agents {
			agent.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("stop raft: %w", err)
	}
	return nil
}

// lead runs one term after the other, as raft gives them.
func (s *Sidecar) lead(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case raftTerm, ok := <-s.ports.Consensus.Terms():
			if !ok {
				return
			}
			t := newTerm(s, raftTerm.Number)
			s.setTerm(t)
			s.log.Info("this node leads now", "term", raftTerm.Number)
			run, cancel := context.WithCancel(raftTerm.Ctx)
			stop := context.AfterFunc(ctx, cancel) // raft ends after the loops
			t.run(run)
			stop()
			cancel()
			s.setTerm(nil)
			s.log.Info("this node no longer leads", "term", raftTerm.Number)
		}
	}
}

func (s *Sidecar) setTerm(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = t
}

// leading is the current term, nil on a follower.
func (s *Sidecar) leading() *term {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// errFollower is what a follower answers to what only a leader may.
func (s *Sidecar) errFollower(what string) error {
	leader, ok := s.ports.Consensus.Leader()
	if !ok {
		leader = "nobody known"
	}
	return fmt.Errorf("%s: %w: %s does not lead, %s does", what, api.ErrNotLeader, s.cfg.Node, leader)
}

// followLedger tells every loop that the ledger changed.
func (s *Sidecar) followLedger(ctx context.Context) {
	_, changed := s.ports.Consensus.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			_, changed = s.ports.Consensus.Watch()
			s.agreed.notify()
		}
	}
}

// relayBreaks tells every keeper that the proxy's connection broke.
func (s *Sidecar) relayBreaks(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ports.ProxyBroke:
			s.proxyBroke.notify()
		}
	}
}
