package standin

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// result is an answer, or an OK that may carry words.
type result struct {
	answer
	info string
}

var okResult = &result{}

// noOps are beginnings of statements that answer OK and do nothing.
var noOps = []string{
	"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SET character_set_results", "SET SQL_AUTO_IS_NULL", "SET NAMES",
	"SET AUTOCOMMIT", "USE ", "LOCK TABLES", "UNLOCK TABLES", "SET SQL_SAFE_UPDATES", "SET SESSION character_set_results",
	"/*!40", "/*!50", "/*!80", "SIGNAL MYSQL THREADS", "LOGENTRY ",
}

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

// execute runs one text of a client, with the mutex held.
func (s *adminSession) execute(ctx context.Context, text string) (*result, error) {
	a := s.admin
	command := collapse(text)
	if err := a.refresh(ctx, command, !s.stats); err != nil {
		return nil, err
	}
	if !s.stats {
		if r, err := s.special(ctx, command); r != nil || err != nil {
			return r, err
		}
	}
	for _, prefix := range noOps {
		if hasPrefixFold(command, prefix) {
			return okResult, nil
		}
	}
	sql := s.rewrite(command, text)
	if hasPrefixFold(command, "SET ") {
		var r *result
		if sql, r = a.assignment(ctx, command[len("SET "):]); r != nil {
			return r, nil
		}
	}
	if hasPrefixFold(command, "CHECKSUM ") {
		if r, err := a.checksum(ctx, command); r != nil || err != nil {
			return r, err
		}
	}
	if s.stats {
		if err := a.store.exec(ctx, "PRAGMA query_only=ON"); err != nil {
			return nil, err
		}
		defer func() { _ = a.store.exec(ctx, "PRAGMA query_only=OFF") }()
	}
	answer, err := a.store.query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return &result{answer: *answer}, nil
}

// special runs the commands that are no SQL; nil means that the text is none of them.
func (s *adminSession) special(ctx context.Context, command string) (*result, error) {
	a := s.admin
	switch {
	case hasPrefixFold(command, "LOAD "), hasPrefixFold(command, "SAVE "):
		return a.move(ctx, strings.ToUpper(command))
	case hasPrefixFold(command, "PROXYSQL "):
		return a.control(strings.ToUpper(command[len("PROXYSQL "):]))
	case hasPrefixFold(command, "KILL CONNECTION "):
		id, _ := strconv.ParseUint(command[len("KILL CONNECTION "):], 10, 32)
		if !a.router.kill(uint32(id)) {
			return nil, fmt.Errorf("Unknown thread id: %d", id) //nolint:staticcheck // the wording is ProxySQL's
		}
		return okResult, nil
	}
	return nil, nil
}

func (a *admin) control(command string) (*result, error) {
	switch command {
	case "PAUSE":
		a.server.pause()
	case "RESUME":
		return okResult, a.server.resume()
	case "START":
		return okResult, a.server.startRouting()
	case "STOP":
		a.server.stopRouting()
	case "SHUTDOWN", "SHUTDOWN SLOW", "KILL":
		a.server.finish()
	case "FLUSH LOGS":
	default:
		return nil, nil // SQLite will say what it thinks of it
	}
	return okResult, nil
}

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

// assignment turns SET into an update of the memory layer; an unknown variable is told in an OK.
func (a *admin) assignment(ctx context.Context, text string) (string, *result) {
	name, value, _ := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	found, err := a.store.query(ctx, "SELECT 1 FROM global_variables WHERE variable_name="+quote(name))
	if err != nil || len(found.rows) == 0 {
		return "", &result{info: fmt.Sprintf("ERROR: Unknown global variable: '%s'.", name)}
	}
	return fmt.Sprintf("UPDATE global_variables SET variable_value=%s WHERE variable_name=%s", value, quote(name)), nil
}

// collapse trims a text, and makes one blank of each run of blanks, as the matching of commands expects it.
func collapse(text string) string {
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), "; ")
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}
