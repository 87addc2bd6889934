package standin_test

import "fmt"

// layerCases are about memory, runtime and disk. They come last, for they start the proxy anew.
var layerCases = []spec{
	{"memory, runtime and disk are three layers", func(f *fixture) {
		count := func(table string) string { return f.value("SELECT COUNT(*) FROM " + table) }
		f.admin("SAVE MYSQL SERVERS TO DISK")
		f.admin(online(f.a).insert(writers))
		want(f.T, "runtime", count("runtime_mysql_servers"), "0")
		f.load()
		want(f.T, "runtime", count("runtime_mysql_servers"), "1")
		want(f.T, "disk", count("disk.mysql_servers"), "0")
		f.admin("SAVE MYSQL SERVERS TO DISK", "DELETE FROM mysql_servers", "LOAD MYSQL SERVERS FROM DISK")
		want(f.T, "memory", count("mysql_servers"), "1")
		f.admin("DELETE FROM mysql_servers", "SAVE MYSQL SERVERS FROM RUNTIME")
		want(f.T, "memory", count("mysql_servers"), "1")
	}},
	{"after a restart a stale writer is served, and one's own tables are gone", func(f *fixture) {
		f.serve(online(f.a))
		f.admin("SAVE MYSQL SERVERS TO DISK", "CREATE TABLE ha_epoch (id INT)")
		f.serve(online(f.b))
		check(f.T, f.proxy.Restart(f.ctx))
		f.client().expect("a")
		_, err := f.proxy.Admin().ExecContext(f.ctx, "SELECT * FROM ha_epoch")
		wantCode(f.T, err, 1045)
		want(f.T, "status", f.status(f.a), "ONLINE")
		want(f.T, "variables from the disk", f.value(fmt.Sprintf(
			"SELECT variable_value FROM runtime_global_variables WHERE variable_name='%s'", "mysql-query_retries_on_failure")), "0")
	}},
}
