// Package consensus runs the raft node around the ledger: transport, stores,
// snapshots, leadership.
//
// What it promises:
//
//   - A command that [Node.Apply] reports as applied is on a majority and will
//     never be lost as long as a majority keeps its stores.
//   - An unknown outcome is told from a failure: [ErrAmbiguous]. The caller sends
//     the same command again, with the same id; the ledger recognises it.
//   - A [Term] is handed out only when everything committed before it has been
//     applied here, and its context ends when the leadership does.
//   - Applying a command has no side effect but the new state and a notification
//     ([Node.Watch]). Whoever wants to act on the state watches it.
//   - Every call that waits is bounded by its context, also when raft itself
//     hangs, as it does on a disk that no longer answers.
//
// What it does not promise: that a leader still is one. A term's context ends only
// when this node notices; [Node.Verify] asks a majority now, and belongs just
// before anything that cannot be undone. A leader whose disk hangs keeps its
// followers' heartbeats and so its leadership: its Apply runs into its deadline,
// and the caller must then close the node. A transfer of the leadership works as
// long as raft itself does not wait for the disk, that is, as long as nothing was
// committed since; it may end in an error although the other was elected.
//
// With the stores in memory a node that restarts has forgotten its vote and its
// log and gets everything back from the others. Only one voter at a time may do
// so: when a majority forgets, what it had agreed upon is gone.
package consensus
