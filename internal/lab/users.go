package lab

import (
	"fmt"
	"strings"
)

// User is an account that every database server of a lab has from its first start, for any host.
type User struct {
	Name, Password string
	// Grants are what follows GRANT and precedes TO, such as "RELOAD, PROCESS ON *.*".
	Grants []string
}

// RemoraPrivileges are what Remora needs on MariaDB 10.5 and later to probe and to act, on *.*.
//
//   - SUPER is not among them. READ_ONLY ADMIN sets read_only, which is part of SUPER only before 10.11.
//   - SLAVE MONITOR and BINLOG MONITOR show the replication state and the positions.
//   - REPLICATION SLAVE ADMIN starts, stops and points replication, and sets gtid_slave_pos.
//   - REPLICATION MASTER ADMIN lists the attached replicas and sets the semi-sync variables of a primary.
//   - BINLOG ADMIN and BINLOG REPLAY cover the position of an old primary that returns.
//   - CONNECTION ADMIN ends application connections, and still gets in when max_connections are taken.
//   - PROCESS sees the connections of others; RELOAD resets logs.
//   - REPLICATION SLAVE reads binary log events, and SELECT the names of columns: what the primary lacks is saved as SQL.
//   - INSERT, UPDATE, DELETE and TRIGGER take such transactions back.
var RemoraPrivileges = []string{
	"RELOAD", "PROCESS", "READ_ONLY ADMIN", "SLAVE MONITOR", "BINLOG MONITOR", "BINLOG ADMIN", "BINLOG REPLAY",
	"REPLICATION SLAVE", "REPLICATION SLAVE ADMIN", "REPLICATION MASTER ADMIN", "CONNECTION ADMIN",
	"SELECT", "INSERT", "UPDATE", "DELETE", "TRIGGER",
}

// The accounts of a lab. The passwords are fixed: the servers listen on loopback and hold nothing.
var (
	// RootUser may do everything; Server.DB uses it.
	RootUser = User{Name: "root", Password: "root-secret", Grants: []string{"ALL PRIVILEGES ON *.*"}}
	// RemoraUser probes and acts.
	RemoraUser = User{Name: "remora", Password: "remora-secret", Grants: []string{strings.Join(RemoraPrivileges, ", ") + " ON *.*"}}
	// ReplUser is whom replicas connect as.
	ReplUser = User{Name: "repl", Password: "repl-secret", Grants: []string{"REPLICATION SLAVE ON *.*"}}
	// AppUser owns the database lab and nothing else; proxies know it.
	AppUser = User{Name: "app", Password: "app-secret", Grants: []string{"ALL PRIVILEGES ON lab.*"}}
	// MonitorUser is whom ProxySQL's monitor connects as.
	MonitorUser = User{Name: "monitor", Password: "monitor-secret", Grants: []string{"SLAVE MONITOR ON *.*"}}
)

// Users are all accounts that a server gets.
func Users() []User { return []User{RootUser, RemoraUser, ReplUser, AppUser, MonitorUser} }

// createUsers are the statements that make the accounts, one a line as the server's bootstrap mode wants them.
func createUsers(users []User) []string {
	lines := []string{"FLUSH PRIVILEGES;"}
	for _, u := range users {
		// CREATE OR REPLACE, as root exists already on some hosts.
		lines = append(lines, fmt.Sprintf("CREATE OR REPLACE USER '%s'@'%%' IDENTIFIED BY '%s';", u.Name, u.Password))
		for _, g := range u.Grants {
			line := fmt.Sprintf("GRANT %s TO '%s'@'%%'", g, u.Name)
			if u.Name == RootUser.Name {
				line += " WITH GRANT OPTION"
			}
			lines = append(lines, line+";")
		}
	}
	// The other accounts of root have no password and would shadow this one on loopback; their right to stand in for
	// others has a host name in it, which a server that resolves none complains of.
	return append(lines, "DELETE FROM mysql.proxies_priv;", "DELETE FROM mysql.global_priv WHERE User='root' AND Host<>'%';", "FLUSH PRIVILEGES;")
}

// mysqlGrants are an account's grants on MySQL, in the place of MariaDB's.
func mysqlGrants(u User) []string {
	switch u.Name {
	case RemoraUser.Name:
		return MySQLRemoraGrants
	case MonitorUser.Name:
		return []string{"REPLICATION CLIENT ON *.*"}
	}
	return u.Grants
}

// MySQLRemoraGrants are what Remora needs on MySQL 8.0.16 and later; docs/privileges.md says what each is for.
var MySQLRemoraGrants = []string{
	"REPLICATION CLIENT, REPLICATION SLAVE, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, PROCESS, CONNECTION_ADMIN, SYSTEM_USER, RELOAD ON *.*",
	"SELECT, INSERT, UPDATE, DELETE, TRIGGER ON *.*",
}
