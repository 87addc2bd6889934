package proxysql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// state is what the admin interface showed of one cluster in one statement:
// nothing changed between its parts.
type state struct {
	hasTable bool // remora_epoch exists: ProxySQL has not restarted since the last epoch
	epoch    uint64
	applied  uint64
	ticket   string

	memory, runtime []row // of the two hostgroups
	// limit is max_num_online_servers of the writer hostgroup in memory and
	// runtime; -1: no row.
	limit, runtimeLimit int
	used                map[place]int // connections in use; nil: not read
	claims              []claim
	pending             []string // rows of other hostgroups that the next LOAD would change
}

// claim is a row of a table by which ProxySQL itself moves servers between
// hostgroups, one that names a hostgroup of ours.
type claim struct {
	table          string // mysql_replication_hostgroups, runtime_mysql_…
	writer, reader int
}

// claimants are the tables whose rows make ProxySQL's monitor manage hostgroups,
// with their columns.
var claimants = []struct {
	table string
	hg    []string
}{
	{"mysql_replication_hostgroups", []string{"writer_hostgroup", "reader_hostgroup"}},
	{"mysql_group_replication_hostgroups",
		[]string{"writer_hostgroup", "backup_writer_hostgroup", "reader_hostgroup", "offline_hostgroup"}},
	{"mysql_galera_hostgroups",
		[]string{"writer_hostgroup", "backup_writer_hostgroup", "reader_hostgroup", "offline_hostgroup"}},
	{"mysql_aws_aurora_hostgroups", []string{"writer_hostgroup", "reader_hostgroup"}},
}

// names is the condition that a row of a claimant names one of the hostgroups, which
// are a list or a SELECT.
func names(columns []string, groups string) string {
	terms := make([]string, len(columns))
	for i, c := range columns {
		terms[i] = fmt.Sprintf("%s IN (%s)", c, groups)
	}
	return strings.Join(terms, " OR ")
}

// proxy is what the runtime of this state does for the cluster.
func (s *state) proxy(route topology.Route, hg Hostgroups) topology.Proxy {
	p := topology.Proxy{Epoch: s.applied, Mode: topology.Fenced}
	for _, r := range s.runtime {
		if r.Hostgroup != hg.Writer {
			continue
		}
		a := r.addr()
		switch {
		case r.Status.routed() && (p.Mode != topology.Open || p.Writer == route.Writer):
			p.Writer, p.Mode = a, topology.Open // of two, the one that should not be
		case r.Status == offlineSoft && (p.Mode == topology.Fenced || p.Mode == topology.Paused && p.Writer != route.Writer):
			p.Writer, p.Mode = a, topology.Paused
		}
	}
	return p
}

// claimedBy says whether a row of a table claims a hostgroup of the cluster.
func (s *state) claimedBy(table string) bool {
	return slices.ContainsFunc(s.claims, func(c claim) bool { return c.table == table })
}
