package templates

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// State is what a Runner is at, or what it failed at.
type State string

// The states. Good says which of them are.
const (
	Waiting     State = "waiting"      // Consul has not answered yet
	Rendered    State = "rendered"     // the file is what Consul says, and was reloaded
	NoData      State = "no_data"      // Consul answers, and has no key under the prefix
	NoConsul    State = "no_consul"    // Consul does not answer, or with an error
	BadTemplate State = "bad_template" // the template cannot be read, parsed or executed
	Held        State = "held"         // what Consul says is not what is committed, or is older than the file
	BadCheck    State = "check_failed" // the check command refused the new file, or was too slow
	NotWritten  State = "not_written"  // the file could not be replaced
	NotReloaded State = "not_reloaded" // the file is in place; its reader was not told, or refused
)

const sentenceLimit = 500 // in characters

// Status is what holds for one file.
type Status struct {
	Destination string
	State       State
	// Sentence says it for people, cut to a bound.
	Sentence string
	// Output is what the failing command said, cut to a bound.
	Output string
	// Since is when it began.
	Since time.Time
	// File are the assignments that the file in place says it was made from; nil
	// where it names none.
	File []Assignment
}

// Good says whether the file is as it should be, or nothing is known yet.
func (s Status) Good() bool { return s.State == Rendered || s.State == Waiting }

func (s Status) same(o Status) bool {
	return s.State == o.State && s.Sentence == o.Sentence && s.Output == o.Output && slices.Equal(s.File, o.File)
}

// failure is an error that knows its state.
type failure struct {
	state  State
	err    error
	output string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Assignment is who a cluster's writer is, as of an epoch.
type Assignment struct {
	Cluster string
	Epoch   uint64
	Writer  string // host:port, an IPv6 host in brackets; empty: nobody
}

func (a Assignment) String() string {
	return fmt.Sprintf("%s at epoch %d", orDefault(a.Writer, "no writer"), a.Epoch)
}

var assignmentLine = regexp.MustCompile(`(?m)^# cluster ([A-Za-z0-9_.-]+) epoch ([0-9]+) writer (\S+)$`)

// Assignments reads what a rendered file says that it was made from: a line
// "# cluster NAME epoch NUMBER writer HOST:PORT" for each cluster, with "none" for
// nobody, as the shipped HAProxy template writes it.
func Assignments(contents []byte) []Assignment {
	var list []Assignment
	for _, m := range assignmentLine.FindAllSubmatch(bytes.TrimRight(contents, "\n"), -1) {
		epoch, err := strconv.ParseUint(string(m[2]), 10, 64)
		if err != nil {
			continue
		}
		a := Assignment{Cluster: string(m[1]), Epoch: epoch, Writer: string(m[3])}
		if a.Writer == "none" {
			a.Writer = ""
		}
		list = append(list, a)
	}
	return list
}
