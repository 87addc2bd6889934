package standin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// record is a row with its values by column; NULL is absent.
type record map[string]string

func (r record) number(column string) int {
	n, _ := strconv.Atoi(r[column]) // the schema's checks let only numbers in where it matters
	return n
}

// optional is nil for NULL.
func (r record) optional(column string) *int {
	if _, ok := r[column]; !ok {
		return nil
	}
	n := r.number(column)
	return &n
}

func (s *store) records(ctx context.Context, sql string) ([]record, error) {
	a, err := s.query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	list := make([]record, 0, len(a.rows))
	for _, row := range a.rows {
		r := make(record, len(row))
		for i, v := range row {
			if v != nil {
				r[a.columns[i]] = *v
			}
		}
		list = append(list, r)
	}
	return list, nil
}

func (a *admin) applyServers(ctx context.Context) error {
	records, err := a.store.records(ctx, "SELECT * FROM running.mysql_servers ORDER BY hostgroup_id, hostname, port")
	if err != nil {
		return err
	}
	rows := make([]serverRow, 0, len(records))
	for _, r := range records {
		rows = append(rows, serverRow{
			serverID{hostgroup: r.number("hostgroup_id"), host: r["hostname"], port: r.number("port")},
			attributes{
				gtidPort: r.number("gtid_port"), status: parseStatus(r["status"]), weight: r.number("weight"),
				compression: r.number("compression"), maxConnections: r.number("max_connections"),
				maxReplicationLag: r.number("max_replication_lag"), useSSL: r.number("use_ssl"),
				maxLatency: r.number("max_latency_ms"), comment: r["comment"],
			},
		})
	}
	groups, err := a.store.records(ctx, "SELECT * FROM running.mysql_hostgroup_attributes")
	if err != nil {
		return err
	}
	maxOnline := make(map[int]int)
	for _, r := range groups {
		maxOnline[r.number("hostgroup_id")] = r.number("max_num_online_servers")
	}
	a.router.groups.load(rows, maxOnline)
	return nil
}

func (a *admin) applyUsers(ctx context.Context) error {
	records, err := a.store.records(ctx, "SELECT * FROM running.mysql_users WHERE active=1 AND default_hostgroup>=0")
	if err != nil {
		return err
	}
	rows := make([]user, 0, len(records))
	for _, r := range records {
		rows = append(rows, user{
			name: r["username"], hostgroup: r.number("default_hostgroup"), schema: r["default_schema"],
			persistent: r.number("transaction_persistent") == 1, frontend: r.number("frontend") == 1,
			secret: wire.NewSecret(r["password"]),
		})
	}
	a.router.users.Store(newUsers(rows))
	return nil
}

func (a *admin) applyRules(ctx context.Context) error {
	records, err := a.store.records(ctx, "SELECT * FROM running.mysql_query_rules WHERE active=1 ORDER BY rule_id")
	if err != nil {
		return err
	}
	var all rules
	var problems []error
	for _, r := range records {
		digest, err := compileRule(r["match_digest"], r["re_modifiers"])
		pattern, err2 := compileRule(r["match_pattern"], r["re_modifiers"])
		if err := errors.Join(err, err2); err != nil {
			problems = append(problems, fmt.Errorf("rule %s: %w", r["rule_id"], err))
			continue
		}
		all.needDigest = all.needDigest || digest != nil
		all.list = append(all.list, rule{
			username: r["username"], schemaname: r["schemaname"], flagIn: r.number("flagIN"), digest: digest,
			pattern: pattern, negate: r.number("negate_match_pattern") == 1, flagOut: r.optional("flagOUT"),
			destination: r.optional("destination_hostgroup"), retries: r.optional("retries"),
			multiplex: r.optional("multiplex"), apply: r.number("apply") == 1,
		})
	}
	a.router.rules.Store(&all)
	return errors.Join(problems...)
}

func (a *admin) applyVariables(ctx context.Context, prefix string) error {
	records, err := a.store.records(ctx, "SELECT * FROM main.global_variables")
	if err != nil {
		return err
	}
	memory := make(map[string]string, len(records))
	for _, r := range records {
		memory[r["variable_name"]] = r["variable_value"]
	}
	next, refused := a.router.settings().accept(prefix, memory, a.defaults)
	a.router.set.Store(next)
	for name, value := range refused {
		for _, database := range []string{"main", "running"} {
			if err := a.store.exec(ctx, fmt.Sprintf("UPDATE %s.global_variables SET variable_value=%s WHERE variable_name=%s",
				database, quote(value), quote(name))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *admin) applyScheduler(ctx context.Context) error {
	records, err := a.store.records(ctx, "SELECT * FROM running.scheduler WHERE active=1")
	if err != nil {
		return err
	}
	var jobs []job
	for _, r := range records {
		j := job{id: r.number("id"), interval: millis(r.number("interval_ms")), file: r["filename"]}
		for _, column := range []string{"arg1", "arg2", "arg3", "arg4", "arg5"} {
			arg, ok := r[column]
			if !ok {
				break // as an exec, the list ends at the first NULL
			}
			j.args = append(j.args, arg)
		}
		jobs = append(jobs, j)
	}
	a.tick.load(jobs)
	return nil
}
