package mysql

import "strings"

// Grants lists the statements that give Remora's account and the replication
// account what they need and nothing more, for a flavor: "mariadb" (10.5 and later)
// or "mysql" (8.0 and later). The accounts `remora`@`%` and `repl`@`%` must exist;
// the names may be changed.
func Grants(flavor string) []string {
	privileges := mariadbPrivileges
	if flavor == "mysql" {
		privileges = oraclePrivileges
	}
	return []string{
		"GRANT " + strings.Join(privileges, ", ") + " ON *.* TO `remora`@`%`",
		"GRANT REPLICATION SLAVE ON *.* TO `repl`@`%`",
	}
}

// Each privilege with what it is for.
var mariadbPrivileges = []string{
	"SLAVE MONITOR",                     // SHOW ALL SLAVES STATUS
	"REPLICATION SLAVE ADMIN",           // STOP, START, RESET SLAVE, CHANGE MASTER, gtid_slave_pos, rpl_semi_sync_slave_enabled
	"REPLICATION MASTER ADMIN",          // SHOW SLAVE HOSTS, rpl_semi_sync_master_enabled
	"READ_ONLY ADMIN",                   // read_only
	"PROCESS",                           // the sessions of others
	"CONNECTION ADMIN",                  // KILL, and a connection when all are taken
	"RELOAD",                            // RESET SLAVE
	"EVENT", "SET USER", "BINLOG ADMIN", // events that were off on the replica
}

var oraclePrivileges = []string{
	"REPLICATION CLIENT",      // SHOW REPLICA STATUS
	"REPLICATION SLAVE",       // SHOW REPLICAS
	"REPLICATION_SLAVE_ADMIN", // STOP, START, RESET REPLICA, CHANGE REPLICATION SOURCE
	"SYSTEM_VARIABLES_ADMIN",  // semi-sync, super_read_only
	"PROCESS",
	"CONNECTION_ADMIN", // KILL, super_read_only, and a connection when all are taken
	"RELOAD",           // RESET REPLICA
}
