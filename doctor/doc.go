// Package doctor says what is set up so that it will hurt: of servers, proxies,
// Consul, clocks and sidecars. Facts go in, findings come out.
//
// [Examine] is a pure function: no I/O, no clock. Every check is a row of
// [Catalogue]: its name, why it matters, and the function that looks. Whoever
// gathers the facts leaves out what could not be read and says so (Error, Unread);
// that is a finding of its own, never taken for a good setting or a bad one.
//
// # What may be mended without a person
//
// A finding has a [Fix] only where [Fix.Refused] lets it: the table in safe.go
// lists every setting, and the values that it may be given. Nothing in it restarts
// replication, ends a session, opens a server for writes or makes it sync less.
package doctor
