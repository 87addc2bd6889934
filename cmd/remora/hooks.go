package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// rehearsal is a hook as it would be run now.
type rehearsal struct {
	Hook        failover.HookPoint `json:"hook"`
	Number      int                `json:"number"`
	Command     string             `json:"command"`
	Timeout     topology.Duration  `json:"timeout"`
	MayFail     bool               `json:"may_fail,omitempty"`
	Environment []string           `json:"environment"`
}

func (a *app) hooksCommand() *cobra.Command {
	var env bool
	c := &cobra.Command{
		Use:   "hooks CLUSTER [HOOK]",
		Short: "Show what hooks would be told now, without running them",
		Long: `Shows the hooks of a cluster, or those of one point such as before_failover, as
they would be run if the cluster was failed or switched over now: each command
with its placeholders replaced. Nothing is run.

A hook has succeeded when it exits with 0 within its time. To try one, run what is
shown, with the variables of --env.`,
		Example: `  remora hooks main
  remora hooks main after_failover --env`,
		Args: takes("CLUSTER", "[HOOK]"),
		RunE: func(c *cobra.Command, args []string) error {
			points := failover.HookPoints
			if len(args) > 1 {
				points = []failover.HookPoint{failover.HookPoint(args[1])}
				if !slices.Contains(failover.HookPoints, points[0]) {
					return fmt.Errorf("hooks of %s: %q is no point at which hooks are run; there are %s", args[0], args[1], pointList())
				}
			}
			f, err := a.fleet()
			if err != nil {
				return err
			}
			cs, err := ask(c.Context(), f, "hooks of "+args[0], func(ctx context.Context, c *api.Client) (failover.Case, error) {
				return c.Snapshot(ctx, args[0])
			})
			if err != nil {
				return err
			}
			list := rehearse(&cs, points)
			return a.give(list, func(p *page) { viewRehearsals(p, args[0], list, env) })
		},
	}
	c.Flags().BoolVar(&env, "env", false, "show the environment of each too")
	return c
}

func pointList() string {
	words := make([]string, len(failover.HookPoints))
	for i, p := range failover.HookPoints {
		words[i] = string(p)
	}
	return strings.Join(words, ", ")
}

func rehearse(c *failover.Case, points []failover.HookPoint) []rehearsal {
	list := []rehearsal{}
	h := &c.Policy.Hooks
	for _, p := range points {
		o := failover.Rehearse(c, p, "the leader")
		for i, hook := range h.At(p) {
			list = append(list, rehearsal{
				Hook: p, Number: i + 1, Command: o.Expand(hook.Command), Timeout: topology.Duration(h.Bound(hook)),
				MayFail: hook.MayFail, Environment: o.Environment(),
			})
		}
	}
	return list
}

func viewRehearsals(p *page, cluster string, list []rehearsal, env bool) {
	if len(list) == 0 {
		p.say(0, plain, "No hooks: the policy of cluster %s names none here.", cluster)
		return
	}
	for i := range list {
		r := &list[i]
		may := ""
		if r.MayFail {
			may = ", may fail"
		}
		p.row(0, cell{fmt.Sprintf("%s %d", r.Hook, r.Number), bold}, cell{fmt.Sprintf("(at most %s%s):", r.Timeout, may), dim})
		p.say(2, plain, "%s", r.Command)
		if env {
			for _, e := range r.Environment {
				p.say(4, dim, "%s", e)
			}
		}
	}
}

// hookCounts sums up a policy's hooks.
func hookCounts(h *failover.Hooks) string {
	var words []string
	for _, p := range failover.HookPoints {
		if n := len(h.At(p)); n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, p))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return fmt.Sprintf("%s; a stopped failover is tried again after %s", strings.Join(words, ", "), h.Retry)
}

// viewHookResults shows what the hooks of a recovery said.
func viewHookResults(p *page, r *failover.Recovery) {
	if len(r.Hooks) == 0 && r.Due == "" {
		return
	}
	p.heading("Hooks")
	for _, h := range r.Hooks {
		result := cell{"succeeded", good}
		if h.Error != "" {
			result = cell{"failed: " + h.Error, bad}
		}
		p.row(2, cell{fmt.Sprintf("%s %d:", h.Hook, h.Number), plain}, result, cell{fmt.Sprintf("(%s on %s, at %s)", span(h.Took.D()), h.Node, p.instant(h.Started)), dim})
		p.say(4, dim, "$ %s", h.Command)
		if h.Output == "" {
			continue
		}
		for line := range strings.SplitSeq(h.Output, "\n") {
			p.say(4, plain, "%s", line)
		}
	}
	if r.Due != "" {
		p.say(2, warn, "hooks %s are still to be run, by whoever leads", r.Due)
	}
}
