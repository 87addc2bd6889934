package mysql

import (
	"context"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
)

// setSemiSync brings semi-sync to the plan; nil leaves it as it is.
func (a *actor) setSemiSync(ctx context.Context, r *reading, plan *failover.SemiSyncPlan) error {
	if plan == nil || a.checkSemiSync(r, plan) == nil {
		return nil
	}
	if plan.WaitCount > 1 && r.state.Flavor == string(gtid.MariaDB) {
		a.log.Warn("MariaDB waits for one acknowledgement", "wanted", plan.WaitCount)
	}
	statements, err := a.session.dialect.semiSync(r, semiSyncPlan{plan.Source, plan.Replica, plan.WaitCount})
	if err != nil {
		return a.failed("%w", err)
	}
	for _, st := range statements {
		if err := a.do(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// checkSemiSync compares a reading with the plan.
func (a *actor) checkSemiSync(r *reading, plan *failover.SemiSyncPlan) error {
	if plan == nil {
		return nil
	}
	have := r.state.SemiSync
	if have.SourceEnabled == plan.Source && have.ReplicaEnabled == plan.Replica &&
		(!plan.Source || plan.WaitCount == 0 || r.state.Flavor == string(gtid.MariaDB) || have.WaitCount == plan.WaitCount) {
		return nil
	}
	return a.failed("semi-sync is source=%t replica=%t with %d acknowledgements, and not as planned: source=%t replica=%t with %d",
		have.SourceEnabled, have.ReplicaEnabled, have.WaitCount, plan.Source, plan.Replica, plan.WaitCount)
}
