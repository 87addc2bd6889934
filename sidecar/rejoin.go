package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/topology"
)

const (
	// rejoinSettle is how long a server whose data were changed may take until it
	// can be read again.
	rejoinSettle = time.Minute
	// cloneKeep is how much of a clone command's output is kept, in bytes.
	cloneKeep = 8 << 10
)

// rejoin answers an operator's request to bring an instance back. What it begins
// goes on when the operator hangs up, and ends with the term.
func (d *decider) rejoin(ctx context.Context, r api.RejoinRequest) (api.RejoinReply, error) {
	if !d.takeTurn(ctx) {
		return api.RejoinReply{}, ctx.Err()
	}
	c, unread := d.readAll(ctx, nil)
	steps, refusal := failover.PlanRejoin(&c, r.RejoinRequest)
	if refusal == nil && unread != "" && !r.DryRun {
		why := notRead(unread)
		refusal = &why
	}
	if refusal != nil {
		d.endTurn()
		return api.RejoinReply{}, &api.RefusedError{
			Sentence: fmt.Sprintf("%s: %s is not brought back: %s", d.cluster, r.Instance, refusal), Refusals: []failover.Refusal{*refusal},
		}
	}
	if r.DryRun {
		d.endTurn()
		return d.previewRejoin(ctx, steps)
	}
	d.setRejoining(failover.Rejoining{Instance: r.Instance, Doing: steps[0].String(), Since: time.Now(), By: r.By})
	d.endTurn()

	done := make(chan api.RejoinReply, 1)
	d.background.Go(func() {
		ctx, stop := d.untilTermEnds(ctx)
		defer stop()
		done <- d.runRejoin(ctx, r, steps)
	})
	select {
	case reply := <-done:
		switch {
		case reply.Error == "":
			return reply, nil
		case slices.ContainsFunc(reply.Steps, func(res failover.StepResult) bool { return res.Step.Do != failover.SaveExtra }):
			return reply, fmt.Errorf("%s: bringing %s back failed on its way, and it may have been changed: %s", d.cluster, r.Instance, reply.Error)
		default: // only saved, or not even that
			return reply, &api.RefusedError{Sentence: fmt.Sprintf("%s: %s could not be brought back: %s", d.cluster, r.Instance, reply.Error)}
		}
	case <-ctx.Done():
		return api.RejoinReply{}, ctx.Err()
	}
}

// previewRejoin says what would be done, and whether transactions could be taken back.
func (d *decider) previewRejoin(ctx context.Context, steps []failover.Step) (api.RejoinReply, error) {
	reply := api.RejoinReply{Plan: steps}
	for _, step := range steps {
		if step.Do != failover.Discard || d.ports.Rescuers[d.cluster] == nil {
			continue
		}
		found, err := d.ports.Rescuers[d.cluster].Discard(ctx, step.Target, step.Until, true)
		if err != nil {
			return reply, &api.RefusedError{Sentence: fmt.Sprintf("%s: %s is not brought back: %v", d.cluster, step.Target, err)}
		}
		reply.Rows = found.Rows
	}
	return reply, nil
}

// runRejoin does the steps, and then what a plain rejoin asks for.
func (d *decider) runRejoin(ctx context.Context, r api.RejoinRequest, steps []failover.Step) api.RejoinReply {
	var reply api.RejoinReply
	do := func(step failover.Step) error {
		d.setRejoining(failover.Rejoining{Instance: r.Instance, Doing: step.String(), Since: time.Now(), By: r.By})
		res := d.bringBack(ctx, step)
		reply.Steps = append(reply.Steps, res)
		if res.Error != "" {
			d.log.Warn("a rejoin failed", "cluster", d.cluster, "step", step.String(), "why", step.Why, "by", r.By, "took", res.Took, "error", res.Error)
			if !step.Optional {
				return errors.New(res.Error)
			}
			return nil
		}
		d.log.Info("rejoin", "cluster", d.cluster, "step", step.String(), "why", step.Why, "by", r.By, "took", res.Took)
		return nil
	}
	err := d.rejoinSteps(ctx, r, steps, do)
	if err != nil {
		reply.Error = err.Error()
	}
	d.endRejoining(r.Instance, reply.Error)
	d.evidence.changed.notify(d.cluster)
	return reply
}

