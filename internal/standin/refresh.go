package standin

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// refresh fills the tables that a text names. ProxySQL looks for the names in lower case only, so RUNTIME_MYSQL_SERVERS
// shows what was read last.
func (a *admin) refresh(ctx context.Context, command string, admin bool) error {
	type filler struct {
		name string
		fill func(context.Context) error
	}
	for _, f := range []filler{
		{"stats_mysql_connection_pool", func(ctx context.Context) error {
			return a.fillPool(ctx, strings.Contains(command, "stats_mysql_connection_pool_reset"))
		}},
		{"stats_mysql_errors", func(ctx context.Context) error {
			return a.fillErrors(ctx, strings.Contains(command, "stats_mysql_errors_reset"))
		}},
		{"stats_mysql_global", a.fillGlobal},
		{"stats_mysql_users", a.fillUsers},
	} {
		if strings.Contains(command, f.name) {
			if err := f.fill(ctx); err != nil {
				return err
			}
		}
	}
	lower := strings.ToLower(command)
	if strings.Contains(lower, "processlist") {
		if err := a.fillProcesses(ctx); err != nil {
			return err
		}
	}
	if strings.HasPrefix(lower, "select @@") || lower == "show mysql status" {
		if err := a.fillGlobal(ctx); err != nil {
			return err
		}
	}
	if !admin || !strings.Contains(command, "runtime_") && !strings.Contains(command, "global_variables") {
		return nil
	}
	return a.refreshRuntime(ctx)
}

