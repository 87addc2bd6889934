package mysql

import (
	"database/sql/driver"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// row is one row of a result: column name to text. A NULL is absent.
type row map[string]string

func newRow(columns []string, values []driver.Value) row {
	r := make(row, len(columns))
	for i, name := range columns {
		if v, ok := text(values[i]); ok {
			r[name] = v
		}
	}
	return r
}

func text(v driver.Value) (string, bool) {
	switch v := v.(type) {
	case []byte:
		return string(v), true
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	default:
		return "", false
	}
}

// get gives the first of the names that the row has: servers renamed columns.
func (r row) get(names ...string) string {
	for _, name := range names {
		if v, ok := r[name]; ok {
			return v
		}
	}
	return ""
}

// integer is 0 for what is absent or no number.
func (r row) integer(names ...string) int {
	n, _ := strconv.ParseInt(r.get(names...), 10, 64)
	return int(n)
}

// seconds reads a number of seconds, with a fraction or not; ok is false for NULL.
func (r row) seconds(names ...string) (d topology.Duration, ok bool) {
	f, err := strconv.ParseFloat(r.get(names...), 64)
	if err != nil || f < 0 {
		return 0, false
	}
	return topology.Duration(f * float64(time.Second)), true
}

func (r row) on(names ...string) bool { return isOn(r.get(names...)) }

func isOn(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// addr reads a host and a port that another server or an operator named; it is
// empty when they are not an address.
func (r row) addr(host, port string) topology.Addr {
	if r[host] == "" {
		return ""
	}
	p := r[port]
	if p == "" || p == "0" {
		p = strconv.Itoa(topology.DefaultPort)
	}
	h := r[host]
	if strings.Contains(h, ":") {
		h = "[" + h + "]"
	}
	a, err := topology.ParseAddr(h + ":" + p)
	if err != nil {
		return ""
	}
	return a
}

// pairs reads a result of names and values, as SHOW STATUS gives it, into one row
// with the names in lower case.
func (res result) pairs() row {
	r := make(row, len(res))
	for _, line := range res {
		r[strings.ToLower(line.get("Variable_name"))] = line.get("Value")
	}
	return r
}

// clone is a copy that lasts.
func (res result) clone() result {
	all := make(result, len(res))
	for i, r := range res {
		all[i] = maps.Clone(r)
	}
	return all
}

// first is the only row of a result, empty when there is none.
func (res result) first() row {
	if len(res) == 0 {
		return row{}
	}
	return res[0]
}

var quoting = strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", `\0`)

// quote makes a string literal for a session whose sql_mode is empty.
func quote(s string) string {
	return "'" + quoting.Replace(s) + "'"
}

// quoteName makes an identifier.
func quoteName(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