func (d *decider) rejoinSteps(ctx context.Context, r api.RejoinRequest, steps []failover.Step, do func(failover.Step) error) error {
	for _, step := range steps {
		if err := do(step); err != nil {
			return err
		}
		if step.Do == failover.Repoint {
			return nil
		}
	}
	// Its data are others now: ask anew, as soon as it can be read.
	plain := failover.RejoinRequest{Instance: r.Instance, By: r.By}
	ctx, cancel := context.WithTimeout(ctx, rejoinSettle)
	defer cancel()
	for {
		c, unread := d.readAll(ctx, nil)
		c.Rejoins = nil // this one
		again, refusal := failover.PlanRejoin(&c, plain)
		switch {
		case refusal == nil && unread == "":
			return do(again[0])
		case refusal == nil:
			why := notRead(unread)
			refusal = &why
		}
		if !slices.Contains([]string{"stale", "primary", "divergent", "unread"}, refusal.Rule) || ctx.Err() != nil {
			return fmt.Errorf("its data are in place, and it cannot follow: %s", refusal)
		}
		pause(ctx, idleCycle)
	}
}

// bringBack does one step of a rejoin. Its repoint is a repair like others: it collides
// with them, and a recovery goes first.
func (d *decider) bringBack(ctx context.Context, step failover.Step) failover.StepResult {
	if step.Do != failover.Repoint {
		return d.execute(ctx, step)
	}
	res := failover.StepResult{Step: step, Started: time.Now(), Node: d.cfg.Node}
	ctx, m, err := d.enterAlone(ctx, step)
	if err != nil {
		res.Error = err.Error()
		return res
	}
	defer d.leave(m)
	return d.execute(ctx, step)
}

// enterAlone begins a repair at an operator's request when the one that goes on at its
// target has ended, and not in a recovery.
func (d *decider) enterAlone(ctx context.Context, step failover.Step) (context.Context, *mending, error) {
	if err := d.alone(ctx, step.Target); err != nil {
		return ctx, nil, err
	}
	if !d.takeTurn(ctx) {
		return ctx, nil, ctx.Err()
	}
	defer d.endTurn()
	if d.ports.Consensus.State().Clusters[d.cluster].Intent != nil {
		return ctx, nil, fmt.Errorf("%s: a recovery goes first; ask again when it has ended", step)
	}
	ctx, m := d.enter(ctx, step)
	if m == nil {
		return ctx, nil, fmt.Errorf("%s: another repair has just begun there; ask again", step)
	}
	return ctx, m, nil
}

// setRejoining and endRejoining keep what is under way for the cases.
func (d *decider) setRejoining(r failover.Rejoining) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory.rejoin(r)
}

func (d *decider) endRejoining(a topology.Addr, failure string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory.rejoined(a, failure, time.Now())
}

// rejoinUnderWay says what is being done to an instance; empty without any. It would
// end with the term.
func (t *term) rejoinUnderWay() string {
	for _, name := range slices.Sorted(maps.Keys(t.deciders)) {
		d := t.deciders[name]
		d.mu.Lock()
		rejoins := d.memory.rejoins
		d.mu.Unlock()
		for _, r := range rejoins {
			if r.Error == "" {
				return fmt.Sprintf("%s of cluster %s is being brought back: %s", r.Instance, name, r.Doing)
			}
		}
	}
	return ""
}

// clone copies all data: by the policy's command, or as the server itself can.
func (d *decider) clone(ctx context.Context, step failover.Step) error {
	policy := d.cfg.Clusters[d.cluster].Policy
	if policy.Clone.Command == "" {
		return d.ports.Servers[d.cluster].Do(ctx, step)
	}
	o := failover.CloneOrder{
		Cluster: d.cluster, Instance: step.Target, Donor: step.Source, Primary: d.ports.Consensus.State().Clusters[d.cluster].Route.Writer,
	}
	out := d.ports.Commands.Run(ctx, hooks.Command{
		Args: hooks.Shell(o.Expand(policy.Clone.Command)), Env: o.Environment(), Timeout: policy.Clone.Timeout.D(), Keep: cloneKeep,
	})
	d.log.Info("clone command", "cluster", d.cluster, "instance", step.Target, "donor", step.Source, "exit", out.Exit, "took", out.Took, "output", out.Output)
	if out.Err != nil {
		return fmt.Errorf("the clone command: %w; it said: %s", out.Err, out.Output)
	}
	return nil
}

// discard takes transactions back.
func (d *decider) discard(ctx context.Context, step failover.Step) error {
	rescuer := d.ports.Rescuers[d.cluster]
	if rescuer == nil {
		return errors.New("this sidecar cannot read binary logs")
	}
	done, err := rescuer.Discard(ctx, step.Target, step.Until, false)
	if err != nil {
		return err
	}
	d.log.Warn("took transactions back that the primary lacks", "cluster", d.cluster, "instance", step.Target,
		"set", step.Until.String(), "transactions", done.Transactions, "rows", done.Rows)
	return nil
}
