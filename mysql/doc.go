// Package mysql reads database servers and acts on them: MariaDB from 10.5, MySQL
// 8.0, 8.4 and 9.x, each with its statements in a file of its own.
//
// A [Prober] reads one instance over one kept connection. A reading is one round
// trip: all its statements travel in one packet. It ends by the deadline of its
// context whatever the server does, and the view that it returns tells a server
// that refuses us from one that does not listen and from one that does not answer.
// A kept connection that breaks while nobody uses it is reported at once.
//
// [Servers] carries out the steps of a plan that concern servers. Every act is
// idempotent: it looks first, does what is missing, and verifies by reading back.
// An error is an [*Error]: it names the act, the instance and the statement, and
// tells what the server refused from what did not arrive.
//
// # What it does not promise
//
// It decides nothing: whether a transaction may be lost, or who shall be
// primary, is settled before an act is called. It does not clone, create users
// or change the configuration files of a server.
//
// # Privileges
//
// [Grants] lists the statements that create sufficient accounts. Where a
// privilege is missing, what can be read is read, and the view names the
// privilege; a reading without the state of replication is not believed, for a
// replica would look like a primary.
//
// # Secrets
//
// Passwords appear in no error and in no log. Statements that carry one are shown
// with the password blanked, and the text of a syntax error is withheld, for the
// server quotes the statement in it.
package mysql
