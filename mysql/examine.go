package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// examined are the variables that the doctor looks at; no server has all of them.
var examined = []string{
	"read_only", "super_read_only", "binlog_row_image", "sync_binlog", "innodb_flush_log_at_trx_commit", "enforce_gtid_consistency",
	"slave_net_timeout", "replica_net_timeout", "slave_parallel_threads", "slave_parallel_workers", "replica_parallel_workers",
	"slave_preserve_commit_order", "replica_preserve_commit_order", "relay_log_recovery", "slave_skip_errors", "replica_skip_errors",
	"slave_exec_mode", "replica_exec_mode", "performance_schema", "skip_slave_start", "skip_replica_start", "event_scheduler",
	"rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled", "rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled",
}

// Examine reads what a server is set to, within ctx. What could not be read is said
// in the answer, and so is a server that did not answer; it changes nothing.
func (s *Servers) Examine(ctx context.Context, addr topology.Addr) doctor.Server {
	found, began := doctor.Server{Addr: addr}, time.Now()
	err := s.as(ctx, "examine", addr, func(ctx context.Context, a *actor) error {
		e := &examiner{actor: a, found: &found}
		return e.examine(ctx)
	})
	if err != nil {
		found.State, found.Error = nil, err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			found.Error = fmt.Sprintf("no answer within %v", time.Since(began).Round(100*time.Millisecond))
		}
	}
	return found
}

// Mend makes the settings of a fix on a server, and reads them back. It makes none
// that the doctor's table does not allow.
func (s *Servers) Mend(ctx context.Context, fix doctor.Fix) error {
	const op = "mend"
	if why := fix.Refused(); why != "" || fix.Server == "" {
		return &Error{Op: op, Addr: fix.Server, Err: fmt.Errorf("nothing was sent: %s", why)}
	}
	return s.as(ctx, op, fix.Server, func(ctx context.Context, a *actor) error {
		for _, set := range fix.Settings {
			if err := a.do(ctx, plain("%s", set.Statement())); err != nil {
				return err
			}
			a.log.Info("a setting was mended, as was asked for", "statement", set.Statement())
			if set.How == doctor.Reset {
				continue
			}
			query := fmt.Sprintf("SELECT @@GLOBAL.%s AS value", set.Name)
			results, err := a.session.query(ctx, query)
			if err != nil {
				return a.fail(plain("%s", query), err)
			}
			if have := results[0].first()["value"]; have != set.Value && isOn(have) != isOn(set.Value) {
				return a.failed("%s is %s after [%s]", set.Name, have, set.Statement())
			}
		}
		return nil
	})
}

// examiner reads one server, a question at a time: one that is denied leaves the
// others.
type examiner struct {
	*actor
	found *doctor.Server
}

