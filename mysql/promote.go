package mysql

import (
	"context"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// promote makes a replica the primary: it forgets its source, semi-sync is set, and
// at the end writes are let in. What its relay log still holds is lost; Drain comes
// before.
func (a *actor) promote(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	for _, c := range r.channels {
		if !r.state.HasApplied(c.Received) {
			a.log.Warn("promoted with a relay log that is not applied", "received", c.Received.String(), "executed", r.state.Executed.String())
		}
		if c.IO != topology.ThreadNo || c.SQL != topology.ThreadNo {
			if err := a.do(ctx, a.session.dialect.stop(c.Channel)); err != nil {
				return err
			}
		}
		if err := a.do(ctx, a.session.dialect.forget(c.Channel)); err != nil {
			return err
		}
	}
	if err := a.openWrites(ctx, step.SemiSync); err != nil {
		return err
	}
	a.wakeEvents(ctx)
	return nil
}

// wakeEvents enables the events that were off because the server was a replica.
// They are not worth failing a promotion: what cannot be done is logged.
//
// It does not go into the binary log: the replicas have the events switched off
// already, and a commit would wait for an acknowledgement that no replica can give
// before it is repointed.
func (a *actor) wakeEvents(ctx context.Context) {
	d := a.session.dialect
	results, err := a.session.query(ctx, d.sleepingEvents())
	if err == nil && (len(results) == 0 || len(results[0]) == 0) {
		return
	}
	if err == nil {
		err = a.session.exec(ctx, "SET SESSION sql_log_bin=0")
	}
	if err != nil {
		a.log.Warn("events that were disabled on the replica stay so", "error", err)
		return
	}
	for _, event := range results[0] {
		wake := d.wakeEvent(event["db"], event["name"], event["definer"])
		if err := a.do(ctx, wake); err != nil {
			a.log.Warn("an event that was disabled on the replica stays so", "error", err)
			continue
		}
		a.log.Info("enabled an event", "event", event["db"]+"."+event["name"])
	}
}
