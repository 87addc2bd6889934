package mysql

import (
	"context"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// hastenWait is how long a killed IO thread may take to end, or to come to where the
// signal of STOP wakes it.
const hastenWait = 5 * time.Millisecond

// stop sends a statement that stops the receiver of c, and is not held up by a
// source that is frozen.
//
// A semi-sync replica's thread takes leave of its source before it ends, and STOP
// waits for it. The signal that STOP sends at its beginning would end that leave,
// but comes before it. So the thread is killed first: by the time of STOP it has
// ended, or takes leave and is woken.
func (a *actor) stop(ctx context.Context, r *reading, c channel, st statement) error {
	if a.session.dialect.hastenStop(r) && c.IO == topology.ThreadYes {
		a.killReceiver(ctx)
	}
	return a.do(ctx, st)
}

// killReceiver kills the IO thread where it is the only one, and gives it time. It
// is an aid: what goes wrong here, STOP will meet again.
func (a *actor) killReceiver(ctx context.Context) {
	list, err := a.processes(ctx, a.session)
	if err != nil {
		return
	}
	var receivers []int
	for _, line := range list {
		if line["Command"] == "Slave_IO" {
			receivers = append(receivers, line.integer("Id"))
		}
	}
	if len(receivers) != 1 || a.do(ctx, a.session.dialect.kill(uint64(receivers[0]))) != nil {
		return
	}
	for deadline := time.Now().Add(hastenWait); time.Now().Before(deadline); {
		r, err := a.session.read(ctx)
		if err != nil || len(r.channels) == 0 || r.channels[0].IO != topology.ThreadYes || !pause(ctx, time.Millisecond) {
			return
		}
	}
}

// stopReceiving stops the IO thread that receives from step.Source, and that alone:
// from then on the server acknowledges nothing there, and what it has received is
// all that it will have.
//
// Its SQL thread is started before where it was stopped: see [dialect.keepRelayLog]
// for what happens where both are. One that stopped at an error is left as it is,
// receiving included, so that nothing of its relay log gets lost.
func (a *actor) stopReceiving(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	for _, c := range r.channels {
		if c.Addr != step.Source || c.IO == topology.ThreadNo {
			continue
		}
		if c.SQL != topology.ThreadYes {
			if c.SQLErrno != 0 {
				return a.stoppedAtError(c)
			}
			if err := a.startApplier(ctx, r, c); err != nil {
				return err
			}
		}
		if err := a.stop(ctx, r, c, a.session.dialect.stopReceiver(c.Channel)); err != nil {
			return err
		}
	}
	if r, err = a.read(ctx); err != nil {
		return err
	}
	for _, c := range r.channels {
		if c.Addr == step.Source && c.IO != topology.ThreadNo {
			return a.failed("its IO thread was stopped and receives from %s again: someone else started it", step.Source)
		}
	}
	return nil
}
