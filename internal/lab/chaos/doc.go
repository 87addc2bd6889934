// Package chaos plays faults of every kind against a whole Remora installation on real processes and a real network of
// namespaces, while clients write, and judges afterwards what was promised.
//
// The judge does not believe Remora. What was acknowledged, the clients know. Who wrote when, the servers say: every row
// gets the id of the server that executed it and that server's clock, and both are read back from the binary logs of all
// servers, also from those that are about to be thrown away. Whether all is well again is asked of the servers and the
// proxies first, and of Remora last.
//
// An operator stands by, as in real life: what was killed is started again when the fault ends, and a server that holds
// transactions that the primary never had, which Remora rightly keeps out, is made anew from the primary.
package chaos
