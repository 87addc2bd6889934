package failover

import (
	"fmt"
	"slices"
	"time"
)

// Hooks are an operator's commands around recoveries, run on the leader one
// after the other.
type Hooks struct {
	// Timeout is that of a hook which names none.
	Timeout Duration `yaml:"timeout" json:"timeout"`
	// Retry is how long an automatic failover waits after a hook stopped one.
	Retry            Duration `yaml:"retry" json:"retry"`
	OnDetection      []Hook   `yaml:"on_detection,omitempty" json:"on_detection,omitempty"`
	BeforeFailover   []Hook   `yaml:"before_failover,omitempty" json:"before_failover,omitempty"`
	AfterFailover    []Hook   `yaml:"after_failover,omitempty" json:"after_failover,omitempty"`
	BeforeSwitchover []Hook   `yaml:"before_switchover,omitempty" json:"before_switchover,omitempty"`
	AfterSwitchover  []Hook   `yaml:"after_switchover,omitempty" json:"after_switchover,omitempty"`
	OnFailure        []Hook   `yaml:"on_failure,omitempty" json:"on_failure,omitempty"`
}

// Hook is one command.
type Hook struct {
	// Command is a line for /bin/sh. Its placeholders are replaced by [Occasion.Expand].
	Command string   `yaml:"command" json:"command"`
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"` // 0: that of all
	// MayFail says that a recovery goes on when this hook, run before it, fails.
	MayFail bool `yaml:"may_fail,omitempty" json:"may_fail,omitempty"`
}

// HookPoint names when hooks are run.
type HookPoint string

// The points, in the order of a recovery.
const (
	OnDetection      HookPoint = "on_detection"      // beside everything, once a failure calls for a failover
	BeforeFailover   HookPoint = "before_failover"   // decided, and nothing touched yet
	AfterFailover    HookPoint = "after_failover"    // succeeded
	BeforeSwitchover HookPoint = "before_switchover" // decided, and nothing touched yet
	AfterSwitchover  HookPoint = "after_switchover"  // succeeded
	OnFailure        HookPoint = "on_failure"        // rolled back, or stopped by a hook before it began
)

// HookPoints are all of them.
var HookPoints = []HookPoint{OnDetection, BeforeFailover, AfterFailover, BeforeSwitchover, AfterSwitchover, OnFailure}

const (
	longestHook = Duration(10 * time.Minute) // a recovery waits for it
	mostHooks   = 8                          // of one point: their output is kept for each recovery
)

// At are the hooks of a point.
func (h *Hooks) At(p HookPoint) []Hook {
	switch p {
	case OnDetection:
		return h.OnDetection
	case BeforeFailover:
		return h.BeforeFailover
	case AfterFailover:
		return h.AfterFailover
	case BeforeSwitchover:
		return h.BeforeSwitchover
	case AfterSwitchover:
		return h.AfterSwitchover
	case OnFailure:
		return h.OnFailure
	default:
		return nil
	}
}

// Bound is how long a hook may take.
func (h *Hooks) Bound(hook Hook) time.Duration {
	if hook.Timeout > 0 {
		return hook.Timeout.D()
	}
	return h.Timeout.D()
}

// HooksBefore is the point before recoveries of a kind.
func HooksBefore(k Kind) HookPoint {
	if k == KindSwitchover {
		return BeforeSwitchover
	}
	return BeforeFailover
}

// HooksAfter is the point after a recovery of a kind that ended so.
func HooksAfter(k Kind, o Outcome) HookPoint {
	switch {
	case o != Succeeded:
		return OnFailure
	case k == KindSwitchover:
		return AfterSwitchover
	default:
		return AfterFailover
	}
}

// stoppedByHook holds back an automatic failover for a while after a hook has
// stopped one: what the hook asks about has hardly changed.
func (f *facts) stoppedByHook() *Refusal {
	last := f.c.Stopped
	if last == nil || last.Intent.Kind != KindFailover || last.Intent.From != f.primary {
		return nil
	}
	until := last.Ended.Add(f.p.Hooks.Retry.D())
	if !until.After(f.s.Taken) {
		return nil
	}
	return &Refusal{
		Rule: "hook", Subject: f.primary, Overridable: true,
		Sentence: fmt.Sprintf("failover %s was stopped %s: %s", last.Intent.ID, f.ago(last.Ended), last.Error),
		Change:   fmt.Sprintf("it is tried again in %s; `remora recoveries %s` has the hook's output, and a forced failover goes on regardless", span(until.Sub(f.s.Taken)), last.Intent.ID),
	}
}

// validate checks what the types cannot.
func (h *Hooks) validate(bad func(key string, value any, allowed string)) {
	bound := func(key string, d Duration) {
		if d <= 0 || d > longestHook {
			bad(key, d, fmt.Sprintf("more than 0s and at most %s: a recovery waits for it", longestHook))
		}
	}
	bound("hooks.timeout", h.Timeout)
	if h.Retry <= 0 {
		bad("hooks.retry", h.Retry, "more than 0s")
	}
	for _, p := range HookPoints {
		at := "hooks." + string(p)
		list := h.At(p)
		if len(list) > mostHooks {
			bad(at, fmt.Sprintf("a list of %d hooks", len(list)), fmt.Sprintf("at most %d", mostHooks))
		}
		for i, hook := range list {
			at := fmt.Sprintf("%s[%d]", at, i)
			if hook.Timeout != 0 {
				bound(at+".timeout", hook.Timeout)
			}
			if hook.Command == "" {
				bad(at+".command", `""`, "a line for /bin/sh")
			}
			for _, name := range unknownPlaceholders(hook.Command) {
				bad(at+".command", "{"+name+"}", "one of "+placeholderList()+"; braces of the shell's own are written { so } or ${so}")
			}
			if hook.MayFail && !slices.Contains([]HookPoint{BeforeFailover, BeforeSwitchover}, p) {
				bad(at+".may_fail", true, "it before a failover or a switchover only: nothing waits for what this hook says")
			}
		}
	}
}
