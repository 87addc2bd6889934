package mysql

import (
	"context"
	"errors"
	"fmt"
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
// thread stays stopped: on MariaDB its start would discard what is in the relay log.
func (a *actor) drain(ctx context.Context, _ failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	stopped := false
	for _, c := range r.channels {
		if c.IO == topology.ThreadNo {
			continue
		}
		stopped = true
		if err := a.stop(ctx, r, c, a.session.dialect.stopReceiver(c.Channel)); err != nil {
			return err
		}
	}
	if stopped {
		if r, err = a.read(ctx); err != nil {
			return err
		}
	}
	var received gtid.Set
	for i := range r.channels {
		received = received.Union(r.channels[i].Received)
	}
	return a.applied(ctx, r, "apply its relay log", received, func(r *reading) bool {
		for i := range r.channels {
			if !drained(r.state, &r.channels[i]) {
				return false
			}
		}
		return true
	})
}

// drained says whether a channel whose IO thread is stopped has nothing left to
// apply. With GTIDs, all that was received must be executed; besides the SQL thread
// must say that it waits at the end of the relay log, or stand at the last position
// that was received: after a restart the server does not know the GTIDs of what lies
// in its relay log.
func drained(st *topology.State, c *channel) bool {
	if c.IO != topology.ThreadNo {
		return false
	}
	atEnd := c.received == c.executed
	if c.SQL == topology.ThreadYes {
		atEnd = atEnd || c.readAll()
	}
	if !c.GTID {
		return c.received == c.executed
	}
	return atEnd && st.HasApplied(c.Received)
}

// catchUp waits until step.Until is executed.
func (a *actor) catchUp(ctx context.Context, step failover.Step) error {
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
		if a.op == string(failover.CatchUp) && c.IO == topology.ThreadNo && c.ioErrno != 0 {
			return a.failed("its IO thread stopped with error %d: %s", c.ioErrno, c.IOError)
		}
		if c.SQL == topology.ThreadYes {
			continue
		}
		if c.sqlErrno != 0 {
			return a.failed("its SQL thread stopped with error %d: %s", c.sqlErrno, c.SQLError)
		}
		if err := a.do(ctx, a.session.dialect.startApplier(c.Channel)); err != nil {
			return err
		}
		a.log.Info("started the SQL thread", "channel", c.Channel)
	}
	return nil
}
