package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Try is how often a repair was attempted of late, successful or not: one that
// succeeds and is needed again did not help either.
type Try struct {
	Step  string        `json:"step"` // as [Step.String] says it
	At    topology.Addr `json:"at"`   // the instance
	Count int           `json:"count"`
	First time.Time     `json:"first"`
	Last  time.Time     `json:"last"`
	Error string        `json:"error,omitempty"` // of the last one
}

// Noticed is since when a finding has been found without a break, as far as the
// present leader knows.
type Noticed struct {
	Code     Code          `json:"code"`
	Instance topology.Addr `json:"instance,omitempty"`
	Gist     string        `json:"gist,omitempty"` // without an instance: the sentence without figures, for it tells which sidecar or proxy
	Since    time.Time     `json:"since"`
}

// Watch is what the present leader has seen of the routed writer.
type Watch struct {
	Since  time.Time     `json:"since"` // when its term began: it knows nothing of before
	Writer topology.Addr `json:"writer,omitempty"`
	Open   time.Time     `json:"open,omitzero"` // when the writer was last seen to take writes
}

// tried is what is known of attempts at a step within the policy's window; nil
// without any.
func (f *facts) tried(step Step) *Try {
	key := step.String()
	for i := range f.c.Tries {
		if t := &f.c.Tries[i]; t.Step == key && f.s.Taken.Sub(t.First) < f.p.Repair.Window.D() {
			return t
		}
	}
	return nil
}

func (t *Try) failed() bool { return t != nil && t.Error != "" }

// exhausted says that a step was attempted as often as the policy allows.
func (f *facts) exhausted(step Step) bool {
	t := f.tried(step)
	return t != nil && t.Count >= f.p.Repair.Attempts
}

// untiring are repairs that are attempted for ever: who must not take writes is
// closed, and writes that the policy does not let wait are let go.
func (s Step) untiring() bool {
	return s.Do == SetReadOnly || s.Do == SetSemiSync && s.SemiSync != nil && *s.SemiSync == (SemiSyncPlan{})
}

// Due says whether a repair may be attempted now. After each attempt the wait
// doubles, but for what is attempted for ever, at the first wait's pace.
func Due(c *Case, step Step) bool {
	f := newFacts(c)
	t := f.tried(step)
	if t == nil {
		return true
	}
	wait := f.p.Repair.Backoff.D()
	if !step.untiring() {
		if f.exhausted(step) {
			return false
		}
		wait <<= min(t.Count-1, 16)
	}
	return f.s.Taken.Sub(t.Last) >= wait
}

// lasts is for how long a finding has been found, 0 when it is new.
func (f *facts) lasts(code Code, a topology.Addr) time.Duration {
	for _, n := range f.c.Noticed {
		if n.Code == code && n.Instance == a {
			return f.s.Taken.Sub(n.Since)
		}
	}
	return 0
}

// failing finds repairs that were attempted in vain as often as the policy allows.
func failing(f *facts) []hit {
	var found []hit
	for _, step := range f.wantedRepairs() {
		t := f.tried(step)
		if t == nil || t.Count < f.p.Repair.Attempts {
			continue
		}
		words := fmt.Sprintf("%s was tried %s in %s and is needed again: %s", step, plural(t.Count, "time", "times"), span(t.Last.Sub(t.First)), step.Why)
		if t.Error != "" {
			words = fmt.Sprintf("%s failed, tried %s in %s: %s", step, plural(t.Count, "time", "times"), span(t.Last.Sub(t.First)), t.Error)
		}
		if !step.untiring() {
			words += fmt.Sprintf("; it is tried again in %s", span(t.First.Add(f.p.Repair.Window.D()).Sub(f.s.Taken)))
		}
		found = append(found, hit{step.Target, words, []string{step.Why}})
	}
	return found
}
