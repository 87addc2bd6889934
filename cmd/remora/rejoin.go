package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func (a *app) rejoinCommand() *cobra.Command {
	var r api.RejoinRequest
	var yes bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "rejoin CLUSTER HOST:PORT",
		Short: "Bring an instance back as a replica of the primary",
		Long: `Makes an instance a replica of the primary. One that has nothing the primary lacks
simply follows it. One that has diverged is refused, unless one of these is given:

--discard takes its extra transactions back: their row changes are undone exactly,
from the images of its binary log, in one transaction; then its binary logs are
dropped. All or nothing: what was logged as a statement (such as DDL), rows without
full images, tables with triggers, or rows changed since are refused.

--clone replaces all its data by those of a replica or the primary: by the policy's
clone.command, or with MySQL's CLONE.

Either way the transactions are saved as SQL first (see remora status, or remora
recoveries); --unsaved goes on where that fails. What will be done is said first, and
asked for; without a terminal nothing is done unless --yes is given.

Exits with 0 when it follows (dry run: it would go), 3 when refused and nothing was
changed, 5 when it failed on its way or its end was not seen; see remora help exit-codes.`,
		Example: "  remora rejoin main db1:3306 --discard --dry-run",
		Args:    takes("CLUSTER", "HOST:PORT"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Instance, err = topology.ParseAddr(args[1]); err != nil {
				return err
			}
			r.By = a.user()
			f, err := a.fleet()
			if err != nil {
				return err
			}
			f.timeout = max(f.timeout, time.Minute) // it may look into binary logs
			return a.rejoin(c.Context(), f, args[0], r, yes, wait)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&r.Discard, "discard", false, "take the transactions back that the primary lacks")
	flags.BoolVar(&r.Clone, "clone", false, "copy all data anew")
	flags.BoolVar(&r.Unsaved, "unsaved", false, "go on where the transactions that will be gone cannot be saved, or not all of them")
	flags.BoolVar(&r.DryRun, "dry-run", false, "say what would be done, and change nothing")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	flags.DurationVar(&wait, "wait", 2*time.Hour, "how long to wait for the end; it goes on afterwards")
	return c
}

func (a *app) rejoin(ctx context.Context, f *fleet, cluster string, r api.RejoinRequest, yes bool, wait time.Duration) error {
	what := fmt.Sprintf("rejoining %s in %s", r.Instance, cluster)
	send := func(r api.RejoinRequest) func(context.Context, *api.Client) (api.RejoinReply, error) {
		return func(ctx context.Context, c *api.Client) (api.RejoinReply, error) { return c.Rejoin(ctx, cluster, r) }
	}
	dry := r
	dry.DryRun = true
	plan, err := ask(ctx, f, what, send(dry))
	if err != nil {
		return err
	}
	if r.DryRun || !a.flags.json {
		if err := a.give(plan, func(p *page) { viewRejoin(p, cluster, r, plan) }); err != nil || r.DryRun {
			return err
		}
	}
	if (r.Discard || r.Clone) && !yes {
		if err := a.confirmRejoin(what, r); err != nil {
			return err
		}
	}
	f.timeout = wait
	reply, inDoubt, err := askOnce(ctx, f, what, send(r))
	switch {
	case inDoubt:
		return exitWith(exitUnknown, fmt.Errorf("%w\nit may go on, or have failed on its way: `remora status` says so (RejoinUnderWay, RejoinFailed); look there before you ask again", err))
	case err != nil:
		return err
	case a.flags.json:
		return a.printJSON(reply)
	}
	return a.done("%s: %s follows the primary again", cluster, r.Instance)
}

func (a *app) confirmRejoin(what string, r api.RejoinRequest) error {
	if !a.asks {
		return exitWith(exitRefused, fmt.Errorf("%s: not confirmed, nothing was done\nthere is no terminal to ask on: add --yes to do what is said above", what))
	}
	typed, err := a.confirm(fmt.Sprintf("Type the instance's name (%s) to change its data: ", r.Instance))
	switch {
	case err != nil:
		return exitWith(exitRefused, fmt.Errorf("%s: not confirmed, nothing was done: %w", what, err))
	case typed != string(r.Instance):
		return exitWith(exitRefused, errors.New(what+": not confirmed, nothing was done"))
	}
	return nil
}

// viewRejoin says what will be done, and what becomes of the data.
func viewRejoin(p *page, cluster string, r api.RejoinRequest, plan api.RejoinReply) {
	p.row(0, cell{cluster + ":", bold}, cell{fmt.Sprintf("%s would be brought back", r.Instance), plain})
	stages := make([]failover.Stage, len(plan.Plan))
	for n, step := range plan.Plan {
		stages[n] = failover.Stage{step}
		switch step.Do {
		case failover.Discard:
			p.say(2, warn, "%s would be undone, and its binary logs dropped; then it has the primary's history", count(plan.Rows, "row change"))
		case failover.Clone:
			p.say(2, warn, "all data of %s would be deleted, and replaced by those of %s", step.Target, step.Source)
		}
	}
	viewPlan(p, stages)
}
