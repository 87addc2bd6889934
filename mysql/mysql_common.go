package mysql

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// oracle is what MySQL's series have in common.
type oracle struct{}

// oracleSets are not to be had from SHOW GLOBAL VARIABLES, which cuts a value off
// after 1,024 characters without a word.
const oracleSets = "SELECT @@GLOBAL.gtid_executed AS executed, @@GLOBAL.gtid_purged AS purged"

// oracleVariables may each be absent: SHOW GLOBAL VARIABLES takes that, @@name
// would not. Two spellings stand for what was renamed within a series.
const oracleVariables = "SHOW GLOBAL VARIABLES WHERE Variable_name IN (" +
	"'version','server_id','server_uuid','read_only','super_read_only','log_bin','log_replica_updates','log_slave_updates'," +
	"'binlog_format','gtid_mode','report_host','report_port','port','max_connections'," +
	"'rpl_semi_sync_source_enabled','rpl_semi_sync_source_timeout','rpl_semi_sync_source_wait_for_replica_count'," +
	"'rpl_semi_sync_master_enabled','rpl_semi_sync_master_timeout','rpl_semi_sync_master_wait_for_slave_count'," +
	"'rpl_semi_sync_source_wait_point','rpl_semi_sync_source_wait_no_replica'," +
	"'rpl_semi_sync_master_wait_point','rpl_semi_sync_master_wait_no_slave'," +
	"'rpl_semi_sync_replica_enabled','rpl_semi_sync_slave_enabled','group_replication_group_name')"

const oracleStatus = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime','Threads_connected'," +
	"'Rpl_semi_sync_source_status','Rpl_semi_sync_source_clients','Rpl_semi_sync_source_wait_sessions','Rpl_semi_sync_replica_status'," +
	"'Rpl_semi_sync_master_status','Rpl_semi_sync_master_clients','Rpl_semi_sync_master_wait_sessions','Rpl_semi_sync_slave_status','wsrep_cluster_size')"

// oracleHeartbeats has no row where the performance schema is off. What stands in a comment with a version is read by that
// release and later ones: 8.0.22 was the first whose replicas may change their source by themselves.
const oracleHeartbeats = "SELECT c.CHANNEL_NAME AS channel, c.HEARTBEAT_INTERVAL AS period, s.COUNT_RECEIVED_HEARTBEATS AS beats," +
	" s.LAST_HEARTBEAT_TIMESTAMP AS last, s.LAST_QUEUED_TRANSACTION AS queued, s.QUEUEING_TRANSACTION AS queueing" +
	" /*!80022 , c.SOURCE_CONNECTION_AUTO_FAILOVER AS wanders */" +
	" FROM performance_schema.replication_connection_configuration c" +
	" LEFT JOIN performance_schema.replication_connection_status s ON s.CHANNEL_NAME = c.CHANNEL_NAME"

// oraclePersisted are the variables of SET PERSIST that count at boot.
const oraclePersisted = "SELECT VARIABLE_NAME AS Variable_name, VARIABLE_VALUE AS Value FROM performance_schema.persisted_variables" +
	" WHERE VARIABLE_NAME IN ('read_only','super_read_only')"

func oracleParts(replication, replicas string) []part {
	return []part{
		{name: partVariables, essential: true, needs: "a log-in", sql: oracleVariables},
		{name: partSets, essential: true, needs: "a log-in", sql: oracleSets},
		{name: partReplication, essential: true, needs: "REPLICATION CLIENT ON *.*", sql: replication},
		{name: partStatus, essential: true, needs: "a log-in", sql: oracleStatus},
		{name: partReplicas, needs: "REPLICATION SLAVE ON *.*", sql: replicas},
		{name: partHeartbeats, needs: "SELECT ON performance_schema.replication_connection_status and ..._configuration", sql: oracleHeartbeats},
		{name: partPersisted, rare: true, needs: "SELECT ON performance_schema.persisted_variables", sql: oraclePersisted},
	}
}

