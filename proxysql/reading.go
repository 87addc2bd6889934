package proxysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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

// subject is a cluster that something is read, or written, for.
type subject struct {
	cluster string
	hg      Hostgroups
}

// groupsOf lists the hostgroups of clusters for SQL.
func groupsOf(subjects []subject) string {
	list := make([]string, len(subjects))
	for i, s := range subjects {
		list[i] = fmt.Sprintf("%d, %d", s.hg.Writer, s.hg.Reader)
	}
	return strings.Join(list, ", ")
}

// writersOf lists their writer hostgroups.
func writersOf(subjects []subject) string {
	list := make([]string, len(subjects))
	for i, s := range subjects {
		list[i] = strconv.Itoa(s.hg.Writer)
	}
	return strings.Join(list, ", ")
}

// reading says what to read.
type reading struct {
	of     []subject
	tables map[string]bool // that this ProxySQL has
	epoch  bool            // read remora_epoch, which must exist
	used   bool            // read the connection pool
	blind  bool            // do not read remora_epoch even if it exists
	brief  bool            // leave out what no plan of ours changes: claims, rows of other hostgroups
}

// sql is one SELECT, so that one round trip under the admin's mutex reads it all, for
// however many clusters. Its thirteen columns are those of mysql_servers after the kind
// of the row.
func (q reading) sql() string {
	groups, writers := groupsOf(q.of), writersOf(q.of)
	parts := []string{
		fmt.Sprintf("SELECT '%s', %s FROM mysql_servers WHERE hostgroup_id IN (%s)", kindMemory, columns, groups),
		fmt.Sprintf("SELECT '%s', %s FROM runtime_mysql_servers WHERE hostgroup_id IN (%s)", kindRuntime, columns, groups),
		pad(kindTable, "0, name", "sqlite_master WHERE type = 'table' AND name = 'remora_epoch'"),
	}
	if q.epoch {
		clusters := make([]string, len(q.of))
		for i, s := range q.of {
			clusters[i] = s.cluster
		}
		parts = append(parts, pad(kindEpoch, "epoch, ticket, applied, cluster", "remora_epoch WHERE cluster IN ("+literals(clusters)+")"))
	}
	if q.tables[attributesTable] {
		where := fmt.Sprintf("%s WHERE hostgroup_id IN (%s)", attributesTable, writers)
		parts = append(parts, pad(kindLimit, "hostgroup_id, max_num_online_servers", where),
			pad(kindRuntimeLim, "hostgroup_id, max_num_online_servers", "runtime_"+where))
	}
	if q.used {
		parts = append(parts, pad(kindUsed, "hostgroup, srv_host, srv_port, ConnUsed",
			fmt.Sprintf("stats_mysql_connection_pool WHERE hostgroup IN (%s)", groups)))
	}
	if !q.brief {
		parts = append(parts, q.surroundings(groups)...)
	}
	return strings.Join(parts, " UNION ALL ")
}

// surroundings selects what is not ours, but may get in our way.
func (q reading) surroundings(groups string) []string {
	parts := []string{
		fmt.Sprintf("SELECT * FROM (%s)", unpublished("mysql_servers", "runtime_mysql_servers", kindPending, groups)),
		fmt.Sprintf("SELECT * FROM (%s)", unpublished("runtime_mysql_servers", "mysql_servers", kindLost, groups)),
	}
	for _, c := range claimants {
		for _, table := range []string{c.table, "runtime_" + c.table} {
			if q.tables[table] {
				parts = append(parts, pad(kindClaim, fmt.Sprintf("'%s', %s", table, strings.Join(c.hg, ", ")),
					table+" WHERE "+names(c.hg, groups)))
			}
		}
	}
	return parts
}

// unpublished selects rows of other hostgroups that one table has and the other
// has not, as LOAD sees it.
func unpublished(in, notIn, kind, groups string) string {
	side := func(table string) string {
		status := fmt.Sprintf("CASE upper(status) WHEN '%s' THEN '%s' ELSE upper(status) END", shunned, online)
		return fmt.Sprintf("SELECT '%s', %s FROM %s WHERE hostgroup_id NOT IN (%s) AND upper(status) <> '%s'",
			kind, strings.Replace(columns, "status", status, 1), table, groups, offlineHard)
	}
	return fmt.Sprintf("%s EXCEPT %s LIMIT %d", side(in), side(notIn), pendingRows)
}

