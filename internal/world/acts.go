package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// acts carries out a plan's steps on the servers for one sidecar, with the
// meaning that package mysql gives them: each looks first, does what is missing
// and reads it back, so that doing it twice is harmless.
type acts struct {
	p       *process
	confirm func(context.Context) error // asked before a server is changed
}

// Close implements sidecar.Servers.
func (acts) Close() {}

// Settled implements sidecar.Servers: what an act sends here takes effect before its end.
func (acts) Settled(topology.Addr) (since time.Time, ok bool) { return since, true }

// Do implements sidecar.Servers.
func (a acts) Do(ctx context.Context, step failover.Step) error {
	w, s, host := a.p.node.w, a.p.node.w.server(step.Target), a.p.node.host
	if s == nil {
		return fmt.Errorf("%s: no such server", step)
	}
	w.checks.actBegins(ctx, a.p, step)
	fail := func(err error) error {
		w.event("%s: %s failed: %v", a.p.node.name, step, err)
		return fmt.Errorf("%s: %w", step, err)
	}
	if err := a.p.enter(ctx); err != nil {
		return fail(err)
	}
	if err := w.net.pass(ctx, host, s.host, SQLPort); err != nil {
		return fail(err)
	}
	err := a.confirm(ctx)
	if err == nil {
		err = a.act(ctx, s, step)
	}
	// The answer may be lost though the act was done.
	if lost := w.net.pass(ctx, s.host, host, SQLPort); err == nil {
		err = lost
	}
	if err != nil {
		return fail(err)
	}
	w.event("%s: %s done", a.p.node.name, step)
	w.stepDone(a.p, step.String())
	return nil
}

// act is the one switch over the acts.
func (a acts) act(ctx context.Context, s *server, step failover.Step) error {
	s.w.mu.Lock()
	up, fault := s.up, s.fault
	s.w.mu.Unlock()
	switch {
	case !up:
		return errRefused
	case fault != "":
		return fmt.Errorf("the server %s", fault)
	}
	switch step.Do {
	case failover.SetReadOnly:
		return s.setReadOnly(ctx)
	case failover.CatchUp:
		return s.await(ctx, func() (bool, error) {
			if s.sqlError != "" {
				return false, errors.New(s.sqlError)
			}
			return s.state().HasApplied(step.Until), nil
		})
	case failover.Drain:
		return s.drain(ctx)
	case failover.Promote:
		return s.promote(a.p, step)
	case failover.SetWritable:
		return s.open(step.SemiSync)
	case failover.Repoint:
		return s.repoint(ctx, step)
	case failover.StopReceiving:
		return s.stopReceiving(step)
	case failover.StartReplica:
		return s.startReplica(ctx, step)
	case failover.SetSemiSync:
		return s.adjustSemiSync(ctx, step)
	case failover.Detach:
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.forget()
		return nil
	default:
		s.w.fail("the world does not know the act %q: add it to internal/world/acts.go", step.Do)
		return fmt.Errorf("unknown act %q", step.Do)
	}
}

