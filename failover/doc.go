// Package failover decides. From a snapshot of a cluster, its policy and what
// was committed it derives findings, a decision with refusals, and the steps
// that remain to be done.
//
// The package is pure: no I/O, no goroutine, no clock. [Analyze] names what is
// wrong, [Decide] says what to do about it or why not, and [Remaining] compares
// the snapshot with a committed intent and returns the work that is left. No
// step counter is kept anywhere: whoever leads next, after whatever
// interruption, asks the same question and gets the rest of the plan.
package failover
