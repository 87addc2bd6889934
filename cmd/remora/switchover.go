package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
)

func (a *app) switchoverCommand() *cobra.Command {
	var o order
	var dry bool
	c := &cobra.Command{
		Use:   "switchover CLUSTER",
		Short: "Make another instance the primary, as planned work",
		Long: `Makes another instance the primary. Writes pause at the proxies and go on at
the new primary. Whatever fails before the point of no return, everything is put
back.

The request may be sent to any node. It carries an id, so it is sent again to
the next node when an answer is lost, without being done twice.

With --json: the dry run prints the reply, the real one the recovery once it has
ended, a refusal the reasons.

Exits with 0 when done (dry run: it would go), 3 when refused, 4 when rolled
back, 5 when the outcome is not known; see remora help exit-codes.`,
		Example: `  remora switchover main --dry-run
  remora switchover main --to db2:3306`,
		Args: takes("CLUSTER"),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.request(&o, failover.KindSwitchover)
			if err != nil {
				return err
			}
			f, err := a.fleet()
			if err != nil {
				return err
			}
			if !dry {
				return a.recover(c.Context(), f, args[0], r, o.wait)
			}
			reply, err := dryRun(c.Context(), f, args[0], r)
			if err != nil {
				return err
			}
			if err := a.give(reply, func(p *page) { viewDryRun(p, args[0], &reply) }); err != nil {
				return err
			}
			if reply.Decision.Intent == nil {
				return exit(exitRefused)
			}
			return nil
		},
	}
	o.flags(c, "writes are held no longer than this, then everything is put back (default: the policy's)")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done and what stands against it, and change nothing")
	return c
}

// viewDryRun shows each check, what stands against it, and the plan.
func viewDryRun(p *page, cluster string, r *api.RecoveryReply) {
	d := &r.Decision
	switch {
	case d.Intent != nil:
		p.row(0, cell{cluster + ":", bold}, cell{fmt.Sprintf("a %s would go:", d.Intent.Kind), good}, cell{fromTo(d.Intent, d.Intent.To), plain})
	default:
		p.row(0, cell{cluster + ":", bold}, cell{orText(strings.TrimPrefix(d.Sentence, cluster+": "), "refused"), bad})
	}
	if d.Intent == nil && d.Wait {
		p.say(2, warn, "time may change it: ask again later")
	}
	viewChecks(p, d.Checks)
	if d.Intent == nil {
		viewCandidates(p, d.Candidates)
	}
	if len(d.Refusals) > 0 {
		if d.Intent != nil {
			p.heading("Refusals that are overridden")
		} else {
			p.heading("Refusals")
		}
		viewRefusals(p, 2, d.Refusals)
	}
	viewLoss(p, d.Loss)
	if len(r.Findings) > 0 {
		p.heading("Findings: %d", len(r.Findings))
		viewFindings(p, 2, r.Findings)
	}
	viewPlan(p, r.Plan)
}

func (a *app) failoverCommand() *cobra.Command {
	var o order
	var yes bool
	c := &cobra.Command{
		Use:   "failover CLUSTER",
		Short: "Force a failover, after saying what it may lose",
		Long: `Forces a failover: the primary is fenced and another instance promoted, in spite
of refusals that may be overridden. First it states the loss that is expected and
the refusals that it would override. Then it asks for the cluster's name; without
a terminal nothing is done unless --yes is given.

With --json: without --yes the dry run, whose refusals are those that --yes
overrides; with it the recovery once it has ended.

For planned work use remora switchover: it loses nothing and can be put back.

Exits with 0 when done (dry run: it would go), 3 when refused, 4 when rolled
back, 5 when the outcome is not known; see remora help exit-codes.`,
		Args: takes("CLUSTER"),
		RunE: func(c *cobra.Command, args []string) error {
			cluster := args[0]
			r, err := a.request(&o, failover.KindFailover)
			if err != nil {
				return err
			}
			f, err := a.fleet()
			if err != nil {
				return err
			}
			unforced, err := dryRun(c.Context(), f, cluster, r)
			if err != nil {
				return err
			}
			r.Force = true
			reply, err := dryRun(c.Context(), f, cluster, r)
			if err != nil {
				return err
			}
			if reply.Decision.Intent != nil {
				reply.Decision.Refusals = unforced.Decision.Refusals
			}
			if err := a.sayForced(cluster, &reply, yes); err != nil {
				return err
			}
			return a.recover(c.Context(), f, cluster, r, o.wait)
		},
	}
	o.flags(c, "how long the failover may take (default: the policy's)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// sayForced states what a forced failover would cost, and has it confirmed.
func (a *app) sayForced(cluster string, reply *api.RecoveryReply, yes bool) error {
	would := reply.Decision.Intent != nil
	// For machines stdout is kept for the outcome.
	if !a.flags.json || !would || !yes {
		err := a.give(reply, func(p *page) {
			viewDryRun(p, cluster, reply)
			if would && len(reply.Decision.Loss) == 0 {
				p.heading("Expected loss")
				p.say(2, plain, "none is known; a forced failover never promises that")
			}
			p.gap()
		})
		if err != nil {
			return err
		}
	}
	switch {
	case !would:
		return exit(exitRefused)
	case yes:
		return nil
	case !a.asks || a.flags.json:
		return exitWith(exitRefused, fmt.Errorf("failover of %s: not confirmed, nothing was done\nthere is no terminal to ask on: add --yes to do what is said above", cluster))
	}
	typed, err := a.confirm(fmt.Sprintf("Type the cluster's name (%s) to fail over: ", cluster))
	switch {
	case err != nil:
		return exitWith(exitRefused, fmt.Errorf("failover of %s: not confirmed, nothing was done: %w", cluster, err))
	case typed != cluster:
		return exitWith(exitRefused, errors.New("failover of "+cluster+": not confirmed, nothing was done"))
	}
	return nil
}
