package proxysql

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func (b *bench) examine(t testing.TB) doctor.Report {
	t.Helper()
	p := b.admin.Examine(within(t))
	c := doctor.Cluster{Name: "main", Writer: "db1:3306", Epoch: 1, WriterGroup: tens.Writer, ReaderGroup: tens.Reader, Policy: failover.DefaultPolicy(),
		Servers: []doctor.Server{{Addr: "db1:3306", State: &topology.State{Flavor: "mariadb"}}}}
	c.Policy.Durability = failover.SemiSync
	return doctor.Examine(&doctor.Facts{Node: "n1", Leader: "n1", Clusters: []doctor.Cluster{c}, Nodes: []doctor.Node{{Name: "n1", Proxy: &p}}})
}

func ofProxy(r doctor.Report, check string) *doctor.Finding {
	if i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == check && strings.HasSuffix(f.Where, "proxy") }); i >= 0 {
		return &r.Findings[i]
	}
	return nil
}

const (
	loadVariables = "LOAD MYSQL VARIABLES TO RUNTIME"
	loadAdmin     = "LOAD ADMIN VARIABLES TO RUNTIME"
)

// Every ailment of a proxy is seen, and what may be mended without a person is, in all
// three layers.
func TestTheDoctorSeesWhatIsSetBadly(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		b.apply(t, route(1, "db1:3306", topology.Open))
		set := func(name, value string) []string {
			load := loadVariables
			if strings.HasPrefix(name, "admin-") {
				load = loadAdmin
			}
			return []string{"UPDATE global_variables SET variable_value = '" + value + "' WHERE variable_name = '" + name + "'", load}
		}
		t.Cleanup(func() {
			sqlExec(t, b.Proxy, append(append(append(set("mysql-connect_timeout_server_max", "10000"), set("mysql-query_retries_on_failure", "0")...),
				set("mysql-shun_recovery_time_sec", "10")...), set("admin-cluster_mysql_servers_diffs_before_sync", "3")...)...)
			sqlExec(t, b.Proxy, "DELETE FROM mysql_users WHERE username = 'stray'", "UPDATE mysql_users SET transaction_persistent = 1", "LOAD MYSQL USERS TO RUNTIME",
				"SAVE MYSQL VARIABLES TO DISK", "SAVE ADMIN VARIABLES TO DISK")
		})
		for _, a := range []struct {
			check, says string
			spoil       []string
			fixed       bool
		}{
			{"proxy_hold_time", "is 10000 ms", set("mysql-connect_timeout_server_max", "10000"), true},
			{"proxy_connect_retries", "is 0", set("mysql-connect_retries_on_failure", "0"), true},
			{"proxy_kills", "KILL", set("mysql-kill_backend_connection_when_disconnect", "true"), true},
			{"proxy_monitor", "is 600", set("mysql-shun_recovery_time_sec", "600"), true},
			{"proxy_query_retries", "is 3", set("mysql-query_retries_on_failure", "3"), false},
			{"proxy_sticky_inserts", "is 5", set("mysql-auto_increment_delay_multiplex", "5"), false},
			{"proxy_monitor_tables", "mysql_replication_hostgroups names the managed hostgroups (10, 11)",
				[]string{"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 11)", "LOAD MYSQL SERVERS TO RUNTIME"}, false},
			{"proxy_cluster_sync", "proxysql_servers has 1 rows", append(set("admin-cluster_mysql_servers_diffs_before_sync", "3"),
				"INSERT INTO proxysql_servers (hostname, port) VALUES ('127.0.0.1', 1)", "LOAD PROXYSQL SERVERS TO RUNTIME"), true},
			{"proxy_one_writer", "of hostgroup 10 is not 1", []string{"DELETE FROM mysql_hostgroup_attributes", "LOAD MYSQL SERVERS TO RUNTIME"}, false},
			{"proxy_hostgroups", "no server of hostgroup 10", []string{"DELETE FROM mysql_servers", "LOAD MYSQL SERVERS TO RUNTIME"}, false},
			{"proxy_users", "user stray goes to the readers", []string{"INSERT INTO mysql_users (username, password, default_hostgroup) VALUES ('stray', 'x', 11)", "LOAD MYSQL USERS TO RUNTIME"}, false},
			{"proxy_users", "user stray goes to hostgroup 77", []string{"UPDATE mysql_users SET default_hostgroup = 77 WHERE username = 'stray'", "LOAD MYSQL USERS TO RUNTIME"}, false},
			{"proxy_users", "user app has transaction_persistent off", []string{"UPDATE mysql_users SET default_hostgroup = 10, transaction_persistent = 0", "LOAD MYSQL USERS TO RUNTIME"}, false},
			{"proxy_layers", "20000 on disk", []string{"UPDATE disk.global_variables SET variable_value = '20000' WHERE variable_name = 'mysql-connect_timeout_server_max'",
				"UPDATE global_variables SET variable_value = '30000' WHERE variable_name = 'mysql-connect_timeout_server_max'", loadVariables}, false},
		} {
			sqlExec(t, b.Proxy, a.spoil...)
			found := ofProxy(b.examine(t), a.check)
			if found == nil || !strings.Contains(found.Sentence, a.says) || found.Why == "" || found.Mend == "" || (found.Fix != nil) != a.fixed {
				t.Errorf("%s: %+v, want %q", a.check, found, a.says)
				continue
			}
			t.Logf("%s %s: %s; mend: %s", found.Severity, found.Where, found.Sentence, found.Mend)
			if !a.fixed {
				continue
			}
			must(t, b.admin.Mend(within(t), *found.Fix))
			r := b.examine(t)
			if still := ofProxy(r, a.check); still != nil {
				t.Errorf("after its fix: %+v", still)
			}
			for _, f := range r.Findings {
				if f.Check == "proxy_layers" && strings.HasPrefix(f.Sentence, found.Fix.Settings[0].Name+" ") {
					t.Errorf("after its fix: %+v", f)
				}
			}
		}
	})
}

