package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
)

func (a *app) statusCommand() *cobra.Command {
	var watching, watchers bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the sidecars and all clusters",
		Long: `Shows the sidecars (who leads, who was heard when, leases, what each proxy has
applied) and the clusters (primary, epoch, the last decision cycle's sentence,
instances, findings, an open recovery). Where the sidecars share the watching,
and with --watchers, each instance has since when it was last read wholly, and
which sidecars looked at it just now.

Exits with 2 when a finding calls for a recovery, no leader is known, or a
cluster has no primary. With --watch it exits with 0 on Ctrl-C.`,
		Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			get := func(ctx context.Context) (api.Status, error) { return statusOf(ctx, f) }
			if watching {
				return watch(c.Context(), a, get, func(p *page, s api.Status) { viewStatus(p, &s, watchers) })
			}
			s, err := get(c.Context())
			if err != nil {
				return err
			}
			if err := a.give(s, func(p *page) { viewStatus(p, &s, watchers) }); err != nil {
				return err
			}
			if why := unhealthy(&s); len(why) > 0 {
				return exitWith(exitUnhealthy, errors.New(strings.Join(why, "\n")))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&watching, "watch", false, "look again every second until Ctrl-C")
	c.Flags().BoolVar(&watchers, "watchers", false, "show which sidecars watch each instance")
	return c
}

// statusOf prefers a node that knows a leader: one that is cut off answers too,
// but with its own view only.
func statusOf(ctx context.Context, f *fleet) (api.Status, error) {
	var first *api.Status
	var firstErr error
	for _, node := range f.nodes {
		alone := *f
		alone.nodes = []string{node}
		s, err := ask(ctx, &alone, "status", func(ctx context.Context, c *api.Client) (api.Status, error) { return c.Status(ctx) })
		switch {
		case err == nil && s.Leader != "":
			return s, nil
		case err == nil && first == nil:
			first = &s
		case err != nil:
			firstErr = merge(firstErr, err)
		}
	}
	if first != nil {
		return *first, nil
	}
	return api.Status{}, firstErr
}

// merge joins what several nodes said into one error.
func merge(all, err error) error {
	var a, b *unansweredError
	if errors.As(all, &a) && errors.As(err, &b) {
		a.attempts = append(a.attempts, b.attempts...)
		return all
	}
	if all == nil || final(err) {
		return err
	}
	return all
}

func (a *app) topologyCommand() *cobra.Command {
	var watching bool
	c := &cobra.Command{
		Use:   "topology CLUSTER",
		Short: "Show a cluster's replication tree",
		Args:  takes("CLUSTER"),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			get := func(ctx context.Context) (api.TopologyReply, error) {
				return ask(ctx, f, "topology of "+args[0], func(ctx context.Context, c *api.Client) (api.TopologyReply, error) {
					return c.Topology(ctx, args[0])
				})
			}
			if watching {
				return watch(c.Context(), a, get, func(p *page, t api.TopologyReply) { viewTopology(p, &t) })
			}
			t, err := get(c.Context())
			if err != nil {
				return err
			}
			return a.give(t, func(p *page) { viewTopology(p, &t) })
		},
	}
	c.Flags().BoolVar(&watching, "watch", false, "look again every second until Ctrl-C")
	return c
}

func (a *app) snapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot CLUSTER",
		Short: "Print all that a decision about a cluster depends on, as JSON",
		Long: `Prints everything that a decision about the cluster depends on, as JSON:
what is known of the servers and proxies, the policy, what was committed. The
same document fed to remora analyze gives the same answer anywhere, so attach it
to a report. It holds no passwords.`,
		Example: "  remora snapshot main | remora analyze -",
		Args:    takes("CLUSTER"),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			s, err := ask(c.Context(), f, "snapshot of "+args[0], func(ctx context.Context, c *api.Client) (failover.Case, error) {
				return c.Snapshot(ctx, args[0])
			})
			if err != nil {
				return err
			}
			return a.printJSON(s)
		},
	}
}
