package sidecar

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// daemon is a ProxySQL as its packages run it: an angel starts it, and again when
// it ends.
type daemon struct {
	admin, clients, pidFile string
}

// startDaemon needs the real ProxySQL; the stand-in has no angel.
func startDaemon(t *testing.T, l *lab.Lab) daemon {
	t.Helper()
	path, _, err := lab.ProxySQL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		t.Skip("needs a ProxySQL: the stand-in has no angel")
	}
	admin, err1 := l.Addr()
	clients, err2 := l.Addr()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`admin_variables={ admin_credentials="%s:%s" mysql_ifaces="%s" }
mysql_variables={ threads=2 interfaces="%s" monitor_enabled=false query_retries_on_failure=0 connect_timeout_server_max=1000 }
mysql_users=( { username="%s" password="%s" default_hostgroup=10 } )
`, lab.AdminUser.Name, lab.AdminUser.Password, admin, clients, lab.AppUser.Name, lab.AppUser.Password)
	file := filepath.Join(dir, "proxysql.cnf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon{admin, clients, filepath.Join(dir, "proxysql.pid")}
	out, err := exec.Command(path, "--initial", "--no-version-check", "-D", dir, "-c", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		bounded, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if p, err := readProcess(readPID(t, d.pidFile)); err == nil && !p.ended {
			if err := (stopRung{d.pidFile}).cut(bounded, "main", nil); err != nil {
				t.Error(err)
			}
		}
	})
	await(t, "the daemon", func() bool { return d.child(t) != 0 && d.serves() })
	return d
}

// child is the ProxySQL that the angel runs now; 0: none.
func (d daemon) child(t *testing.T) int {
	t.Helper()
	if _, err := os.Stat(d.pidFile); err != nil {
		return 0
	}
	list := childrenOf(readPID(t, d.pidFile), "proxysql")
	if len(list) != 1 {
		return 0
	}
	return list[0]
}

// serves says whether the admin interface answers.
func (d daemon) serves() bool {
	rows, err := d.query("SELECT 1")
	return err == nil && len(rows) == 1
}

// query asks the admin interface for one column.
func (d daemon) query(q string) (rows []string, err error) {
	db := open(d.admin, lab.AdminUser, "")
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	found, err := db.QueryContext(ctx, q)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var s string
		if err := found.Scan(&s); err != nil {
			return nil, err
		}
		rows = append(rows, s)
	}
	return rows, found.Err()
}

func open(addr string, u lab.User, database string) *sql.DB {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName, cfg.Logger = "tcp", addr, u.Name, u.Password, database, &mysql.NopLogger{}
	cfg.InterpolateParams = true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		panic(err) // of a test's own making
	}
	return sql.OpenDB(connector)
}

