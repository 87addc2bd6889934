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
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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
	disk      diskHealth
	// nextHandover is when this node may give the leadership away by itself again; for
	// the loop that leads.
	nextHandover time.Time
	acked        *acknowledged
	// holding are the clusters, sorted, whose proxy stays as it is without a lease.
	holding []string
	// agreed is notified after the ledger changed, of the clusters that it changed for.
	agreed news
	// sharing says that this sidecar watches a share of the instances, with those of its fellowship, and fellows who they are, as
	// the leader said last; nil before that. regrouped is notified when they change.
	sharing    atomic.Bool
	fellowship string
	fellows    atomic.Pointer[[]string]
	regrouped  signal
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
		fellowship: cfg.fellowship(), holding: cfg.allHeld(),
		observer: newObserver(ports), lease: newLease(ports.Clock), proxies: newProxies(), acked: newAcknowledged(),
	}
}

// Run runs all loops until ctx ends, then closes the ports. The proxy keeps
// what it routes: stopping a sidecar is no reason to stop the writes, and the
// leader waits for its lease before it opens another writer.
func (s *Sidecar) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var loops sync.WaitGroup
	loops.Go(func() { s.followLedger(ctx) })
	loops.Go(func() { s.watchClocks(ctx) })
	if s.cfg.Lease.Failsafe {
		loops.Go(func() { s.holdOn(ctx) })
	}
	loops.Go(func() { s.observe(ctx) })
	loops.Go(func() { s.report(ctx) })
	if s.leaseFile != nil {
		loops.Go(func() { s.keepLeaseFile(ctx) })
	}
	loops.Go(func() { fail(s.lead(ctx)) })
	if s.ports.Disk != nil {
		loops.Go(func() { s.testDisk(ctx) })
	}
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
	ended := context.Cause(ctx)
	if !errors.Is(ended, ErrLeft) {
		ended = nil
	}

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
		err = fmt.Errorf("stop raft: %w", err)
	}
	return errors.Join(ended, err)
}

// ErrLeft says that this node left the fleet because its disk hung while it led,
// and that the disk answers again: the process is to be started anew.
var ErrLeft = errors.New("this node left the fleet while its disk hung; the disk answers again, so start the sidecar anew")

// lead runs one term after the other, as raft gives them. It returns at the end
// of ctx, or with ErrLeft.
func (s *Sidecar) lead(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case raftTerm, ok := <-s.ports.Consensus.Terms():
			if !ok {
				return s.left(ctx)
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

// left waits, without raft and so without a lease and with the proxy fenced, until
// the disk answers.
func (s *Sidecar) left(ctx context.Context) error {
	for ctx.Err() == nil && len(s.troubles()) > 0 {
		pause(ctx, tryDisk)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrLeft
}

func (s *Sidecar) setTerm(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t != nil {
		t.evidence.begin(s.ports.Clock().Boot, s.ports.Consensus.State().Nodes)
	}
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

// followLedger tells the loops of the clusters that the ledger changed for.
func (s *Sidecar) followLedger(ctx context.Context) {
	state, changed := s.ports.Consensus.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			before := state
			state, changed = s.ports.Consensus.Watch()
			switch clusters, all := state.Changed(before); {
			case all:
				s.agreed.notify()
			case len(clusters) > 0:
				s.agreed.notify(clusters...)
			}
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
