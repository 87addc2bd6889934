package proxysql

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// status of a row in mysql_servers.
type status string

const (
	online      status = "ONLINE"
	shunned     status = "SHUNNED" // ProxySQL's own doing; it may end by itself at any time
	offlineSoft status = "OFFLINE_SOFT"
	offlineHard status = "OFFLINE_HARD" // without connections ProxySQL forgets the server: the same as no row
)

// routed says whether sessions are sent to a server in this status, now or when
// ProxySQL pleases.
func (s status) routed() bool { return s == online || s == shunned }

// columns of mysql_servers, in the order in which they are read and written.
const columns = "hostgroup_id, hostname, port, gtid_port, status, weight, compression, " +
	"max_connections, max_replication_lag, use_ssl, max_latency_ms, comment"

// row is one row of mysql_servers or runtime_mysql_servers.
type row struct {
	Hostgroup int
	Host      string // as written in the table
	Port      int
	Status    status
	Weight    int
	attributes
}

// attributes are the columns that belong to the operator.
type attributes struct {
	GTIDPort, Compression, MaxConnections, MaxReplicationLag, UseSSL, MaxLatencyMS int
	Comment                                                                        string
}

// defaults are ProxySQL's own, for a new row that has nothing to copy from.
func defaults() attributes { return attributes{MaxConnections: 1000} }

// addr is the server's address, spelled as routes spell it.
func (r row) addr() topology.Addr {
	return topology.Addr(net.JoinHostPort(strings.ToLower(r.Host), strconv.Itoa(r.Port)))
}

// place of a server in a hostgroup.
type place struct {
	Hostgroup int
	Addr      topology.Addr
}

func (r row) place() place { return place{r.Hostgroup, r.addr()} }

// index finds rows by place. Two rows may spell one server differently; the one
// spelled as routes spell it is found, else the first, and the others are no
// row of any known server.
func index(rows []row) map[place]row {
	byPlace := make(map[place]row, len(rows))
	for _, r := range rows {
		if _, double := byPlace[r.place()]; !double || r.Host == strings.ToLower(r.Host) {
			byPlace[r.place()] = r
		}
	}
	return byPlace
}

// compareRows orders rows by hostgroup, then server.
func compareRows(a, b row) int {
	if a.Hostgroup != b.Hostgroup {
		return a.Hostgroup - b.Hostgroup
	}
	if c := strings.Compare(a.Host, b.Host); c != 0 {
		return c
	}
	return a.Port - b.Port
}

func sortRows(rows []row) []row {
	slices.SortFunc(rows, compareRows)
	return rows
}