func (oracle) parseAs(names channelNames, results map[string]result) (*reading, error) {
	vars, status := results[partVariables].pairs(), results[partStatus].pairs()
	sets := results[partSets].first()
	executed, err1 := gtid.ParseMySQL(sets["executed"])
	purged, err2 := gtid.ParseMySQL(sets["purged"])
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	st := &topology.State{
		Flavor: string(gtid.MySQL), Version: vars["version"], ServerID: uint32(vars.integer("server_id")), ServerUUID: vars["server_uuid"],
		ReportedAs: vars.addr("report_host", "report_port"),
		ReadOnly:   vars.on("read_only"), SuperReadOnly: vars.on("super_read_only"),
		LogBin: vars.on("log_bin"), LogReplicaUpdates: vars.on("log_replica_updates", "log_slave_updates"),
		BinlogFormat: vars["binlog_format"], GTIDMode: vars["gtid_mode"], GTIDStrict: true,
		Executed: executed, Purged: purged, Replicas: attached(results[partReplicas]),
		Connections: status.integer("threads_connected"), MaxConnections: vars.integer("max_connections"),
		SemiSync: topology.SemiSync{
			SourceEnabled:  vars.on("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"),
			SourceActive:   status.on("rpl_semi_sync_source_status", "rpl_semi_sync_master_status"),
			Timeout:        milliseconds(vars.get("rpl_semi_sync_source_timeout", "rpl_semi_sync_master_timeout")),
			WaitCount:      vars.integer("rpl_semi_sync_source_wait_for_replica_count", "rpl_semi_sync_master_wait_for_slave_count"),
			WaitPoint:      vars.get("rpl_semi_sync_source_wait_point", "rpl_semi_sync_master_wait_point"),
			WaitsAlone:     vars.on("rpl_semi_sync_source_wait_no_replica", "rpl_semi_sync_master_wait_no_slave"),
			Clients:        status.integer("rpl_semi_sync_source_clients", "rpl_semi_sync_master_clients"),
			Waiting:        status.integer("rpl_semi_sync_source_wait_sessions", "rpl_semi_sync_master_wait_sessions"),
			ReplicaEnabled: vars.on("rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"),
			ReplicaActive:  status.on("rpl_semi_sync_replica_status", "rpl_semi_sync_slave_status"),
		},
	}
	st.Uptime, _ = status.seconds("uptime")
	switch {
	case vars["group_replication_group_name"] != "":
		st.Member = "group_replication"
	case status.integer("wsrep_cluster_size") > 0: // Percona XtraDB Cluster
		st.Member = "galera"
	}
	st.PersistedOpen = persistedOpen(results[partPersisted].pairs())
	r := &reading{state: st, semiSync: oracleSemiSync(vars)}
	st.SemiSync.NoSource, st.SemiSync.NoReplica = r.semiSync.source == "", r.semiSync.replica == ""
	for _, line := range results[partReplication] {
		c, err := oracleChannel(line, names, results[partHeartbeats])
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		r.channels = append(r.channels, *c)
		st.Sources = append(st.Sources, c.Source)
	}
	return r, nil
}

func oracleChannel(line row, names channelNames, heartbeats result) (*channel, error) {
	c := newChannel(line, names)
	if c == nil {
		return nil, nil
	}
	var err error
	c.Channel = line["Channel_Name"]
	if c.Received, err = gtid.ParseMySQL(line["Retrieved_Gtid_Set"]); err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	c.GTID = line.on("Auto_Position")
	c.notePositions(line, names)
	c.keyFile = line[names.source+"_public_key_path"]
	pulse := []string{c.logFile, c.received, line["Retrieved_Gtid_Set"]}
	for _, beat := range heartbeats {
		if beat["channel"] == c.Channel {
			c.Heartbeat, _ = beat.seconds("period")
			pulse = append(pulse, beat["beats"], beat["last"], beat["queued"])
			c.halfway = beat["queueing"] != ""
			c.wanders = beat.on("wanders")
		}
	}
	c.pulse = strings.Join(pulse, " ")
	return c, nil
}

