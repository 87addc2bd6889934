package mysql

import (
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
)

// Grants lists the statements that give Remora's account and the replication
// account what they need and nothing more, for a flavor: "mariadb" (10.5 and later)
// or "mysql" (8.0 and later). The accounts `remora`@`%` and `repl`@`%` must exist;
// the names may be changed.
//
// It is the whole list for MariaDB 10.11 and MySQL 9.7, where the tests run with it.
// On MariaDB before 10.5.9 there is no SLAVE MONITOR, and REPLICATION SLAVE ADMIN
// stands for it. Before 10.11 SUPER includes READ_ONLY ADMIN: applications must have
// neither, or read_only does not hold them. [Config.EnableEvents] takes more.
func Grants(flavor string) []string {
	const account = " TO `remora`@`%`"
	statements := []string{"GRANT " + strings.Join(mariadbPrivileges, ", ") + " ON *.*" + account}
	if flavor == string(gtid.MySQL) {
		statements = []string{"GRANT " + strings.Join(oraclePrivileges, ", ") + " ON *.*" + account}
		for _, table := range oracleTables {
			statements = append(statements, "GRANT SELECT ON performance_schema."+table+account)
		}
	}
	return append(statements, "GRANT REPLICATION SLAVE ON *.* TO `repl`@`%`")
}

// Each privilege with what it is for.
var mariadbPrivileges = []string{
	"SLAVE MONITOR",            // SHOW ALL SLAVES STATUS
	"REPLICATION SLAVE ADMIN",  // STOP, START, RESET SLAVE, CHANGE MASTER, gtid_slave_pos, rpl_semi_sync_slave_enabled
	"REPLICATION MASTER ADMIN", // SHOW SLAVE HOSTS, rpl_semi_sync_master_enabled
	"READ_ONLY ADMIN",          // read_only
	"PROCESS",                  // the sessions of others
	"CONNECTION ADMIN",         // KILL, and a connection when all are taken
	"RELOAD",                   // RESET SLAVE
}

var oraclePrivileges = []string{
	"REPLICATION CLIENT",      // SHOW REPLICA STATUS
	"REPLICATION SLAVE",       // SHOW REPLICAS
	"REPLICATION_SLAVE_ADMIN", // STOP, START, RESET REPLICA, CHANGE REPLICATION SOURCE
	"SYSTEM_VARIABLES_ADMIN",  // semi-sync, super_read_only
	"PROCESS",
	"CONNECTION_ADMIN", // KILL, super_read_only, and a connection when all are taken
	"SYSTEM_USER",      // KILL of root's sessions, and of an SQL thread that waits for the rest of a transaction
	"RELOAD",           // RESET REPLICA
}

// oracleTables are those of the performance schema that are read.
var oracleTables = []string{
	"replication_connection_configuration", "replication_connection_status", // the evidence that a source still beats
	"replication_applier_status_by_worker", // what a parallel applier failed at
}

// RescueGrants lists what Remora's account needs besides [Grants] to save
// transactions as SQL, and with `discard` to take them back, which writes to the
// tables; nil for a flavor's own part where Grants has it already.
func RescueGrants(flavor string, discard bool) []string {
	const account = " TO `remora`@`%`"
	privileges := mariadbRescue
	if flavor == string(gtid.MySQL) {
		privileges = oracleRescue
	}
	if discard {
		privileges = append(privileges[:len(privileges):len(privileges)], discardPrivileges...)
		if flavor == string(gtid.MariaDB) {
			privileges = append(privileges, "BINLOG ADMIN") // sql_log_bin
		}
	}
	return []string{"GRANT " + strings.Join(privileges, ", ") + " ON *.*" + account}
}

// PositionGrants lists what Remora's account needs besides [Grants] where replicas do
// not position by GTID; nil for MySQL, where Grants has it already.
func PositionGrants(flavor string) []string {
	if flavor == string(gtid.MySQL) {
		return nil
	}
	return []string{"GRANT " + strings.Join(mariadbPositions, ", ") + " ON *.* TO `remora`@`%`"}
}

// TagGrants lists what Remora's account needs besides, on MySQL from 8.3 on where GTIDs
// have tags, to inject such transactions and to take them back.
func TagGrants() []string { return []string{"GRANT TRANSACTION_GTID_TAG ON *.* TO `remora`@`%`"} }

// CloneGrants lists what Remora's account needs besides [Grants] for MySQL's CLONE,
// on both servers.
func CloneGrants() []string {
	return []string{"GRANT " + strings.Join(oracleClone, ", ") + " ON *.* TO `remora`@`%`"}
}

var (
	mariadbRescue = []string{
		"REPLICATION SLAVE", // the binary logs' contents
		"BINLOG MONITOR",    // their names
		"SELECT",            // the names and types of columns
	}
	oracleRescue      = []string{"SELECT"}
	oracleClone       = []string{"CLONE_ADMIN", "BACKUP_ADMIN", "INSERT"} // INSERT: on mysql.plugin, to install it
	mariadbPositions  = []string{"BINLOG MONITOR"}                        // the binary logs' names, ends and events
	discardPrivileges = []string{"INSERT", "UPDATE", "DELETE", "TRIGGER"} // TRIGGER: to see that there is none
)

// What [Config.EnableEvents] takes besides [Grants]: to see the events, to leave them their
// definers, and on MariaDB to do it unlogged.
var (
	mariadbEvents        = []string{"EVENT", "SET USER", "BINLOG ADMIN"}
	oracleEvents         = []string{"EVENT", "SET_ANY_DEFINER"}
	oracleEventsBefore82 = []string{"EVENT", "SET_USER_ID"}
)
