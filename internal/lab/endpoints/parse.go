package endpoints

import (
	"regexp"
	"slices"
	"strings"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// patterns tell statements apart, the first that fits.
var patterns = []struct {
	pattern *regexp.Regexp
	make    func(match []string) (command, bool)
}{
	{re(`SHOW GLOBAL VARIABLES WHERE Variable_name IN \((.*)\)`), func(m []string) (command, bool) { return pairs(m[1], variable), true }},
	{re(`SHOW GLOBAL STATUS WHERE Variable_name IN \((.*)\)`), func(m []string) (command, bool) { return pairs(m[1], statusValue), true }},
	{re(`SHOW REPLICA STATUS.*`), func([]string) (command, bool) { return replicaStatus(), true }},
	{re(`SHOW REPLICAS`), func([]string) (command, bool) { return showReplicas(), true }},
	{re(`SHOW (?:FULL )?PROCESSLIST`), func([]string) (command, bool) {
		return empty("Id", "User", "Host", "db", "Command", "Time", "State", "Info"), true
	}},
	{re(`SELECT (.*?) FROM performance_schema\.replication_\S+ .*`), func(m []string) (command, bool) { return heartbeats(m[1]), true }},
	{re(`SELECT (.*?) FROM (?:performance_schema|information_schema|mysql)\..*`), func(m []string) (command, bool) { return empty(aliases(m[1])...), true }},
	{re(`SELECT (.*)`), func(m []string) (command, bool) { return expressions(m[1]) }},
	{re(`SET GLOBAL (super_read_only|read_only)\s*=\s*(1|0|ON|OFF)`), func(m []string) (command, bool) {
		return setReadOnly(strings.EqualFold(m[1], "super_read_only"), m[2] == "1" || strings.EqualFold(m[2], "ON")), true
	}},
	{re(`SET (?:SESSION|NAMES) .*`), func([]string) (command, bool) { return nothing, true }},
	{re(`KILL .*`), func([]string) (command, bool) { return refusal(1094, "Unknown thread id"), true }},
	{re(`(START|STOP) REPLICA(?: (IO_THREAD|SQL_THREAD))?(?: FOR CHANNEL '')?`), func(m []string) (command, bool) {
		return runThreads(strings.EqualFold(m[1], "START"), strings.ToUpper(m[2])), true
	}},
	{re(`RESET REPLICA ALL(?: FOR CHANNEL '')?`), func([]string) (command, bool) { return forgetSource(), true }},
	{re(`CHANGE REPLICATION SOURCE TO (.*)`), func(m []string) (command, bool) { return changeSource(m[1]), true }},
}

func re(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?is)^` + pattern + `$`) }

// parse understands one statement; one that is not understood is refused as a server would, and noted.
func (c *commands) parse(statement string) command {
	for _, p := range patterns {
		if m := p.pattern.FindStringSubmatch(statement); m != nil {
			if cmd, ok := p.make(m); ok {
				return cmd
			}
			break
		}
	}
	c.unknown.add(statement)
	return refusal(1064, "no endpoint understands: "+statement)
}

// pairs answers with names and values, those that the server has.
func pairs(list string, of func(in *Instance, name string) (string, bool)) command {
	var names []string
	for _, item := range strings.Split(list, ",") {
		names = append(names, strings.Trim(strings.TrimSpace(item), "'"))
	}
	slices.Sort(names)
	columns := wire.NewColumns("Variable_name", "Value")
	return command{run: func(in *Instance, a *wire.Answer, more bool) *wire.Error {
		a.Columns(columns)
		for _, name := range names {
			if value, ok := of(in, name); ok {
				a.Row()
				a.Text(name)
				a.Text(value)
				a.EndRow()
			}
		}
		a.EndRows(more)
		return nil
	}}
}

var alias = regexp.MustCompile(`(?is)^(.*?)\s+AS\s+(\S+)$`)

// aliases are the names of a select list's columns.
func aliases(list string) []string {
	_, names := selected(list)
	return names
}

// selected takes a select list apart.
func selected(list string) (exprs, names []string) {
	for _, item := range split(list, ',') {
		item = strings.TrimSpace(item)
		expr, name := item, item
		if m := alias.FindStringSubmatch(item); m != nil {
			expr, name = m[1], m[2]
		}
		exprs, names = append(exprs, expr), append(names, name)
	}
	return exprs, names
}

var global = re(`@@(?:GLOBAL\.)?(\w+)`)

// expressions answers a SELECT without a table; ok is false where an expression is not known.
func expressions(list string) (command, bool) {
	exprs, names := selected(list)
	columns := make([]column, len(names))
	for i, expr := range exprs {
		value := expression(expr)
		if value == nil {
			return command{}, false
		}
		columns[i] = column{names[i], value}
	}
	return table(columns, func(*Instance) bool { return true }), true
}

// expression gives its value; nil for one that is not known.
func expression(expr string) func(in *Instance) (string, bool) {
	if m := global.FindStringSubmatch(expr); m != nil {
		name := strings.ToLower(m[1])
		if _, ok := variable(&Instance{}, name); !ok {
			return nil
		}
		return func(in *Instance) (string, bool) {
			value, ok := variable(in, name)
			return value, !ok
		}
	}
	switch upper := strings.ToUpper(expr); {
	case upper == "VERSION()":
		return fixed(version)
	case upper == "1":
		return fixed("1")
	case strings.HasPrefix(upper, "WAIT_FOR_EXECUTED_GTID_SET("):
		return fixed("0") // nothing lags here
	}
	return nil
}
