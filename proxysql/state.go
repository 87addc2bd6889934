package proxysql

import (
	"fmt"
	"strconv"
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

// names is the condition that a row of a claimant names one of the hostgroups.
func names(columns []string, hg Hostgroups) string {
	terms := make([]string, len(columns))
	for i, c := range columns {
		terms[i] = fmt.Sprintf("%s IN (%d, %d)", c, hg.Writer, hg.Reader)
	}
	return strings.Join(terms, " OR ")
}

// The kinds of rows that a reading consists of.
const (
	kindTable, kindEpoch      = "table", "epoch"
	kindMemory, kindRuntime   = "memory", "runtime"
	kindLimit, kindRuntimeLim = "limit", "runtime limit"
	kindClaim, kindUsed       = "claim", "used"
	kindPending, kindLost     = "pending", "lost"
)

// pendingRows bounds how many rows of other hostgroups are reported.
const pendingRows = 5

// reading says what to read.
type reading struct {
	cluster string
	hg      Hostgroups
	tables  map[string]bool // that this ProxySQL has
	epoch   bool            // read remora_epoch, which must exist
	used    bool            // read the connection pool
	blind   bool            // do not read remora_epoch even if it exists
	brief   bool            // leave out what no plan of ours changes: claims, rows of other hostgroups
}

// sql is one SELECT, so that one round trip under the admin's mutex reads it all.
// Its thirteen columns are those of mysql_servers after the kind of the row.
func (q reading) sql() string {
	both := fmt.Sprintf("hostgroup_id IN (%d, %d)", q.hg.Writer, q.hg.Reader)
	parts := []string{
		fmt.Sprintf("SELECT '%s', %s FROM mysql_servers WHERE %s", kindMemory, columns, both),
		fmt.Sprintf("SELECT '%s', %s FROM runtime_mysql_servers WHERE %s", kindRuntime, columns, both),
		pad(kindTable, "0, name", "sqlite_master WHERE type = 'table' AND name = 'remora_epoch'"),
	}
	if q.epoch {
		parts = append(parts, pad(kindEpoch, "epoch, ticket, applied", "remora_epoch WHERE cluster = "+literal(q.cluster)))
	}
	if q.tables["mysql_hostgroup_attributes"] {
		where := fmt.Sprintf("mysql_hostgroup_attributes WHERE hostgroup_id = %d", q.hg.Writer)
		parts = append(parts, pad(kindLimit, "max_num_online_servers", where),
			pad(kindRuntimeLim, "max_num_online_servers", "runtime_"+where))
	}
	if q.used {
		parts = append(parts, pad(kindUsed, "hostgroup, srv_host, srv_port, ConnUsed",
			fmt.Sprintf("stats_mysql_connection_pool WHERE hostgroup IN (%d, %d)", q.hg.Writer, q.hg.Reader)))
	}
	if !q.brief {
		parts = append(parts, q.surroundings()...)
	}
	return strings.Join(parts, " UNION ALL ")
}

// surroundings selects what is not ours, but may get in our way.
func (q reading) surroundings() []string {
	parts := []string{
		fmt.Sprintf("SELECT * FROM (%s)", q.unpublished("mysql_servers", "runtime_mysql_servers", kindPending)),
		fmt.Sprintf("SELECT * FROM (%s)", q.unpublished("runtime_mysql_servers", "mysql_servers", kindLost)),
	}
	for _, c := range claimants {
		for _, table := range []string{c.table, "runtime_" + c.table} {
			if q.tables[table] {
				parts = append(parts, pad(kindClaim, fmt.Sprintf("writer_hostgroup, '%s', reader_hostgroup", table),
					table+" WHERE "+names(c.hg, q.hg)))
			}
		}
	}
	return parts
}

// unpublished selects rows of other hostgroups that one table has and the other
// has not, as LOAD sees it.
func (q reading) unpublished(in, notIn, kind string) string {
	side := func(table string) string {
		status := fmt.Sprintf("CASE upper(status) WHEN '%s' THEN '%s' ELSE upper(status) END", shunned, online)
		return fmt.Sprintf("SELECT '%s', %s FROM %s WHERE hostgroup_id NOT IN (%d, %d) AND upper(status) <> '%s'",
			kind, strings.Replace(columns, "status", status, 1), table, q.hg.Writer, q.hg.Reader, offlineHard)
	}
	return fmt.Sprintf("%s EXCEPT %s LIMIT %d", side(in), side(notIn), pendingRows)
}

// pad fills a part up to the thirteen columns of a reading.
func pad(kind, columns, from string) string {
	missing := 12 - strings.Count(columns, ",") - 1
	return fmt.Sprintf("SELECT '%s', %s%s FROM %s", kind, columns, strings.Repeat(", ''", missing), from)
}

// parse makes the state of the rows that answer the reading.
func (q reading) parse(rows [][]string) (*state, error) {
	s := &state{limit: -1, runtimeLimit: -1}
	if q.used {
		s.used = map[place]int{}
	}
	for _, r := range rows {
		if len(r) != 13 {
			return nil, fmt.Errorf("a row of %d columns, want 13", len(r))
		}
		p := &fields{values: r}
		switch r[0] {
		case kindTable:
			s.hasTable = true
		case kindEpoch:
			s.epoch, s.ticket, s.applied = p.number(1), r[2], p.number(3)
		case kindMemory:
			s.memory = append(s.memory, p.row())
		case kindRuntime:
			s.runtime = append(s.runtime, p.row())
		case kindLimit:
			s.limit = p.int(1)
		case kindRuntimeLim:
			s.runtimeLimit = p.int(1)
		case kindClaim:
			s.claims = append(s.claims, claim{table: r[2], writer: p.int(1), reader: p.int(3)})
		case kindUsed:
			at := row{Hostgroup: p.int(1), Host: r[2], Port: p.int(3)}.place()
			s.used[at] += p.int(4)
		case kindPending:
			x := p.row()
			s.pending = append(s.pending, fmt.Sprintf("%s in hostgroup %d, not ours: memory says %s, weight %d, and runtime "+
				"differs; the next LOAD publishes it", x.addr(), x.Hostgroup, x.Status, x.Weight))
		case kindLost:
			x := p.row()
			s.pending = append(s.pending, fmt.Sprintf("%s in hostgroup %d, not ours: runtime says %s, weight %d, and memory "+
				"differs; the next LOAD undoes it", x.addr(), x.Hostgroup, x.Status, x.Weight))
		default:
			return nil, fmt.Errorf("a row of unknown kind %q", r[0])
		}
		if p.err != nil {
			return nil, fmt.Errorf("%s row: %w", r[0], p.err)
		}
	}
	sortRows(s.memory)
	sortRows(s.runtime)
	return s, nil
}

// fields reads numbers from a row and keeps the first error.
type fields struct {
	values []string
	err    error
}

func (f *fields) number(i int) uint64 {
	n, err := strconv.ParseUint(f.values[i], 10, 64)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n
}

func (f *fields) int(i int) int { return int(f.number(i)) }

func (f *fields) row() row {
	return row{Hostgroup: f.int(1), Host: f.values[2], Port: f.int(3), Status: status(strings.ToUpper(f.values[5])),
		Weight: f.int(6), attributes: attributes{GTIDPort: f.int(4), Compression: f.int(7), MaxConnections: f.int(8),
			MaxReplicationLag: f.int(9), UseSSL: f.int(10), MaxLatencyMS: f.int(11), Comment: f.values[12]}}
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
