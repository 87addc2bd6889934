package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// How long a wait on the server lasts before the SQL thread is looked at, and how
// quickly it is looked at where the server cannot be asked to wait.
const (
	waitSlice = 100 * time.Millisecond
	pollFirst = time.Millisecond
	pollMost  = 50 * time.Millisecond
)

// drain stops receiving and waits until all that was received is applied. The IO
// thread stays stopped.
//
// SQL threads are started while the IO thread still runs: see [dialect.keepRelayLog]
// for what happens where both are stopped. A replica whose SQL thread stopped at an
// error is left as it is, receiving included, so that nothing of its relay log gets
// lost.
func (a *actor) drain(ctx context.Context, _ failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	receiving := false
	for _, c := range r.channels {
		if c.SQL != topology.ThreadYes && c.SQLErrno != 0 {
			return a.stoppedAtError(c)
		}
		if c.IO == topology.ThreadNo {
			continue
		}
		receiving = true
		if c.SQL != topology.ThreadYes {
			if err := a.startApplier(ctx, r, c); err != nil {
				return err
			}
		}
		if err := a.stop(ctx, r, c, a.session.dialect.stopReceiver(c.Channel)); err != nil {
			return err
		}
	}
	if receiving {
		if r, err = a.read(ctx); err != nil {
			return err
		}
	}
	var received gtid.Set
	for i := range r.channels {
		received = received.Union(r.channels[i].Received)
	}
	err = a.applied(ctx, r, "apply its relay log", received, func(r *reading) bool {
		for i := range r.channels {
			if !drained(r.state, &r.channels[i]) {
				return false
			}
		}
		return r.state.HasApplied(received) && a.workersRest(ctx, r)
	})
	for _, st := range a.after {
		if err != nil {
			a.log.Warn("to be done by hand once its relay log is applied", "statement", st.shown)
			continue
		}
		err = a.do(ctx, st)
	}
	return err
}

// drained says whether a channel whose IO thread is stopped has nothing left to
// apply.
//
// A running SQL thread must say that it waits at the end of the relay log. One that
// is stopped has nothing to do where the GTIDs that were received are all executed;
// the server forgets those GTIDs when it restarts, then the positions in the source's
// logs must agree. Without GTIDs neither is to be trusted, as the positions are made
// to agree when the SQL thread is pointed to a relay log.
func drained(st *topology.State, c *channel) bool {
	switch {
	case c.IO != topology.ThreadNo || !st.HasApplied(c.Received):
		return false
	case c.SQL == topology.ThreadYes:
		return c.readAll()
	default:
		return c.GTID && (!c.Received.Empty() || c.received == c.executed)
	}
}

// workersRest says whether parallel workers have ended what the SQL thread gave them.
// Where GTIDs name what was received there is no need to ask.
func (a *actor) workersRest(ctx context.Context, r *reading) bool {
	known := true
	for i := range r.channels {
		known = known && !r.channels[i].Received.Empty()
	}
	if known || len(r.channels) == 0 {
		return true
	}
	list, err := a.processes(ctx, a.session)
	return err == nil && !slices.ContainsFunc(list, a.session.dialect.busyWorker)
}

// catchUp waits until step.Until is executed, or without GTID the source's binary log
// up to step.At.
func (a *actor) catchUp(ctx context.Context, step failover.Step) error {
	if !step.At.IsZero() {
		return a.comesTo(ctx, step.At)
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	return a.applied(ctx, r, "execute "+step.Until.Heads().String(), step.Until, func(r *reading) bool {
		return r.state.HasApplied(step.Until)
	})
}

// applied waits until done is true of a reading. The server itself wakes us when it
// has executed `until`; that answer and the reading that confirms it are one round
// trip. SQL threads that are stopped without an error are started; one with an error
// ends the wait.
func (a *actor) applied(ctx context.Context, r *reading, what string, until gtid.Set, done func(*reading) bool) error {
	delay, early := pollFirst, false
	for !done(r) {
		if err := a.startAppliers(ctx, r); err != nil {
			return err
		}
		wake, ok := a.session.dialect.await(until, waitSlice)
		if !ok || early || r.state.HasApplied(until) {
			// Nothing to be woken by: what remains is that the threads say so.
			wake = ""
			if !pause(ctx, delay) {
				return a.unapplied(r, what, ctx.Err())
			}
			delay = min(2*delay, pollMost)
		}
		asked := time.Now()
		next, err := a.session.readAfter(ctx, wake)
		early = wake != "" && time.Since(asked) < waitSlice/2
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return a.unapplied(r, what, err)
		}
		if err != nil {
			return a.fail(plain("%s", wake), err)
		}
		r = next
	}
	return nil
}

// unapplied says how far it came when the time was up.
func (a *actor) unapplied(r *reading, what string, err error) error {
	state := "it has no source"
	if c := r.channel(); c != nil {
		state = fmt.Sprintf("it received %s; SQL thread: %s", c.Received.Heads(), c.sqlState)
	}
	return &Error{Op: a.op, Addr: a.addr, Arrived: false,
		Err: fmt.Errorf("did not %s in time: it executed %s, %s: %w", what, r.state.Executed.Heads(), state, err)}
}

// startAppliers starts SQL threads that were stopped by someone. A thread that
// stopped at an error is an error, the receiving one only where more must come.
func (a *actor) startAppliers(ctx context.Context, r *reading) error {
	for _, c := range r.channels {
		switch {
		case a.op == string(failover.CatchUp) && c.IO == topology.ThreadNo && c.IOErrno != 0:
			return a.failed("its IO thread stopped with error %d: %s", c.IOErrno, c.IOError)
		case c.SQL == topology.ThreadYes:
			continue
		case c.SQLErrno != 0:
			return a.stoppedAtError(c)
		}
		if err := a.startApplier(ctx, r, c); err != nil {
			return err
		}
	}
	return nil
}

func (a *actor) startApplier(ctx context.Context, r *reading, c channel) error {
	var before, after []statement
	if c.IO == topology.ThreadNo {
		var err error
		if before, after, err = a.session.dialect.keepRelayLog(r, c); err != nil {
			return a.failed("its relay log cannot be applied: %w", err)
		}
		if a.op == string(failover.CatchUp) && len(before) > 0 {
			return a.failed("both its replication threads are stopped: it has to be repointed first")
		}
	}
	a.after = append(a.after, after...)
	for _, st := range append(before, a.session.dialect.startApplier(c.Channel)) {
		if err := a.do(ctx, st); err != nil {
			return err
		}
	}
	a.log.Info("started the SQL thread", "channel", c.Channel)
	return nil
}

func (a *actor) stoppedAtError(c channel) error {
	return a.failed("its SQL thread stopped with error %d: %s", c.SQLErrno, c.SQLError)
}