// A LOAD would publish what another hand prepared.
func TestNothingIsMendedBesideWhatOthersPrepare(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		const hold = "UPDATE global_variables SET variable_value = '%' WHERE variable_name = 'mysql-default_query_delay'"
		sqlExec(t, b.Proxy, strings.ReplaceAll(hold, "%", "7"))
		t.Cleanup(func() { sqlExec(t, b.Proxy, strings.ReplaceAll(hold, "%", "0"), loadVariables) })
		fix := doctor.Fix{Proxy: "n1", Settings: []doctor.Setting{{Name: "mysql-connect_timeout_server_max", Value: "25000"}}}
		before := b.admin.Examine(within(t)).Runtime
		if err := b.admin.Mend(within(t), fix); err == nil || !strings.Contains(err.Error(), "mysql-default_query_delay in memory differs") {
			t.Errorf("%v", err)
		}
		fix.Settings[0].Value = "1"
		if err := b.admin.Mend(within(t), fix); err == nil || !strings.Contains(err.Error(), "nothing was set") {
			t.Errorf("%v", err)
		}
		if after := b.admin.Examine(within(t)).Runtime; after["mysql-connect_timeout_server_max"] != before["mysql-connect_timeout_server_max"] {
			t.Errorf("%v became %v", before, after)
		}
	})
}

func TestAProxyThatCannotBeExaminedSaysSo(t *testing.T) {
	a := New(Config{Addr: "127.0.0.1:1", User: lab.AdminUser.Name, Password: lab.AdminUser.Password}, nil, nil)
	defer a.Close()
	if p := a.Examine(within(t)); p.Error == "" || p.Runtime != nil {
		t.Errorf("%+v", p)
	}
	if err := a.Mend(within(t), doctor.Fix{Proxy: "n1", Settings: []doctor.Setting{{Name: "mysql-connect_timeout_server_max", Value: "25000"}}}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
