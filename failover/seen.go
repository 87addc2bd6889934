package failover

import "time"

// Seen is when this leader first saw what is committed, by its own clock. What the
// ledger says of instants was read from the clock of whoever led then, which may be
// set differently; readings and the present are by this one's. Zero: not known.
type Seen struct {
	Intent time.Time `json:"intent,omitzero"` // the open intent
	Route  time.Time `json:"route,omitzero"`  // the route at its epoch
}

// begun is when the open intent began, or later: no reading after it is older than
// the intent.
func (f *facts) begun() time.Time {
	if seen := f.c.Seen.Intent; !seen.IsZero() {
		return seen
	}
	return f.c.Intent.At
}

// deadline is that of the open intent, which has one: not later than its time-out
// after this leader saw it.
func (f *facts) deadline() time.Time {
	in := f.c.Intent
	if own := f.begun().Add(in.Deadline.Sub(in.At)); own.Before(in.Deadline) {
		return own
	}
	return in.Deadline
}
