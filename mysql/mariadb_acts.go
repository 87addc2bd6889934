package mysql

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

func (mariadb) readOnly(on bool) statement { return plain("SET GLOBAL read_only=%d", number(on)) }

func (mariadb) isReadOnly(st *topology.State) bool { return st.ReadOnly }

func (mariadb) askReadOnly() string { return "SELECT @@GLOBAL.read_only AS closed" }

func (mariadb) kill(id uint64) statement { return plain("KILL HARD CONNECTION %d", id) }

// mariadbChannelName is the name of a connection in a statement, empty for the default.
func mariadbChannelName(channel string) string {
	if channel == "" {
		return ""
	}
	return " " + quote(channel)
}

func (mariadb) stop(c string) statement { return plain("STOP SLAVE%s", mariadbChannelName(c)) }

func (mariadb) stopReceiver(c string) statement {
	return plain("STOP SLAVE%s IO_THREAD", mariadbChannelName(c))
}

func (mariadb) start(c string) statement { return plain("START SLAVE%s", mariadbChannelName(c)) }

// startApplier starts the SQL thread alone. Beware of keepRelayLog.
func (mariadb) startApplier(c string) statement {
	return plain("START SLAVE%s SQL_THREAD", mariadbChannelName(c))
}

// keepRelayLog: with GTIDs the first thread that starts when both are stopped, be it
// the SQL thread, throws the relay log away, as the server expects to fetch it again.
// Without GTIDs, from the position where the SQL thread stood, the log is applied,
// and gtid_slave_pos moves on as usual; the next repoint turns GTIDs on again.
//
// After a restart that position may be older than what was executed, for it is not
// crash-safe. Strict mode then stops the SQL thread at the first transaction that is
// executed already; without it nothing would.
//
// It is applied without parallel workers: with them the server (10.11.19) crashes, as
// they miss the name of the source's log that a relay log tells at its beginning.
func (d mariadb) keepRelayLog(r *reading, c channel) (before, after []statement, err error) {
	if c.Received.Empty() && !r.state.GTIDStrict {
		return nil, nil, errors.New("both its threads are stopped since the server started, and without gtid_strict_mode nothing guards its relay log from being applied twice")
	}
	if r.workers > 0 {
		const workers = "SET GLOBAL slave_parallel_threads=%d"
		before = append(before, plain(workers, 0))
		after = append(after, plain("STOP SLAVE%s SQL_THREAD", mariadbChannelName(c.Channel)), plain(workers, r.workers))
	}
	if c.GTID && c.relayFile != "" {
		before = append(before, plain("CHANGE MASTER%s TO MASTER_USE_GTID=no, RELAY_LOG_FILE=%s, RELAY_LOG_POS=%d",
			mariadbChannelName(c.Channel), quote(c.relayFile), c.relayPos))
	}
	return before, after, nil
}

func (mariadb) forget(c string) statement { return plain("RESET SLAVE%s ALL", mariadbChannelName(c)) }

// await waits by gtid_slave_pos, which is where a position that was received ends
// up. The server compares sequence numbers within a domain only, so the answer is
// not taken for more than a reason to look.
func (mariadb) await(set gtid.Set, most time.Duration) (string, bool) {
	position := set.Heads().String()
	if position == "" || strings.Contains(position, "(") {
		return "", false
	}
	return fmt.Sprintf("SELECT MASTER_GTID_WAIT(%s, %.3f)", quote(position), most.Seconds()), true
}

// hastenStop: the thread of a semi-sync replica ends by asking its source, over a
// new connection, to end the old one. A source that is frozen lets it wait for that:
// rpl_semi_sync_slave_kill_conn_timeout, or two seconds, when the server that waits
// for its thread sends it a second signal.
func (mariadb) hastenStop(r *reading) bool { return r.state.SemiSync.ReplicaActive }

