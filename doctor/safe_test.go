package doctor

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOnlyTheTableIsMended(t *testing.T) {
	server := func(how How, name, value string) Fix {
		return Fix{Server: "a:3306", Settings: []Setting{{how, name, value}}}
	}
	onProxy := func(name, value string) Fix { return Fix{Proxy: "n1", Settings: []Setting{{Name: name, Value: value}}} }
	for _, f := range []Fix{
		server(Global, "sync_binlog", "1"), server(Persist, "innodb_flush_log_at_trx_commit", "1"), server(Global, "super_read_only", "ON"),
		server(Reset, "read_only", ""), server(Reset, "super_read_only", ""), server(Persist, "replica_net_timeout", "4"), server(Global, "slave_net_timeout", "60"),
		onProxy("mysql-connect_timeout_server_max", "20000"), onProxy("admin-cluster_mysql_servers_diffs_before_sync", "0"),
	} {
		if why := f.Refused(); why != "" {
			t.Errorf("%s is refused: %s", f, why)
		}
	}
	for _, f := range []Fix{
		{}, {Server: "a:3306"}, {Server: "a:3306", Proxy: "n1", Settings: []Setting{{Global, "sync_binlog", "1"}}},
		server(Global, "sync_binlog", "0"), server(Global, "sync_binlog", "01"), server(Global, "sync_binlog", "1; STOP SLAVE"), server(Global, "innodb_flush_log_at_trx_commit", "2"),
		server(Global, "read_only", "OFF"), server(Persist, "read_only", "ON"), server(Persist, "super_read_only", "ON"), server(Global, "super_read_only", "OFF"),
		server(Global, "slave_net_timeout", "3"), server(Global, "slave_net_timeout", "3600"), server("", "sync_binlog", "1"), server("global persist", "sync_binlog", "1"),
		server(Global, "gtid_strict_mode", "ON"), server(Global, "rpl_semi_sync_master_enabled", "0"), server(Reset, "sync_binlog", ""), server(Reset, "read_only", "ON"),
		server(Global, "mysql-connect_timeout_server_max", "20000"), onProxy("sync_binlog", "1"), onProxy("mysql-connect_timeout_server_max", "1000"),
		onProxy("mysql-kill_backend_connection_when_disconnect", "true"), onProxy("mysql-monitor_enabled", "false"), onProxy("mysql-shun_recovery_time_sec", "10' OR 1"),
		{Server: "a:3306", Settings: []Setting{{Global, "sync_binlog", "1"}, {Global, "sync_binlog", "0"}}},
	} {
		if why := f.Refused(); why == "" {
			t.Errorf("%s (%+v) is allowed", f, f)
		}
	}
}

// Whatever is allowed is one of a few kinds of statement, and holds no more than one.
func TestNoFixIsMoreThanASetting(t *testing.T) {
	var names []string
	for name := range safe {
		names = append(names, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := Fix{Server: "a:3306"}
		if rapid.Bool().Draw(t, "proxy") {
			f = Fix{Proxy: "n1"}
		}
		f.Settings = []Setting{{
			How:   How(rapid.SampledFrom([]string{"", "global", "persist", "reset", "persist_only"}).Draw(t, "how")),
			Name:  rapid.SampledFrom(names).Draw(t, "name"),
			Value: rapid.OneOf(rapid.SampledFrom([]string{"", "0", "1", "2", "ON", "OFF", "true", "false", "60", "30000", "1; x", "1'"}), rapid.StringMatching(`[0-9]{1,6}`)).Draw(t, "value"),
		}}
		if f.Refused() != "" {
			return
		}
		for _, s := range f.Statements() {
			fits := false
			for _, begins := range []string{"SET GLOBAL ", "SET PERSIST ", "RESET PERSIST IF EXISTS ", "UPDATE global_variables SET variable_value = '", "LOAD MYSQL VARIABLES TO RUNTIME",
				"LOAD ADMIN VARIABLES TO RUNTIME", "REPLACE INTO disk.global_variables VALUES ('"} {
				fits = fits || strings.HasPrefix(s, begins)
			}
			if !fits || strings.ContainsAny(s, ";\\") || strings.Count(s, "'")%2 != 0 {
				t.Errorf("%q", s)
			}
		}
	})
}