// pad fills a part up to the thirteen columns of a reading.
func pad(kind, columns, from string) string {
	missing := 12 - strings.Count(columns, ",") - 1
	return fmt.Sprintf("SELECT '%s', %s%s FROM %s", kind, columns, strings.Repeat(", ''", missing), from)
}

// parse makes the clusters' states, in their order, of the rows that answer the reading.
func (q reading) parse(rows [][]string) ([]*state, error) {
	states := make([]*state, len(q.of))
	byName, byWriter, byGroup := map[string][]*state{}, map[int][]*state{}, map[int][]*state{}
	for i, x := range q.of {
		s := &state{limit: -1, runtimeLimit: -1}
		if q.used {
			s.used = map[place]int{}
		}
		states[i] = s
		byName[x.cluster], byWriter[x.hg.Writer] = append(byName[x.cluster], s), append(byWriter[x.hg.Writer], s)
		byGroup[x.hg.Writer], byGroup[x.hg.Reader] = append(byGroup[x.hg.Writer], s), append(byGroup[x.hg.Reader], s)
	}
	for _, r := range rows {
		if len(r) != 13 {
			return nil, fmt.Errorf("a row of %d columns, want 13", len(r))
		}
		p := &fields{values: r}
		switch r[0] {
		case kindTable, kindPending, kindLost:
			addTo(states, p)
		case kindEpoch:
			addTo(byName[r[4]], p)
		case kindClaim:
			q.claimed(states, p)
		case kindLimit, kindRuntimeLim:
			addTo(byWriter[p.int(1)], p)
		case kindMemory, kindRuntime, kindUsed:
			addTo(byGroup[p.int(1)], p)
		default:
			return nil, fmt.Errorf("a row of unknown kind %q", r[0])
		}
		if p.err != nil {
			return nil, fmt.Errorf("%s row: %w", r[0], p.err)
		}
	}
	for _, s := range states {
		sortRows(s.memory)
		sortRows(s.runtime)
	}
	return states, nil
}

// addTo lets states take in a row that is about them.
func addTo(states []*state, p *fields) {
	for _, s := range states {
		s.add(p)
	}
}

// add takes in a row that is about the cluster.
func (s *state) add(p *fields) {
	switch kind := p.values[0]; kind {
	case kindTable:
		s.hasTable = true
	case kindEpoch:
		s.epoch, s.ticket, s.applied = p.number(1), p.values[2], p.number(3)
	case kindLimit:
		s.limit = p.int(2)
	case kindRuntimeLim:
		s.runtimeLimit = p.int(2)
	case kindPending, kindLost:
		x := p.row()
		s.pending = append(s.pending, fmt.Sprintf(unpublishedRow[kind], x.addr(), x.Hostgroup, x.Status, x.Weight))
	case kindMemory:
		s.memory = append(s.memory, p.row())
	case kindRuntime:
		s.runtime = append(s.runtime, p.row())
	case kindUsed:
		at := row{Hostgroup: p.int(1), Host: p.values[2], Port: p.int(3)}.place()
		s.used[at] += p.int(4)
	}
}

// claimed takes in a claimant's row, for each cluster that it names a hostgroup of.
func (q reading) claimed(states []*state, p *fields) {
	table := p.values[1]
	for _, c := range claimants {
		if strings.TrimPrefix(table, "runtime_") != c.table {
			continue
		}
		groups := make([]int, len(c.hg))
		for i := range groups {
			groups[i] = p.int(2 + i)
		}
		for i, x := range q.of {
			if slices.Contains(groups, x.hg.Writer) || slices.Contains(groups, x.hg.Reader) {
				states[i].claims = append(states[i].claims, claim{table: table, writer: groups[0], reader: groups[slices.Index(c.hg, "reader_hostgroup")]})
			}
		}
	}
}

// unpublishedRow says what is the matter with a row of another hostgroup.
var unpublishedRow = map[string]string{
	kindPending: "%s in hostgroup %d, not ours: memory says %s, weight %d, and runtime differs; the next LOAD publishes it",
	kindLost:    "%s in hostgroup %d, not ours: runtime says %s, weight %d, and memory differs; the next LOAD undoes it",
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
