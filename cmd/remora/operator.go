package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

// confirm asks on the terminal and reads a line.
func (a *app) confirm(question string) (string, error) {
	if _, err := io.WriteString(a.err, question); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// done says what was done: a sentence for people, {"done": sentence} for machines.
func (a *app) done(format string, args ...any) error {
	sentence := fmt.Sprintf(format, args...)
	return a.give(map[string]string{"done": sentence}, func(p *page) { p.say(0, plain, "%s", sentence) })
}

func (a *app) ackCommand() *cobra.Command {
	var comment string
	c := &cobra.Command{
		Use:   "ack CLUSTER [ID]",
		Short: "Acknowledge recoveries, so that the next failover need not wait",
		Long: `Acknowledges a cluster's ended recoveries, or the one named: a human has seen
them. That releases the anti-flap period, in which no automatic failover begins.`,
		Args: takes("CLUSTER", "[ID]"),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			r, which := api.AcknowledgeRequest{By: a.user(), Comment: comment}, "all recoveries"
			if len(args) == 2 {
				r.Recovery, which = args[1], "recovery "+args[1]
			}
			err = tell(c.Context(), f, "acknowledging "+which+" of "+args[0], func(ctx context.Context, c *api.Client) error {
				return c.Acknowledge(ctx, args[0], r)
			})
			if err != nil {
				return err
			}
			return a.done("%s: %s: acknowledged by %s", args[0], which, r.By)
		},
	}
	c.Flags().StringVar(&comment, "comment", "", "what was found, for the history")
	return c
}

func (a *app) downtimeCommand() *cobra.Command {
	var period time.Duration
	var reason string
	begin := &cobra.Command{
		Use:     "begin CLUSTER HOST:PORT",
		Short:   "Begin a downtime, or change how long it lasts",
		Example: "  remora downtime begin main db2:3306 --for 2h --reason 'new disks'",
		Args:    takes("CLUSTER", "HOST:PORT"),
		RunE: func(c *cobra.Command, args []string) error {
			if period <= 0 {
				return fmt.Errorf("--for %s: give a time such as 30m or 2h", period)
			}
			return a.setDowntime(c.Context(), args, topology.Duration(period), reason)
		},
	}
	begin.Flags().DurationVar(&period, "for", time.Hour, "how long")
	begin.Flags().StringVar(&reason, "reason", "", "why")
	end := &cobra.Command{
		Use:   "end CLUSTER HOST:PORT",
		Short: "End a downtime early",
		Args:  takes("CLUSTER", "HOST:PORT"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.setDowntime(c.Context(), args, 0, "")
		},
	}
	return group("downtime", "Excuse an instance from recoveries for a time", begin, end)
}

// setDowntime begins a downtime, or ends it when period is 0.
func (a *app) setDowntime(ctx context.Context, args []string, period topology.Duration, reason string) error {
	instance, err := topology.ParseAddr(args[1])
	if err != nil {
		return err
	}
	f, err := a.fleet()
	if err != nil {
		return err
	}
	r := api.DowntimeRequest{Instance: instance, For: period, Reason: reason, By: a.user()}
	err = tell(ctx, f, fmt.Sprintf("downtime of %s in %s", instance, args[0]), func(ctx context.Context, c *api.Client) error {
		return c.Downtime(ctx, args[0], r)
	})
	switch {
	case err != nil:
		return err
	case period == 0:
		return a.done("%s: the downtime of %s has ended", args[0], instance)
	default:
		return a.done("%s: %s is excused from recoveries until %s", args[0], instance, a.page().instant(time.Now().Add(period.D())))
	}
}

func (a *app) nodeCommand() *cobra.Command {
	one := func(use, short, long, what, done string, do func(context.Context, *api.Client, string) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " NODE", Short: short, Long: long, Args: takes("NODE"),
			RunE: func(c *cobra.Command, args []string) error {
				f, err := a.fleet()
				if err != nil {
					return err
				}
				err = tell(c.Context(), f, fmt.Sprintf(what, args[0]), func(ctx context.Context, c *api.Client) error { return do(ctx, c, args[0]) })
				if err != nil {
					return err
				}
				return a.done(done, args[0])
			},
		}
	}
	return group("node", "Tell the fleet about a sidecar that is gone",
		one("fenced", "Say that a silent sidecar's proxy routes nothing",
			`A failover waits for a proxy that did not answer when its sidecar was last heard:
the end of its lease closes nothing there. When that ProxySQL was stopped, or its
machine is off, say so. The word counts until the sidecar is heard again, or
another leader is elected. A wrong word can make two writers.`,
			"saying that %s is fenced", "%s counts as fenced until it is heard again",
			func(ctx context.Context, c *api.Client, name string) error { return c.NodeFenced(ctx, name) }),
		one("forget", "Forget a sidecar that is configured no more",
			`Takes a sidecar out of the ledger that is in no node's configuration any more.
Failovers wait for its proxy until its last lease has run out, and not afterwards:
stop its ProxySQL before.`,
			"forgetting node %s", "%s is forgotten",
			func(ctx context.Context, c *api.Client, name string) error { return c.ForgetNode(ctx, name) }))
}

func (a *app) forgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget CLUSTER HOST:PORT",
		Short: "Forget an instance that is gone for good",
		Long: `Removes an instance from those that are known of the cluster. One that still
replicates in it is found again; to leave it out for good give it a rule with
ignore: true in the policy.`,
		Args: takes("CLUSTER", "HOST:PORT"),
		RunE: func(c *cobra.Command, args []string) error {
			instance, err := topology.ParseAddr(args[1])
			if err != nil {
				return err
			}
			f, err := a.fleet()
			if err != nil {
				return err
			}
			err = tell(c.Context(), f, fmt.Sprintf("forgetting %s in %s", instance, args[0]), func(ctx context.Context, c *api.Client) error {
				return c.Forget(ctx, args[0], string(instance))
			})
			if err != nil {
				return err
			}
			return a.done("%s: %s is forgotten", args[0], instance)
		},
	}
}
