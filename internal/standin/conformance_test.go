package standin_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
)

// TestConformance holds the stand-in, and ProxySQL where there is one, to the same specification. Every case begins
// with a proxy that has no servers, no rules and the lab's variables.
func TestConformance(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Logf: func(string, ...any) {}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, version, err := lab.ProxySQL(ctx)
	check(t, err)
	kinds := []string{lab.StandIn}
	if version == "" {
		t.Log("CONFORMANCE: only the stand-in was held to it: no ProxySQL on PATH or in PROXYSQL_BIN")
	} else {
		t.Logf("CONFORMANCE: held to it are the stand-in and ProxySQL %s", version)
		kinds = append(kinds, "proxysql "+version)
	}
	// The kinds run side by side, so that they wait side by side; the group keeps the lab open until both have ended.
	t.Run("kind", func(t *testing.T) {
		for i, kind := range kinds {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				options := lab.ProxyOptions{Name: fmt.Sprintf("proxy%d", i), StandIn: kind == lab.StandIn}
				proxy, err := l.Proxy(ctx, options)
				check(t, err)
				a, b := known(t, ctx, l, "a", i), known(t, ctx, l, "b", i)
				for _, c := range cases() {
					t.Run(c.name, func(t *testing.T) {
						f := &fixture{T: t, ctx: ctx, proxy: proxy, a: a, b: b}
						f.clean()
						c.run(f)
					})
				}
			})
		}
	})
}

// known starts a server that tells a name in lab.who.
func known(t *testing.T, ctx context.Context, l *lab.Lab, name string, i int) *lab.Server {
	t.Helper()
	s, err := l.Server(ctx, lab.ServerOptions{Name: fmt.Sprintf("%s%d", name, i), Writable: true})
	check(t, err)
	run(t, ctx, s.DB(),
		"CREATE DATABASE IF NOT EXISTS lab",
		"CREATE TABLE lab.who (name VARCHAR(10) PRIMARY KEY)",
		"INSERT INTO lab.who VALUES ('"+name+"')",
		"CREATE TABLE lab.notes (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40)) AUTO_INCREMENT=10",
		"CREATE TABLE lab.plain (id INT PRIMARY KEY, note VARCHAR(40))")
	return s
}

// spec is one sentence of the specification.
type spec struct {
	name string
	run  func(*fixture)
}

func cases() []spec {
	var all []spec
	for _, list := range [][]spec{adminCases, routingCases, pinningCases, statusCases, failureCases, layerCases} {
		all = append(all, list...)
	}
	return all
}

// fixture is a proxy before two servers that do not replicate: each has its name in lab.who.
type fixture struct {
	*testing.T
	ctx   context.Context
	proxy *lab.Proxy
	a, b  *lab.Server
}

// The hostgroups: the application's, and one that only a rule leads to.
const (
	writers = 10
	readers = 11
)

// clean empties what the cases before have left.
func (f *fixture) clean() {
	f.Helper()
	f.admin(
		"DELETE FROM mysql_servers", "DELETE FROM mysql_hostgroup_attributes", "DELETE FROM mysql_query_rules",
		"UPDATE global_variables SET variable_value='10000' WHERE variable_name='mysql-connect_timeout_server_max'",
		"UPDATE global_variables SET variable_value='0' WHERE variable_name='mysql-query_retries_on_failure'",
		"LOAD MYSQL SERVERS TO RUNTIME", "LOAD MYSQL QUERY RULES TO RUNTIME", "LOAD MYSQL VARIABLES TO RUNTIME",
	)
	for _, s := range []*lab.Server{f.a, f.b} {
		f.on(s, "TRUNCATE lab.notes", "ALTER TABLE lab.notes AUTO_INCREMENT=10", "TRUNCATE lab.plain")
	}
}

// admin runs statements on the admin interface.
func (f *fixture) admin(statements ...string) {
	f.Helper()
	run(f.T, f.ctx, f.proxy.Admin(), statements...)
}

// set changes a variable and loads it.
func (f *fixture) set(name, value string) {
	f.Helper()
	f.admin(fmt.Sprintf("UPDATE global_variables SET variable_value='%s' WHERE variable_name='mysql-%s'", value, name),
		"LOAD MYSQL VARIABLES TO RUNTIME")
}

// value is the only value of a query on the admin interface.
func (f *fixture) value(query string) string {
	f.Helper()
	var v sql.NullString
	check(f.T, f.proxy.Admin().QueryRowContext(f.ctx, query).Scan(&v))
	return v.String
}

// on runs statements on a server itself.
func (f *fixture) on(s *lab.Server, statements ...string) {
	f.Helper()
	run(f.T, f.ctx, s.DB(), statements...)
}

// count asks a server itself.
func (f *fixture) count(s *lab.Server, query string) int {
	f.Helper()
	var n int
	check(f.T, s.DB().QueryRowContext(f.ctx, query).Scan(&n))
	return n
}

