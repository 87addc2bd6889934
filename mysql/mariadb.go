package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// mariadb is MariaDB from 10.5, where semi-sync is built in and privileges have
// been split from SUPER.
type mariadb struct{}

// The names of a reading's parts, also for sentences.
const (
	partVariables   = "variables"
	partSets        = "GTID sets"
	partReplication = "state of replication"
	partStatus      = "status"
	partReplicas    = "attached replicas"
	partHeartbeats  = "replication heartbeats"
	partPersisted   = "persisted variables"
)

func (mariadb) parts() []part { return mariadbParts }

var mariadbParts = []part{
	{name: partVariables, essential: true, needs: "a log-in", sql: "SELECT VERSION() AS version" +
		selectGlobals("server_id", "read_only", "log_bin", "log_slave_updates", "binlog_format", "gtid_strict_mode",
			"gtid_binlog_state", "gtid_slave_pos", "report_host", "report_port", "max_connections", "slave_parallel_threads",
			"rpl_semi_sync_master_enabled", "rpl_semi_sync_master_timeout", "rpl_semi_sync_master_wait_point",
			"rpl_semi_sync_master_wait_no_slave", "rpl_semi_sync_slave_enabled")},
	{name: partReplication, essential: true, needs: "SLAVE MONITOR ON *.*", sql: "SHOW ALL SLAVES STATUS"},
	{name: partStatus, essential: true, needs: "a log-in", sql: "SHOW GLOBAL STATUS WHERE Variable_name IN (" +
		"'Uptime','Threads_connected','Rpl_semi_sync_master_status','Rpl_semi_sync_master_clients'," +
		"'Rpl_semi_sync_master_wait_sessions','Rpl_semi_sync_slave_status','wsrep_cluster_size')"},
	{name: partReplicas, needs: "REPLICATION MASTER ADMIN ON *.*", sql: "SHOW SLAVE HOSTS"},
}

// selectGlobals lists variables that every version has.
func selectGlobals(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, ", @@global.%s AS %s", name, name)
	}
	return b.String()
}

func (mariadb) parse(results map[string]result) (*reading, error) {
	vars, status := results[partVariables].first(), results[partStatus].pairs()
	st := &topology.State{
		Flavor: string(gtid.MariaDB), Version: vars["version"], ServerID: uint32(vars.integer("server_id")),
		ReportedAs: vars.addr("report_host", "report_port"),
		// Since 12.1 it is a word, of which OFF alone lets writes through.
		ReadOnly: !isOff(vars["read_only"]),
		LogBin:   vars.on("log_bin"), LogReplicaUpdates: vars.on("log_slave_updates"), BinlogFormat: vars["binlog_format"],
		GTIDMode: "ON", GTIDStrict: vars.on("gtid_strict_mode"),
		Connections: status.integer("threads_connected"), MaxConnections: vars.integer("max_connections"),
		SemiSync: topology.SemiSync{
			SourceEnabled: vars.on("rpl_semi_sync_master_enabled"), SourceActive: status.on("rpl_semi_sync_master_status"),
			Timeout: milliseconds(vars.get("rpl_semi_sync_master_timeout")), WaitCount: 1,
			WaitPoint: vars["rpl_semi_sync_master_wait_point"], WaitsAlone: vars.on("rpl_semi_sync_master_wait_no_slave"),
			Clients: status.integer("rpl_semi_sync_master_clients"), Waiting: status.integer("rpl_semi_sync_master_wait_sessions"),
			ReplicaEnabled: vars.on("rpl_semi_sync_slave_enabled"), ReplicaActive: status.on("rpl_semi_sync_slave_status"),
		},
	}
	st.Uptime, _ = status.seconds("uptime")
	if status.integer("wsrep_cluster_size") > 0 {
		st.Member = "galera"
	}
	binlog, err1 := gtid.ParseMariaDB(vars["gtid_binlog_state"])
	applied, err2 := gtid.ParseMariaDB(vars["gtid_slave_pos"])
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	st.Executed = binlog.Union(applied)
	st.Replicas = attached(results[partReplicas])
	r := &reading{state: st, applied: applied, semiSync: semiSyncWords{"master", "slave"}, workers: vars.integer("slave_parallel_threads")}
	for _, line := range results[partReplication] {
		c, err := mariadbChannel(line)
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

// mariadbChannel reads a row of SHOW ALL SLAVES STATUS; nil for a connection that
// was reset and has no source.
func mariadbChannel(line row) (*channel, error) {
	c := newChannel(line, oldNames)
	if c == nil {
		return nil, nil
	}
	var err error
	c.Channel = line["Connection_name"]
	if c.Received, err = gtid.ParseMariaDB(line["Gtid_IO_Pos"]); err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	c.GTID = line["Using_Gtid"] == "Slave_Pos" || line["Using_Gtid"] == "Current_Pos"
	c.notePositions(line, oldNames)
	c.Heartbeat, _ = line.seconds("Slave_heartbeat_period")
	c.pulse = strings.Join([]string{c.logFile, c.received, line["Gtid_IO_Pos"], line["Slave_received_heartbeats"]}, " ")
	return c, nil
}