// kill ends what the angel runs, as a crash does.
func (d daemon) kill(t *testing.T) (old int) {
	t.Helper()
	old = d.child(t)
	if old == 0 {
		t.Fatal("no ProxySQL runs")
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return old
}

// again waits until the angel has started another one that serves.
func (d daemon) again(t *testing.T, old int) {
	t.Helper()
	await(t, "another ProxySQL", func() bool { now := d.child(t); return now != 0 && now != old && d.serves() })
}

// write inserts a row through the proxy, on a connection of its own.
func (d daemon) write() error {
	db := open(d.clients, lab.AppUser, "lab")
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_, err := db.ExecContext(ctx, "INSERT INTO t VALUES (NULL)")
	return err
}

// A ProxySQL that its angel starts again serves what its disk holds, within a
// second and without asking anybody. No write may pass before the sidecar has
// applied the current epoch, nor while the sidecar has no lease.
func TestAProxyThatItsAngelRestartsRoutesNothingByItself(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(t.Context(), lab.ServerOptions{Name: "db", Writable: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []string{"CREATE DATABASE lab", "CREATE TABLE lab.t (id INT PRIMARY KEY AUTO_INCREMENT)"} {
		if err := s.Exec(t.Context(), st); err != nil {
			t.Fatal(err)
		}
	}
	d := startDaemon(t, l)
	f := newFollower()
	f.cfg.ProxySQL.Timeout = topology.Duration(5 * time.Second) // a busy machine is no hung proxy
	f.ports.Proxy = proxysql.New(proxysql.Config{Addr: d.admin, User: lab.AdminUser.Name, Password: lab.AdminUser.Password, Timeout: 5 * time.Second},
		slog.New(slog.DiscardHandler), func() {
			select {
			case f.broke <- struct{}{}:
			default:
			}
		})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	writer := topology.MustParseAddr(s.Addr)
	f.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{writer, dbB}}})
	f.raft.must(t, ledger.Command{SetRoute: &ledger.SetRoute{Cluster: "main", Writer: writer}})
	rows := func() (n int) {
		if err := s.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM lab.t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	applied := func(mode topology.Mode) bool {
		p := f.proxies.all()["main"]
		return p.Mode == mode && p.Epoch == f.raft.State().Clusters["main"].Desired().Epoch && p.Error == ""
	}
	await(t, "the first write", func() bool { return applied(topology.Open) && d.write() == nil })
	await(t, "the disk copy", func() bool {
		onDisk, err := d.query("SELECT status FROM disk.mysql_servers WHERE hostgroup_id = 10")
		open, err2 := d.query("SELECT status FROM disk.mysql_servers WHERE hostgroup_id = 10 AND status <> 'OFFLINE_HARD'")
		return err == nil && err2 == nil && len(onDisk) > 0 && len(open) == 0
	})

	began := time.Now()
	d.again(t, d.kill(t))
	await(t, "writes after a restart", func() bool { return d.write() == nil })
	t.Logf("killed under a lease: writes go on after %s", time.Since(began).Round(time.Millisecond))

	// The epoch changes while it is down.
	before := rows()
	old := d.kill(t)
	f.raft.must(t, ledger.Command{Begin: &ledger.Begin{
		Intent: failover.Intent{ID: "i1", Cluster: "main", Kind: failover.KindFailover, From: writer, To: dbB, Deadline: time.Now().Add(time.Hour)},
		Expect: f.raft.State().Clusters["main"].Route.Epoch,
	}})
	for range 3 { // before it serves, while the sidecar applies, and afterwards
		if d.write() == nil {
			t.Error("a write passed after the intent was committed")
		}
	}
	d.again(t, old)
	await(t, "the intent's epoch", func() bool { return applied(topology.Fenced) })
	if d.write() == nil || rows() != before {
		t.Errorf("%d rows became %d", before, rows())
	}
	f.raft.must(t, ledger.Command{Conclude: &ledger.Conclude{Cluster: "main", IntentID: "i1", Outcome: failover.RolledBack, To: writer}})
	await(t, "writes after the roll-back", func() bool { return applied(topology.Open) && d.write() == nil })

	// No lease: nothing opens it.
	f.peer.set(false)
	await(t, "the fence", func() bool { return f.proxies.all()["main"].Mode == topology.Fenced && d.write() != nil })
	before = rows()
	old = d.kill(t)
	for range 2 {
		if d.write() == nil {
			t.Error("a write passed without a lease")
		}
	}
	d.again(t, old)
	if d.write() == nil || rows() != before {
		t.Errorf("%d rows became %d", before, rows())
	}
	f.peer.set(true)
	await(t, "writes under the next lease", func() bool { return d.write() == nil })
}

// A frozen ProxySQL forwards nothing, and would go on with all its sessions when it
// thaws: it is killed, and its angel too, so that there is nothing to thaw.
func TestAFrozenProxyIsStoppedWithItsAngel(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	d := startDaemon(t, l)
	child := d.child(t)
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cut, err := climb(t, RungConfig{Rung: rungStop, PIDFile: d.pidFile})
	if err != nil || cut.How != "stopped" {
		t.Fatalf("%+v, %v", cut, err)
	}
	if p, err := readProcess(child); err == nil && !p.ended {
		t.Errorf("%+v", p)
	}
	if d.serves() || d.child(t) != 0 {
		t.Error("it serves, or the angel has started another one")
	}
}

// A ProxySQL that is frozen when a failover begins is killed, and the leader is told
// at what epoch, so that it goes on.
func TestAFailoverGoesOnPastAFrozenProxy(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	d := startDaemon(t, l)
	f := newFollower()
	ladder, err := newLadder([]RungConfig{{Rung: rungStop, PIDFile: d.pidFile, Timeout: topology.Duration(10 * time.Second)}}, d.admin, f.log)
	if err != nil {
		t.Fatal(err)
	}
	f.ports.Ladder = ladder
	f.ports.Proxy = proxysql.New(proxysql.Config{Addr: d.admin, User: lab.AdminUser.Name, Password: lab.AdminUser.Password}, nil, nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	f.routed(t)
	told := func() topology.Proxy { return f.proxies.all()["main"] }
	await(t, "the route", func() bool { return told().Mode == topology.Open && told().Epoch > 0 })
	child := d.child(t)
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f.begin(t, failover.KindFailover)
	epoch := f.raft.State().Clusters["main"].Intent.Epoch
	await(t, "the fence", func() bool { return told().Holds(epoch) })
	if p := told(); p.Cut != "stopped" || p.Epoch >= epoch {
		t.Errorf("the leader is told %+v", p)
	}
	if p, err := readProcess(child); err == nil && !p.ended {
		t.Errorf("it runs: %+v", p)
	}
	await(t, "the end to be seen", func() bool { return told().Gone && told().Holds(epoch) })
}
