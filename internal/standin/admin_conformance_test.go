package standin_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

var adminCases = []spec{
	{"transactions answer OK and do nothing", func(f *fixture) {
		f.admin("BEGIN", "INSERT INTO mysql_servers (hostname) VALUES ('x')", "ROLLBACK")
		want(f.T, "rows after a rollback", f.value("SELECT COUNT(*) FROM mysql_servers"), "1")
		f.admin("START TRANSACTION", "COMMIT", "SET autocommit=0")
	}},
	{"of two statements only the first runs", func(f *fixture) {
		f.admin("INSERT INTO mysql_servers (hostname) VALUES ('x'); INSERT INTO mysql_servers (hostname) VALUES ('y')")
		want(f.T, "rows", f.value("SELECT COUNT(*) FROM mysql_servers"), "1")
		f.admin("INSERT INTO mysql_servers (hostname, comment) VALUES ('z', 'a;b')")
		want(f.T, "comment", f.value("SELECT comment FROM mysql_servers WHERE hostname='z'"), "a;b")
	}},
	{"an SQL error looks like a failed login", func(f *fixture) {
		for _, text := range []string{"SELECT missing", "SELEC 1", "SELECT * FROM nowhere", "LOAD MYSQL NONSENSE TO RUNTIME"} {
			_, err := f.proxy.Admin().ExecContext(f.ctx, text)
			e := wantCode(f.T, err, 1045)
			if !strings.HasPrefix(e.Message, "ProxySQL Admin Error: ") {
				f.Fatalf("%s: %s", text, e.Message)
			}
		}
	}},
	{"errors are told in SQLite's words", func(f *fixture) {
		for text, message := range map[string]string{
			"SELECT missing":        "no such column: missing",
			"SELEC 1":               `near "SELEC": syntax error`,
			"SELECT * FROM nowhere": "no such table: nowhere",
			"INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (1, NULL)": "NOT NULL constraint failed: mysql_servers.hostname",
		} {
			_, err := f.proxy.Admin().ExecContext(f.ctx, text)
			want(f.T, text, wantCode(f.T, err, 1045).Message, "ProxySQL Admin Error: "+message)
		}
	}},
	{"the schema refuses what it must", func(f *fixture) {
		for _, text := range []string{
			"INSERT INTO mysql_servers (hostname, status) VALUES ('x', 'UP')",
			"INSERT INTO mysql_servers (hostname, weight) VALUES ('x', -1)",
			"INSERT INTO mysql_hostgroup_attributes (hostgroup_id, max_num_online_servers) VALUES (1, -1)",
			"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (1, 1)",
		} {
			_, err := f.proxy.Admin().ExecContext(f.ctx, text)
			wantCode(f.T, err, 1045)
		}
	}},
	{"there are no prepared statements", func(f *fixture) {
		_, err := f.proxy.Admin().PrepareContext(f.ctx, "SELECT 1")
		wantCode(f.T, err, 1045)
	}},
	{"runtime tables are refreshed only under their lower-case names", func(f *fixture) {
		f.serve(online(f.a))
		want(f.T, "rows", f.value("SELECT COUNT(*) FROM runtime_mysql_servers"), "1")
		f.serve(online(f.a), online(f.b))
		want(f.T, "rows in upper case", f.value("SELECT COUNT(*) FROM RUNTIME_MYSQL_SERVERS"), "1")
		want(f.T, "rows in lower case", f.value("SELECT COUNT(*) FROM runtime_mysql_servers"), "2")
	}},
	{"each LOAD raises the version of the servers by one", func(f *fixture) {
		const query = "SELECT Variable_Value FROM stats_mysql_global WHERE Variable_Name='Servers_table_version'"
		before, err := strconv.Atoi(f.value(query))
		check(f.T, err)
		f.load()
		f.load()
		want(f.T, "version", f.value(query), strconv.Itoa(before+2))
	}},
	{"OFFLINE_HARD without connections is the same as absent", func(f *fixture) {
		f.serve(online(f.a), offline(f.b))
		want(f.T, "status", f.status(f.b), "")
		want(f.T, "status in memory", f.value(fmt.Sprintf("SELECT status FROM mysql_servers WHERE port=%d", f.b.Port)), "OFFLINE_HARD")
	}},
	{"one's own tables live in memory and are seen by all", func(f *fixture) {
		f.admin("CREATE TABLE IF NOT EXISTS ha_epoch (id INT PRIMARY KEY, epoch INT)", "INSERT OR REPLACE INTO ha_epoch VALUES (1, 7)")
		want(f.T, "epoch", f.value("SELECT epoch FROM ha_epoch"), "7")
		f.admin("DROP TABLE ha_epoch")
	}},
	{"one guarded UPDATE moves the writer, or nothing", func(f *fixture) {
		f.serve(online(f.a), soft(f.b))
		f.admin("CREATE TABLE ha_epoch (id INT PRIMARY KEY, epoch INT)", "INSERT INTO ha_epoch VALUES (1, 7)")
		defer f.admin("DROP TABLE ha_epoch")
		move := fmt.Sprintf("UPDATE mysql_servers SET status = CASE port WHEN %d THEN 'ONLINE' ELSE 'OFFLINE_HARD' END "+
			"WHERE hostgroup_id=10 AND (SELECT epoch FROM ha_epoch WHERE id=1) = ", f.b.Port)
		f.admin(move + "6")
		f.load()
		want(f.T, "status after a wrong epoch", f.status(f.a), "ONLINE")
		f.admin(move + "7")
		f.load()
		want(f.T, "status of the old", f.status(f.a), "")
		want(f.T, "status of the new", f.status(f.b), "ONLINE")
	}},
	{"a value out of bounds is put back by LOAD, which answers OK", func(f *fixture) {
		for name, values := range map[string][3]string{ // set, then in memory, then at runtime
			"max_connections":  {"-5", "10000", "10000"},
			"multiplexing":     {"maybe", "true", "true"},
			"shun_on_failures": {"5x", "5x", "5"},
		} {
			f.set(name, values[0])
			const query = "SELECT variable_value FROM %s WHERE variable_name='mysql-%s'"
			want(f.T, name+" in memory", f.value(fmt.Sprintf(query, "global_variables", name)), values[1])
			want(f.T, name+" at runtime", f.value(fmt.Sprintf(query, "runtime_global_variables", name)), values[2])
		}
		f.set("shun_on_failures", "5")
	}},
	{"SET is an UPDATE in memory, and an unknown one is OK", func(f *fixture) {
		f.admin("SET mysql-shun_recovery_time_sec=3", "SET NAMES utf8mb4", "SET nonsense=1")
		defer f.set("shun_recovery_time_sec", "10")
		const name = " WHERE variable_name='mysql-shun_recovery_time_sec'"
		want(f.T, "memory", f.value("SELECT variable_value FROM global_variables"+name), "3")
		want(f.T, "runtime", f.value("SELECT variable_value FROM runtime_global_variables"+name), "10")
	}},
	{"users show twice at runtime, as front end and as back end", func(f *fixture) {
		want(f.T, "rows", f.value("SELECT GROUP_CONCAT(backend||frontend) FROM runtime_mysql_users WHERE username='app'"), "10,01")
	}},
	{"KILL CONNECTION knows its sessions", func(f *fixture) {
		_, err := f.proxy.Admin().ExecContext(f.ctx, "KILL CONNECTION 999999")
		want(f.T, "message", wantCode(f.T, err, 1045).Message, "ProxySQL Admin Error: Unknown thread id: 999999")
	}},
	{"a ping does not wait for the mutex, a statement does", func(f *fixture) {
		const slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) SELECT MAX(i) FROM n"
		other := f.open(strings.Replace(f.proxy.DSN(adminUser, ""), f.proxy.ClientAddr, f.proxy.AdminAddr, 1))
		other.exec("SELECT 1")
		done := make(chan time.Time, 1)
		go func() {
			var n int
			_ = f.proxy.Admin().QueryRowContext(f.ctx, fmt.Sprintf(slow, 2_000_000)).Scan(&n)
			done <- time.Now()
		}()
		f.eventually("a statement to wait for the mutex", func() (bool, string) {
			start := time.Now()
			other.exec("SELECT 1")
			took := time.Since(start)
			return took > 50*time.Millisecond, took.String()
		})
		<-done
	}},
	{"clients' own questions are answered", func(f *fixture) {
		if v := f.value("SELECT @@version"); !strings.HasPrefix(v, "2.") && !strings.HasPrefix(v, "3.") {
			f.Fatalf("version is %q", v)
		}
		want(f.T, "version()", f.value("SELECT version()"), f.value("SELECT @@version"))
		want(f.T, "variable", f.value("SELECT @@mysql-max_connections"), "10000")
		f.admin("SHOW TABLES", "SHOW TABLES FROM stats", "SHOW DATABASES", "SHOW PROCESSLIST", "SHOW FULL PROCESSLIST", "SHOW MYSQL STATUS")
	}},
	{"the count of affected rows is that of the last change by anyone", func(f *fixture) {
		f.admin("INSERT INTO mysql_servers (hostname) VALUES ('x'), ('y')")
		r, err := f.proxy.Admin().ExecContext(f.ctx, "UPDATE mysql_servers SET weight=2")
		check(f.T, err)
		n, err := r.RowsAffected()
		check(f.T, err)
		want(f.T, "affected rows of an UPDATE", n, 2)
		r, err = f.proxy.Admin().ExecContext(f.ctx, "CREATE TABLE IF NOT EXISTS mysql_servers (id INT)")
		check(f.T, err)
		n, err = r.RowsAffected()
		check(f.T, err)
		want(f.T, "affected rows of a statement that changes nothing", n, 2)
	}},
}
