// Package standin stands in for ProxySQL 2.7 where none is installed: its admin interface, and the routing of client
// connections to hostgroups.
//
// It promises what a program that drives ProxySQL depends on, the traps above all. On the admin interface: the schema
// and the layers (memory, runtime, disk), transactions that do nothing, only the first of several statements run,
// errors as 1045, tables of one's own in memory, runtime tables refreshed only when they are named in lower case. For
// clients: statements held while a hostgroup has no server, error 9001 when that lasts too long, sessions dropped by
// OFFLINE_HARD, transactions that outlive OFFLINE_SOFT, replies that are thrown away when their server has gone
// offline meanwhile, silent retries, multiplexing and what switches it off.
//
// It does not promise ProxySQL's monitor (its tables are there and empty), its cluster, its query cache, mirroring,
// TLS, compression or LOAD DATA LOCAL; of the query rules only matching, destination, retries and multiplex count.
// Its conformance suite runs against the real one too, wherever that is found.
package standin
