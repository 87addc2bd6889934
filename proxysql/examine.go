package proxysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/doctor"
)

// Examine reads what the proxy is set to. What it does not know is absent; a proxy
// that cannot be read is said in the answer. It changes nothing.
func (a *Admin) Examine(ctx context.Context) doctor.Proxy {
	end, err := a.begin(ctx)
	if err != nil {
		return doctor.Proxy{Error: err.Error()}
	}
	defer end()
	p := doctor.Proxy{Version: a.version}
	for _, look := range []func(context.Context, *doctor.Proxy) error{a.examineVariables, a.examineTables, a.examineUsers} {
		if err := look(ctx, &p); err != nil {
			return doctor.Proxy{Error: err.Error()}
		}
	}
	return p
}

func (a *Admin) examineVariables(ctx context.Context, p *doctor.Proxy) (err error) {
	names := "WHERE variable_name IN (" + literals(doctor.Variables()) + ")"
	read := func(table string) map[string]string {
		var rows [][]string
		if err == nil {
			rows, err = a.query(ctx, statement{"read variables of " + table, "SELECT variable_name, variable_value FROM " + table + " " + names})
		}
		values := map[string]string{}
		for _, r := range rows {
			values[r[0]] = r[1]
		}
		return values
	}
	p.Runtime, p.Memory, p.Disk = read("runtime_global_variables"), read("main.global_variables"), read("disk.global_variables")
	return err
}

// examineTables reads what moves servers, and how many there are.
func (a *Admin) examineTables(ctx context.Context, p *doctor.Proxy) error {
	if err := a.readClustering(ctx); err != nil {
		return err
	}
	p.Peers = a.cluster.peers
	for _, c := range claimants {
		if !a.tables["runtime_"+c.table] {
			continue
		}
		rows, err := a.query(ctx, statement{"read " + c.table, "SELECT " + strings.Join(c.hg, ", ") + " FROM runtime_" + c.table})
		if err != nil {
			return err
		}
		for _, r := range rows {
			p.Claims = append(p.Claims, doctor.Claim{Table: c.table, Groups: ints(r)})
		}
	}
	var err error
	if p.Groups, err = a.byGroup(ctx, "SELECT hostgroup_id, COUNT(*) FROM runtime_mysql_servers GROUP BY hostgroup_id"); err != nil {
		return err
	}
	if a.tables["runtime_mysql_hostgroup_attributes"] {
		p.Online, err = a.byGroup(ctx, "SELECT hostgroup_id, max_num_online_servers FROM runtime_mysql_hostgroup_attributes")
	}
	return err
}

func (a *Admin) byGroup(ctx context.Context, query string) (map[int]int, error) {
	rows, err := a.query(ctx, statement{"read hostgroups", query})
	if err != nil {
		return nil, err
	}
	values := map[int]int{}
	for _, r := range rows {
		n := ints(r)
		values[n[0]] = n[1]
	}
	return values, nil
}

func (a *Admin) examineUsers(ctx context.Context, p *doctor.Proxy) error {
	rows, err := a.query(ctx, statement{"read users",
		"SELECT username, default_hostgroup, transaction_persistent FROM runtime_mysql_users WHERE active = 1 AND frontend = 1 ORDER BY username"})
	if err != nil {
		return err
	}
	for _, r := range rows {
		n := ints(r[1:])
		p.Users = append(p.Users, doctor.User{Name: r[0], Group: n[0], Persistent: n[1] == 1})
	}
	// The newest ping of each server; a ProxySQL without a monitor has no such table.
	rows, err = a.query(ctx, statement{"read the monitor's log",
		"SELECT hostname, port, MAX(time_start_us), ping_error FROM monitor.mysql_server_ping_log GROUP BY hostname, port ORDER BY 1, 2"})
	if err != nil && !errors.Is(err, ErrRefused) {
		return err
	}
	for _, r := range rows {
		if strings.Contains(r[3], "Access denied") {
			p.Logins = append(p.Logins, fmt.Sprintf("%s:%s (%s)", r[0], r[1], r[3]))
		}
	}
	return nil
}

// Mend sets variables as a fix of the doctor says, in memory, runtime and on disk, and
// reads them back. A LOAD publishes what others prepared in memory too, so where there
// is such a thing nothing is changed.
func (a *Admin) Mend(ctx context.Context, fix doctor.Fix) error {
	if why := fix.Refused(); why != "" || fix.Proxy == "" {
		return fmt.Errorf("proxysql %s: nothing was set: %s", a.cfg.Addr, why)
	}
	end, err := a.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	var names []string
	for _, s := range fix.Settings {
		names = append(names, s.Name)
	}
	rows, err := a.query(ctx, statement{"compare memory and runtime", fmt.Sprintf(
		"SELECT m.variable_name FROM main.global_variables m JOIN runtime_global_variables r ON r.variable_name = m.variable_name "+
			"WHERE m.variable_value <> r.variable_value AND m.variable_name LIKE '%s-%%' AND m.variable_name NOT IN (%s)",
		strings.ToLower(fix.Class()), literals(names))})
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fmt.Errorf("proxysql %s: nothing was set: %s in memory differs from runtime, and LOAD would publish it; load it or put it back first", a.cfg.Addr, rows[0][0])
	}
	for _, text := range fix.Statements() {
		if err := a.exec(ctx, statement{"mend", text}); err != nil {
			return err
		}
		a.log.Info("a variable was mended, as was asked for", "statement", text)
	}
	a.checked = time.Time{} // what was read of them is old
	rows, err = a.query(ctx, statement{"read back", "SELECT variable_name, variable_value FROM runtime_global_variables WHERE variable_name IN (" + literals(names) + ")"})
	if err != nil {
		return err
	}
	for _, s := range fix.Settings {
		if !slices.ContainsFunc(rows, func(r []string) bool { return r[0] == s.Name && r[1] == s.Value }) {
			return fmt.Errorf("proxysql %s: %s = %s: %w: runtime has %v", a.cfg.Addr, s.Name, s.Value, ErrNotReadBack, rows)
		}
	}
	return nil
}

func ints(cells []string) []int {
	list := make([]int, len(cells))
	for i, c := range cells {
		list[i], _ = strconv.Atoi(c)
	}
	return list
}

func literals(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = literal(w)
	}
	return strings.Join(quoted, ", ")
}
