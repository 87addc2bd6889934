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
	if _, err := a.semiSync(r, step.SemiSync); err != nil {
		return err
	}
	if err := a.forgetSources(ctx, r, a.stopIdle); err != nil {
		return err
	}
	if err := a.openWrites(ctx, r, step.SemiSync); err != nil {
		return err
	}
	a.wakeEvents(ctx)
	return nil
}

// detach makes a server that takes writes forget its source; nothing else changes.
func (a *actor) detach(ctx context.Context, _ failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	return a.forgetSources(ctx, r, a.stopBoth)
}

// forgetSources has replication stopped and forgets where it came from.
func (a *actor) forgetSources(ctx context.Context, r *reading, stop func(context.Context, *reading, channel) error) error {
	for _, c := range r.channels {
		if !r.state.HasApplied(c.Received) {
			a.log.Warn("forgot a source with a relay log that is not applied", "received", c.Received.String(), "executed", r.state.Executed.String())
		}
		if c.IO != topology.ThreadNo || c.SQL != topology.ThreadNo {
			if err := stop(ctx, r, c); err != nil {
				return err
			}
		}
		if err := a.do(ctx, a.session.dialect.forget(c.Channel)); err != nil {
			return err
		}
	}
	return nil
}

func (a *actor) setWritable(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	return a.openWrites(ctx, r, step.SemiSync)
}

// openWrites sets semi-sync and then lets writes in, in that order, so that no
// write is acknowledged with less than was promised.
func (a *actor) openWrites(ctx context.Context, r *reading, plan *failover.SemiSyncPlan) error {
	if err := a.setSemiSync(ctx, r, plan); err != nil {
		return err
	}
	set := a.session.dialect.readOnly(false)
	if err := a.do(ctx, set); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	if !r.state.Writable() {
		return a.failed("the server took %q and is not writable: someone else set it read-only", set.shown)
	}
	return a.checkSemiSync(r, plan)
}

// wakeEvents looks after the events that are off because the server was a replica.
// The server does not tell those that ran on the old primary from those that an
// operator had disabled there, so they are enabled only if the configuration says
// so; else their names are logged. Events are not worth failing a promotion.
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
	if err == nil && !a.cfg.EnableEvents {
		a.log.Warn("events are disabled since the server was a replica: enable those that shall run", "events", eventNames(results[0]))
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

func eventNames(events result) []string {
	var names []string
	for _, e := range events {
		names = append(names, e["db"]+"."+e["name"])
	}
	return names
}