// serve puts servers into the writers' hostgroup and loads.
func (f *fixture) serve(rows ...entry) {
	f.Helper()
	f.admin("DELETE FROM mysql_servers")
	for _, r := range rows {
		f.admin(r.insert(writers))
	}
	f.load()
}

func (f *fixture) load() {
	f.Helper()
	f.admin("LOAD MYSQL SERVERS TO RUNTIME")
}

// entry is a server with a status.
type entry struct {
	server *lab.Server
	status string
	extra  string // further columns, as "name=value"
}

func (e entry) insert(group int) string {
	columns, values := "", ""
	if name, value, ok := strings.Cut(e.extra, "="); ok {
		columns, values = ", "+name, ", "+value
	}
	return fmt.Sprintf("INSERT INTO mysql_servers (hostgroup_id, hostname, port, status%s) VALUES (%d, '%s', %d, '%s'%s)",
		columns, group, e.server.Host, e.server.Port, e.status, values)
}

func online(s *lab.Server) entry  { return entry{server: s, status: "ONLINE"} }
func soft(s *lab.Server) entry    { return entry{server: s, status: "OFFLINE_SOFT"} }
func offline(s *lab.Server) entry { return entry{server: s, status: "OFFLINE_HARD"} }

// status of a server in the writers' hostgroup at runtime; empty if it is absent.
func (f *fixture) status(s *lab.Server) string {
	f.Helper()
	return f.value(fmt.Sprintf("SELECT MAX(status) FROM runtime_mysql_servers WHERE hostgroup_id=%d AND port=%d", writers, s.Port))
}

// used is how many connections to a server sessions hold.
func (f *fixture) used(s *lab.Server) string {
	f.Helper()
	return f.value(fmt.Sprintf("SELECT SUM(ConnUsed) FROM stats_mysql_connection_pool WHERE srv_port=%d", s.Port))
}

// client is a session with the proxy.
func (f *fixture) client() *client {
	f.Helper()
	return f.open(f.proxy.DSN(lab.AppUser, "lab"))
}

func (f *fixture) open(dsn string) *client {
	f.Helper()
	db, err := sql.Open("mysql", dsn)
	check(f.T, err)
	f.Cleanup(func() { check(f.T, db.Close()) })
	conn, err := db.Conn(f.ctx)
	check(f.T, err)
	f.Cleanup(func() { _ = conn.Close() })
	return &client{Conn: conn, f: f}
}

// eventually waits for a condition.
func (f *fixture) eventually(what string, fn func() (bool, string)) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, 20*time.Second)
	defer cancel()
	check(f.T, lab.Eventually(ctx, what, 20*time.Millisecond, fn))
}

// client is one session, and knows how to expect things of it.
type client struct {
	*sql.Conn
	f *fixture
}

func (c *client) exec(statements ...string) {
	c.f.Helper()
	for _, s := range statements {
		if _, err := c.ExecContext(c.f.ctx, s); err != nil {
			c.f.Fatalf("%s: %v", s, err)
		}
	}
}

// who is the name of the server that answers. It reads a table, for a variable would bind the session to its server.
func (c *client) who() string {
	c.f.Helper()
	name, err := c.tryWho()
	check(c.f.T, err)
	return name
}

func (c *client) tryWho() (string, error) {
	var name string
	err := c.QueryRowContext(c.f.ctx, "SELECT name FROM who").Scan(&name)
	return name, err
}

func (c *client) expect(server string) {
	c.f.Helper()
	if got := c.who(); got != server {
		c.f.Fatalf("server %q answers, want %q", got, server)
	}
}

// later runs a statement beside the test, until it has reached a server.
func (c *client) later(statement string) <-chan error {
	c.f.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := c.ExecContext(c.f.ctx, statement)
		done <- err
	}()
	return done
}

// running waits until a server works on a statement that contains a text.
func (f *fixture) running(s *lab.Server, text string) {
	f.Helper()
	f.eventually("the server to work on "+text, func() (bool, string) {
		n := f.count(s, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%"+text+
			"%' AND info NOT LIKE '%processlist%'")
		return n > 0, fmt.Sprint(n)
	})
}

// held waits until the proxy lists a statement that has no server yet.
func (f *fixture) held() {
	f.Helper()
	f.eventually("a statement to be held", func() (bool, string) {
		n := f.value("SELECT COUNT(*) FROM stats_mysql_processlist WHERE command IN ('Query', 'Connect') AND srv_host IS NULL AND hostgroup=10")
		return n != "0", n
	})
}

func wantCode(t *testing.T, err error, code uint16) *mysql.MySQLError {
	t.Helper()
	var e *mysql.MySQLError
	if !errors.As(err, &e) || e.Number != code {
		t.Fatalf("error is %v, want number %d", err, code)
	}
	return e
}

// wantLost expects that the connection ended without an error packet.
func wantLost(t *testing.T, err error) {
	t.Helper()
	var e *mysql.MySQLError
	if err == nil || errors.As(err, &e) {
		t.Fatalf("error is %v, want a lost connection", err)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, ctx context.Context, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
