// Package endpoints simulates database servers, thousands in one process, as far as a sidecar sees them: each has
// a loopback address of its own, speaks the MySQL protocol, and answers what Remora sends to a MySQL 8.4.
//
// Behind them is a model of replication clusters: who takes writes, who replicates from whom, which GTIDs each has. A
// write moves the GTIDs of the primary and, in the same instant, of all that replicate from it. Kill breaks an
// instance's connections and resets new ones; a replica whose source is gone says that it connects. What a failover or a
// switchover does to servers takes effect in the model.
//
// It promises little cost, so that thousands of readings a second leave the machine to those who are measured; and that a
// statement it does not know is an error that Unknown shows. It does not promise lag, semi-sync, file positions, TLS,
// or that a transaction has any content.
package endpoints
