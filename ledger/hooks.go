package ledger

import (
	"slices"
	"strings"

	"github.com/remora-ha/remora/failover"
)

// What is kept of a hook's texts, in bytes; who runs hooks keeps less.
const (
	keptCommand = 1 << 10
	keptOutput  = 8 << 10
)

func (d *Decline) apply(s *State, e entry) Result {
	in := d.Intent
	asked := "declining the " + string(in.Kind) + " " + in.ID
	c, no := s.cluster(in.Cluster, asked)
	switch {
	case no.Refused != "":
		return no
	case in.ID == "":
		return refuse(RuleCommand, "declining an intent without an id is refused")
	case c.Intent != nil:
		return refuse(RuleIntentOpen, "%s of cluster %s is refused: %s %s from %s to %s is open", asked, c.Name, c.Intent.Kind, c.Intent.ID, c.Intent.From, c.Intent.To)
	}
	if old := c.ended(in.ID); old != nil && old.Outcome == failover.Aborted {
		return Result{} // declined before
	} else if old != nil {
		return refuse(RuleDone, "%s of cluster %s is refused: it ended at %s: %s, primary %s", asked, c.Name, stamp(old.Ended), old.Outcome, old.To)
	}
	if in.At.IsZero() {
		in.At = e.at
	}
	rec := failover.Recovery{Intent: in, Outcome: failover.Aborted, To: c.Route.Writer, Ended: latest(e.at, in.At), Error: d.Error, Due: d.Due}
	history := c.Recoveries
	i := slices.IndexFunc(history, func(x failover.Recovery) bool {
		return d.Replaces != "" && x.Intent.ID == d.Replaces && x.Outcome == failover.Aborted
	})
	if i >= 0 {
		rec.Hooks, rec.Due = ofAllTries(history[i].Hooks), history[i].Due
		history = slices.Concat(history[:i], history[i+1:])
	}
	rec.Hooks = keepHooks(rec.Hooks, d.Hooks...)
	c.Recoveries = keepNewest(KeptRecoveries, history, rec)
	s.Clusters[c.Name] = c
	return Result{}
}

// ofAllTries are the results of hooks that are run once for all tries.
func ofAllTries(list []failover.HookResult) []failover.HookResult {
	var kept []failover.HookResult
	for _, r := range list {
		if r.Hook == failover.OnDetection || r.Hook == failover.OnFailure {
			kept = append(kept, r)
		}
	}
	return kept
}

func (r *RecordHook) apply(s *State, _ entry) Result {
	asked := "recording a hook of " + r.RecoveryID
	c, no := s.cluster(r.Cluster, asked)
	if no.Refused != "" {
		return no
	}
	if c.Recovery != nil && c.Recovery.Intent.ID == r.RecoveryID {
		rec := *c.Recovery
		r.record(&rec)
		c.Recovery = &rec
		s.Clusters[c.Name] = c
		return Result{}
	}
	i := slices.IndexFunc(c.Recoveries, func(x failover.Recovery) bool { return x.Intent.ID == r.RecoveryID })
	if i < 0 {
		return refuse(RuleUnknown, "%s is refused: cluster %s has no such recovery", asked, c.Name)
	}
	c.Recoveries = slices.Clone(c.Recoveries)
	r.record(&c.Recoveries[i])
	s.Clusters[c.Name] = c
	return Result{}
}

// record adds the result unless it is there already.
func (r *RecordHook) record(rec *failover.Recovery) {
	if r.Done {
		rec.Due = ""
	}
	if r.Result == nil {
		return
	}
	same := func(x failover.HookResult) bool {
		return x.Hook == r.Result.Hook && x.Number == r.Result.Number && x.Started.Equal(r.Result.Started)
	}
	if !slices.ContainsFunc(rec.Hooks, same) {
		rec.Hooks = keepHooks(rec.Hooks, *r.Result)
	}
}

// keepHooks is list with more at its end, bounded in number and in size.
func keepHooks(list []failover.HookResult, more ...failover.HookResult) []failover.HookResult {
	if len(more) == 0 {
		return list
	}
	list = keepNewest(KeptHooks, list, more...)
	for i := range list {
		list[i].Command, list[i].Output = clip(list[i].Command, keptCommand), clip(list[i].Output, keptOutput)
	}
	return list
}

// clip cuts a text that is too long.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
