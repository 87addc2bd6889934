package proxysql

import (
	"fmt"
	"strings"
)

func isRuntime(table string) bool { return strings.HasPrefix(table, "runtime_") }

// conflict says, in a sentence, what fights over the hostgroups and what to do;
// empty when nothing does. `peers` and `diffs` are ProxySQL Cluster's.
func conflict(claims []claim, hg Hostgroups, c clustering) string {
	var list []string
	for _, x := range claims {
		list = append(list, fmt.Sprintf("%s has a row (writer_hostgroup %d, reader_hostgroup %d) that names hostgroup %s, so "+
			"that ProxySQL's monitor would move servers there: delete the row and LOAD MYSQL SERVERS TO RUNTIME, or set take_over",
			x.table, x.writer, x.reader, named(x, hg)))
	}
	if c.syncs() {
		list = append(list, fmt.Sprintf("proxysql_servers has %d rows and admin-cluster_mysql_servers_diffs_before_sync is %d, so "+
			"that ProxySQL Cluster would copy another node's servers here: set it to 0 and LOAD ADMIN VARIABLES TO RUNTIME, "+
			"or set take_over", c.peers, c.diffs))
	}
	return strings.Join(list, "; ")
}

func named(x claim, hg Hostgroups) string {
	switch {
	case x.writer == hg.Writer || x.reader == hg.Writer:
		return fmt.Sprint(hg.Writer)
	case x.writer == hg.Reader || x.reader == hg.Reader:
		return fmt.Sprint(hg.Reader)
	}
	return fmt.Sprintf("%d or %d", hg.Writer, hg.Reader)
}

// clustering is what ProxySQL Cluster is set to.
type clustering struct {
	peers int // rows of runtime_proxysql_servers
	diffs int // admin-cluster_mysql_servers_diffs_before_sync; 0: servers are not synced
}

func (c clustering) syncs() bool { return c.peers > 0 && c.diffs > 0 }

const (
	readPeers = "SELECT COUNT(*) FROM runtime_proxysql_servers"
	syncLimit = "admin-cluster_mysql_servers_diffs_before_sync"
	killsGone = "mysql-kill_backend_connection_when_disconnect" // on: a statement is ended with KILL when its client goes away
	readSetUp = "SELECT variable_name, variable_value FROM runtime_global_variables WHERE variable_name IN ('" + syncLimit + "', '" + killsGone + "')"
)

// leaveCluster stops the sync of servers, and only of servers.
var leaveCluster = []statement{
	{"stop the servers' sync", "UPDATE global_variables SET variable_value = '0' WHERE variable_name = '" + syncLimit + "'"},
	{"load admin variables", "LOAD ADMIN VARIABLES TO RUNTIME"},
}
