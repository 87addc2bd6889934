package proxysql

import (
	"database/sql"
	"os"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // executes the statements as ProxySQL's admin does
	"pgregory.net/rapid"
)

// memoryAdmin is ProxySQL's admin interface reduced to its SQL: tables in memory,
// and a LOAD that copies. It tests what the statements do to memory, without I/O.
type memoryAdmin struct {
	db   *sql.DB
	tick func(name string) // called after each statement
}

var createStatement = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \(.*?\n\);`)

func newMemoryAdmin(t *testing.T) *memoryAdmin {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	m := &memoryAdmin{db: db, tick: func(string) {}}
	text, err := os.ReadFile("../internal/standin/schema/config.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, create := range createStatement.FindAllStringSubmatch(string(text), -1) {
		for _, prefix := range []string{"", "runtime_"} {
			if err := m.exec(strings.Replace(create[0], "CREATE TABLE "+create[1], "CREATE TABLE "+prefix+create[1], 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

// reset empties it, and fills mysql_servers and its runtime.
func (m *memoryAdmin) reset(t *rapid.T, memory, runtime []row) {
	m.tick = func(string) {}
	for _, st := range []string{"DROP TABLE IF EXISTS remora_epoch", "DELETE FROM mysql_servers", "DELETE FROM mysql_hostgroup_attributes", loadServers,
		insertAll("mysql_servers", memory), insertAll("runtime_mysql_servers", runtime)} {
		if err := m.exec(st); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *memoryAdmin) exec(text string) error {
	if text != loadServers {
		_, err := m.db.Exec(text)
		return err
	}
	for _, name := range []string{"mysql_servers", "mysql_hostgroup_attributes", "mysql_replication_hostgroups"} {
		for _, st := range []string{"DELETE FROM runtime_" + name, "INSERT INTO runtime_" + name + " SELECT * FROM " + name} {
			if _, err := m.db.Exec(st); err != nil {
				return err
			}
		}
	}
	_, err := m.db.Exec("DELETE FROM runtime_mysql_servers WHERE status = 'OFFLINE_HARD'")
	return err
}

func (m *memoryAdmin) query(text string) ([][]string, error) {
	rows, err := m.db.Query(text)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var table [][]string
	for rows.Next() {
		cells, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = c.String
		}
		table = append(table, line)
	}
	return table, rows.Err()
}

// claimed are the tables that a reading of a memoryAdmin has.
var claimed = map[string]bool{"mysql_hostgroup_attributes": true, "mysql_replication_hostgroups": true, "runtime_mysql_replication_hostgroups": true}

func (m *memoryAdmin) read(of ...subject) ([]*state, error) {
	q := reading{of: of, tables: claimed}
	rows, err := m.query("SELECT name FROM sqlite_master WHERE name = 'remora_epoch'")
	if err != nil {
		return nil, err
	}
	q.epoch = len(rows) > 0
	if rows, err = m.query(q.sql()); err != nil {
		return nil, err
	}
	return q.parse(rows)
}

// run executes statements in order.
func (m *memoryAdmin) run(list []statement) error {
	for _, st := range list {
		if err := m.exec(st.text); err != nil {
			return err
		}
		m.tick(st.name)
	}
	return nil
}
