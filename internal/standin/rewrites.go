package standin

import (
	"regexp"
	"strings"
)

// rewrites are statements that clients send of their own accord; SQLite does not know them.
var rewrites = []struct {
	pattern *regexp.Regexp
	sql     string
	// keepRest appends what follows the match.
	keepRest bool
}{
	{fold(`^SELECT @@version_comment`), "SELECT '(ProxySQL Admin Module)'", false},
	{fold(`^SELECT @@version`), "SELECT '{version}' AS '@@version'", false},
	{fold(`^SELECT version\(\)`), "SELECT '{version}' AS 'version()'", false},
	{fold(`^SELECT @@sql_mode`), `SELECT '' AS '@@sql_mode'`, false},
	{fold(`^SELECT @@max_allowed_packet$`), "SELECT 67108864 AS '@@max_allowed_packet'", false},
	{fold(`^SELECT connection_id\(\)`), "SELECT 0 AS 'CONNECTION_ID()'", false},
	{fold(`^SELECT ((?:current_)?user\(\))$`), "SELECT '{user}@{host}' AS '$1'", false},
	{fold(`^SELECT DATABASE\(\), USER\(\) LIMIT 1$`), "SELECT 'admin' AS 'DATABASE()', '{user}' AS 'USER()'", false},
	{fold(`^SELECT DATABASE\(\)$`), "SELECT 'admin' AS 'DATABASE()'", false},
	{fold(`^SELECT @@([0-9a-z_-]+) *`), "SELECT variable_value AS '@@$1' FROM global_variables " +
		"WHERE variable_name='$1' COLLATE NOCASE UNION ALL SELECT variable_value AS '@@$1' " +
		"FROM stats.stats_mysql_global WHERE variable_name='$1' COLLATE NOCASE", false},
	{fold(`^SHOW VARIABLES WHERE`), "SELECT variable_name AS Variable_name, variable_value AS Value FROM global_variables WHERE", true},
	{fold(`^SHOW (?:GLOBAL )?VARIABLES LIKE`), "SELECT variable_name AS Variable_name, variable_value AS Value " +
		"FROM global_variables WHERE variable_name LIKE", true},
	{fold(`^SHOW (?:GLOBAL |ALL )?VARIABLES$`), "SELECT variable_name AS Variable_name, variable_value AS Value " +
		"FROM global_variables ORDER BY variable_name", false},
	{fold(`^SHOW (ADMIN|MYSQL) VARIABLES$`), "SELECT variable_name AS Variable_name, variable_value AS Value " +
		"FROM global_variables WHERE variable_name LIKE '$1-%' ORDER BY variable_name", false},
	{fold(`^SHOW MYSQL STATUS$`), "SELECT Variable_Name AS Variable_name, Variable_Value AS Value " +
		"FROM stats_mysql_global ORDER BY variable_name", false},
	{fold(`^SHOW TABLES$`), "SELECT name AS tables FROM sqlite_master WHERE type='table' " +
		"AND name NOT IN ('sqlite_sequence') ORDER BY name", false},
	{fold(`^SHOW TABLES (?:FROM|IN) (\w+)$`), "SELECT name AS tables FROM $1.sqlite_master WHERE type='table' " +
		"AND name NOT IN ('sqlite_sequence') ORDER BY name", false},
	{fold(`^SHOW TABLES LIKE '([^']*)'$`), "SELECT name AS tables FROM sqlite_master WHERE type='table' AND name LIKE '$1'", false},
	{fold("^SHOW CREATE TABLE `?(\\w+)`?$"), "SELECT name AS 'table', sql AS 'Create Table' FROM main.sqlite_master " +
		"WHERE type='table' AND name='$1'", false},
	{fold("^SHOW CREATE TABLE (\\w+)\\.`?(\\w+)`?$"), "SELECT name AS 'table', sql AS 'Create Table' " +
		"FROM $1.sqlite_master WHERE type='table' AND name='$2'", false},
	{fold(`^SHOW (?:DATABASES|SCHEMAS)$`), "PRAGMA DATABASE_LIST", false},
	{fold(`^SHOW MYSQL USERS$`), "SELECT * FROM mysql_users ORDER BY username, active DESC, username ASC", false},
	{fold(`^SHOW MYSQL SERVERS$`), "SELECT * FROM mysql_servers ORDER BY hostgroup_id, hostname, port", false},
	{fold(`^SHOW FULL PROCESSLIST$`), "SELECT * FROM stats_mysql_processlist", false},
	{fold(`^SHOW PROCESSLIST$`), "SELECT SessionID, user, db, hostgroup, command, time_ms, " +
		"SUBSTR(info,0,100) info FROM stats_mysql_processlist", false},
}

func fold(pattern string) *regexp.Regexp { return regexp.MustCompile("(?i)" + pattern) }

// rewrite gives a text that SQLite understands.
func (s *adminSession) rewrite(command, text string) string {
	for _, r := range rewrites {
		m := r.pattern.FindStringSubmatchIndex(command)
		if m == nil {
			continue
		}
		sql := string(r.pattern.ExpandString(nil, r.sql, command, m))
		if r.keepRest {
			sql += command[m[1]:]
		}
		return strings.NewReplacer("{version}", s.admin.version, "{user}", s.user, "{host}", s.host).Replace(sql)
	}
	return text
}
