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

// guard is what the part of one cluster in a statement is bound to.
type guard struct {
	subject
	epoch  uint64
	ticket string
}

// guards are those of all clusters that a statement is for. What it does for a cluster it
// does as long as no other operation has taken over there, whatever became of the others.
type guards []guard

// row makes a row for SQL of a guard, led by a hostgroup where one is given.
func (g guard) row(hostgroup ...int) string {
	return "(" + strings.Join(append(decimals(hostgroup), literal(g.cluster), strconv.FormatUint(g.epoch, 10), literal(g.ticket)), ", ") + ")"
}

// rows lists them for SQL.
func (gs guards) rows() string {
	list := make([]string, len(gs))
	for i, g := range gs {
		list[i] = g.row()
	}
	return strings.Join(list, ", ")
}

// held selects the hostgroups, or only those of the writers, of clusters where no other
// operation has taken over.
func (gs guards) held(writersOnly bool) string {
	var list []string
	for _, g := range gs {
		list = append(list, g.row(g.hg.Writer))
		if !writersOnly {
			list = append(list, g.row(g.hg.Reader))
		}
	}
	return "SELECT g.column1 AS hostgroup FROM (VALUES " + strings.Join(list, ", ") + ") AS g JOIN remora_epoch AS e " +
		"ON e.cluster = g.column2 AND e.epoch = g.column3 AND e.ticket = g.column4"
}

// raise takes the tickets at the guards' epochs, but where a newer epoch is there.
func (gs guards) raise() statement {
	return statement{"raise the epoch", "INSERT INTO remora_epoch (cluster, epoch, ticket) VALUES " + gs.rows() +
		" ON CONFLICT (cluster) DO UPDATE SET epoch = excluded.epoch, ticket = excluded.ticket WHERE remora_epoch.epoch <= excluded.epoch"}
}

// seize takes the tickets at whatever epochs are there, and forgets that they were
// applied. The guards' own epochs are 0.
func (gs guards) seize() statement {
	return statement{"void the epoch", "INSERT INTO remora_epoch (cluster, epoch, ticket) VALUES " + gs.rows() +
		" ON CONFLICT (cluster) DO UPDATE SET applied = 0, ticket = excluded.ticket"}
}

// confirm notes that the epochs were read back.
func (gs guards) confirm() statement {
	return statement{"confirm the epoch", "UPDATE remora_epoch SET applied = epoch WHERE (cluster, epoch, ticket) IN (VALUES " + gs.rows() + ")"}
}

// insert adds rows, all of them OFFLINE_HARD: the update opens what shall be open.
func (gs guards) insert(rows []row) statement {
	values := make([]string, len(rows))
	for i, r := range rows {
		values[i] = fmt.Sprintf("(%d, %s, %d, %d, '%s', %d, %d, %d, %d, %d, %d, %s)", r.Hostgroup, literal(r.Host), r.Port,
			r.GTIDPort, offlineHard, r.Weight, r.Compression, r.MaxConnections, r.MaxReplicationLag, r.UseSSL,
			r.MaxLatencyMS, literal(r.Comment))
	}
	return statement{"insert rows", fmt.Sprintf("INSERT OR IGNORE INTO mysql_servers (%s) SELECT * FROM (VALUES %s) WHERE column1 IN (%s)",
		columns, strings.Join(values, ", "), gs.held(false))}
}

// update sets status and weight of every row of the hostgroups at once: as in
// `want`, and OFFLINE_HARD for rows that it does not name.
func (gs guards) update(want []row) statement {
	readers := map[int]bool{}
	for _, g := range gs {
		readers[g.hg.Reader] = true
	}
	var groups []int // in the order of want
	statuses, weights := map[int]string{}, map[int]string{}
	for _, r := range want {
		if _, known := statuses[r.Hostgroup]; !known {
			groups = append(groups, r.Hostgroup)
		}
		match := fmt.Sprintf(" WHEN hostname = %s AND port = %d THEN ", literal(r.Host), r.Port)
		statuses[r.Hostgroup] += "" // known, though nothing in it be open
		if r.Status != offlineHard {
			statuses[r.Hostgroup] += match + "'" + string(r.Status) + "'"
		}
		if readers[r.Hostgroup] && r.Status == online {
			weights[r.Hostgroup] += match + strconv.Itoa(r.Weight)
		}
	}
	set := "status = " + caseOf(groups, statuses, "'"+string(offlineHard)+"'")
	if len(weights) > 0 {
		set += ", weight = " + caseOf(groups, weights, "weight")
	}
	return statement{"update servers", fmt.Sprintf("UPDATE mysql_servers SET %s WHERE hostgroup_id IN (%s)", set, gs.held(false))}
}

// caseOf is a value that depends on the hostgroup and on what of it matches.
func caseOf(groups []int, whens map[int]string, otherwise string) string {
	var all strings.Builder
	for _, hostgroup := range groups {
		if whens[hostgroup] != "" {
			fmt.Fprintf(&all, " WHEN %d THEN CASE%s ELSE %s END", hostgroup, whens[hostgroup], otherwise)
		}
	}
	if all.Len() == 0 {
		return otherwise
	}
	return "CASE hostgroup_id" + all.String() + " ELSE " + otherwise + " END"
}

// release deletes the rows of a claimant that name the hostgroups; the LOAD that follows
// tells ProxySQL's monitor.
func (gs guards) release(table string, columns []string) statement {
	return statement{"release hostgroups", "DELETE FROM " + table + " WHERE " + names(columns, gs.held(false))}
}

// limitWriters lets the writer hostgroups serve nobody while they have two ONLINE
// servers. A hostgroup with attributes no longer follows the global variables, so
// that a new row starts with their values.
func (gs guards) limitWriters(missing bool) statement {
	if !missing {
		return statement{"limit writers", fmt.Sprintf(
			"UPDATE mysql_hostgroup_attributes SET max_num_online_servers = 1 WHERE hostgroup_id IN (%s)", gs.held(true))}
	}
	variable := func(name, expr, otherwise string) string {
		return fmt.Sprintf("COALESCE((SELECT %s FROM runtime_global_variables WHERE variable_name = '%s'), %s)", expr, name, otherwise)
	}
	number := "CAST(variable_value AS INTEGER)"
	return statement{"limit writers", fmt.Sprintf("INSERT OR IGNORE INTO mysql_hostgroup_attributes "+
		"(hostgroup_id, max_num_online_servers, free_connections_pct, connection_warming, throttle_connections_per_sec) "+
		"SELECT held.hostgroup, 1, %s, %s, %s FROM (%s) AS held",
		variable("mysql-free_connections_pct", number, "10"),
		variable("mysql-connection_warming", "CASE lower(variable_value) WHEN 'true' THEN 1 WHEN '1' THEN 1 ELSE 0 END", "0"),
		variable("mysql-throttle_connections_per_sec_to_hostgroup", number, "1000000"), gs.held(true))}
}

// fence closes writer hostgroups, which are a list: softly what is in use, hard the rest.
func fence(writers string, hard bool) statement {
	set := "'" + string(offlineHard) + "'"
	if !hard {
		set = fmt.Sprintf("CASE WHEN upper(status) IN ('%s', '%s') THEN '%s' ELSE '%s' END", online, offlineSoft, offlineSoft, offlineHard)
	}
	return statement{"fence the writer", fmt.Sprintf("UPDATE mysql_servers SET status = %s WHERE hostgroup_id IN (%s)", set, writers)}
}

func decimals(numbers []int) []string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = strconv.Itoa(n)
	}
	return list
}
