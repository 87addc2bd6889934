package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// How says by which statement a setting is made.
type How string

// The ways. A proxy's variables have one of their own, which needs no word.
const (
	Global  How = "global"  // SET GLOBAL: until the next start
	Persist How = "persist" // SET PERSIST: for later starts too (MySQL)
	Reset   How = "reset"   // RESET PERSIST: the option file counts again (MySQL)
)

// Setting is one variable and what it shall be.
type Setting struct {
	How   How    `json:"how,omitempty"`
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Statement is the setting in a server's SQL.
func (s Setting) Statement() string {
	switch s.How {
	case Persist:
		return fmt.Sprintf("SET PERSIST %s = %s", s.Name, s.Value)
	case Reset:
		return "RESET PERSIST IF EXISTS " + s.Name
	default:
		return fmt.Sprintf("SET GLOBAL %s = %s", s.Name, s.Value)
	}
}

// Fix is what --fix does about a finding: settings of one server, or of one node's
// proxy.
type Fix struct {
	Cluster  string        `json:"cluster,omitempty"`
	Server   topology.Addr `json:"server,omitempty"`
	Proxy    string        `json:"proxy,omitempty"` // the node whose ProxySQL it is
	Settings []Setting     `json:"settings"`
}

// Where names what is changed.
func (f Fix) Where() string {
	if f.Proxy != "" {
		return f.Proxy + "'s proxy"
	}
	return string(f.Server)
}

// Statements are what is sent, in this order.
func (f Fix) Statements() []string {
	var memory, disk []string
	for _, s := range f.Settings {
		if f.Proxy == "" {
			memory = append(memory, s.Statement())
			continue
		}
		memory = append(memory, fmt.Sprintf("UPDATE global_variables SET variable_value = '%s' WHERE variable_name = '%s'", s.Value, s.Name))
		disk = append(disk, fmt.Sprintf("REPLACE INTO disk.global_variables VALUES ('%s', '%s')", s.Name, s.Value))
	}
	if f.Proxy != "" {
		memory = append(memory, "LOAD "+f.Class()+" VARIABLES TO RUNTIME")
	}
	return append(memory, disk...)
}

// Class is the class of a proxy's variables, for LOAD and SAVE.
func (f Fix) Class() string {
	if len(f.Settings) > 0 && strings.HasPrefix(f.Settings[0].Name, "admin-") {
		return "ADMIN"
	}
	return "MYSQL"
}

// String is all statements in one line.
func (f Fix) String() string { return strings.Join(f.Statements(), "; ") }

// Same says whether two fixes would do the same.
func (f Fix) Same(o Fix) bool {
	return f.Cluster == o.Cluster && f.Server == o.Server && f.Proxy == o.Proxy && f.String() == o.String()
}

// may is a row of the table of what --fix may set.
type may struct {
	how    string // the ways, separated by spaces; "" for a proxy's variable
	values string // the values, separated by spaces; a range of numbers as 4..60; "" for none
}

// safe is all that --fix ever does. A server keeps serving and replicating through
// each of them; none makes it sync less, opens it for writes, or tells a proxy to
// route elsewhere.
var safe = map[string]may{
	// Durability, upwards only.
	"sync_binlog":                    {"global persist", "1"},
	"innodb_flush_log_at_trx_commit": {"global persist", "1"},
	// Closing a replica that is read-only already for those who may write all the same.
	"super_read_only": {"global reset", "ON"},
	// What was persisted against the option file goes; nothing changes before a restart.
	"read_only": {"reset", ""},
	// It counts when the receiver connects next; heartbeats come far more often.
	"slave_net_timeout":   {"global persist", "4..60"},
	"replica_net_timeout": {"persist", "4..60"},

	"mysql-connect_timeout_server_max":              {"", "20000..3600000"},
	"mysql-connect_retries_on_failure":              {"", "10..100"},
	"mysql-kill_backend_connection_when_disconnect": {"", "false"},
	"mysql-shun_recovery_time_sec":                  {"", "1..10"},
	"admin-cluster_mysql_servers_diffs_before_sync": {"", "0"},
}

// Refused says why the fix is none that --fix makes; empty when it is one.
func (f Fix) Refused() string {
	if (f.Server == "") == (f.Proxy == "") {
		return "it names no server and no proxy, or both"
	}
	if len(f.Settings) == 0 {
		return "it sets nothing"
	}
	for _, s := range f.Settings {
		row, known := safe[s.Name]
		onProxy := strings.Contains(s.Name, "-")
		switch {
		case !known:
			return s.Name + " is nothing that is set without a person"
		case onProxy != (f.Proxy != ""):
			return s.Name + " belongs to another kind of thing"
		case onProxy && s.How != "", !onProxy && !listed(row.how, string(s.How)):
			return fmt.Sprintf("%s may not be set by %q", s.Name, s.How)
		case s.How == Reset && s.Value == "":
		case !listed(row.values, s.Value):
			return fmt.Sprintf("%s may not be set to %q", s.Name, s.Value)
		}
	}
	return ""
}

// listed says whether a list separated by spaces holds a word, or a range that it
// lies in.
func listed(list, word string) bool {
	for _, item := range strings.Fields(list) {
		if item == word {
			return true
		}
		low, high, isRange := strings.Cut(item, "..")
		n, err := strconv.Atoi(word)
		if !isRange || err != nil || strconv.Itoa(n) != word {
			continue
		}
		least, _ := strconv.Atoi(low)
		most, _ := strconv.Atoi(high)
		if n >= least && n <= most {
			return true
		}
	}
	return false
}
