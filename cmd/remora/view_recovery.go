package main

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/failover"
)

// viewRecoveries lists the history, as it is given: newest first.
func viewRecoveries(p *page, list []failover.Recovery) {
	if len(list) == 0 {
		p.say(0, plain, "No recoveries: no cluster has been failed or switched over.")
		return
	}
	t := &table{head: []string{"ID", "CLUSTER", "KIND", "FROM → TO", "BEGAN", "OUTCOME", "ROUTED AFTER", "ACKNOWLEDGED"}}
	for i := range list {
		r := &list[i]
		ack := ""
		if r.Acknowledged != nil {
			ack = "by " + r.Acknowledged.By
		}
		t.add(cell{r.Intent.ID, plain}, cell{r.Intent.Cluster, plain}, cell{kind(&r.Intent), plain}, cell{fromTo(&r.Intent, r.To), plain},
			cell{p.instant(r.Intent.At), plain}, cell{string(r.Outcome), outcomeTone(r.Outcome)}, cell{untilRouted(r), plain}, cell{ack, plain})
	}
	p.table(0, t)
}

func kind(in *failover.Intent) string {
	if in.Forced {
		return "forced " + string(in.Kind)
	}
	return string(in.Kind)
}

func outcomeTone(o failover.Outcome) tone {
	switch o {
	case failover.Succeeded:
		return good
	case failover.RolledBack, failover.Aborted:
		return bad
	default:
		return warn
	}
}

// untilRouted is the time from the proposal to the new route; "" when there is
// none.
func untilRouted(r *failover.Recovery) string {
	if r.Routed.IsZero() {
		return ""
	}
	return span(r.Routed.Sub(r.Intent.At))
}

// viewRecovery shows one recovery with all that is kept of it.
func viewRecovery(p *page, r *failover.Recovery) {
	in := &r.Intent
	p.row(0, cell{fmt.Sprintf("Cluster %s:", in.Cluster), bold}, cell{kind(in), plain}, cell{fromTo(in, r.To), bold},
		cell{string(r.Outcome), outcomeTone(r.Outcome)})
	fact := func(name, value string) {
		if value != "" {
			p.say(2, plain, "%-13s %s", name, value)
		}
	}
	fact("recovery", in.ID)
	fact("reason", in.Reason)
	fact("finding", string(in.Code))
	fact("asked by", in.By)
	if in.Epoch > 0 { // else it was stopped before it began
		fact("epoch", fmt.Sprint(in.Epoch))
	}
	fact("began", p.instant(in.At))
	fact("routed", after(in.At, r.Routed))
	fact("ended", after(in.At, r.Ended))
	if r.Error != "" {
		p.say(2, bad, "%-13s %s", "error", r.Error)
	}
	if a := r.Acknowledged; a != nil {
		fact("acknowledged", joined(": ", fmt.Sprintf("by %s at %s", a.By, p.instant(a.At)), a.Comment))
	}
	if len(in.Evidence) > 0 {
		p.heading("Evidence")
		for _, e := range in.Evidence {
			p.say(2, plain, "- %s", e)
		}
	}
	if len(r.Steps) > 0 {
		p.heading("Steps")
		p.table(2, stepTable(in.At, r.Steps))
	}
	viewHookResults(p, r)
	if len(r.Lost) > 0 {
		p.heading("Lost")
		for _, l := range r.Lost {
			p.say(2, bad, "- %s", l)
		}
	}
}

// after spells an instant as the time since the beginning.
func after(began, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(t.Sub(began)) + " later"
}

func stepTable(began time.Time, steps []failover.StepResult) *table {
	t := &table{head: []string{"AT", "TOOK", "STEP", "NODE", "RESULT"}}
	for _, s := range steps {
		t.add(cell{"+" + span(s.Started.Sub(began)), plain}, cell{span(s.Took.D()), plain}, cell{s.Step.String(), plain},
			cell{s.Node, plain}, stepOutcome(s))
	}
	return t
}

func stepOutcome(s failover.StepResult) cell {
	switch {
	case s.Error == "":
		return cell{"done", good}
	case s.Step.Optional:
		return cell{"failed, repair takes it up: " + s.Error, warn}
	default:
		return cell{"failed: " + s.Error, bad}
	}
}

// viewProgress shows a step as soon as it is known.
func viewProgress(p *page, began time.Time, s failover.StepResult) {
	p.row(2, cell{fmt.Sprintf("%8s", "+"+span(s.Started.Sub(began))), dim}, cell{s.Step.String() + ":", plain}, stepOutcome(s),
		cell{fmt.Sprintf("(%s on %s)", span(s.Took.D()), s.Node), dim})
}

// viewEnd sums an ended recovery up in one sentence, and what was lost.
func viewEnd(p *page, r *failover.Recovery) {
	in := &r.Intent
	switch {
	case r.Outcome == failover.Aborted:
		p.row(0, cell{in.Cluster + ":", bold}, cell{fmt.Sprintf("the %s was stopped before it began, %s is still the primary:", in.Kind, orNobody(in.From)), bad},
			cell{orText(r.Error, "no reason was recorded"), plain})
	case r.Outcome == failover.RolledBack:
		p.row(0, cell{in.Cluster + ":", bold}, cell{fmt.Sprintf("the %s to %s was rolled back, %s is still the primary:", in.Kind, orNobody(in.To), orNobody(in.From)), bad},
			cell{orText(r.Error, "no reason was recorded"), plain})
	case in.Kind == failover.KindSwitchover:
		p.row(0, cell{in.Cluster + ":", bold}, cell{fromTo(in, r.To) + ",", good},
			cell{fmt.Sprintf("writes paused for %s (from the decision to the new route; recovery %s)", untilRouted(r), in.ID), plain})
	default:
		p.row(0, cell{in.Cluster + ":", bold}, cell{fromTo(in, r.To) + ",", good},
			cell{fmt.Sprintf("routed after %s (recovery %s)", untilRouted(r), in.ID), plain})
	}
	for _, l := range r.Lost {
		p.say(2, bad, "lost: %s", l)
	}
	if r.Due != "" {
		p.say(2, plain, "hooks %s are being run: `remora recoveries %s` will have what they say", r.Due, in.ID)
	}
}
