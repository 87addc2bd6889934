// Package proxysql brings the local ProxySQL in line with a committed route
// through its admin interface: it reads, computes a pure diff, applies it
// guarded by the route's epoch, and reads back what ProxySQL now does.
//
// # Safety rules
//
//   - What is believed is read back from runtime_mysql_servers. An OK of the
//     admin interface proves nothing: BEGIN and COMMIT are answered and ignored,
//     LOAD is answered with OK though it failed inside.
//   - Every write is one statement, guarded in its own WHERE by the epoch and by
//     the ticket of the operation that sent it (table remora_epoch, in the admin's
//     memory). An admin statement that timed out may still run later: then
//     another operation has taken the ticket, and the late one changes nothing.
//   - Memory never holds two ONLINE rows in a writer hostgroup: rows are inserted
//     OFFLINE_HARD, and one UPDATE moves the writer. As LOAD publishes memory, by
//     whomever it is sent, nobody can publish two writers of ours.
//   - A fence is always carried out: no conflict, no newer epoch and no broken
//     table of ours keeps it from closing the writer.
//   - The absence of remora_epoch says that ProxySQL restarted: it serves what
//     its disk held. The disk holds the fenced form, see [Admin.Save].
//   - LOAD is sent only where runtime differs from the route, for it turns SHUNNED
//     servers ONLINE and publishes what other hands prepared in memory.
//
// # Many clusters at once
//
// ProxySQL takes one admin statement at a time, and what reads or loads its runtime
// costs by all rows. Calls become tasks ([Admin.work] does rounds over them): one
// reading and one change serve all that wait, each cluster bound to its own epoch
// and ticket inside the statement. A reading that began before a call is no answer
// to it. Errors of one cluster are that cluster's.
//
// # What is whose
//
// Both hostgroups of a cluster are Remora's, whole: a server in them that the
// route does not know is set OFFLINE_HARD and reported. Every known instance has
// a row in each of the two, so that a change of roles changes nothing but status
// (and a reader's weight). All other attributes of a row, and the weight in the
// writer hostgroup, stay as the operator wrote them. Rows of other hostgroups
// are never touched.
package proxysql
