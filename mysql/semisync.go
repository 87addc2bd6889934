package mysql

import (
	"context"
	"strconv"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// setSemiSync brings semi-sync to the plan; nil leaves it as it is.
func (a *actor) setSemiSync(ctx context.Context, r *reading, plan *failover.SemiSyncPlan) error {
	st, err := a.semiSync(r, plan)
	if err != nil || st.sql == "" {
		return err
	}
	if plan.WaitCount > 1 && r.state.Flavor == string(gtid.MariaDB) {
		a.log.Warn("MariaDB waits for one acknowledgement", "wanted", plan.WaitCount)
	}
	return a.do(ctx, st)
}

// semiSync is the statement that brings semi-sync to the plan, empty where there is nothing
// to set. It is an error where the server cannot: what would have to be undone then is not
// begun before that is known.
func (a *actor) semiSync(r *reading, plan *failover.SemiSyncPlan) (statement, error) {
	if plan.Unmet(r.state) == "" {
		return statement{}, nil
	}
	wanted := semiSyncPlan{source: plan.Source, replica: plan.Replica, waitCount: plan.WaitCount}
	switch {
	case plan.Timeout.Endless():
		wanted.timeout = endlessTimeout
	case plan.Timeout > 0:
		wanted.timeout = strconv.FormatInt(max(1, plan.Timeout.D().Milliseconds()), 10)
	}
	st, err := a.session.dialect.semiSync(r, wanted)
	if err != nil {
		return statement{}, a.failed("%w", err)
	}
	return st, nil
}

// checkSemiSync compares a reading with the plan.
func (a *actor) checkSemiSync(r *reading, plan *failover.SemiSyncPlan) error {
	if unmet := plan.Unmet(r.state); unmet != "" {
		return a.failed("semi-sync is not as planned: %s", unmet)
	}
	return nil
}

// adjustSemiSync sets semi-sync on a server that keeps its role. A replica takes it
// up when its IO thread connects, so one that runs connects anew; what its relay
// log loses by that is fetched again from its source, which is alive.
func (a *actor) adjustSemiSync(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	if _, err := a.semiSync(r, step.SemiSync); err != nil {
		return err
	}
	c := r.channel()
	have := r.state.SemiSync
	anew := step.SemiSync.Replica && c != nil && c.IO == topology.ThreadYes && c.SQL == topology.ThreadYes &&
		(!have.ReplicaEnabled || !have.ReplicaActive)
	if anew {
		if err := a.stop(ctx, r, *c, a.session.dialect.stopReceiver(c.Channel)); err != nil {
			return err
		}
	}
	err = a.setSemiSync(ctx, r, step.SemiSync)
	if anew {
		// Also where it could not be set: nobody else starts what was stopped here.
		if started := a.do(ctx, a.session.dialect.start(c.Channel)); err == nil {
			err = started
		}
		if err == nil {
			step.Source = c.Addr
			return a.receives(ctx, step)
		}
	}
	if err != nil {
		return err
	}
	if r, err = a.read(ctx); err != nil {
		return err
	}
	return a.checkSemiSync(r, step.SemiSync)
}
