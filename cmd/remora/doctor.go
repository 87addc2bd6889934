package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/doctor"
)

// doctorTimeout is how long an examination may take, also where the leader says
// nothing and another node examines in its place.
const doctorTimeout = 25 * time.Second

func (a *app) doctorCommand() *cobra.Command {
	var fix, yes bool
	c := &cobra.Command{
		Use:   "doctor [CLUSTER]",
		Short: "Look for what is set up so that it will hurt",
		Long: `Examines a cluster, or all: the servers' settings and privileges, every sidecar's
ProxySQL and Consul, the clocks, raft and its disks. Each finding says what is,
why it matters, and the statement or setting that mends it. Nothing is changed.

--fix then shows the statements that may be sent without a person (settings that
restart nothing and lower nothing; docs/doctor.md has the table), asks, and sends
them: to a server through the leader, to a proxy through its own sidecar.

Exits with 0 when there is nothing but advice, 2 with errors or warnings, 6 when
something could not be checked and the rest is well.`,
		Example: "  remora doctor main\n  remora doctor --fix",
		Args:    takes("[CLUSTER]"),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.fleet()
			if err != nil {
				return err
			}
			f.timeout = max(f.timeout, doctorTimeout)
			return a.doctor(c.Context(), f, strings.Join(args, ""), fix, yes)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "show what can be mended without a person, ask, and mend it")
	c.Flags().BoolVar(&yes, "yes", false, "with --fix: do not ask")
	return c
}

func (a *app) doctor(ctx context.Context, f *fleet, cluster string, fix, yes bool) error {
	r, err := a.examine(ctx, f, cluster)
	if err != nil {
		return err
	}
	if !fix {
		return errors.Join(a.give(r, func(p *page) { viewReport(p, r) }), doctorCode(r))
	}
	if !a.flags.json {
		if err := a.show(func(p *page) { viewReport(p, r) }); err != nil {
			return err
		}
	}
	fixes := r.Fixes()
	if len(fixes) == 0 {
		if a.flags.json {
			err = a.printJSON(doctored{Report: r, Results: []api.MendResult{}})
		} else {
			err = a.show(func(p *page) { p.say(0, plain, "nothing of it can be mended without a person") })
		}
		return errors.Join(err, doctorCode(r))
	}
	if err := a.confirmFixes(fixes, yes); err != nil {
		return err
	}
	reply, inDoubt, err := askOnce(ctx, f, "mending", func(ctx context.Context, c *api.Client) (api.MendReply, error) {
		return c.Mend(ctx, api.MendRequest{Fixes: fixes, By: a.user()})
	})
	switch {
	case inDoubt:
		return exitWith(exitUnknown, fmt.Errorf("%w\nsome statements may have been sent: each is harmless a second time", err))
	case err != nil:
		return err
	}
	if r, err = a.examine(ctx, f, cluster); err != nil {
		return err
	}
	return errors.Join(a.give(doctored{r, reply.Results}, func(p *page) { viewMended(p, reply, r) }), doctorCode(r))
}

// doctored is the outcome of --fix for machines: what was done, and what is found now.
type doctored struct {
	doctor.Report
	Results []api.MendResult `json:"results"`
}

// examine asks for an examination, and says on a terminal that it goes on.
func (a *app) examine(ctx context.Context, f *fleet, cluster string) (doctor.Report, error) {
	done := a.working(ctx, "examining servers, proxies and sidecars", f.timeout)
	defer done()
	return ask(ctx, f, "examination", func(ctx context.Context, c *api.Client) (doctor.Report, error) { return c.Examine(ctx, cluster) })
}

// working says on a terminal what goes on and since when; the line is gone when it
// has ended.
func (a *app) working(ctx context.Context, what string, limit time.Duration) (done func()) {
	if !a.live || !a.asks {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for began := time.Now(); ; {
			_, _ = fmt.Fprintf(a.err, "\r%s … %d s of at most %d s ", what, int(time.Since(began).Seconds()), int(limit.Seconds()))
			if !pause(ctx, time.Second) {
				break
			}
		}
		_, _ = io.WriteString(a.err, "\r\x1b[K")
	}()
	return func() {
		cancel()
		<-ended
	}
}

