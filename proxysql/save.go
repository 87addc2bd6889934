package proxysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Save writes the rows of the two hostgroups to ProxySQL's disk, with every
// server of the writer hostgroup OFFLINE_HARD: a ProxySQL that restarts serves its
// disk at once, and must not come back with a writer that may be none any more.
// Readers are saved as they are. Rows of other hostgroups are left alone. With
// TakeOver, what was taken over is taken over on disk too.
//
// Nothing is written when the disk holds that already. Call it after a route
// was applied, and now and then: an operator's SAVE MYSQL SERVERS TO DISK undoes it.
func (a *Admin) Save(ctx context.Context, hg Hostgroups) error {
	if err := hg.Validate(); err != nil {
		return fmt.Errorf("proxysql %s: %w", a.cfg.Addr, err)
	}
	t := newTask(saving, "save", subject{hg: hg})
	if !a.ask(ctx, t) {
		return a.left(ctx, t)
	}
	return t.err
}

// save writes the rows of the tasks' hostgroups.
func (a *Admin) save(ctx context.Context, tasks []*task) {
	subjects := make([]subject, len(tasks))
	for i, t := range tasks {
		subjects[i] = t.subject
	}
	if err := a.saveAll(ctx, subjects); err != nil {
		a.fail(tasks, err)
		return
	}
	for _, t := range tasks {
		t.finish(nil)
	}
}

func (a *Admin) saveAll(ctx context.Context, of []subject) error {
	stale, err := a.unsaved(ctx, of)
	if err != nil || stale == 0 {
		return err
	}
	for _, st := range a.disk(of) {
		if err := a.exec(ctx, st); err != nil {
			return err
		}
	}
	if stale, err = a.unsaved(ctx, of); err == nil && stale > 0 {
		err = fmt.Errorf("proxysql %s: save: %w: %d rows on disk differ", a.cfg.Addr, ErrNotReadBack, stale)
	}
	return err
}

// fencedRows selects memory's rows as the disk shall hold them.
func fencedRows(of []subject) string {
	status := fmt.Sprintf("CASE WHEN hostgroup_id IN (%s) THEN '%s' ELSE status END", writersOf(of), offlineHard)
	return fmt.Sprintf("SELECT %s FROM main.mysql_servers WHERE hostgroup_id IN (%s)", strings.Replace(columns, "status", status, 1), groupsOf(of))
}

const attributesTable = "mysql_hostgroup_attributes"

// takingOver are those that may take over what claims their hostgroups.
func takingOver(of []subject) []subject {
	var list []subject
	for _, s := range of {
		if s.hg.TakeOver {
			list = append(list, s)
		}
	}
	return list
}

// unsaved counts what the disk lacks or has otherwise.
func (a *Admin) unsaved(ctx context.Context, of []subject) (int, error) {
	parts := []string{
		fmt.Sprintf("SELECT COUNT(*) AS n FROM (%s EXCEPT SELECT %s FROM disk.mysql_servers)", fencedRows(of), columns),
		fmt.Sprintf("SELECT COUNT(*) FROM disk.mysql_servers WHERE hostgroup_id IN (%s) AND upper(status) <> '%s'", writersOf(of), offlineHard),
	}
	if a.tables[attributesTable] {
		parts = append(parts, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT * FROM main.%[1]s WHERE hostgroup_id IN (%[2]s) EXCEPT "+
			"SELECT * FROM disk.%[1]s)", attributesTable, writersOf(of)))
	}
	if over := takingOver(of); len(over) > 0 {
		for _, c := range claimants {
			if a.tables[c.table] {
				parts = append(parts, fmt.Sprintf("SELECT COUNT(*) FROM disk.%s WHERE %s", c.table, names(c.hg, groupsOf(over))))
			}
		}
		if a.cluster.peers > 0 {
			parts = append(parts, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT '0' EXCEPT SELECT variable_value FROM disk.global_variables "+
				"WHERE variable_name = '%s')", syncLimit))
		}
	}
	rows, err := a.query(ctx, statement{"compare the disk", fmt.Sprintf("SELECT SUM(n) FROM (%s)", strings.Join(parts, " UNION ALL "))})
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return 0, fmt.Errorf("proxysql %s: compare the disk: %d rows, want 1", a.cfg.Addr, len(rows))
	}
	n, err := strconv.ParseFloat(rows[0][0], 64)
	if err != nil {
		return 0, fmt.Errorf("proxysql %s: compare the disk: %w", a.cfg.Addr, err)
	}
	return int(n), nil
}

// disk is what brings the disk up to date; each statement is safe by itself, and the
// fence comes first.
func (a *Admin) disk(of []subject) []statement {
	list := []statement{
		{"fence the disk", fmt.Sprintf("UPDATE disk.mysql_servers SET status = '%s' WHERE hostgroup_id IN (%s) AND upper(status) <> '%[1]s'",
			offlineHard, writersOf(of))},
		{"save servers", fmt.Sprintf("INSERT OR REPLACE INTO disk.mysql_servers (%s) %s", columns, fencedRows(of))},
	}
	if a.tables[attributesTable] {
		list = append(list, statement{"save attributes", fmt.Sprintf(
			"INSERT OR REPLACE INTO disk.%[1]s SELECT * FROM main.%[1]s WHERE hostgroup_id IN (%[2]s)", attributesTable, writersOf(of))})
	}
	if over := takingOver(of); len(over) > 0 {
		for _, c := range claimants {
			if a.tables[c.table] {
				list = append(list, statement{"release hostgroups on disk", fmt.Sprintf("DELETE FROM disk.%s WHERE %s", c.table, names(c.hg, groupsOf(over)))})
			}
		}
		if a.cluster.peers > 0 {
			list = append(list, statement{"save the servers' sync", fmt.Sprintf(
				"INSERT OR REPLACE INTO disk.global_variables (variable_name, variable_value) VALUES ('%s', '0')", syncLimit)})
		}
	}
	return list
}
