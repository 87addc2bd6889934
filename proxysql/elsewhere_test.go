package proxysql

import (
	"fmt"
	"testing"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// A session is listed under the hostgroup of its last statement, so one that is in
// a transaction on the writer and has just read elsewhere is not seen as attached.
// What it has open must not be committed after a fence all the same.
func TestAFenceHoldsBackATransactionThatReadElsewhere(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(within(t), lab.ServerOptions{Name: "db", Writable: true})
	must(t, err)
	for _, st := range []string{"CREATE DATABASE lab", "CREATE TABLE lab.t (id INT PRIMARY KEY)"} {
		must(t, s.Exec(within(t), st))
	}
	onProxies(t, func(t *testing.T, b *bench) {
		sqlExec(t, b.Proxy,
			"UPDATE mysql_users SET transaction_persistent = 0", "LOAD MYSQL USERS TO RUNTIME",
			"INSERT INTO mysql_query_rules (rule_id, active, match_digest, destination_hostgroup, apply) VALUES (1, 1, '^SELECT', 11, 1)",
			"LOAD MYSQL QUERY RULES TO RUNTIME")
		t.Cleanup(func() {
			sqlExec(t, b.Proxy, "UPDATE mysql_users SET transaction_persistent = 1", "LOAD MYSQL USERS TO RUNTIME",
				"DELETE FROM mysql_query_rules", "LOAD MYSQL QUERY RULES TO RUNTIME")
		})
		must(t, s.Exec(within(t), "TRUNCATE lab.t"))
		writer := topology.MustParseAddr(s.Addr)
		for _, how := range []string{"route", "lease"} {
			r := topology.Route{Cluster: "main", Epoch: 1, Writer: writer, Mode: topology.Open, Readers: []topology.Reader{{Addr: writer, Weight: 1}}}
			if how == "lease" {
				r.Epoch = 11
			}
			b.apply(t, r)
			c := openClient(t, b)
			for _, st := range []string{"BEGIN", "INSERT INTO lab.t VALUES (1)", "SELECT 2"} {
				c.exec(t, st)
			}
			if how == "route" {
				r.Epoch, r.Mode = 2, topology.Fenced
				b.apply(t, r)
			} else {
				must(t, b.admin.Fence(within(t), "main", tens, true))
				_, err := b.admin.EndSessions(within(t), tens, "")
				must(t, err)
			}
			if _, err := c.conn.ExecContext(within(t), "COMMIT"); err == nil {
				t.Errorf("%s: the client is told that it has committed", how)
			}
			var n int
			must(t, s.DB().QueryRowContext(within(t), "SELECT COUNT(*) FROM lab.t").Scan(&n))
			if n != 0 {
				t.Errorf("%s: a transaction was committed after the fence", how)
				must(t, s.Exec(within(t), "TRUNCATE lab.t"))
			}
		}
	})
}

// Another hand opens an old writer that is frozen: what a client sent there may not be
// answered when it thaws, after the proxy was put in line.
func TestWhatAnotherHandLetThroughIsEnded(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(within(t), lab.ServerOptions{Name: "db", Writable: true})
	must(t, err)
	must(t, s.Exec(within(t), "CREATE DATABASE lab"))
	onProxies(t, func(t *testing.T, b *bench) {
		old := topology.MustParseAddr(s.Addr)
		r := topology.Route{Cluster: "main", Epoch: 1, Writer: "127.0.0.1:1", Mode: topology.Open, Known: []topology.Addr{old, "127.0.0.1:1"}}
		b.apply(t, r)
		sqlExec(t, b.Proxy, "UPDATE mysql_servers SET status = CASE port WHEN 1 THEN 'OFFLINE_HARD' ELSE 'ONLINE' END WHERE hostgroup_id = 10",
			"LOAD MYSQL SERVERS TO RUNTIME")
		c := openClient(t, b)
		c.exec(t, "BEGIN")
		c.exec(t, "SELECT 1")
		if p := b.apply(t, r); p.Epoch != 1 || p.Writer != r.Writer {
			t.Errorf("applied: %+v", p)
		}
		if left := table(t, b.Proxy, fmt.Sprintf("SELECT SessionID FROM stats_mysql_processlist WHERE hostgroup = 10 AND srv_host <> '' AND srv_port = %d", old.Port())); left != "" {
			t.Errorf("attached to the old writer is session %s", left)
		}
	})
}