// confirmFixes shows every statement and asks.
func (a *app) confirmFixes(fixes []doctor.Fix, yes bool) error {
	p := a.page()
	p.color = p.color && a.asks
	p.heading("Can be mended without a person:")
	viewFixes(p, fixes)
	if _, err := io.WriteString(a.err, p.b.String()); err != nil {
		return err
	}
	if yes {
		return nil
	}
	if !a.asks {
		return exitWith(exitRefused, errors.New("mending: not confirmed, nothing was done\nthere is no terminal to ask on: add --yes to send what is said above"))
	}
	typed, err := a.confirm("Send them? [y/N] ")
	switch {
	case err != nil:
		return exitWith(exitRefused, fmt.Errorf("mending: not confirmed, nothing was done: %w", err))
	case !slices.Contains([]string{"y", "yes"}, strings.ToLower(typed)):
		return exitWith(exitRefused, errors.New("mending: not confirmed, nothing was done"))
	}
	return nil
}

// doctorCode is an error where the fleet is not well, or not known to be.
func doctorCode(r doctor.Report) error {
	switch r.Worst() {
	case doctor.Error, doctor.Warning:
		return exit(exitUnhealthy)
	case doctor.Unknown:
		return exit(exitUnchecked)
	}
	return nil
}

var severityTones = map[doctor.Severity]tone{doctor.Error: bad, doctor.Warning: warn, doctor.Unknown: warn, doctor.Advice: dim}

// viewReport shows the findings in a table, then why each kind matters and what mends it.
func viewReport(p *page, r doctor.Report) {
	t := &table{head: []string{"SEVERITY", "CLUSTER", "WHERE", "CHECK", "WHAT"}}
	counts := map[doctor.Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
		t.add(cell{string(f.Severity), severityTones[f.Severity]}, cell{f.Cluster, plain}, cell{f.Where, plain}, cell{f.Check, plain}, cell{f.Sentence, plain})
	}
	p.table(0, t)
	var told []string
	for _, f := range r.Findings {
		if slices.Contains(told, f.Check) {
			continue
		}
		told = append(told, f.Check)
		p.heading("%s", f.Check)
		p.say(2, plain, "%s", f.Why)
		for _, other := range r.Findings {
			if other.Check == f.Check && other.Mend != "" {
				p.row(2, cell{other.Where + ":", dim}, cell{other.Mend, plain}, cell{mendable(other), good})
			}
		}
	}
	if len(r.Findings) > 0 {
		p.gap()
	}
	p.say(0, bold, "%s: %s, %s, %s not checked, %s; %s, %s and %s examined by %s", healthWord(r), count(counts[doctor.Error], "error"), count(counts[doctor.Warning], "warning"),
		count(counts[doctor.Unknown], "thing"), count(counts[doctor.Advice], "piece")+" of advice",
		count(len(r.Clusters), "cluster"), count(r.Servers, "server"), count(r.Sidecars, "sidecar"), r.Node)
}

func mendable(f doctor.Finding) string {
	if f.Fix != nil {
		return "(--fix does it)"
	}
	return ""
}

func healthWord(r doctor.Report) string {
	switch r.Worst() {
	case doctor.Error, doctor.Warning:
		return "not well"
	case doctor.Unknown:
		return "not all could be checked"
	}
	return "well"
}

func viewFixes(p *page, fixes []doctor.Fix) {
	for _, f := range fixes {
		for _, st := range f.Statements() {
			p.row(2, cell{f.Where() + ":", dim}, cell{st, plain})
		}
	}
}

func viewMended(p *page, reply api.MendReply, r doctor.Report) {
	p.heading("Mended:")
	for _, res := range reply.Results {
		mark := cell{"✓", good}
		if res.Error != "" {
			mark = cell{"✗", bad}
		}
		p.row(2, mark, cell{res.Fix.Where() + ":", dim}, cell{res.Fix.String(), plain})
		if res.Error != "" {
			p.say(4, bad, "%s", res.Error)
		}
	}
	p.gap()
	viewReport(p, r)
}
