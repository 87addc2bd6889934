// Package topology describes replication clusters as data: instances, what
// sidecars saw of them, the merged snapshot, the replication tree and the route.
//
// The package is pure. It does no I/O, starts no goroutine and reads no clock;
// instants come in as data, so the same input always gives the same answer.
// "Unknown" is a value of its own: a reading that is missing or too old never
// counts as good and never counts as dead.
package topology
