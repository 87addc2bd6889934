package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// The exit codes; exitHelp explains them.
const (
	exitOK         = 0
	exitError      = 1
	exitUnhealthy  = 2
	exitRefused    = 3
	exitRolledBack = 4
	exitUnknown    = 5
	exitUnchecked  = 6
)

const exitHelp = `Exit codes of every command:

  0  done; for status: healthy; for a dry run: it would go
  1  wrong usage, no node answered, or a document is not what it should be:
     nothing was changed
  2  status: a finding calls for a recovery, no leader is known, or a cluster
     has no primary; kv: a store is not what it should be; doctor: an error or a
     warning was found
  3  refused, stopped by a hook, or not confirmed: nothing was changed; the
     output says why, and what would change it
  4  a switchover or failover was begun and rolled back: the primary is what it
     was before
  5  the outcome is not known: the request may have been taken, or what it began
     has not ended yet; the output names the recovery to ask for. A rejoin: it
     also failed on its way, and the instance may have been changed
  6  doctor: something could not be checked, and the rest is well`

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitHelp}
}

// codedError is an error with the exit code that it deserves. With a nil err the
// output has said everything already.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

func exit(code int) error { return &codedError{code: code} }

func exitWith(code int, err error) error { return &codedError{code: code, err: err} }

// codeOf is the exit code for an error.
func codeOf(err error) int {
	var e *codedError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	case isRefusal(err) != nil:
		return exitRefused
	default:
		return exitError
	}
}