// refreshRuntime writes what runs into the tables that show it.
func (a *admin) refreshRuntime(ctx context.Context) error {
	for _, t := range a.store.config {
		if err := a.store.exec(ctx, "DELETE FROM main.runtime_"+t.name); err != nil {
			return err
		}
		var err error
		switch t.name {
		case "mysql_servers":
			err = a.fillServers(ctx)
		case "mysql_users":
			err = a.fillRuntimeUsers(ctx)
		case "global_variables":
			err = a.fillVariables(ctx)
		case "mysql_query_rules", "scheduler":
			err = a.store.exec(ctx, fmt.Sprintf("INSERT INTO main.runtime_%s SELECT * FROM running.%s WHERE active=1", t.name, t.name))
		default:
			err = a.store.exec(ctx, fmt.Sprintf("INSERT INTO main.runtime_%s SELECT * FROM running.%s", t.name, t.name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// insert adds a row to a table.
func (s *store) insert(ctx context.Context, table string, values ...any) error {
	marks := strings.TrimSuffix(strings.Repeat("?,", len(values)), ",")
	if _, err := s.conn.ExecContext(ctx, "INSERT OR REPLACE INTO "+table+" VALUES ("+marks+")", values...); err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	return nil
}

func (a *admin) fillServers(ctx context.Context) error {
	for _, s := range a.router.groups.snapshot(false) {
		if err := a.store.insert(ctx, "main.runtime_mysql_servers", s.hostgroup, s.host, s.port, s.gtidPort,
			s.status.String(), s.weight, s.compression, s.maxConnections, s.maxReplicationLag, s.useSSL, s.maxLatency,
			s.comment); err != nil {
			return err
		}
	}
	return nil
}

// fillRuntimeUsers shows each user twice, as front end and as back end.
func (a *admin) fillRuntimeUsers(ctx context.Context) error {
	const columns = "username, password, active, use_ssl, default_hostgroup, COALESCE(default_schema, ''), schema_locked, " +
		"transaction_persistent, fast_forward, %s, max_connections, attributes, comment"
	for _, role := range []string{"0, 1", "1, 0"} { // backend, frontend
		where := "frontend=1"
		if role == "1, 0" {
			where = "backend=1"
		}
		if err := a.store.exec(ctx, "INSERT INTO main.runtime_mysql_users SELECT "+fmt.Sprintf(columns, role)+
			" FROM running.mysql_users WHERE active=1 AND "+where); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) fillVariables(ctx context.Context) error {
	for name, value := range a.router.settings().raw {
		if err := a.store.insert(ctx, "main.runtime_global_variables", name, value); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) fillPool(ctx context.Context, reset bool) error {
	table := "stats.stats_mysql_connection_pool"
	if reset {
		table += "_reset"
	}
	if err := a.store.exec(ctx, "DELETE FROM "+table); err != nil {
		return err
	}
	for _, s := range a.router.groups.snapshot(reset) {
		if err := a.store.insert(ctx, table, s.hostgroup, s.host, s.port, s.status.String(), s.connUsed, s.connFree,
			s.connectOK, s.connectErr, s.maxUsed, s.queries, 0, s.sent, s.received, 0); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) fillErrors(ctx context.Context, reset bool) error {
	table := "stats.stats_mysql_errors"
	if reset {
		table += "_reset"
	}
	if err := a.store.exec(ctx, "DELETE FROM "+table); err != nil {
		return err
	}
	var err error
	a.router.errors.each(reset, func(k errorKey, e errorEntry) {
		if err == nil {
			err = a.store.insert(ctx, table, k.hostgroup, k.host, k.port, k.user, e.client, k.schema, int(k.code), e.count,
				e.first.Unix(), e.last.Unix(), e.message)
		}
	})
	return err
}

func (a *admin) fillGlobal(ctx context.Context) error {
	if err := a.store.exec(ctx, "DELETE FROM stats.stats_mysql_global"); err != nil {
		return err
	}
	r := a.router
	sessions := r.list()
	var queries uint64
	used := 0
	for _, s := range r.groups.snapshot(false) {
		queries += s.queries
		used += s.connUsed
	}
	for _, row := range []struct {
		name  string
		value uint64
	}{
		{"ProxySQL_Uptime", uint64(time.Since(a.started).Seconds())},
		{"Client_Connections_connected", uint64(len(sessions))},
		{"Client_Connections_created", r.createdCount()},
		{"Client_Connections_non_idle", uint64(len(sessions))},
		{"Questions", queries},
		{"Server_Connections_connected", uint64(used)},
		{"Servers_table_version", r.groups.tableVersion()},
		{"MySQL_Thread_Workers", 4},
		{"MySQL_Monitor_Workers", 0},
	} {
		if err := a.store.insert(ctx, "stats.stats_mysql_global", row.name, strconv.FormatUint(row.value, 10)); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) fillUsers(ctx context.Context) error {
	if err := a.store.exec(ctx, "DELETE FROM stats.stats_mysql_users"); err != nil {
		return err
	}
	connected := make(map[string]int)
	for _, s := range a.router.list() {
		connected[s.view().user]++
	}
	for name := range a.router.users.Load().frontends {
		if err := a.store.insert(ctx, "stats.stats_mysql_users", name, connected[name], 10000); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) fillProcesses(ctx context.Context) error {
	if err := a.store.exec(ctx, "DELETE FROM stats.stats_mysql_processlist"); err != nil {
		return err
	}
	for _, s := range a.router.list() {
		v := s.view()
		if err := a.store.insert(ctx, "stats.stats_mysql_processlist", 0, v.id, v.user, v.schema, v.host, v.port, v.group,
			v.localHost, v.localPort, v.serverHost, v.serverPort, v.command, v.elapsed.Milliseconds(), v.info, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// view is a line of the process list; absent values are nil.
type view struct {
	id                    uint32
	user, schema, command string
	host                  string
	port, group           int
	serverHost            any
	serverPort            any
	localHost, localPort  any
	info                  any
	elapsed               time.Duration
}

func (s *session) view() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	host, port, _ := net.SplitHostPort(s.client.RemoteAddr().String())
	number, _ := strconv.Atoi(port)
	v := view{
		id: s.id, user: s.user.name, schema: s.schema, command: s.command, host: host, port: number, group: s.group,
		elapsed: time.Since(s.since),
	}
	b := s.inflight
	if b == nil && len(s.attached) > 0 {
		b = s.attached[0]
	}
	if b != nil {
		v.serverHost, v.serverPort = b.server.host, b.server.port
	}
	if s.info != "" {
		v.info = s.info
	}
	return v
}