// persistedOpen names what is persisted as off of that which keeps a server closed.
// super_read_only brings read_only with it.
func persistedOpen(vars row) []string {
	if vars.on("super_read_only") {
		return nil
	}
	var open []string
	for _, name := range []string{"read_only", "super_read_only"} {
		if v, persisted := vars[name]; persisted && isOff(v) {
			open = append(open, name)
		}
	}
	return open
}

// oracleSemiSync tells by the variables which plugins are installed.
func oracleSemiSync(vars row) semiSyncWords {
	installed := func(words ...string) string {
		for _, word := range words {
			if _, ok := vars["rpl_semi_sync_"+word+"_enabled"]; ok {
				return word
			}
		}
		return ""
	}
	return semiSyncWords{source: installed("source", "master"), replica: installed("replica", "slave")}
}

// readOnly: super_read_only brings read_only with it, and read_only off takes it away.
func (oracle) readOnly(on bool) statement {
	if on {
		return plain("SET GLOBAL super_read_only=1")
	}
	return plain("SET GLOBAL read_only=0")
}

func (oracle) isReadOnly(st *topology.State) bool { return st.SuperReadOnly }

func (oracle) askReadOnly() string { return "SELECT @@GLOBAL.super_read_only AS closed" }

func (oracle) kill(id uint64) statement { return plain("KILL CONNECTION %d", id) }

func (oracle) await(set gtid.Set, most time.Duration) (string, bool) {
	if set.Empty() {
		return "", false
	}
	return fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %.3f)", quote(set.String()), most.Seconds()), true
}

// keepRelayLog has nothing to do: the SQL thread's start leaves the relay log alone.
func (oracle) keepRelayLog(*reading, channel) (before, after []statement, err error) {
	return nil, nil, nil
}

func (oracle) hastenStop(*reading) bool { return false }

// semiSync speaks to the plugins that are installed; one that is not is no matter
// where it shall be off.
func (oracle) semiSync(r *reading, plan semiSyncPlan) (statement, error) {
	words := r.semiSync
	var set []string
	add := func(format string, args ...any) { set = append(set, fmt.Sprintf("rpl_semi_sync_"+format, args...)) }
	switch {
	case words.replica != "":
		add("%s_enabled=%d", words.replica, number(plan.replica))
	case plan.replica:
		return statement{}, errors.New("semi-sync as a replica is wanted, but its plugin is not installed; `remora doctor` has the statement")
	}
	switch {
	case words.source != "":
		count := map[string]string{"source": "replica", "master": "slave"}[words.source]
		if plan.source && plan.waitCount > 0 {
			add("%s_wait_for_%s_count=%d", words.source, count, plan.waitCount)
		}
		if plan.source && plan.timeout != "" {
			add("%s_timeout=%s", words.source, plan.timeout)
			add("%s_wait_point='AFTER_SYNC'", words.source)
			add("%s_wait_no_%s=1", words.source, count)
		}
		add("%s_enabled=%d", words.source, number(plan.source))
	case plan.source:
		return statement{}, errors.New("semi-sync as a source is wanted, but its plugin is not installed; `remora doctor` has the statement")
	}
	return setGlobals(set...), nil
}

func (oracle) freeAcks(r *reading) (off, on statement, ok bool) {
	const enabled = "SET GLOBAL rpl_semi_sync_%s_enabled=%d"
	source := r.semiSync.source
	return plain(enabled, source, 0), plain(enabled, source, 1), source != ""
}

