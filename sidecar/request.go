package sidecar

import (
	"context"
	"errors"
	"fmt"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
)

// recover answers an operator's request: it decides on it, and begins unless it
// is only a dry run.
func (d *decider) recover(ctx context.Context, r api.RecoveryRequest) (reply api.RecoveryReply, err error) {
	if !d.takeTurn(ctx) {
		return reply, fmt.Errorf("%s of %s: another recovery, or the hooks before it, took longer than this request waits; ask again with the same id: %w", r.Kind, d.cluster, ctx.Err())
	}
	defer d.endTurn()
	cl := d.ports.Consensus.State().Clusters[d.cluster]
	if known := findRecovery(cl, r.ID); known != nil {
		return api.RecoveryReply{Recovery: r.ID}, nil // the same request once more
	}
	// Decide on what is true now, not on views that may be an interval old.
	c, unread := d.readAll(ctx, &r.Request)
	v := failover.Examine(&c)
	reply = api.RecoveryReply{Decision: v.Decision, Plan: v.Plan, Findings: v.Findings}
	if r.DryRun {
		return reply, nil
	}
	if v.Decision.Intent == nil {
		return reply, &api.RefusedError{
			Sentence: v.Decision.Sentence, Refusals: v.Decision.Refusals, Checks: v.Decision.Checks,
		}
	}
	if unread != "" {
		why := notRead(unread)
		return reply, &api.RefusedError{Sentence: fmt.Sprintf("%s of %s: %s", r.Kind, d.cluster, why), Refusals: []failover.Refusal{why}, Checks: v.Decision.Checks}
	}
	if handing := d.resigning(); handing != "" {
		return reply, fmt.Errorf("%w: %s; ask again", api.ErrNotLeader, handing)
	}
	if reply.Decision, err = d.launch(ctx, &c, v.Decision); err != nil {
		var refused *ledger.RefusedError
		if errors.As(err, &refused) {
			return reply, &api.RefusedError{Sentence: err.Error()}
		}
		return reply, err
	}
	reply.Recovery = reply.Decision.Intent.ID
	d.evidence.changed.notify(d.cluster)
	return reply, nil
}

// findRecovery finds a recovery, open or ended, by its id.
func findRecovery(cl ledger.Cluster, id string) *failover.Recovery {
	if cl.Recovery != nil && cl.Recovery.Intent.ID == id {
		return cl.Recovery
	}
	for i := range cl.Recoveries {
		if cl.Recoveries[i].Intent.ID == id {
			return &cl.Recoveries[i]
		}
	}
	return nil
}
