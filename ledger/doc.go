// Package ledger is the replicated state and its only transitions.
//
// The package is pure: no I/O, no goroutine, no clock, no randomness. The state
// after a log of commands depends on the log alone, so every node that applied
// the same commands holds the same state, and its JSON is the same to the byte.
// Instants come in with the commands.
//
// What it promises, whoever sends commands and in whatever order:
//
//   - Epochs only grow. An epoch is the raft index of the entry that set it
//     (plus [State.Base], see there).
//   - A cluster has at most one open intent.
//   - A routed writer is replaced only by committing the route of an intent that
//     was begun on exactly that writer.
//   - A command applied twice changes nothing the second time, and its answer is
//     the same.
//   - What it declines it declines whole, with a sentence: what was asked, why it
//     is refused, and what is there instead.
//
// What it does not promise: that an intent is wise, that a proxy has obeyed, or
// that a server is what the route says. It never asks.
//
// A [State] is copied on write. [State.Clone] is cheap, and nothing reachable from
// a clone is ever changed in place: a reader may keep one for as long as it likes.
package ledger