func (e *examiner) examine(ctx context.Context) error {
	r, err := e.read(ctx)
	if err != nil {
		return err
	}
	e.found.State = r.state
	for _, c := range r.channels {
		e.found.Channels = append(e.found.Channels, doctor.Channel{
			Name: c.Channel, ConnectRetry: topology.Duration(time.Duration(c.connectRetry) * time.Second), Retries: c.retries, TLS: c.tls, Wanders: c.wanders,
		})
	}
	if missing := e.session.missing(); missing != "" {
		e.found.Unread = append(e.found.Unread, missing)
	}
	for _, look := range []func(context.Context, *reading) error{
		e.variables, e.origins, e.account, e.replicationAccount, e.plugins, e.events, e.encryption, e.clock,
	} {
		if err := look(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// ask runs a query. One that is denied is noted, with the privilege that it needs, and
// has ok false.
func (e *examiner) ask(ctx context.Context, what, needs, query string) (res result, ok bool, err error) {
	results, err := e.session.query(ctx, query)
	switch {
	case lacksPrivilege(err):
		e.found.Unread = append(e.found.Unread, fmt.Sprintf("cannot read the %s, grant %s: %v", what, needs, err))
		return nil, false, nil
	case err != nil:
		return nil, false, e.fail(plain("%s", query), err)
	case len(results) != 1:
		return nil, false, e.failed("%w: %d results for one statement", errGarbled, len(results))
	}
	return results[0], true, nil
}

func (e *examiner) variables(ctx context.Context, _ *reading) error {
	res, _, err := e.ask(ctx, "variables", "a log-in", "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+quoteAll(examined)+")")
	e.found.Variables = res.pairs()
	return err
}

// origins says where values in force come from, and what is persisted; each maker has
// a table of its own.
func (e *examiner) origins(ctx context.Context, r *reading) error {
	names := quoteAll([]string{"read_only", "super_read_only"})
	if !r.mariadb() {
		return e.oracleOrigins(ctx, names)
	}
	res, ok, err := e.ask(ctx, "origins of variables", "a log-in",
		"SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE_ORIGIN AS value FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME IN ("+names+")")
	if ok {
		e.found.Origins = named(res)
	}
	return err
}

func (e *examiner) account(ctx context.Context, r *reading) error {
	res, ok, err := e.ask(ctx, "account", "a log-in", "SELECT CURRENT_USER() AS me, @@SESSION.max_user_connections AS most")
	if err != nil || !ok {
		return err
	}
	me, most := res.first()["me"], res.first().integer("most")
	grants, ok, err := e.ask(ctx, "privileges of the account", "a log-in", "SHOW GRANTS")
	if err != nil || !ok {
		return err
	}
	e.found.Account = parseGrants(grants).account(me, r)
	e.found.Account.Limit = most
	return nil
}

// replicationAccount looks up the account that replicas use; it takes a privilege
// that watching does not, so its absence is no finding.
func (e *examiner) replicationAccount(ctx context.Context, _ *reading) error {
	if e.cfg.ReplicationUser == "" {
		return nil
	}
	query := "SELECT Host AS host, Repl_slave_priv AS may FROM mysql.user WHERE User = " + quote(e.cfg.ReplicationUser)
	results, err := e.session.query(ctx, query)
	if lacksPrivilege(err) {
		return nil
	}
	if err != nil {
		return e.fail(plain("%s", query), err)
	}
	e.found.Replication = []doctor.Account{}
	for _, line := range results[0] {
		a := doctor.Account{Host: line["host"]}
		if line["may"] != "Y" {
			a.Missing = map[doctor.Use][]string{doctor.UseReplicate: {"REPLICATION SLAVE"}}
			a.Grant = map[doctor.Use]string{doctor.UseReplicate: "GRANT REPLICATION SLAVE ON *.* TO " + accountName(e.cfg.ReplicationUser, line["host"])}
		}
		e.found.Replication = append(e.found.Replication, a)
	}
	return nil
}

func (e *examiner) plugins(ctx context.Context, r *reading) error {
	if r.mariadb() {
		return nil
	}
	res, ok, err := e.ask(ctx, "plugins", "a log-in", "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone' AND PLUGIN_STATUS = 'ACTIVE'")
	if ok {
		e.found.Plugins = map[string]bool{}
		for _, line := range res {
			e.found.Plugins[line["name"]] = true
		}
	}
	return err
}

// events counts those that run here. Who may not see events sees none, and no error.
func (e *examiner) events(ctx context.Context, _ *reading) error {
	grants, ok, err := e.ask(ctx, "privileges of the account", "a log-in", "SHOW GRANTS")
	if err != nil || !ok || !parseGrants(grants).has("EVENT") {
		return err
	}
	res, ok, err := e.ask(ctx, "events", "EVENT ON *.*", "SELECT COUNT(*) AS n FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'")
	if ok {
		n := res.first().integer("n")
		e.found.Events = &n
	}
	return err
}

func (e *examiner) encryption(ctx context.Context, _ *reading) error {
	res, _, err := e.ask(ctx, "state of encryption", "a log-in", "SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_cipher','Ssl_server_not_after')")
	status := res.pairs()
	e.found.Cipher = status["ssl_cipher"]
	if end, parsed := time.Parse("Jan _2 15:04:05 2006 MST", status["ssl_server_not_after"]); parsed == nil {
		e.found.CertificateUntil = end
	}
	return err
}

// clock compares the server's clock with ours, half-way between question and answer.
func (e *examiner) clock(ctx context.Context, _ *reading) error {
	began := time.Now()
	res, ok, err := e.ask(ctx, "clock", "a log-in", "SELECT UTC_TIMESTAMP(6) AS now")
	took := time.Since(began)
	if err != nil || !ok {
		return err
	}
	now, err := time.Parse("2006-01-02 15:04:05.000000", res.first()["now"])
	if err != nil {
		return e.failed("%w: its time is %q", errGarbled, res.first()["now"])
	}
	e.found.Clock = &doctor.Clock{Ahead: topology.Duration(now.Sub(began.Add(took / 2))), Within: topology.Duration(took / 2)}
	return nil
}

func (r *reading) mariadb() bool { return r.state.Flavor == string(gtid.MariaDB) }

// named makes a map of columns name and value.
func named(res result) map[string]string {
	m := make(map[string]string, len(res))
	for _, line := range res {
		m[strings.ToLower(line["name"])] = line["value"]
	}
	return m
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, ",")
}

// accountName spells an account as GRANT takes it.
func accountName(user, host string) string { return quote(user) + "@" + quote(host) }
