package ledger

import (
	"errors"
	"fmt"
)

// Result is the answer to a command.
type Result struct {
	// Epoch is that of the route or intent that the command set or, repeated, had
	// set before; 0 for commands that set neither.
	Epoch uint64 `json:"epoch,omitempty"`
	// Refused says in a sentence what was refused, why, and what is there
	// instead; empty when the command was carried out. Rule is its stable word.
	Refused string `json:"refused,omitempty"`
	Rule    Rule   `json:"rule,omitempty"`
}

// Rule is the stable word of a refusal.
type Rule string

// The rules.
const (
	RuleCommand      Rule = "command"        // the command itself makes no sense
	RuleUnknown      Rule = "unknown"        // what it names is not in the state
	RuleStale        Rule = "stale"          // decided upon a route that is no longer the committed one: look again
	RuleIntentOpen   Rule = "intent_open"    // not while an intent is open
	RuleIntentClosed Rule = "intent_closed"  // the intent it names is not the open one
	RuleOneWriter    Rule = "one_writer"     // it would change the writer outside of an intent
	RuleNotTheWriter Rule = "not_the_writer" // the instance it names is not the one to be routed
	RuleRouted       Rule = "routed"         // the point of no return lies behind, or not yet
	RuleInUse        Rule = "in_use"         // what it would remove is needed
	RuleDone         Rule = "done"           // there is nothing left to do
)

// ErrRefused is what every refusal is.
var ErrRefused = errors.New("refused")

// RefusedError is a refusal as an error; errors.Is(err, ErrRefused).
type RefusedError struct {
	Rule     Rule
	Sentence string
}

func (e *RefusedError) Error() string { return e.Sentence }

// Is makes every refusal an [ErrRefused].
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Err is nil when the command was carried out, else a [*RefusedError].
func (r Result) Err() error {
	if r.Refused == "" {
		return nil
	}
	return &RefusedError{Rule: r.Rule, Sentence: r.Refused}
}

func refuse(rule Rule, format string, args ...any) Result {
	return Result{Rule: rule, Refused: fmt.Sprintf(format, args...)}
}
