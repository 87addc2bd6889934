package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
)

func (a *app) recoveriesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recoveries [ID]",
		Short: "Show past and present failovers and switchovers",
		Long: `Lists failovers and switchovers, newest first. With an ID it shows one with its
reason, evidence, steps and what was lost.`,
		Args: takes("[ID]"),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				r, err := recovery(c.Context(), f, args[0])
				if err != nil {
					return err
				}
				return a.give(r, func(p *page) { viewRecovery(p, &r) })
			}
			list, err := ask(c.Context(), f, "recoveries", func(ctx context.Context, c *api.Client) ([]failover.Recovery, error) {
				return c.Recoveries(ctx)
			})
			if err != nil {
				return err
			}
			if list == nil {
				list = []failover.Recovery{}
			}
			return a.give(list, func(p *page) { viewRecoveries(p, list) })
		},
	}
}

func recovery(ctx context.Context, f *fleet, id string) (failover.Recovery, error) {
	return ask(ctx, f, "recovery "+id, func(ctx context.Context, c *api.Client) (failover.Recovery, error) {
		return c.Recovery(ctx, id)
	})
}