// busyWorker: workers, and the SQL thread that gives them work, run as queries of
// the system user; receivers do not.
func (oracle) busyWorker(line row) bool {
	return line["User"] == "system user" && line["Command"] == "Query" &&
		!strings.HasPrefix(line["State"], "Waiting for an event from Coordinator") && !strings.Contains(line["State"], "has read all relay log")
}

// undoSession: super_read_only holds Remora as well, read_only alone does not.
func (oracle) undoSession() undoing {
	return undoing{
		before: append([]statement{plain("SET GLOBAL super_read_only=0")}, undoSettings...),
		after:  []statement{plain("SET GLOBAL super_read_only=1")},
	}
}

func (oracle) firstFailure(channel string) (string, bool) {
	return fmt.Sprintf("SELECT LAST_ERROR_NUMBER AS number, LAST_ERROR_MESSAGE AS message FROM performance_schema.replication_applier_status_by_worker"+
		" WHERE CHANNEL_NAME=%s AND LAST_ERROR_NUMBER NOT IN (0, %d) ORDER BY LAST_ERROR_TIMESTAMP LIMIT 1", quote(channel), errWorkerBefore), true
}

// adopt has nothing to do: the position is gtid_executed, which counts own writes.
func (oracle) adopt(*reading) ([]statement, error) { return nil, nil }

// oracleRestart: the position is gtid_executed, which is what was purged when the
// logs are gone.
func oracleRestart(reset string, position gtid.Set) []statement {
	return []statement{plain("%s", reset), plain("SET GLOBAL gtid_purged=%s", quote(position.String()))}
}

// pointsRunning: "CHANGE REPLICATION SOURCE TO" of the manual, since 5.7.4. With the
// receiver stopped all may be changed but SOURCE_AUTO_POSITION, SOURCE_DELAY, the place
// in the relay log and, says the server (9.7), SOURCE_CONNECTION_AUTO_FAILOVER; the
// relay logs are kept while the SQL thread runs.
func (oracle) pointsRunning() bool { return true }

// pointAs writes out what newer servers default otherwise: they give up after ten
// attempts and want TLS. A replica that changes its source by itself does so no more.
func (oracle) pointAs(verb, word string, retries int, p pointing) statement {
	var b statementBuilder
	b.add("%s TO %s_HOST=%s, %s_PORT=%d", verb, word, quote(p.source.Host()), word, p.source.Port())
	if p.user != "" {
		b.add(", %s_USER=%s", word, quote(p.user))
		b.secret(fmt.Sprintf(", %s_PASSWORD=", word), p.password)
	}
	switch {
	case p.running:
	case p.at.IsZero():
		b.add(", %s_AUTO_POSITION=1", word)
	default:
		b.add(", %s_AUTO_POSITION=0, %s_LOG_FILE=%s, %s_LOG_POS=%d", word, word, quote(p.at.File), word, p.at.Pos)
	}
	b.add(", %s_CONNECT_RETRY=%d, %s_RETRY_COUNT=%d, %s_HEARTBEAT_PERIOD=%.3f",
		word, wholeSeconds(p.retry), word, retries, word, p.heartbeat.Seconds())
	if p.plain {
		// caching_sha2_password takes no password in clear: it is encrypted with the key of
		// the source, which over TLS nobody needs.
		b.add(", GET_%s_PUBLIC_KEY=1", word)
	}
	if p.tls != nil {
		b.add(", %s_SSL=%d", word, number(*p.tls))
	}
	if !p.running {
		b.add(" /*!80022 , SOURCE_CONNECTION_AUTO_FAILOVER=0 */")
	}
	b.add("%s", oracleChannelName(p.channel))
	return b.statement()
}

const sourceRetries = 86400

// oracleChannelName is the channel clause. It is always written: without it a
// statement is for all channels, or refused when there are several.
func oracleChannelName(channel string) string { return " FOR CHANNEL " + quote(channel) }

func (oracle) wakeEvent(db, name, definer string) statement {
	return wakeEventStatement(db, name, definer)
}
