// Package consul publishes a cluster's route to the KV store of one Consul, keeps
// it there, and registers services.
//
// # Safety rules
//
//   - A cluster's keys are written by one transaction that checks the index of its
//     document. Whoever wrote in between makes it fail as a whole; then everything
//     is read anew.
//   - A lower epoch than the stored one is never written (ErrStale). The epoch is in
//     the document, and in the flags of every key beside it: a document that was
//     deleted by hand does not open the door to a deposed leader.
//   - The document has a writer only while the route is open. Orchestrator's keys,
//     which cannot say "nobody", name the last committed primary.
//   - Every call is bounded by Config.Timeout and by its context, whatever Consul
//     does. What a call could not learn is an error, never a guess.
//   - Ambient settings of Consul's own tools (CONSUL_HTTP_TOKEN and its kin) are not
//     used: a token goes to the Consul that it was configured for, and follows no
//     redirect.
//
// A Publisher speaks to one Consul. Several data centres have a Publisher each, so
// that one's trouble cannot hold up another. Only the leader publishes and watches:
// two publishers with the same epoch would undo each other's readers, though never
// the writer. docs/consul.md describes keys and document.
package consul
