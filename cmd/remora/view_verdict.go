package main

import (
	"fmt"
	"strings"

	"github.com/remora-ha/remora/failover"
)

// viewVerdict shows all that was found in a case and what would be done.
func viewVerdict(p *page, v *failover.Verdict) {
	p.row(0, cell{"Cluster " + v.Cluster + ":", bold}, cell{strings.TrimPrefix(v.Decision.Sentence, v.Cluster+": "), plain})
	p.heading("Findings: %s", orNone(len(v.Findings)))
	viewFindings(p, 2, v.Findings)
	viewDecision(p, &v.Decision)
	viewPlan(p, v.Plan)
	if len(v.Repairs) > 0 {
		p.heading("Repairs")
		for _, s := range v.Repairs {
			viewStep(p, 2, "-", s)
		}
	}
}

func orNone(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func viewDecision(p *page, d *failover.Decision) {
	p.heading("Decision")
	switch {
	case d.Intent != nil:
		p.row(2, cell{string(d.Intent.Kind), warn}, cell{fromTo(d.Intent, d.Intent.To), bold})
		if d.Intent.Reason != "" {
			p.say(4, plain, "%s", d.Intent.Reason)
		}
		for _, e := range d.Intent.Evidence {
			p.say(4, dim, "- %s", e)
		}
	case d.Wait:
		p.say(2, warn, "nothing yet: decide again when more is known")
	default:
		p.say(2, plain, "nothing is begun")
	}
	viewChecks(p, d.Checks)
	viewCandidates(p, d.Candidates)
	if len(d.Refusals) > 0 {
		p.heading("Refusals")
		viewRefusals(p, 2, d.Refusals)
	}
	viewLoss(p, d.Loss)
}

func viewChecks(p *page, checks []failover.Check) {
	if len(checks) == 0 {
		return
	}
	p.heading("Checks")
	for _, c := range checks {
		mark := cell{"✓", good}
		if !c.OK {
			mark = cell{"✗", bad}
		}
		p.row(2, mark, cell{c.Name + ":", plain}, cell{c.Sentence, plain})
	}
}

func viewCandidates(p *page, list []failover.Candidate) {
	if len(list) == 0 {
		return
	}
	p.heading("Candidates, best first")
	for n, c := range list {
		fit := cell{"fit", good}
		if !c.Fit {
			fit = cell{"not fit", warn}
		}
		p.row(2, cell{fmt.Sprintf("%d.", n+1), dim}, cell{string(c.Addr), bold}, fit)
		if len(c.Rank) > 0 {
			p.say(5, plain, "stands here for: %s", strings.Join(c.Rank, "; "))
		}
		viewRefusals(p, 5, c.Refusals)
	}
}

func viewLoss(p *page, loss []string) {
	if len(loss) == 0 {
		return
	}
	p.heading("Expected loss")
	for _, l := range loss {
		p.say(2, bad, "- %s", l)
	}
}

func viewPlan(p *page, plan []failover.Stage) {
	if len(plan) == 0 {
		return
	}
	p.heading("Plan")
	for n, stage := range plan {
		for i, s := range stage {
			number := fmt.Sprintf("%d.", n+1)
			if i > 0 {
				number = strings.Repeat(" ", len(number)-1) + "+"
			}
			viewStep(p, 2, number, s)
		}
	}
}

func viewStep(p *page, in int, mark string, s failover.Step) {
	extra := ""
	switch {
	case s.Wait > 0 && s.Optional:
		extra = fmt.Sprintf("(at most %s; may fail)", span(s.Wait.D()))
	case s.Wait > 0:
		extra = fmt.Sprintf("(at most %s)", span(s.Wait.D()))
	case s.Optional:
		extra = "(may fail)"
	}
	p.row(in, cell{mark, dim}, cell{s.String(), plain}, cell{extra, dim})
	if s.Why != "" {
		p.say(in+4, dim, "%s", s.Why)
	}
}
