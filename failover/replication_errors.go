package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// remedy is what may be done about a replication thread that an error stopped.
type remedy int

const (
	byHand    remedy = iota // it would fail again, or hide that data differ
	awaitIt                 // the source lacks it: START is tried again when an intermediate primary has caught up
	startIt                 // the cause may have passed: START is tried again
	refetchIt               // the relay log is damaged: it is thrown away and fetched again
)

// replicationError is what is known of an error that stops a replication thread.
type replicationError struct {
	remedy remedy
	means  string // "duplicate key", for the finding
	advice string // what a human does; empty where nothing but waiting is needed
}

// The advice that several errors share.
const (
	adviseData   = "the data differ from the source's: compare the row on both, mend it or clone the replica again; never skip it blindly"
	adviseSchema = "the schema differs from the source's: compare the table on both, mend it or clone the replica again"
	adviseLogin  = "look at the replication account, its host, its privileges and TLS on the source"
	adviseSpace  = "free some space there if it comes back"
	adviseSetup  = "read the server's error log, and set its replication up again"
	adviseRoom   = "raise the limit that the error names on both servers, then start replication"
)

// replicationErrors knows the errors of both flavors by their numbers; those above
// 13000 are MySQL's of its error log, where 8.0 moved the replication threads'. An
// error that is not listed is left to people.
var replicationErrors = map[int]replicationError{
	// The network, or a source that was away.
	1040: {startIt, "the source had no connection left", ""},
	1053: {startIt, "the server was shutting down", ""},
	1152: {startIt, "the connection was aborted", ""},
	1158: {startIt, "a network error", ""},
	1159: {startIt, "a network time-out", ""},
	1160: {startIt, "a network error", ""},
	1161: {startIt, "a network time-out", ""},
	1189: {startIt, "a network error", ""},
	1190: {startIt, "a network error", ""},
	1203: {startIt, "the account had no connection left on the source", ""},
	1218: {startIt, "the source could not be reached", ""},
	1226: {startIt, "the account had used up a limit on the source", ""},
	2002: {startIt, "the source could not be reached", ""},
	2003: {startIt, "the source could not be reached", ""},
	2005: {startIt, "the name of the source could not be resolved", ""},
	2006: {startIt, "the source went away", ""},
	2013: {startIt, "the connection to the source was lost", ""},
	2055: {startIt, "the connection to the source was lost", ""},

	// What else passes by itself.
	1021:  {startIt, "a disk was full", adviseSpace},
	1037:  {startIt, "there was no memory", ""},
	1041:  {startIt, "there was no memory", ""},
	1114:  {startIt, "a table or disk was full", adviseSpace},
	1205:  {startIt, "a lock was waited for too long", ""},
	1213:  {startIt, "a deadlock", ""},
	1317:  {startIt, "a statement was interrupted", ""},
	1595:  {startIt, "the relay log could not be written", adviseSpace},
	1623:  {startIt, "the source's heartbeat made no sense", ""},
	1927:  {startIt, "its connection was killed", ""},
	1964:  {startIt, "a transaction before it failed", ""},
	3030:  {startIt, "a parallel worker before it failed", ""},
	13115: {startIt, "an event came damaged over the network", ""},
	13118: {startIt, "the source's heartbeat made no sense", ""},
	13120: {startIt, "a question to the source failed", ""},
	13122: {startIt, "the relay log could not be written", adviseSpace},

	// The relay log is damaged; the source has it still.
	1594:  {refetchIt, "the relay log cannot be read", ""},
	13121: {refetchIt, "the relay log cannot be read", ""},

	// The data differ.
	1032: {byHand, "a row is missing", adviseData},
	1062: {byHand, "duplicate key", adviseData},
	1169: {byHand, "duplicate key", adviseData},
	1451: {byHand, "a foreign key forbids it", adviseData},
	1452: {byHand, "a foreign key forbids it", adviseData},
	1007: {byHand, "the database exists already", adviseSchema},
	1008: {byHand, "there is no such database", adviseSchema},
	1049: {byHand, "there is no such database", adviseSchema},
	1050: {byHand, "the table exists already", adviseSchema},
	1051: {byHand, "there is no such table", adviseSchema},
	1054: {byHand, "there is no such column", adviseSchema},
	1060: {byHand, "the column exists already", adviseSchema},
	1091: {byHand, "there is no such column or key", adviseSchema},
	1146: {byHand, "there is no such table", adviseSchema},
	1396: {byHand, "an account exists already, or is missing", adviseSchema},
	1535: {byHand, "the tables differ", adviseSchema},
	1677: {byHand, "a column has another type", adviseSchema},

	// The histories do not fit together.
	1236:  {awaitIt, "the source cannot send what comes next", "its binary logs were purged, or the histories differ: the message says which; clone the replica again"},
	1590:  {byHand, "an incident on the source", "the source lost events: clone the replica again"},
	1950:  {byHand, "a GTID out of order", "somebody wrote on the replica: see the runbook for a diverged server"},
	1951:  {byHand, "its position is missing on the source", "the histories differ: clone the replica again"},
	1955:  {awaitIt, "its position is missing on the source", "the histories differ: clone the replica again"},
	13114: {awaitIt, "the source cannot send what comes next", "its binary logs were purged, or the histories differ: the message says which; clone the replica again"},
	13119: {byHand, "an incident on the source", "the source lost events: clone the replica again"},

	// The setup is wrong.
	1044:  {byHand, "the source denied access", adviseLogin},
	1045:  {byHand, "the source denied access", adviseLogin},
	1129:  {byHand, "the source blocks the host", "FLUSH HOSTS on the source"},
	1130:  {byHand, "the source denied access to the host", adviseLogin},
	1142:  {byHand, "a privilege is missing", adviseLogin},
	1153:  {byHand, "an event is larger than max_allowed_packet", adviseRoom},
	1197:  {byHand, "a transaction is larger than max_binlog_cache_size", adviseRoom},
	1201:  {byHand, "replication cannot be initialised", adviseSetup},
	1227:  {byHand, "a privilege is missing", adviseLogin},
	1593:  {byHand, "a fatal error", "equal server ids or UUIDs, or settings that do not fit: the message says which"},
	1698:  {byHand, "the source denied access", adviseLogin},
	1872:  {byHand, "replication cannot be initialised", adviseSetup},
	2026:  {byHand, "TLS failed", adviseLogin},
	2059:  {byHand, "a log-in plugin is missing", adviseLogin},
	2061:  {byHand, "the log-in plugin wants TLS", adviseLogin},
	3159:  {byHand, "the source wants TLS", adviseLogin},
	13117: {byHand, "a fatal error", "equal server ids or UUIDs, or settings that do not fit: the message says which"},
	13124: {byHand, "replication cannot be initialised", adviseSetup},
	13125: {byHand, "an event is larger than max_allowed_packet", adviseRoom},
	13146: {byHand, "a column has another type", adviseSchema},
}

