// Package lab starts the real parts of a Remora installation on one machine: MariaDB servers that replicate, ProxySQL
// (or its stand-in) and sidecars, each a process of its own on loopback, and a load that measures what a client of them
// sees. The demo, the tests and the benchmarks all use it.
//
// What it promises:
//   - Every process is a direct child, reaped the moment it ends, and dies with its parent, even when that is killed
//     with SIGKILL.
//   - Close ends everything in the reverse order of its start and removes the lab's directory. It may be called any
//     number of times, from several goroutines, and it is called by itself when the context given to New ends.
//   - Ports belong to one lab at a time among all the labs of the machine, also while the server that uses them is down.
//   - Nothing waits by sleeping: whatever takes time is awaited by its condition, with a deadline from the context, and
//     a wait that fails says what was awaited and the last state seen.
//
// What it does not do: it knows nothing of Remora's configuration (the caller writes the YAML), and imports no other
// package of Remora.
//
// A Network gives it hosts, whose links can be cut, and a Disk is one that can be filled. Both need root, and both are
// nameless: they exist for the lab's own processes, and end with the last of them.
package lab
