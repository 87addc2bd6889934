package standin

import (
	"context"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
)

// module is a part of the configuration that is loaded and saved as one.
type module struct {
	name   string
	tables []string
	// where limits global_variables to the module's own.
	where string
	// apply publishes what was just copied to the running layer.
	apply func(*admin, context.Context) error
}

var modules = []module{
	{name: "MYSQL SERVERS", tables: []string{
		"mysql_servers", "mysql_replication_hostgroups", "mysql_group_replication_hostgroups", "mysql_galera_hostgroups",
		"mysql_aws_aurora_hostgroups", "mysql_hostgroup_attributes", "mysql_servers_ssl_params",
	}, apply: (*admin).applyServers},
	{name: "MYSQL USERS", tables: []string{"mysql_users"}, apply: (*admin).applyUsers},
	{name: "MYSQL QUERY RULES", tables: []string{"mysql_query_rules"}, apply: (*admin).applyRules},
	{name: "MYSQL VARIABLES", tables: []string{"global_variables"}, where: " WHERE variable_name LIKE 'mysql-%'",
		apply: func(a *admin, ctx context.Context) error { return a.applyVariables(ctx, "mysql-") }},
	{name: "ADMIN VARIABLES", tables: []string{"global_variables"}, where: " WHERE variable_name LIKE 'admin-%'",
		apply: func(a *admin, ctx context.Context) error { return a.applyVariables(ctx, "admin-") }},
	{name: "SCHEDULER", tables: []string{"scheduler"}, apply: (*admin).applyScheduler},
	{name: "PROXYSQL SERVERS", tables: []string{"proxysql_servers"}, apply: func(*admin, context.Context) error { return nil }},
}

var movePattern = regexp.MustCompile(`^(LOAD|SAVE) (.+) (TO|FROM) (MEMORY|MEM|DISK|RUNTIME|RUN|CONFIG)$`)

// move copies a module between the layers. The layer that is not named follows from the verb. Whatever goes wrong on
// the way, the answer is OK: that is how ProxySQL does it.
func (a *admin) move(ctx context.Context, command string) (*result, error) {
	m := movePattern.FindStringSubmatch(command)
	if m == nil {
		return nil, nil
	}
	var mod *module
	for i := range modules {
		if modules[i].name == m[2] {
			mod = &modules[i]
		}
	}
	if mod == nil {
		return nil, nil
	}
	var err error
	switch m[1] + " " + m[3] + " " + strings.NewReplacer("MEMORY", "MEM", "RUNTIME", "RUN").Replace(m[4]) {
	case "LOAD TO MEM", "LOAD FROM DISK":
		err = a.copy(ctx, mod, "disk", "main")
	case "SAVE FROM MEM", "SAVE TO DISK":
		err = a.copy(ctx, mod, "main", "disk")
	case "LOAD FROM MEM", "LOAD TO RUN":
		err = a.publish(ctx, mod)
	case "SAVE TO MEM", "SAVE FROM RUN":
		err = a.retrieve(ctx, mod)
	case "LOAD FROM CONFIG": // there is no configuration file
	default:
		return nil, nil
	}
	if err != nil {
		a.log.Error("admin", "command", command, "error", err)
	}
	return okResult, nil
}

// copy replaces the module's rows of one database by those of another. As with ProxySQL this is no transaction.
func (a *admin) copy(ctx context.Context, mod *module, from, to string) error {
	for _, t := range mod.tables {
		if err := a.store.exec(ctx, fmt.Sprintf("DELETE FROM %s.%s%s", to, t, mod.where)); err != nil {
			return err
		}
		insert := fmt.Sprintf("INSERT OR REPLACE INTO %s.%s SELECT * FROM %s.%s%s", to, t, from, t, mod.where)
		if err := a.store.exec(ctx, insert); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) publish(ctx context.Context, mod *module) error {
	if err := a.copy(ctx, mod, "main", "running"); err != nil {
		return err
	}
	return mod.apply(a, ctx)
}

// retrieve brings the runtime back into memory. What was SHUNNED by errors is meant to be ONLINE.
func (a *admin) retrieve(ctx context.Context, mod *module) error {
	if err := a.refreshRuntime(ctx); err != nil {
		return err
	}
	for _, t := range mod.tables {
		if err := a.store.exec(ctx, fmt.Sprintf("DELETE FROM main.%s%s", t, mod.where)); err != nil {
			return err
		}
		insert := fmt.Sprintf("INSERT INTO main.%s SELECT * FROM main.runtime_%s%s", t, t, mod.where)
		if err := a.store.exec(ctx, insert); err != nil {
			return err
		}
	}
	if mod.name == "MYSQL SERVERS" {
		return a.store.exec(ctx, "UPDATE main.mysql_servers SET status='ONLINE' WHERE status='SHUNNED'")
	}
	return nil
}

// restore is what happens at a start: the disk is believed, however old it is.
func (a *admin) restore(ctx context.Context) error {
	for i := range modules {
		mod := &modules[i]
		for _, t := range mod.tables {
			insert := fmt.Sprintf("INSERT OR REPLACE INTO main.%s SELECT * FROM disk.%s%s", t, t, mod.where)
			if err := a.store.exec(ctx, insert); err != nil {
				return err
			}
		}
	}
	for i := range modules {
		if err := a.publish(ctx, &modules[i]); err != nil {
			return err
		}
	}
	return nil
}

var checksumPattern = regexp.MustCompile(`(?i)^CHECKSUM (?:(DISK|MEMORY|MEM) )?(.+)$`)

// checksum is comparable with itself alone, like ProxySQL's.
func (a *admin) checksum(ctx context.Context, command string) (*result, error) {
	m := checksumPattern.FindStringSubmatch(command)
	if m == nil {
		return nil, nil
	}
	database := "main"
	if strings.EqualFold(m[1], "DISK") {
		database = "disk"
	}
	for _, mod := range modules {
		if !strings.EqualFold(mod.name, m[2]) {
			continue
		}
		rows, err := a.store.query(ctx, fmt.Sprintf("SELECT * FROM %s.%s%s ORDER BY 1, 2, 3", database, mod.tables[0], mod.where))
		if err != nil {
			return nil, err
		}
		h := fnv.New64a()
		for _, row := range rows.rows {
			for _, v := range row {
				if v != nil {
					_, _ = h.Write([]byte(*v)) // never fails
				}
				_, _ = h.Write([]byte{0})
			}
		}
		name, sum := mod.name, "0x"+strings.ToUpper(strconv.FormatUint(h.Sum64(), 16))
		return &result{answer: answer{columns: []string{"table", "checksum"}, rows: [][]*string{{&name, &sum}}}}, nil
	}
	return nil, nil
}
