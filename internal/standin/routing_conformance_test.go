package standin_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
)

var adminUser = lab.AdminUser

var routingCases = []spec{
	{"a wrong password is refused", func(f *fixture) {
		c := lab.AppUser
		c.Password = "wrong"
		db, err := mysql.ParseDSN(f.proxy.DSN(c, "lab"))
		check(f.T, err)
		connector, err := mysql.NewConnector(db)
		check(f.T, err)
		_, err = connector.Connect(f.ctx)
		if e := wantCode(f.T, err, 1045); !strings.Contains(e.Message, "Access denied for user 'app'@") {
			f.Fatal(e.Message)
		}
	}},
	{"answers pass through as they are", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		var (
			text  string
			null  any
			whole int64
			bytes []byte
		)
		check(f.T, c.QueryRowContext(f.ctx, "SELECT 'å', NULL, 9223372036854775807, X'00FF'").Scan(&text, &null, &whole, &bytes))
		want(f.T, "row", fmt.Sprintf("%s %v %d %x", text, null, whole, bytes), "å <nil> 9223372036854775807 00ff")
		r, err := c.ExecContext(f.ctx, "INSERT INTO notes (note) VALUES ('x'), ('y')")
		check(f.T, err)
		id, _ := r.LastInsertId()
		n, _ := r.RowsAffected()
		want(f.T, "insert id and affected rows", fmt.Sprint(id, n), "10 2")
		_, err = c.ExecContext(f.ctx, "INSERT INTO plain VALUES (1, 'x'), (1, 'y')")
		want(f.T, "state", string(wantCode(f.T, err, 1062).SQLState[:]), "23000")
		_, err = c.ExecContext(f.ctx, "SELEC 1")
		wantCode(f.T, err, 1064)
		c.expect("a")
	}},
	{"large answers and large statements pass", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		var n int
		check(f.T, c.QueryRowContext(f.ctx, "SELECT LENGTH('"+strings.Repeat("x", 1<<20)+"')").Scan(&n))
		want(f.T, "length", n, 1<<20)
		var text string
		check(f.T, c.QueryRowContext(f.ctx, "SELECT REPEAT('y', 3000000)").Scan(&text))
		want(f.T, "length", len(text), 3_000_000)
		rows := 0
		r, err := c.QueryContext(f.ctx, "WITH d AS (SELECT 0 AS n"+strings.Repeat(" UNION ALL SELECT 0", 9)+") SELECT a.n FROM d a, d b, d c, d e, d f LIMIT 50000")
		check(f.T, err)
		for r.Next() {
			rows++
		}
		check(f.T, r.Err())
		want(f.T, "rows", rows, 50_000)
	}},
	{"prepared statements work, on whatever connection", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		st, err := c.PrepareContext(f.ctx, "SELECT ?, name FROM who WHERE name<>?")
		check(f.T, err)
		defer func() { check(f.T, st.Close()) }()
		for name, server := range map[string]*lab.Server{"a": f.a, "b": f.b} {
			f.serve(online(server))
			var n int
			var got string
			check(f.T, st.QueryRowContext(f.ctx, 42, "nobody").Scan(&n, &got))
			want(f.T, "row", fmt.Sprintf("%d %s", n, got), "42 "+name)
		}
	}},
	{"the schema belongs to the session", func(f *fixture) {
		f.serve(online(f.a))
		c, other := f.client(), f.open(f.proxy.DSN(lab.AppUser, ""))
		c.expect("a")
		var schema string
		check(f.T, other.QueryRowContext(f.ctx, "SELECT DATABASE()").Scan(&schema))
		want(f.T, "schema by default", schema, "information_schema")
		c.expect("a")
		other.exec("USE lab")
		other.expect("a")
	}},
	{"variables belong to the session", func(f *fixture) {
		f.serve(online(f.a))
		c, other := f.client(), f.client()
		c.exec("SET time_zone='+03:00'", "SET SESSION sql_mode='ANSI_QUOTES'")
		other.expect("a")
		var hours int
		check(f.T, c.QueryRowContext(f.ctx, `SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), NOW()) AS "h"`).Scan(&hours))
		want(f.T, "hours", hours, 3)
		check(f.T, other.QueryRowContext(f.ctx, "SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), NOW())").Scan(&hours))
		want(f.T, "hours of another", hours, 0)
	}},
	{"a rule leads to another hostgroup", func(f *fixture) {
		f.serve(online(f.a))
		f.admin(online(f.b).insert(readers),
			"INSERT INTO mysql_query_rules (rule_id, active, match_digest, destination_hostgroup, apply) VALUES (1, 1, '^SELECT name', 11, 1)",
			"LOAD MYSQL QUERY RULES TO RUNTIME")
		f.load()
		c := f.client()
		c.expect("b")
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		c.expect("a") // a transaction stays where it is
		c.exec("COMMIT")
		c.expect("b")
	}},
	{"weights share out, and a weight of zero gets nothing", func(f *fixture) {
		f.serve(entry{f.a, "ONLINE", "weight=0"}, entry{f.b, "ONLINE", "weight=5"})
		for range 20 {
			f.client().expect("b")
		}
	}},
	{"no more than max_connections are opened", func(f *fixture) {
		f.serve(entry{f.a, "ONLINE", "max_connections=1"})
		c, other := f.client(), f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		done := other.later("INSERT INTO plain VALUES (2, 'y')")
		f.held()
		c.exec("COMMIT")
		check(f.T, <-done)
	}},
	{"a statement is held until a server comes", func(f *fixture) {
		c := f.client()
		done := c.later("INSERT INTO plain VALUES (1, 'x')")
		f.held()
		start := time.Now()
		f.serve(online(f.b))
		check(f.T, <-done)
		if took := time.Since(start); took > time.Second {
			f.Fatalf("held for %s more", took)
		}
		want(f.T, "rows", f.count(f.b, "SELECT COUNT(*) FROM lab.plain"), 1)
	}},
	{"a statement that is held too long gets 9001, and the session lives", func(f *fixture) {
		f.set("connect_timeout_server_max", "300")
		c := f.client()
		_, err := c.ExecContext(f.ctx, "DO 1")
		if e := wantCode(f.T, err, 9001); !strings.HasPrefix(e.Message, "Max connect timeout reached while reaching hostgroup 10 after ") {
			f.Fatal(e.Message)
		}
		f.serve(online(f.a))
		c.expect("a")
	}},
	{"with more servers online than allowed none is handed out", func(f *fixture) {
		f.set("connect_timeout_server_max", "300")
		f.admin("INSERT INTO mysql_hostgroup_attributes (hostgroup_id, max_num_online_servers) VALUES (10, 1)")
		f.serve(online(f.a), online(f.b))
		c := f.client()
		_, err := c.ExecContext(f.ctx, "DO 1")
		wantCode(f.T, err, 9001)
		f.serve(online(f.a), soft(f.b))
		c.expect("a")
	}},
	{"KILL CONNECTION ends a session that idles in a transaction", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		id := f.value("SELECT SessionID FROM stats_mysql_processlist WHERE user='app' AND srv_port IS NOT NULL")
		f.admin("KILL CONNECTION " + id)
		f.eventually("the connection to be gone", func() (bool, string) { u := f.used(f.a); return u == "0", u })
		_, err := c.tryWho()
		wantLost(f.T, err)
		want(f.T, "rows", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 0)
	}},
	{"errors are counted", func(f *fixture) {
		f.serve(online(f.a))
		_, err := f.client().ExecContext(f.ctx, "SELECT * FROM missing")
		wantCode(f.T, err, 1146)
		n := f.value(fmt.Sprintf("SELECT COUNT(*) FROM stats_mysql_errors WHERE errno=1146 AND port=%d AND username='app'", f.a.Port))
		want(f.T, "entries", n, "1")
	}},
}
