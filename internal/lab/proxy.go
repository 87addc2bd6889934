package lab

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// StandIn is the Kind of a proxy that is not ProxySQL itself.
const StandIn = "stand-in"

// standInPackage is built where no ProxySQL is found.
const standInPackage = "github.com/remora-ha/remora/internal/standin/cmd/standin"

// AdminUser is whom the admin interface of every proxy lets in.
var AdminUser = User{Name: "admin", Password: "admin"}

// ProxyOptions describe a proxy. The zero value but for a name is one that knows AppUser and has no servers yet.
type ProxyOptions struct {
	// Name is unique in the lab.
	Name string
	// WriterHostgroup is where AppUser's statements go; 0 for 10.
	WriterHostgroup int
	// Users replace AppUser as the ones whom the proxy lets in.
	Users []ProxyUser
	// Servers are in mysql_servers from the start; none by default, as a sidecar puts them there.
	Servers []ProxyServer
	// Monitor turns ProxySQL's own monitor on.
	Monitor bool
	// Host is where it runs, listening on its loopback interface; nil for the machine itself.
	Host *Host
	// Variables are set last, by their full name, such as "mysql-connect_timeout_server_max".
	Variables map[string]string
	// StandIn takes the stand-in also where a ProxySQL is found.
	StandIn bool
}

// ProxyUser is an account with its default hostgroup.
type ProxyUser struct {
	User
	Hostgroup int
}

// ProxyServer is a row of mysql_servers.
type ProxyServer struct {
	Hostgroup int
	// Addr is "host:port".
	Addr string
	// Status is ONLINE when empty.
	Status string
}

// Proxy is a ProxySQL or its stand-in. The methods of Process end, freeze and start it; after a new start it serves
// what is on its disk, as ProxySQL does.
type Proxy struct {
	*Process
	// AdminAddr and ClientAddr are the "127.0.0.1:port" of its two interfaces.
	AdminAddr, ClientAddr string

	kind  string
	host  *Host
	admin *sql.DB
}

// Kind is the version of the ProxySQL that runs, or StandIn.
func (p *Proxy) Kind() string { return p.kind }

// Admin is a pool of one connection to the admin interface, closed with the lab. Transactions on it do nothing, and
// parameters must not be bound.
func (p *Proxy) Admin() *sql.DB { return p.admin }

// DSN is the data source name for a client of the proxy, with a database or without.
func (p *Proxy) DSN(u User, database string) string {
	return dsn(p.ClientAddr, u, database).FormatDSN()
}

