package proxysql

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/remora-ha/remora/topology"
)

const (
	openDB1 = "10 db1 ONLINE\n11 db1 OFFLINE_SOFT\n11 db2 ONLINE\n11 db3 ONLINE"
	openDB2 = "10 db2 ONLINE\n11 db1 ONLINE\n11 db2 OFFLINE_SOFT\n11 db3 ONLINE"
)

func TestARouteIsAppliedAndReadBack(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		p := b.apply(t, route(5, "db1:3306", topology.Open))
		if p.Epoch != 5 || p.Writer != "db1:3306" || p.Mode != topology.Open || p.Conflict != "" || len(p.Drift) > 0 {
			t.Fatalf("open: %+v", p)
		}
		if p.Version == "" {
			t.Error("no version")
		}
		wantText(t, "runtime", servers(t, b.Proxy, "runtime_mysql_servers"), openDB1)
		wantText(t, "weights", table(t, b.Proxy, "SELECT hostname, weight FROM runtime_mysql_servers WHERE hostgroup_id=11 AND status='ONLINE' ORDER BY 1"), "db2 3\ndb3 3")
		wantText(t, "rows in memory", table(t, b.Proxy, "SELECT COUNT(*) FROM mysql_servers"), "6")
		wantText(t, "limit", table(t, b.Proxy, "SELECT hostgroup_id, max_num_online_servers FROM runtime_mysql_hostgroup_attributes"), "10 1")

		p = b.apply(t, route(6, "db1:3306", topology.Paused))
		if p.Epoch != 6 || p.Writer != "db1:3306" || p.Mode != topology.Paused || !p.Drained {
			t.Fatalf("paused: %+v", p)
		}
		p = b.apply(t, route(7, "db2:3306", topology.Open))
		if p.Epoch != 7 || p.Writer != "db2:3306" || p.Mode != topology.Open {
			t.Fatalf("switched over: %+v", p)
		}
		wantText(t, "runtime", servers(t, b.Proxy, "runtime_mysql_servers"), openDB2)

		p = b.apply(t, route(8, "db2:3306", topology.Fenced))
		if p.Epoch != 8 || p.Writer != "" || p.Mode != topology.Fenced || !p.Drained {
			t.Fatalf("fenced: %+v", p)
		}
		p = b.apply(t, topology.Route{Cluster: "main", Epoch: 9, Mode: topology.Open})
		if p.Epoch != 9 || p.Writer != "" || p.Mode != topology.Fenced {
			t.Fatalf("without a writer: %+v", p)
		}
		wantText(t, "nobody known", servers(t, b.Proxy, "runtime_mysql_servers"), "")
	})
}

// A table of our name that cannot be read might hold an epoch: it is not taken for none.
func TestAnEpochThatCannotBeReadIsNotNone(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		b.apply(t, route(7, "db2:3306", topology.Open))
		sqlExec(t, b.Proxy, "ALTER TABLE remora_epoch RENAME COLUMN epoch TO somebodys")
		_, err := b.admin.Status(within(t), route(7, "db2:3306", topology.Open), tens)
		wantErr(t, err, ErrRefused)
		_, err = b.admin.Apply(within(t), route(6, "db1:3306", topology.Open), tens)
		wantErr(t, err, ErrRefused)
		wantText(t, "runtime", servers(t, b.Proxy, "runtime_mysql_servers"), openDB2)
	})
}

func TestAStaleEpochChangesNothing(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		b.apply(t, route(7, "db2:3306", topology.Open))
		before := table(t, b.Proxy, "SELECT * FROM mysql_servers ORDER BY 1, 2")
		p, err := b.admin.Apply(within(t), route(6, "db1:3306", topology.Open), tens)
		wantErr(t, err, ErrStaleEpoch)
		if p.Epoch != 7 || p.Writer != "db2:3306" || p.Error == "" {
			t.Errorf("proxy: %+v", p)
		}
		wantText(t, "memory", table(t, b.Proxy, "SELECT * FROM mysql_servers ORDER BY 1, 2"), before)
		if p := b.status(t, route(7, "db2:3306", topology.Open)); p.Epoch != 7 || len(p.Drift) > 0 {
			t.Errorf("status: %+v", p)
		}
	})
}