// semiSync: the source waits for one acknowledgement, whatever the plan says.
func (mariadb) semiSync(_ *reading, plan semiSyncPlan) (statement, error) {
	set := []string{fmt.Sprintf("rpl_semi_sync_slave_enabled=%d", number(plan.replica))}
	if plan.source && plan.timeout != "" {
		set = append(set, "rpl_semi_sync_master_timeout="+plan.timeout, "rpl_semi_sync_master_wait_point='AFTER_SYNC'",
			"rpl_semi_sync_master_wait_no_slave=1")
	}
	return setGlobals(append(set, fmt.Sprintf("rpl_semi_sync_master_enabled=%d", number(plan.source)))...), nil
}

// freeAcks: the end of a session ends its wait.
func (mariadb) freeAcks(*reading) (off, on statement, ok bool) { return off, on, false }

func (mariadb) firstFailure(string) (string, bool) { return "", false }

func (mariadb) busyWorker(line row) bool {
	return line["Command"] == "Slave_worker" && !strings.HasPrefix(line["State"], "Waiting for work")
}

// adopt sets the replication position of a server that has no source to the end of
// all that it executed, its own writes included: as a replica it asked for what
// comes after gtid_slave_pos, which writes of its own do not move.
func (mariadb) adopt(r *reading) ([]statement, error) {
	position := r.state.Executed.Heads()
	for domain, entries := range mariadbDomains(position) {
		if len(entries) > 1 {
			return nil, fmt.Errorf("its history in GTID domain %s is not linear: %s carry the same number, so no position names where it stands",
				domain, strings.Join(entries, " and "))
		}
	}
	return []statement{plain("SET GLOBAL gtid_slave_pos=%s", quote(position.String()))}, nil
}

func (mariadb) undoSession() undoing { return undoing{before: undoSettings} }

func (mariadb) restart(position gtid.Set) []statement {
	reset := []statement{plain("RESET MASTER")}
	if position.Empty() {
		return reset
	}
	return append(reset, plain("SET GLOBAL gtid_slave_pos=%s", quote(position.String())))
}

func mariadbDomains(position gtid.Set) map[string][]string {
	domains := map[string][]string{}
	for entry := range strings.SplitSeq(position.String(), ",") {
		if domain, _, ok := strings.Cut(entry, "-"); ok {
			domains[domain] = append(domains[domain], entry)
		}
	}
	return domains
}

// pointsRunning: the server wants both threads stopped.
func (mariadb) pointsRunning() bool { return false }

// point leaves out what shall stay as it is: TLS options, a delay, filters.
func (mariadb) point(p pointing) statement {
	var b statementBuilder
	b.add("CHANGE MASTER%s TO MASTER_HOST=%s", mariadbChannelName(p.channel), quote(p.source.Host()))
	b.add(", MASTER_PORT=%d", p.source.Port())
	if p.user != "" {
		b.add(", MASTER_USER=%s", quote(p.user))
		b.secret(", MASTER_PASSWORD=", p.password)
	}
	if p.at.IsZero() {
		b.add(", MASTER_USE_GTID=slave_pos")
	} else {
		b.add(", MASTER_USE_GTID=no, MASTER_LOG_FILE=%s, MASTER_LOG_POS=%d", quote(p.at.File), p.at.Pos)
	}
	b.add(", MASTER_CONNECT_RETRY=%d, MASTER_HEARTBEAT_PERIOD=%.3f",
		wholeSeconds(p.retry), p.heartbeat.Seconds())
	if p.tls != nil {
		b.add(", MASTER_SSL=%d", number(*p.tls))
	}
	return b.statement()
}

func (mariadb) logEnd() string { return "SHOW MASTER STATUS" }

func (mariadb) sleepingEvents() string { return sleepingEventsQuery("SLAVESIDE_DISABLED") }

func (mariadb) wakeEvent(db, name, definer string) statement {
	return wakeEventStatement(db, name, definer)
}
