package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	retryEvery  = 250 * time.Millisecond // between two rounds over the nodes
	followEvery = 100 * time.Millisecond // between two looks at a running recovery
)

// order is what an operator wants of a cluster, by flags.
type order struct {
	to      string
	reason  string
	timeout time.Duration // of the recovery itself
	wait    time.Duration // for a node to take it, and then for its end
}

func (o *order) flags(c *cobra.Command, timeout string) {
	f := c.Flags()
	f.StringVar(&o.to, "to", "", "the new primary, `HOST:PORT` (default: the best candidate)")
	f.StringVar(&o.reason, "reason", "", "why, for the history")
	f.DurationVar(&o.timeout, "timeout", 0, timeout)
	f.DurationVar(&o.wait, "wait", time.Minute, "how long to try to reach a node, and to wait for the end")
}

// request makes the order a request with an id of its own.
func (a *app) request(o *order, kind failover.Kind) (r api.RecoveryRequest, err error) {
	r.ID, r.Kind, r.By, r.Reason = a.newID(), kind, a.user(), o.reason
	if o.timeout < 0 {
		return r, fmt.Errorf("--timeout %s is negative; give 0s for the policy's, or a time such as 10s", o.timeout)
	}
	r.Timeout = topology.Duration(o.timeout)
	if o.to != "" {
		if r.To, err = topology.ParseAddr(o.to); err != nil {
			return r, fmt.Errorf("--to: %w", err)
		}
	}
	return r, nil
}

// dryRun asks what would be done. No node changes anything for it.
func dryRun(ctx context.Context, f *fleet, cluster string, r api.RecoveryRequest) (api.RecoveryReply, error) {
	r.DryRun = true
	return ask(ctx, f, "dry run of a "+string(r.Kind)+" of "+cluster, func(ctx context.Context, c *api.Client) (api.RecoveryReply, error) {
		return c.Recover(ctx, cluster, r)
	})
}

// recover sends the order until a node takes it, shows its steps as they become
// known, and ends with the sentence that sums it up.
func (a *app) recover(ctx context.Context, f *fleet, cluster string, r api.RecoveryRequest, wait time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := a.begin(bounded, f, cluster, r); err != nil {
		return err
	}
	rec, err := a.follow(bounded, f, r.ID)
	if err != nil {
		return exitWith(exitUnknown, fmt.Errorf("the %s %s of %s goes on, and its end was not seen: %w\n`remora recoveries %s` tells how it went", r.Kind, r.ID, cluster, err, r.ID))
	}
	if err := a.give(rec, func(p *page) { viewEnd(p, &rec) }); err != nil {
		return err
	}
	switch rec.Outcome {
	case failover.RolledBack:
		return exit(exitRolledBack)
	case failover.Aborted:
		return exit(exitRefused)
	default:
		return nil
	}
}

// begin sends the request to one node after the other, round after round, always
// with the same id: who has taken it before says so again.
func (a *app) begin(ctx context.Context, f *fleet, cluster string, r api.RecoveryRequest) error {
	unanswered := &unansweredError{what: fmt.Sprintf("%s of %s", r.Kind, cluster)}
	doubt := false // a node may have taken it without our knowing
	for {
		for _, node := range slices.Clone(f.nodes) {
			if over(ctx) {
				break
			}
			_, err := askOne(ctx, f, node, func(ctx context.Context, c *api.Client) (api.RecoveryReply, error) {
				return c.Recover(ctx, cluster, r)
			})
			if err == nil || doubt && isRefusal(err) != nil && taken(ctx, f, r.ID) {
				f.prefer(node)
				return nil
			}
			if final(err) {
				return fmt.Errorf("%s: %w", unanswered.what, err)
			}
			doubt = unanswered.note(node, err) || doubt
		}
		if pause(ctx, retryEvery) {
			continue
		}
		if doubt {
			return exitWith(exitUnknown, fmt.Errorf("%w\nit is not known whether the request was taken: ask `remora recoveries %s` before you send another", unanswered, r.ID))
		}
		return unanswered
	}
}

// taken says whether a recovery of that id was begun. A refusal after an attempt
// whose answer was lost may be due to that very attempt.
func taken(ctx context.Context, f *fleet, id string) bool {
	_, err := recovery(ctx, f, id)
	return err == nil
}

// errNotSeen is why an end was not seen when no node was at fault.
var errNotSeen = errors.New("it took longer than this command waits (--wait)")

// follow looks at a recovery until it has ended and shows its new steps.
func (a *app) follow(ctx context.Context, f *fleet, id string) (failover.Recovery, error) {
	shown := map[string]bool{} // what was done; by what and when, for a new leader may have forgotten some
	last := errNotSeen
	for {
		rec, err := recovery(ctx, f, id)
		switch {
		case err != nil && !over(ctx): // not due to our own deadline
			last = err // an election, or a node that has not heard of it yet
		case err == nil:
			last = errNotSeen
			if err := a.progress(&rec, shown); err != nil {
				return rec, err
			}
			if rec.Outcome != failover.InProgress {
				return rec, nil
			}
		}
		switch {
		case pause(ctx, followEvery):
		case errors.Is(ctx.Err(), context.Canceled):
			return rec, errors.New("interrupted")
		default:
			return rec, last
		}
	}
}

// progress shows what is new of a recovery: at first the recovery itself.
func (a *app) progress(rec *failover.Recovery, shown map[string]bool) error {
	if a.flags.json {
		return nil
	}
	return a.show(func(p *page) {
		if len(shown) == 0 {
			p.row(0, cell{rec.Intent.Cluster + ":", bold}, cell{fmt.Sprintf("%s %s, recovery %s", kind(&rec.Intent), fromTo(&rec.Intent, rec.Intent.To), rec.Intent.ID), plain})
			shown[""] = true
		}
		for _, s := range rec.Steps {
			if key := s.Started.String() + " " + s.Step.String(); !shown[key] {
				shown[key] = true
				viewProgress(p, rec.Intent.At, s)
			}
		}
	})
}
