package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
)

func (a *app) kvCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "show [CLUSTER]",
		Short: "Compare what the stores hold with what they should",
		Long: `Asks every configured Consul, through the leader, what it holds of a cluster, or of
all, and lists each key that differs. Exits with 2 when one differs or does not answer.`,
		Args: takes("[CLUSTER]"),
		RunE: func(c *cobra.Command, args []string) error { return a.kv(c.Context(), args, false) },
	}
	submit := &cobra.Command{
		Use:   "submit [CLUSTER]",
		Short: "Publish the route to the stores now",
		Long: `Publishes a cluster's route, or all, to every configured Consul now, and shows what
they hold then. The leader does that by itself all the time: this is for the one
that was repaired just now. A newer epoch in a store is never overwritten.`,
		Args: takes("[CLUSTER]"),
		RunE: func(c *cobra.Command, args []string) error { return a.kv(c.Context(), args, true) },
	}
	return group("kv", "What is published in Consul", show, submit)
}

// kv shows, after publishing where submit is true, what all stores hold.
func (a *app) kv(ctx context.Context, args []string, submit bool) error {
	f, err := a.fleet()
	if err != nil {
		return err
	}
	clusters := args
	if len(clusters) == 0 {
		s, err := ask(ctx, f, "status", func(ctx context.Context, c *api.Client) (api.Status, error) { return c.Status(ctx) })
		if err != nil {
			return err
		}
		for _, c := range s.Clusters {
			clusters = append(clusters, c.Name)
		}
	}
	list := []api.KVReply{}
	for _, cluster := range clusters {
		r, err := ask(ctx, f, "what is published of "+cluster, func(ctx context.Context, c *api.Client) (api.KVReply, error) {
			return c.KV(ctx, cluster, submit)
		})
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	return errors.Join(a.give(list, func(p *page) { viewKV(p, list) }), kvCode(list))
}

// kvCode is an error where a store is not as it should be.
func kvCode(list []api.KVReply) error {
	for _, r := range list {
		for _, s := range r.Stores {
			if s.Error != "" || len(s.Changes) > 0 {
				return exit(exitUnhealthy)
			}
		}
	}
	return nil
}

func viewKV(p *page, list []api.KVReply) {
	t := &table{head: []string{"CLUSTER", "STORE", "EPOCH", "MODE", "WRITER", "READERS", "STATE"}}
	for _, r := range list {
		for _, s := range r.Stores {
			state, epoch, mode, writer, readers := cell{"in line", good}, "", "", "", ""
			if s.Epoch > 0 {
				epoch = strconv.FormatUint(s.Epoch, 10)
			}
			if d := s.Document; d != nil {
				mode, readers = string(d.Mode), strconv.Itoa(len(d.Readers))
				if d.Writer != nil {
					writer = string(d.Writer.Address)
				}
			}
			switch {
			case s.Error != "":
				state = cell{s.Error, bad}
			case len(s.Changes) > 0:
				state = cell{fmt.Sprintf("%d keys differ", len(s.Changes)), warn}
			}
			t.add(cell{r.Cluster, plain}, cell{s.Store, plain}, cell{epoch, plain}, cell{mode, plain}, cell{writer, plain}, cell{readers, plain}, state)
		}
	}
	p.table(0, t)
	for _, r := range list {
		for _, s := range r.Stores {
			for _, c := range s.Changes {
				p.say(0, warn, "%s: %s", s.Store, c)
			}
		}
	}
}