// await waits until done, which is asked under the mutex.
func (s *server) await(ctx context.Context, done func() (bool, error)) error {
	for {
		s.w.mu.Lock()
		ok, err := done()
		up, changed := s.up, s.changed
		s.w.mu.Unlock()
		switch {
		case err != nil:
			return err
		case !up:
			return errLost
		case ok:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// killAfter is how long commits in progress may hold up read_only.
const killAfter = 100 * time.Millisecond

func (s *server) setReadOnly(ctx context.Context) error {
	s.w.mu.Lock()
	busy, ro := len(s.commits) > 0, s.readOnly
	s.w.mu.Unlock()
	if busy && !ro && !sleep(ctx, killAfter) {
		return ctx.Err()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if !s.up {
		return errLost
	}
	s.endSessions()
	s.closed = s.closed || !s.readOnly
	s.readOnly = true
	s.notify()
	return nil
}

func (s *server) drain(ctx context.Context) error {
	s.w.mu.Lock()
	if s.source != "" {
		if !s.sql && s.sqlError == "" {
			s.startSQL()
		}
		s.stopIO()
	}
	s.w.mu.Unlock()
	return s.await(ctx, func() (bool, error) {
		if s.sqlError != "" {
			return false, errors.New(s.sqlError)
		}
		return len(s.relay) == 0, nil
	})
}

// promote forgets the source and whatever the relay log still holds.
func (s *server) promote(p *process, step failover.Step) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.source != "" {
		s.forget()
	}
	s.w.checks.promoted(p, s)
	s.openLocked(step.SemiSync)
	return nil
}

// forget is RESET SLAVE ALL; the caller holds the mutex.
func (s *server) forget() {
	s.stopIO()
	s.source, s.relay, s.received, s.sql, s.sqlError, s.ioError, s.untried = "", nil, nil, false, "", "", false
	s.notify()
}

func (s *server) open(plan *failover.SemiSyncPlan) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.openLocked(plan)
	return nil
}

func (s *server) openLocked(plan *failover.SemiSyncPlan) {
	s.setSemiSync(plan)
	s.readOnly, s.closed = false, false
	s.notify()
	s.w.checks.look("%s takes writes", s.addr)
}

// setSemiSync brings semi-sync to the plan; nil leaves it as it is.
func (s *server) setSemiSync(plan *failover.SemiSyncPlan) {
	if plan == nil {
		return
	}
	s.semiRepl = plan.Replica
	s.semiSource = plan.Source
	if !plan.Source {
		for t, c := range s.commits { // nobody waits any more
			delete(s.commits, t)
			close(c.done)
		}
	}
}

func (s *server) repoint(ctx context.Context, step failover.Step) error {
	s.w.mu.Lock()
	ro := s.readOnly
	s.w.mu.Unlock()
	if !ro {
		if err := s.setReadOnly(ctx); err != nil {
			return err
		}
	}
	s.w.mu.Lock()
	s.w.checks.repointed(s, step.Source)
	same := s.source == step.Source && s.sqlError == "" && (s.ioError == "" || s.io != topology.ThreadNo)
	semi := step.SemiSync != nil && (s.semiRepl != step.SemiSync.Replica || s.semiSource != step.SemiSync.Source)
	if !same {
		s.forget()
		s.source, s.untried = step.Source, true
	}
	if !same || semi {
		s.stopIO()
		s.setSemiSync(step.SemiSync)
	}
	s.startSQL()
	s.startIO()
	s.notify()
	s.w.mu.Unlock()
	return s.receives(ctx)
}

// stopReceiving stops the IO thread; what it received is applied.
func (s *server) stopReceiving(step failover.Step) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.source != step.Source || s.io == topology.ThreadNo {
		return nil
	}
	if s.sqlError != "" {
		return errors.New(s.sqlError)
	}
	s.startSQL()
	s.stopIO()
	s.notify()
	return nil
}

func (s *server) startReplica(ctx context.Context, step failover.Step) error {
	s.w.mu.Lock()
	if s.source != step.Source {
		s.w.mu.Unlock()
		return fmt.Errorf("it is to replicate from %s and does not", step.Source)
	}
	if p := step.SemiSync; p != nil && p.Unmet(s.state()) != "" {
		s.stopIO()
		s.setSemiSync(p)
	}
	s.startSQL()
	s.startIO()
	s.notify()
	s.w.mu.Unlock()
	return s.receives(ctx)
}

// adjustSemiSync sets semi-sync on a server that keeps its role; a replica that
// runs connects anew.
func (s *server) adjustSemiSync(ctx context.Context, step failover.Step) error {
	s.w.mu.Lock()
	anew := step.SemiSync.Replica && s.io == topology.ThreadYes && s.sql && !s.state().SemiSync.ReplicaActive
	if anew {
		s.stopIO()
	}
	s.setSemiSync(step.SemiSync)
	if anew {
		s.startIO()
	}
	s.notify()
	s.w.mu.Unlock()
	if anew {
		return s.receives(ctx)
	}
	return nil
}

// settle bounds the wait for an IO thread that connects without an error.
const settle = 2 * time.Second

func (s *server) receives(ctx context.Context) error {
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); {
		s.w.mu.Lock()
		io, ioError, sqlError := s.io, s.ioError, s.sqlError
		s.w.mu.Unlock()
		switch {
		case sqlError != "":
			return errors.New(sqlError)
		case io == topology.ThreadNo && ioError != "":
			return errors.New(ioError)
		case io == topology.ThreadYes:
			return nil
		}
		if !sleep(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}