// stoppedBy says what stopped a channel: the errors of the threads that do not
// run, worst first. None when both run, or were stopped without an error.
func stoppedBy(src *topology.Source) []int {
	var numbers []int
	if src.SQL == topology.ThreadNo && (src.SQLErrno != 0 || src.SQLError != "") {
		numbers = append(numbers, src.SQLErrno)
	}
	if src.IO == topology.ThreadNo && (src.IOErrno != 0 || src.IOError != "") {
		numbers = append(numbers, src.IOErrno)
	}
	if len(numbers) == 2 && replicationErrors[numbers[0]].remedy > replicationErrors[numbers[1]].remedy {
		numbers[0], numbers[1] = numbers[1], numbers[0]
	}
	return numbers
}

// byAHand says that a thread is stopped without an error: an error of the other
// thread does not stop it.
func byAHand(src *topology.Source) bool {
	return src.SQL == topology.ThreadNo && src.SQLErrno == 0 && src.SQLError == "" ||
		src.IO == topology.ThreadNo && src.IOErrno == 0 && src.IOError == ""
}

// remedyOf is what may be done about a channel that errors stopped: where one of
// them is left to people, all is.
func remedyOf(numbers []int) remedy {
	if len(numbers) == 0 {
		return byHand
	}
	first := replicationErrors[numbers[0]].remedy
	if first == startIt && len(numbers) == 2 {
		return replicationErrors[numbers[1]].remedy // refetching starts it too
	}
	return first
}

// explainError says what an error means: "error 1062 (duplicate key)".
func explainError(number int) string {
	switch known, ok := replicationErrors[number]; {
	case ok:
		return fmt.Sprintf("error %d (%s)", number, known.means)
	case number == 0:
		return "an error without a number"
	default:
		return fmt.Sprintf("error %d", number)
	}
}
