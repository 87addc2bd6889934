// Package world simulates everything around the sidecars: database servers,
// ProxySQLs, the network, disks, clients and whatever goes wrong with them. The
// sidecars are the real ones, with the real raft, ledger and decisions; they live in
// a bubble of testing/synctest, where a minute takes a twentieth of a second.
//
// A [Schedule] is drawn from a seed and is data: a list of [Fault]s. [Schedule.Run]
// plays it while clients write, and holds the invariants of docs/architecture.md to
// every event; when all faults have ended the cluster must converge, and every
// acknowledged write must be in the new primary's history.
//
// # What is modelled
//
// A server is a MariaDB in GTID strict mode: a binary log, a relay log, two
// replication threads, semi-sync, read_only; it crashes, freezes, loses what was not
// synced, or its disk, and comes back read-only. A proxy holds the rows of one writer
// hostgroup, an epoch that guards them, and the sessions of its clients; it hangs, and
// it restarts from its disk. Packets that cannot pass wait, as TCP would send them
// again. A sidecar's process is killed, frozen, or its disk hangs.
//
// # What a seed replays
//
// The schedule, wholly. The order in which goroutines run at one instant is Go's own,
// so a run of the same seed may differ in who comes first; a failure that a seed
// showed once may need several tries to show again.
//
// # What is not modelled
//
// SQL, privileges, MySQL's flavor, Consul and HAProxy, hooks: the tests against real
// processes are for those. A frozen sidecar is one whose network, adapters and disk do
// not answer: its goroutines cannot be stopped.
package world
