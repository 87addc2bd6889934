// Package gtid holds sets of replicated transactions as MySQL and MariaDB name
// them, and answers which of two servers has executed more.
//
// # What it promises
//
// A [Set] is a mathematical set of transactions. Every operation is exact,
// total and deterministic, and never changes its operands; a Set may be shared
// between goroutines. Sets are ordered by inclusion, which is a partial order:
// [Set.Compare] says Divergent when either set has a transaction that the other
// lacks, and nothing in this package ranks such sets. Reading takes time in
// proportion to the text (times a logarithm where the text is unsorted), every
// other operation in proportion to the intervals of its operands.
//
// The package has no clock, no I/O and no logging.
//
// # MySQL
//
// A transaction is (server uuid, tag, number); the tag is empty before MySQL 8.3
// and wherever none was asked for. The algebra is that of GTID_SUBSET and
// GTID_SUBTRACT, and is tested against the recorded answers of a real server.
//
// # MariaDB
//
// A transaction is (domain, server, sequence number). What the server prints as
// 0-1-100 is read as "all transactions that server 1 wrote in domain 0, up to
// 100", which makes a full state (gtid_binlog_state) a vector clock over pairs of
// domain and server, and inclusion of states an exact partial order.
//
// A position (gtid_binlog_pos, gtid_slave_pos, gtid_current_pos) is less than a
// state: it has one entry per domain, and only implies the transactions of other
// servers that came before. gtid_current_pos is the least of them: it leaves out a
// domain whose last transaction in the binary log bears another server's id.
// Therefore 0-1-100 and 0-2-105 are Divergent here, though the second
// may well have grown out of the first: the two strings do not say. Where servers
// run in gtid_strict_mode, history within a domain is linear, so holding the
// head of a server's state means holding all of it, and the question "has a
// everything that b has?" is
//
//	stateOfA.Contains(stateOfB.Heads())
//
// which also holds when an entry of an old server was lost from a's state, as
// it is on a replica that was built from a backup. Such a replica's state is the
// union of its gtid_binlog_state and its gtid_slave_pos.
//
// # What it does not promise
//
// A set says nothing about what the transactions contain: two servers with equal
// sets may differ in data. Numbers of a server that was reset (RESET MASTER,
// RESET BINARY LOGS AND GTIDS) name new transactions by old names, and no set
// can show it.
package gtid