// ProxySQL finds the ProxySQL that proxies of a lab run: the one that PROXYSQL_BIN names, else the one on PATH. It
// returns empty strings when there is none, and an error when there is one that does not run.
func ProxySQL(ctx context.Context) (path, version string, err error) {
	if path = os.Getenv("PROXYSQL_BIN"); path == "" {
		if path, err = exec.LookPath("proxysql"); err != nil {
			return "", "", nil //nolint:nilerr // none installed: the stand-in takes its place
		}
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	// "ProxySQL version 2.7.1-16-g1cd2a5c, codename Truls"
	_, rest, found := strings.Cut(string(out), "version ")
	version, _, _ = strings.Cut(rest, ",")
	if version = strings.TrimSpace(version); !found || version == "" {
		return "", "", fmt.Errorf("ask %s for its version: it says %q", path, out)
	}
	return path, version, nil
}

// Proxy starts a proxy and provisions it over its admin interface.
func (l *Lab) Proxy(ctx context.Context, opts ProxyOptions) (*Proxy, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	defer leave()
	opts.WriterHostgroup = orDefault(opts.WriterHostgroup, 10)
	if opts.Users == nil {
		opts.Users = []ProxyUser{{User: AppUser, Hostgroup: opts.WriterHostgroup}}
	}
	p, err := l.newProxy(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	statements, err := provision(opts)
	if err != nil {
		return nil, fmt.Errorf("provision %s: %w", opts.Name, err)
	}
	for _, st := range statements {
		if _, err := p.admin.ExecContext(ctx, st); err != nil {
			return nil, fmt.Errorf("provision %s (%s): %s: %w\n%s", opts.Name, p.kind, st, err, p.LogTail(10))
		}
	}
	return p, nil
}

func (l *Lab) newProxy(ctx context.Context, opts ProxyOptions) (*Proxy, error) {
	dir, err := l.subdir(opts.Name)
	if err != nil {
		return nil, err
	}
	p := &Proxy{kind: StandIn, host: opts.Host}
	if p.AdminAddr, err = l.Addr(); err != nil {
		return nil, err
	}
	if p.ClientAddr, err = l.Addr(); err != nil {
		return nil, err
	}
	if p.admin, err = openDB(p.host.dsn(p.AdminAddr, AdminUser, "")); err != nil {
		return nil, err
	}
	p.admin.SetMaxOpenConns(1)
	if err := l.onClose(func() error { _ = p.admin.Close(); return nil }); err != nil { // as of a server's: it may have been ended
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	run := ProcessOptions{Name: opts.Name, Ready: p.ready, Host: opts.Host, dir: dir}
	if !opts.StandIn {
		var version string
		if run.Path, version, err = ProxySQL(ctx); err != nil {
			return nil, err
		}
		p.kind = orDefault(version, StandIn)
	}
	if p.kind == StandIn {
		if run.Path, err = l.BuildTool(ctx, standInPackage); err != nil {
			return nil, err
		}
		run.Args = []string{"--admin", p.AdminAddr, "--listen", p.ClientAddr, "--data", data}
	} else {
		config := filepath.Join(dir, "proxysql.cnf")
		if err := os.WriteFile(config, []byte(p.config()), 0o644); err != nil {
			return nil, err
		}
		// -f stays in the foreground, -e lets it end when it crashes: the lab is the one that starts things again.
		run.Args = []string{"-f", "-e", "--no-version-check", "-D", data, "-c", config}
		run.once = []string{"--initial"}
	}
	p.Process, err = l.newProcess(run)
	return p, err
}

// config holds what ProxySQL takes only at its start; the rest goes over the admin interface. It counts at the first
// start alone: later ones have the database.
func (p *Proxy) config() string {
	return fmt.Sprintf(`admin_variables=
{
	admin_credentials="%s:%s"
	mysql_ifaces="%s"
	web_enabled=false
	restapi_enabled=false
}
mysql_variables=
{
	threads=2
	stacksize=1048576
	interfaces="%s"
	monitor_enabled=false
}
`, AdminUser.Name, AdminUser.Password, p.AdminAddr, p.ClientAddr)
}

func (p *Proxy) ready(ctx context.Context) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// A ping would be answered before the rest of the interface works.
	if _, err := p.admin.ExecContext(ctx, "SELECT 1"); err != nil {
		return false, "admin: " + err.Error()
	}
	conn, err := p.host.Dial(ctx, "tcp", p.ClientAddr)
	if err != nil {
		return false, "clients: " + err.Error()
	}
	_ = conn.Close()
	return true, "serves"
}

// provision are the statements that make a fresh proxy the one that the options describe, on its disk too.
func provision(opts ProxyOptions) ([]string, error) {
	variables := map[string]string{
		"mysql-monitor_enabled":  fmt.Sprint(opts.Monitor),
		"mysql-monitor_username": MonitorUser.Name, "mysql-monitor_password": MonitorUser.Password,
		// Executing a statement again that may have been executed would hide what happened to it.
		"mysql-query_retries_on_failure":   "0",
		"mysql-connect_timeout_server_max": "10000",
		// Ending a session that waits for an acknowledgement lets others commit without it.
		"mysql-kill_backend_connection_when_disconnect": "false",
	}
	for name, value := range opts.Variables {
		variables[name] = value
	}
	names := make([]string, 0, len(variables))
	for name := range variables {
		names = append(names, name)
	}
	sort.Strings(names)
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf("UPDATE global_variables SET variable_value=%s WHERE variable_name=%s",
			literal(variables[name]), literal(name)))
	}
	for _, u := range opts.Users {
		all = append(all, fmt.Sprintf("INSERT INTO mysql_users (username, password, default_hostgroup) VALUES (%s, %s, %d)",
			literal(u.Name), literal(u.Password), u.Hostgroup))
	}
	for _, s := range opts.Servers {
		host, port, err := net.SplitHostPort(s.Addr)
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("INSERT INTO mysql_servers (hostgroup_id, hostname, port, status) VALUES (%d, %s, %s, %s)",
			s.Hostgroup, literal(host), port, literal(orDefault(s.Status, "ONLINE"))))
	}
	for _, what := range []string{"ADMIN VARIABLES", "MYSQL VARIABLES", "MYSQL USERS", "MYSQL SERVERS"} {
		all = append(all, "LOAD "+what+" TO RUNTIME", "SAVE "+what+" TO DISK")
	}
	return all, nil
}

// literal quotes a value for SQLite.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