// Whatever one statement of an operation does when it runs after another
// operation, it opens nothing.
func TestALateStatementChangesNothing(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		old := route(6, "db1:3306", topology.Open)
		b.apply(t, old)
		s := b.read(t)
		late := makePlan(s, old, tens, true)
		late.memory, late.limit = []change{{Row: row{Hostgroup: 10, Host: "late", Port: 3306}}}, true
		list := statements([]part{{guard{ours, 6, s.ticket}, s, late}})
		if len(list) < 4 {
			t.Fatalf("only %d statements", len(list))
		}
		for _, overtake := range []struct {
			by string
			do func()
		}{
			{"a newer epoch", func() { b.apply(t, route(7, "db2:3306", topology.Open)) }},
			{"a fence", func() { must(t, b.admin.Fence(within(t), "main", tens, true)) }},
		} {
			overtake.do()
			memory, runtime := table(t, b.Proxy, "SELECT * FROM mysql_servers ORDER BY 1, 2"), servers(t, b.Proxy, "runtime_mysql_servers")
			for _, st := range list {
				if st.name != "raise the epoch" || overtake.by != "a fence" { // a fence has no epoch: what raises it opens nothing
					sqlExec(t, b.Proxy, st.text)
				}
			}
			wantText(t, "memory after "+overtake.by, table(t, b.Proxy, "SELECT * FROM mysql_servers ORDER BY 1, 2"), memory)
			wantText(t, "runtime after "+overtake.by, servers(t, b.Proxy, "runtime_mysql_servers"), runtime)
		}
		if p := b.status(t, route(7, "db2:3306", topology.Open)); p.Epoch != 0 || p.Mode != topology.Fenced {
			t.Errorf("after the fence: %+v", p)
		}
		b.apply(t, route(7, "db2:3306", topology.Open))
		wantText(t, "runtime", servers(t, b.Proxy, "runtime_mysql_servers"), openDB2)
	})
}

func (b *bench) read(t testing.TB) *state {
	t.Helper()
	end, err := b.admin.begin(within(t))
	must(t, err)
	defer end()
	states, err := b.admin.read(within(t), reading{of: []subject{ours}})
	must(t, err)
	return states[0]
}

// LOAD turns SHUNNED servers ONLINE, so that it must not be sent in vain.
func TestApplyingTwiceLoadsOnce(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		version := func() string {
			return table(t, b.Proxy, "SELECT Variable_Value FROM stats_mysql_global WHERE Variable_Name='Servers_table_version'")
		}
		r := route(5, "db1:3306", topology.Open)
		b.apply(t, r)
		loaded := version()
		b.apply(t, r)
		r.Epoch = 6
		b.apply(t, r)
		wantText(t, "Servers_table_version", version(), loaded)
		if p := b.status(t, r); p.Epoch != 6 {
			t.Errorf("status: %+v", p)
		}
	})
}

func TestOperatorsAttributesAreKept(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		sqlExec(t, b.Proxy,
			"INSERT INTO mysql_servers (hostgroup_id, hostname, port, status, weight, compression, max_connections, max_replication_lag, use_ssl, max_latency_ms, comment) "+
				"VALUES (10, 'DB1', 3306, 'ONLINE', 70, 1, 150, 0, 1, 900, 'the \"old\" one; it''s 5% \\ slow')",
			"INSERT INTO mysql_servers (hostgroup_id, hostname, port, status, weight, max_connections, max_replication_lag, comment) "+
				"VALUES (11, 'db2', 3306, 'ONLINE', 9, 300, 20, 'reader')",
			"INSERT INTO mysql_servers (hostgroup_id, hostname, port, status, comment) VALUES (50, 'other', 3306, 'ONLINE', 'not ours')",
			"INSERT INTO mysql_hostgroup_attributes (hostgroup_id, init_connect, multiplex, comment) VALUES (10, 'SET NAMES utf8mb4', 0, 'mine')",
			"LOAD MYSQL SERVERS TO RUNTIME")
		b.apply(t, route(5, "db1:3306", topology.Open))
		b.apply(t, route(6, "db2:3306", topology.Open))
		wantText(t, "memory", table(t, b.Proxy, "SELECT "+columns+" FROM mysql_servers ORDER BY 1, 2"), strings.Join([]string{
			"10 DB1 3306 0 OFFLINE_HARD 70 1 150 0 1 900 the \"old\" one; it's 5% \\ slow",
			"10 db2 3306 0 ONLINE 70 0 150 0 0 900 reader",
			"10 db3 3306 0 OFFLINE_HARD 70 1 150 0 1 900 ",
			"11 db1 3306 0 ONLINE 3 1 300 20 1 0 the \"old\" one; it's 5% \\ slow",
			"11 db2 3306 0 OFFLINE_SOFT 3 0 300 20 0 0 reader",
			"11 db3 3306 0 ONLINE 3 0 300 20 0 0 ",
			"50 other 3306 0 ONLINE 1 0 1000 0 0 0 not ours"}, "\n"))
		wantText(t, "attributes", table(t, b.Proxy, "SELECT hostgroup_id, max_num_online_servers, init_connect, multiplex, comment FROM runtime_mysql_hostgroup_attributes"),
			"10 1 SET NAMES utf8mb4 0 mine")
	})
}

