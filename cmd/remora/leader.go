package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
)

func (a *app) leaderCommand() *cobra.Command {
	transfer := &cobra.Command{
		Use:   "transfer [NODE]",
		Short: "Hand the leadership to another sidecar",
		Long: `Hands the leadership to the named sidecar, or to the one that is best placed, before
work on the leader's host. Nothing changes for clients. It is refused while a recovery
is under way, and where the other one is not heard, has a disk that hangs, or cannot
reach a server that others reach. A leader in such trouble hands over by itself.`,
		Args: takes("[NODE]"),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			q := api.LeaderRequest{By: a.user()}
			if len(args) > 0 {
				q.To = args[0]
			}
			r, err := ask(c.Context(), f, "transferring the leadership", func(ctx context.Context, c *api.Client) (api.LeaderReply, error) {
				return c.TransferLeadership(ctx, q)
			})
			switch {
			case err != nil:
				return err
			case r.From == r.To:
				return a.done("%s leads already", r.To)
			default:
				return a.done("%s has handed the leadership to %s", r.From, r.To)
			}
		},
	}
	return group("leader", "Which sidecar leads", transfer)
}
