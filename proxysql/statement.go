package proxysql

import (
	"fmt"
	"strconv"
	"strings"
)

// statement is one admin statement with the name by which errors and tests know it.
type statement struct {
	name string
	text string
}

// literal quotes a string for SQLite, which knows no backslash.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// The table of ours in the admin's memory. `applied` is the epoch that was read
// back; `ticket` names the operation that may write.
const createTable = "CREATE TABLE IF NOT EXISTS remora_epoch (cluster TEXT PRIMARY KEY, " +
	"epoch INT NOT NULL, applied INT NOT NULL DEFAULT 0, ticket TEXT NOT NULL DEFAULT '')"

const loadServers = "LOAD MYSQL SERVERS TO RUNTIME"

// guard is what a statement of one operation is bound to.
type guard struct {
	cluster string
	epoch   uint64
	ticket  string
}

// where is true as long as no other operation has taken over.
func (g guard) where() string {
	return fmt.Sprintf("EXISTS (SELECT 1 FROM remora_epoch WHERE cluster = %s AND epoch = %d AND ticket = %s)",
		literal(g.cluster), g.epoch, literal(g.ticket))
}

// raise takes the ticket at the guard's epoch, unless a newer epoch is there.
func (g guard) raise() statement {
	return statement{"raise the epoch", fmt.Sprintf(
		"INSERT INTO remora_epoch (cluster, epoch, ticket) VALUES (%s, %d, %s) ON CONFLICT (cluster) DO UPDATE SET "+
			"epoch = excluded.epoch, ticket = excluded.ticket WHERE remora_epoch.epoch <= excluded.epoch",
		literal(g.cluster), g.epoch, literal(g.ticket))}
}

// seize takes the ticket at whatever epoch is there, and forgets that it was applied.
func (g guard) seize() statement {
	return statement{"void the epoch", fmt.Sprintf(
		"INSERT INTO remora_epoch (cluster, epoch, ticket) VALUES (%s, 0, %s) ON CONFLICT (cluster) DO UPDATE SET "+
			"applied = 0, ticket = excluded.ticket", literal(g.cluster), literal(g.ticket))}
}

// confirm notes that the epoch was read back.
func (g guard) confirm() statement {
	return statement{"confirm the epoch", fmt.Sprintf(
		"UPDATE remora_epoch SET applied = epoch WHERE cluster = %s AND epoch = %d AND ticket = %s",
		literal(g.cluster), g.epoch, literal(g.ticket))}
}

// insert adds rows, all of them OFFLINE_HARD: the update opens what shall be open.
func (g guard) insert(rows []row) statement {
	values := make([]string, len(rows))
	for i, r := range rows {
		values[i] = fmt.Sprintf("(%d, %s, %d, %d, '%s', %d, %d, %d, %d, %d, %d, %s)", r.Hostgroup, literal(r.Host), r.Port,
			r.GTIDPort, offlineHard, r.Weight, r.Compression, r.MaxConnections, r.MaxReplicationLag, r.UseSSL,
			r.MaxLatencyMS, literal(r.Comment))
	}
	return statement{"insert rows", fmt.Sprintf("INSERT OR IGNORE INTO mysql_servers (%s) SELECT * FROM (VALUES %s) WHERE %s",
		columns, strings.Join(values, ", "), g.where())}
}

// update sets status and weight of every row of the hostgroups at once: as in
// `want`, and OFFLINE_HARD for rows that it does not name.
func (g guard) update(want []row, hg Hostgroups) statement {
	var status, weight strings.Builder
	for _, r := range want {
		match := fmt.Sprintf(" WHEN hostgroup_id = %d AND hostname = %s AND port = %d THEN ", r.Hostgroup, literal(r.Host), r.Port)
		if r.Status != offlineHard {
			status.WriteString(match + "'" + string(r.Status) + "'")
		}
		if r.Hostgroup == hg.Reader && r.Status == online {
			weight.WriteString(match + strconv.Itoa(r.Weight))
		}
	}
	set := "status = " + caseOf(status.String(), "'"+string(offlineHard)+"'")
	if weight.Len() > 0 {
		set += ", weight = " + caseOf(weight.String(), "weight")
	}
	return statement{"update servers", fmt.Sprintf("UPDATE mysql_servers SET %s WHERE hostgroup_id IN (%d, %d) AND %s",
		set, hg.Writer, hg.Reader, g.where())}
}

func caseOf(whens, otherwise string) string {
	if whens == "" {
		return otherwise
	}
	return "CASE" + whens + " ELSE " + otherwise + " END"
}

// limitWriters lets the writer hostgroup serve nobody while it has two ONLINE
// servers. A hostgroup with attributes no longer follows the global variables, so
// that a new row starts with their values.
func (g guard) limitWriters(hostgroup int, missing bool) statement {
	if !missing {
		return statement{"limit writers", fmt.Sprintf(
			"UPDATE mysql_hostgroup_attributes SET max_num_online_servers = 1 WHERE hostgroup_id = %d AND %s", hostgroup, g.where())}
	}
	variable := func(name, expr, otherwise string) string {
		return fmt.Sprintf("COALESCE((SELECT %s FROM runtime_global_variables WHERE variable_name = '%s'), %s)", expr, name, otherwise)
	}
	number := "CAST(variable_value AS INTEGER)"
	return statement{"limit writers", fmt.Sprintf("INSERT OR IGNORE INTO mysql_hostgroup_attributes "+
		"(hostgroup_id, max_num_online_servers, free_connections_pct, connection_warming, throttle_connections_per_sec) "+
		"SELECT %d, 1, %s, %s, %s WHERE %s", hostgroup,
		variable("mysql-free_connections_pct", number, "10"),
		variable("mysql-connection_warming", "CASE lower(variable_value) WHEN 'true' THEN 1 WHEN '1' THEN 1 ELSE 0 END", "0"),
		variable("mysql-throttle_connections_per_sec_to_hostgroup", number, "1000000"), g.where())}
}

// fence closes the writer hostgroup: softly what is in use, hard the rest.
func fence(writer int, hard bool) statement {
	set := "'" + string(offlineHard) + "'"
	if !hard {
		set = fmt.Sprintf("CASE WHEN upper(status) IN ('%s', '%s') THEN '%s' ELSE '%s' END", online, offlineSoft, offlineSoft, offlineHard)
	}
	return statement{"fence the writer", fmt.Sprintf("UPDATE mysql_servers SET status = %s WHERE hostgroup_id = %d", set, writer)}
}