// A hostgroup with attributes no longer follows the global variables.
func TestTheLimitKeepsTheGlobalVariables(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		set := func(pct, throttle string) {
			sqlExec(t, b.Proxy, "UPDATE global_variables SET variable_value='"+pct+"' WHERE variable_name='mysql-free_connections_pct'",
				"UPDATE global_variables SET variable_value='"+throttle+"' WHERE variable_name='mysql-throttle_connections_per_sec_to_hostgroup'",
				"LOAD MYSQL VARIABLES TO RUNTIME")
		}
		set("25", "500")
		defer set("10", "1000000")
		b.apply(t, route(5, "db1:3306", topology.Open))
		wantText(t, "attributes", table(t, b.Proxy, "SELECT max_num_online_servers, free_connections_pct, connection_warming, throttle_connections_per_sec FROM runtime_mysql_hostgroup_attributes"),
			"1 25 0 500")
	})
}

func TestTwoClustersOnOneProxy(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		b.apply(t, route(5, "db1:3306", topology.Open))
		other := topology.Route{Cluster: "it's \"other\"", Epoch: 3, Writer: "[::1]:3307", Mode: topology.Open, Known: []topology.Addr{"[::1]:3307", "10.0.0.2:3307"}}
		hg := Hostgroups{Writer: 20, Reader: 21}
		p, err := b.admin.Apply(within(t), other, hg)
		must(t, err)
		if p.Epoch != 3 || p.Writer != "[::1]:3307" || len(p.Drift) > 0 {
			t.Errorf("other: %+v", p)
		}
		must(t, b.admin.Fence(within(t), other.Cluster, hg, true))
		if p := b.status(t, route(5, "db1:3306", topology.Open)); p.Epoch != 5 || p.Writer != "db1:3306" || len(p.Drift) > 0 {
			t.Errorf("main: %+v", p)
		}
	})
}

// A client that polls runtime never sees two writers, nor none in between.
func TestASwitchoverIsAtomic(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		b.apply(t, route(1, "db1:3306", topology.Open))
		ctx, stop := context.WithCancel(context.Background())
		var poll sync.WaitGroup
		seen := map[string]int{}
		poll.Go(func() {
			for ctx.Err() == nil {
				seen[table(t, b.Proxy, "SELECT hostname FROM runtime_mysql_servers WHERE hostgroup_id=10 AND status='ONLINE'")]++
				seen[table(t, b.Proxy, "SELECT hostname FROM mysql_servers WHERE hostgroup_id=10 AND status='ONLINE'")]++
			}
		})
		for epoch := uint64(2); epoch < 40; epoch++ {
			b.apply(t, route(epoch, []topology.Addr{"db1:3306", "db2:3306"}[epoch%2], topology.Open))
		}
		stop()
		poll.Wait()
		for writers, n := range seen {
			if writers != "db1" && writers != "db2" {
				t.Errorf("%d times the writers were %q", n, writers)
			}
		}
		if len(seen) != 2 {
			t.Errorf("saw %v, want both writers", seen)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	for _, standIn := range kinds(b) {
		p := sharedProxy(b, standIn)
		b.Run(p.Kind(), func(b *testing.B) {
			reset(b, p)
			x := newBench(b, p)
			epoch := uint64(1)
			x.apply(b, route(epoch, "db1:3306", topology.Open))
			b.Run("switch", func(b *testing.B) {
				for b.Loop() {
					epoch++
					x.apply(b, route(epoch, []topology.Addr{"db1:3306", "db2:3306"}[epoch%2], topology.Open))
				}
			})
			b.Run("pause", func(b *testing.B) {
				for b.Loop() {
					epoch++
					x.apply(b, route(epoch, "db1:3306", []topology.Mode{topology.Open, topology.Paused}[epoch%2]))
				}
			})
			b.Run("nothing", func(b *testing.B) {
				for b.Loop() {
					x.apply(b, route(epoch, "db1:3306", []topology.Mode{topology.Open, topology.Paused}[epoch%2]))
				}
			})
			b.Run("status", func(b *testing.B) {
				for b.Loop() {
					x.status(b, route(epoch, "db1:3306", topology.Paused))
				}
			})
		})
	}
}
