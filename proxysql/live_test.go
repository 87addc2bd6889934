package proxysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// The suite runs against the stand-in, and against the ProxySQL that PROXYSQL_BIN
// or PATH names: each test has a subtest for both. They share a proxy of each kind.

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Lock()
	if shared.lab != nil {
		if err := shared.lab.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var shared struct {
	sync.Mutex
	lab     *lab.Lab
	proxies map[bool]func() (*lab.Proxy, error) // by whether it is the stand-in
}

// within bounds what a test waits for; a healthy machine needs a small part of it.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bench is a proxy with an Admin for it.
type bench struct {
	*lab.Proxy
	admin  *Admin
	breaks chan struct{} // receives one for each broken connection
}

// onProxies runs a test on every kind of proxy, each without servers and without
// a trace of Remora.
func onProxies(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	for _, standIn := range kinds(t) {
		p := sharedProxy(t, standIn)
		t.Run(p.Kind(), func(t *testing.T) {
			reset(t, p)
			test(t, newBench(t, p))
		})
	}
}

func kinds(t testing.TB) []bool {
	t.Helper()
	path, _, err := lab.ProxySQL(within(t))
	must(t, err)
	if path == "" {
		return []bool{true}
	}
	return []bool{true, false}
}

func sharedLab(t testing.TB) *lab.Lab {
	t.Helper()
	if shared.lab == nil {
		l, err := lab.New(context.Background(), lab.Options{})
		must(t, err)
		shared.lab, shared.proxies = l, map[bool]func() (*lab.Proxy, error){}
	}
	return shared.lab
}

func sharedProxy(t testing.TB, standIn bool) *lab.Proxy {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	l := sharedLab(t)
	if shared.proxies[standIn] == nil {
		shared.proxies[standIn] = sync.OnceValues(func() (*lab.Proxy, error) {
			return l.Proxy(within(t), lab.ProxyOptions{Name: fmt.Sprintf("proxy-%t", standIn), StandIn: standIn})
		})
	}
	p, err := shared.proxies[standIn]()
	must(t, err)
	return p
}

func reset(t testing.TB, p *lab.Proxy) {
	t.Helper()
	for _, st := range []string{"DROP TABLE IF EXISTS remora_epoch", "DELETE FROM mysql_servers", "DELETE FROM disk.mysql_servers",
		"DELETE FROM mysql_hostgroup_attributes", "DELETE FROM disk.mysql_hostgroup_attributes",
		"DELETE FROM mysql_replication_hostgroups", "DELETE FROM disk.mysql_replication_hostgroups", "DELETE FROM mysql_galera_hostgroups", "DELETE FROM proxysql_servers",
		"LOAD MYSQL SERVERS TO RUNTIME", "LOAD PROXYSQL SERVERS TO RUNTIME"} {
		sqlExec(t, p, st)
	}
}

func newBench(t testing.TB, p *lab.Proxy) *bench {
	t.Helper()
	b := &bench{Proxy: p, breaks: make(chan struct{}, 16)}
	b.admin = New(Config{Addr: p.AdminAddr, User: lab.AdminUser.Name, Password: lab.AdminUser.Password},
		slog.New(slog.DiscardHandler), func() { b.breaks <- struct{}{} })
	t.Cleanup(b.admin.Close)
	return b
}

func sqlExec(t testing.TB, p *lab.Proxy, statements ...string) {
	t.Helper()
	for _, st := range statements {
		if _, err := p.Admin().ExecContext(within(t), st); err != nil {
			t.Fatalf("%s: %v", st, err)
		}
	}
}

// table reads a table as text, a line a row.
func table(t testing.TB, p *lab.Proxy, query string) string {
	t.Helper()
	rows, err := p.Admin().QueryContext(within(t), query)
	must(t, err)
	defer func() { must(t, rows.Close()) }()
	names, err := rows.Columns()
	must(t, err)
	var lines []string
	for rows.Next() {
		cells := make([]any, len(names))
		for i := range cells {
			cells[i] = new(string)
		}
		must(t, rows.Scan(cells...))
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = *c.(*string)
		}
		lines = append(lines, strings.Join(line, " "))
	}
	must(t, rows.Err())
	return strings.Join(lines, "\n")
}

// servers is what a table says of the hostgroups from 10: "10 db1 ONLINE".
func servers(t testing.TB, p *lab.Proxy, from string) string {
	t.Helper()
	return table(t, p, "SELECT hostgroup_id, hostname, status FROM "+from+" WHERE status <> 'OFFLINE_HARD' ORDER BY 1, 2")
}

func eventually(t testing.TB, what string, fn func() (bool, string)) {
	t.Helper()
	must(t, lab.Eventually(within(t), what, 2*time.Millisecond, fn))
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func wantText(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

var (
	tens = Hostgroups{Writer: 10, Reader: 11}
	ours = subject{"main", tens}
)

// route makes a route of the cluster main over db1, db2 and db3; all but the writer read.
func route(epoch uint64, writer topology.Addr, mode topology.Mode) topology.Route {
	r := topology.Route{Cluster: "main", Epoch: epoch, Writer: writer, Mode: mode,
		Known: []topology.Addr{"db1:3306", "db2:3306", "db3:3306"}}
	for _, a := range r.Known {
		if a != writer {
			r.Readers = append(r.Readers, topology.Reader{Addr: a, Weight: 3})
		}
	}
	return r
}

func (b *bench) apply(t testing.TB, r topology.Route) topology.Proxy {
	t.Helper()
	p, err := b.admin.Apply(within(t), r, tens)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return p
}

func (b *bench) status(t testing.TB, r topology.Route) topology.Proxy {
	t.Helper()
	p, err := b.admin.Status(within(t), r, tens)
	must(t, err)
	return p
}
