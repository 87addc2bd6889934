package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

var noon = time.Date(2027, 1, 8, 12, 0, 0, 0, time.UTC)

const second = topology.Duration(time.Second)

// well is a fleet of which nothing can be said: two clusters, of MariaDB (main) and
// MySQL (shop), three nodes, a witness among them.
func well() *Facts {
	f := &Facts{Taken: noon, Node: "n1", Leader: "n1"}
	for _, name := range []string{"n1", "n2", "n3"} {
		f.Members = append(f.Members, Member{Name: name, Raft: name + ":3031", Witness: name == "n3"})
		n := Node{Name: name, Version: "1.0", Disk: &Disk{Median: second / 1000}, Settings: map[string]string{"lease": "a", "clusters.main.policy": "b"},
			Clock: &Clock{Ahead: second / 10, Within: second / 100}, Stores: []Store{{Name: "east", Agent: "c:8500", Epochs: map[string]uint64{"main": 7}}}}
		n.Raft = Raft{Leader: "n1", Members: []RaftMember{{Name: "n1", Voter: true}, {Name: "n2", Voter: true}, {Name: "n3", Voter: true}}, Entries: 9, Bytes: 1 << 20}
		if name != "n3" {
			vars := func() map[string]string {
				return map[string]string{varHold: "20000", varConnectRetries: "10", varQueryRetries: "0", varStickyInserts: "0", varKills: "false", varSync: "3",
					varMonitor: "true", varShunned: "10", varAdmin: "127.0.0.1:6032;/tmp/admin.sock"}
			}
			n.Proxy = &Proxy{Version: "2.7.1-16", Runtime: vars(), Memory: vars(), Disk: vars(), Groups: map[int]int{10: 3, 20: 3, 30: 2, 40: 2},
				Online: map[int]int{10: 1, 30: 1}, Users: []User{{"app", 10, true}, {"shop", 30, true}}}
		}
		f.Nodes = append(f.Nodes, n)
	}
	want := Want{ConnectRetry: second, TLS: "off", Sidecars: 3}
	main := Cluster{Name: "main", Writer: "a:3306", Epoch: 7, WriterGroup: 10, ReaderGroup: 20, Policy: failover.DefaultPolicy(), Want: want}
	main.Policy.Durability = failover.SemiSync
	for i, addr := range []topology.Addr{"a:3306", "b:3306", "c:3306"} {
		s := server(addr, uint32(i+1), "mariadb", "10.11.14-MariaDB-log", map[string]string{"slave_net_timeout": "60", "slave_parallel_threads": "4", "read_only": "ON"})
		s.Origins = map[string]string{"read_only": "CONFIG"}
		if i == 0 {
			s.Variables["read_only"], s.Origins["read_only"] = "OFF", "SQL"
		} else {
			s.State.Sources = []topology.Source{{Addr: "a:3306", Heartbeat: second / 2}}
			s.Channels = []Channel{{ConnectRetry: second}}
		}
		main.Servers = append(main.Servers, s)
	}
	shop := Cluster{Name: "shop", Writer: "x:3306", Epoch: 8, WriterGroup: 30, ReaderGroup: 40, Policy: failover.DefaultPolicy(), Want: want}
	for i, addr := range []topology.Addr{"x:3306", "y:3306"} {
		s := server(addr, uint32(i+1), "mysql", "8.4.3", map[string]string{"replica_net_timeout": "60", "replica_parallel_workers": "4", "replica_preserve_commit_order": "ON",
			"relay_log_recovery": "ON", "replica_skip_errors": "OFF", "skip_replica_start": "OFF", "enforce_gtid_consistency": "ON", "read_only": "ON",
			"rpl_semi_sync_source_enabled": "OFF", "rpl_semi_sync_replica_enabled": "OFF"})
		s.State.ServerUUID = string(addr)
		s.Plugins = map[string]bool{}
		if i > 0 {
			retries := 86400
			s.State.Sources = []topology.Source{{Addr: "x:3306", Heartbeat: second / 2}}
			s.Channels = []Channel{{ConnectRetry: second, Retries: &retries}}
			s.State.ReadOnly, s.State.SuperReadOnly = true, true
		}
		shop.Servers = append(shop.Servers, s)
	}
	f.Clusters = []Cluster{main, shop}
	return f
}

func server(addr topology.Addr, id uint32, flavor, version string, vars map[string]string) Server {
	none := 0
	for name, value := range map[string]string{"sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1", "event_scheduler": "OFF", "slave_exec_mode": "STRICT", "binlog_row_image": "FULL"} {
		vars[name] = value
	}
	return Server{Addr: addr, Variables: vars, Events: &none, Clock: &Clock{}, Replication: []Account{{Host: "%"}},
		State: &topology.State{Flavor: flavor, Version: version, ServerID: id, ReportedAs: addr, LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDMode: "ON", GTIDStrict: true}}
}

func TestOfAFleetThatIsWellNothingIsSaid(t *testing.T) {
	if r := Examine(well()); len(r.Findings) > 0 || r.Servers != 5 || r.Sidecars != 3 || !slices.Equal(r.Clusters, []string{"main", "shop"}) {
		t.Errorf("%+v", r)
	}
}

// sick is one thing that is wrong, and what is said of it.
type sick struct {
	check    string
	severity Severity
	where    string
	says     string
	fix      string // its statements; empty: it takes a person
	spoil    func(f *Facts)
}

func main(i int, do func(*Server)) func(*Facts) {
	return func(f *Facts) { do(&f.Clusters[0].Servers[i]) }
}

func shop(i int, do func(*Server)) func(*Facts) {
	return func(f *Facts) { do(&f.Clusters[1].Servers[i]) }
}

func variable(name, value string) func(*Server) {
	return func(s *Server) { s.Variables[name] = value }
}

func proxy(i int, name, value string) func(*Facts) {
	return func(f *Facts) {
		p := f.Nodes[i].Proxy
		p.Runtime[name], p.Memory[name], p.Disk[name] = value, value, value
	}
}

func policy(do func(*failover.Policy)) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Clusters {
			do(&f.Clusters[i].Policy)
		}
	}
}

func all(list ...func(*Facts)) func(*Facts) {
	return func(f *Facts) {
		for _, do := range list {
			do(f)
		}
	}
}

var number5, number3 = 5, 3

var sicknesses = []sick{
	{"server_unreadable", Unknown, "b:3306", "no answer within 3s", "", main(1, func(s *Server) { s.State, s.Error = nil, "no answer within 3s" })},
	{"server_unreadable", Unknown, "b:3306", "cannot read the status", "", main(1, func(s *Server) { s.Unread = []string{"cannot read the status"} })},
	{"server_unreadable", Unknown, "cluster shop", "no server of it is known", "", func(f *Facts) { f.Clusters[1].Servers = nil }},
	{"binary_log", Error, "b:3306", "log_bin is off", "", main(1, func(s *Server) { s.State.LogBin = false })},
	{"binary_log", Error, "y:3306", "does not log what it replicates", "", shop(1, func(s *Server) { s.State.LogReplicaUpdates = false })},
	{"binlog_format", Warning, "a:3306", "MIXED", "", main(0, func(s *Server) { s.State.BinlogFormat = "MIXED" })},
	{"binlog_format", Advice, "a:3306", "MINIMAL", "", main(0, variable("binlog_row_image", "MINIMAL"))},
	{"report_host", Warning, "b:3306", "not set", "", main(1, func(s *Server) { s.State.ReportedAs = "" })},
	{"report_host", Warning, "b:3306", "reports itself as other:3306", "", main(1, func(s *Server) { s.State.ReportedAs = "other:3306" })},
	{"read_only_at_boot", Warning, "b:3306", "started with read_only OFF (compile-time)", "", main(1, func(s *Server) { s.Variables["read_only"], s.Origins["read_only"] = "OFF", "COMPILE-TIME" })},
	{"read_only_at_boot", Error, "x:3306", "SET PERSIST made read_only OFF", "RESET PERSIST IF EXISTS read_only", shop(0, func(s *Server) { s.Persisted = map[string]string{"read_only": "OFF"} })},
	{"read_only_at_boot", Advice, "x:3306", "until Remora opens it", "", shop(0, func(s *Server) { s.Persisted = map[string]string{"read_only": "ON"} })},
	{"read_only_at_boot", Warning, "x:3306", "leaves it so", "", all(policy(func(p *failover.Policy) { p.Repair.ReadOnlyPrimary = failover.ReadOnlyLeave }),
		shop(0, func(s *Server) { s.Persisted = map[string]string{"read_only": "ON"} }))},
	{"super_read_only", Warning, "y:3306", "not super_read_only", "SET GLOBAL super_read_only = ON", shop(1, func(s *Server) { s.State.SuperReadOnly = false })},
	{"server_id", Error, "c:3306", "its server_id 1 is that of a:3306 too", "", main(2, func(s *Server) { s.State.ServerID = 1 })},
	{"server_id", Error, "y:3306", "server_uuid", "", shop(1, func(s *Server) { s.State.ServerUUID = "x:3306" })},
	{"gtid", Warning, "a:3306", "gtid_strict_mode is off", "", main(0, func(s *Server) { s.State.GTIDStrict = false })},
	{"gtid", Error, "y:3306", "OFF_PERMISSIVE", "", shop(1, func(s *Server) { s.State.GTIDMode = "OFF_PERMISSIVE" })},
	{"gtid", Warning, "y:3306", "WARN", "", shop(1, variable("enforce_gtid_consistency", "WARN"))},
	{"durability", Warning, "b:3306", "sync_binlog is 1000", "SET GLOBAL sync_binlog = 1", main(1, variable("sync_binlog", "1000"))},
	{"durability", Warning, "y:3306", "innodb_flush_log_at_trx_commit is 2", "SET PERSIST innodb_flush_log_at_trx_commit = 1",
		all(policy(func(p *failover.Policy) { p.Durability = failover.SemiSync }), shop(1, variable("innodb_flush_log_at_trx_commit", "2")))},
	{"event_scheduler", Warning, "b:3306", "event_scheduler is OFF, and ON at the primary", "", main(0, variable("event_scheduler", "ON"))},
	{"event_scheduler", Error, "b:3306", "5 events are enabled", "", main(1, func(s *Server) { s.Variables["event_scheduler"], s.Events = "ON", &number5 })},
	{"versions", Warning, "b:3306", "it runs 10.6.20", "", main(1, func(s *Server) { s.State.Version = "10.6.20-MariaDB" })},
	{"versions", Advice, "y:3306", "it runs 8.4.2", "", shop(1, func(s *Server) { s.State.Version = "8.4.2" })},
	{"versions", Error, "b:3306", "it runs mysql", "", main(1, func(s *Server) {
		s.State.Flavor, s.State.SuperReadOnly = "mysql", true
		s.Variables["rpl_semi_sync_source_enabled"], s.Variables["rpl_semi_sync_replica_enabled"] = "", ""
	})},
	{"clone", Error, "a:3306", "names no command", "", policy(func(p *failover.Policy) { p.Rejoin = failover.RejoinClone })},
	{"clone", Advice, "y:3306", "clone is not active", "", func(f *Facts) { f.Clusters[1].Policy.Rejoin = failover.RejoinClone }},
	{"clone", Error, "y:3306", "from 8.0.17 on", "", func(f *Facts) {
		f.Clusters[1].Policy.Rejoin = failover.RejoinClone
		for i := range f.Clusters[1].Servers {
			f.Clusters[1].Servers[i].State.Version = "8.0.16"
		}
	}},
	{"server_clock", Warning, "b:3306", "3s behind", "", main(1, func(s *Server) { s.Clock = &Clock{Ahead: -3 * second} })},
	{"server_clock", Warning, "b:3306", "3s ahead", "", main(1, func(s *Server) { s.Clock = &Clock{Ahead: 3 * second, Within: second} })},

	{"channel_retry", Warning, "b:3306", "every 1m0s only", "", main(1, func(s *Server) { s.Channels[0].ConnectRetry = 60 * second })},
	{"channel_retry", Error, "y:3306", "after 5 attempts", "", shop(1, func(s *Server) { s.Channels[0].Retries = &number5 })},
	{"channel_failover", Warning, "y:3306", "changes its source by itself", "", shop(1, func(s *Server) { s.Channels[0].Wanders = true })},
	{"channel_heartbeat", Error, "b:3306", "no heartbeats", "", main(1, func(s *Server) { s.State.Sources[0].Heartbeat = 0 })},
	{"channel_heartbeat", Error, "y:3306", "no heartbeats", "", shop(1, func(s *Server) { s.State.Sources[0].Heartbeat = 0 })},
	{"channel_heartbeat", Error, "y:3306", "performance_schema is OFF", "", shop(1, func(s *Server) { s.State.Sources[0].Heartbeat, s.Variables["performance_schema"] = 0, "OFF" })},
	{"channel_heartbeat", Error, "b:3306", "speaks every 30s", "", main(1, func(s *Server) { s.State.Sources[0].Heartbeat = 30 * second; s.Variables["slave_net_timeout"] = "20" })},
	{"net_timeout", Warning, "b:3306", "slave_net_timeout is 3600 s", "SET GLOBAL slave_net_timeout = 60", main(1, variable("slave_net_timeout", "3600"))},
	{"net_timeout", Warning, "y:3306", "replica_net_timeout is 3600 s", "SET PERSIST replica_net_timeout = 60", shop(1, variable("replica_net_timeout", "3600"))},
	{"appliers", Advice, "b:3306", "one transaction at a time", "", main(1, variable("slave_parallel_threads", "0"))},
	{"appliers", Error, "y:3306", "OFF with 4 workers", "", shop(1, variable("replica_preserve_commit_order", "OFF"))},
	{"relay_log", Warning, "y:3306", "relay_log_recovery is OFF", "", shop(1, variable("relay_log_recovery", "OFF"))},
	{"skipped_errors", Error, "y:3306", "replica_skip_errors is 1062", "", shop(1, variable("replica_skip_errors", "1062"))},
	{"skipped_errors", Warning, "b:3306", "IDEMPOTENT", "", main(1, variable("slave_exec_mode", "IDEMPOTENT"))},
	{"replica_start", Warning, "y:3306", "skip_replica_start is ON", "", shop(1, variable("skip_replica_start", "ON"))},
	{"semi_sync_plugin", Error, "y:3306", "no plugin for it as a source", "", all(policy(func(p *failover.Policy) { p.Durability = failover.SemiSync }),
		shop(1, func(s *Server) { delete(s.Variables, "rpl_semi_sync_source_enabled") }))},

	{"privileges", Error, "a:3306", "lacks PROCESS", "", main(0, missing(UseAlways, "PROCESS"))},
	{"privileges", Warning, "a:3306", "lacks SELECT, to save", "", main(0, missing(UseRescue, "SELECT"))},
	{"privileges", Warning, "y:3306", "lacks CLONE_ADMIN, to clone", "", all(func(f *Facts) { f.Clusters[1].Policy.Rejoin = failover.RejoinClone },
		shop(0, func(s *Server) { s.Plugins["clone"] = true }), shop(1, func(s *Server) { missing(UseClone, "CLONE_ADMIN")(s); s.Plugins["clone"] = true }))},
	{"privileges", Error, "a:3306", "lacks BINLOG MONITOR, to fail over without GTID", "", main(0, missing(UsePositions, "BINLOG MONITOR"))},
	{"privileges", Warning, "y:3306", "lacks EVENT, to enable events", "", all(func(f *Facts) { f.Clusters[1].Want.Events = true }, shop(1, missing(UseEvents, "EVENT")))},
	{"replication_account", Error, "a:3306", "does not exist", "", main(0, func(s *Server) { s.Replication = []Account{} })},
	{"replication_account", Error, "a:3306", "host 10.% lacks REPLICATION SLAVE", "", main(0, func(s *Server) {
		s.Replication = []Account{{Host: "10.%", Missing: map[Use][]string{UseReplicate: {"REPLICATION SLAVE"}}, Grant: map[Use]string{UseReplicate: "GRANT"}}}
	})},
	{"account_limits", Error, "a:3306", "is 3, and it needs up to 7", "", main(0, func(s *Server) { s.Account.Limit = number3 })},
	{"tls", Advice, "a:3306", "offers no TLS", "", func(f *Facts) {
		f.Clusters[0].Want.TLS = "preferred"
		for i := 1; i < 3; i++ {
			f.Clusters[0].Servers[i].Cipher = "TLS_AES_256_GCM_SHA384"
		}
	}},
	{"tls", Warning, "y:3306", "replicates without TLS", "", func(f *Facts) { f.Clusters[1].Want.ReplicationTLS = true }},
	{"tls", Warning, "y:3306", "a server that was primary comes back without", "", shop(1, func(s *Server) { s.Channels[0].TLS = true })},
	{"tls", Warning, "a:3306", "ends on 2027-01-20", "", main(0, func(s *Server) { s.Cipher, s.CertificateUntil = "AES", noon.AddDate(0, 0, 12) })},

	{"proxy_unreachable", Unknown, "n2's proxy", "connection refused", "", func(f *Facts) { f.Nodes[1].Proxy = &Proxy{Error: "connection refused"} }},
	{"proxy_monitor_tables", Error, "n2's proxy", "mysql_galera_hostgroups names", "", func(f *Facts) { f.Nodes[1].Proxy.Claims = []Claim{{"mysql_galera_hostgroups", []int{10, 11, 12, 13}}} }},
	{"proxy_cluster_sync", Error, "n2's proxy", "proxysql_servers has 2 rows",
		"UPDATE global_variables SET variable_value = '0' WHERE variable_name = 'admin-cluster_mysql_servers_diffs_before_sync'; LOAD ADMIN VARIABLES TO RUNTIME; " +
			"REPLACE INTO disk.global_variables VALUES ('admin-cluster_mysql_servers_diffs_before_sync', '0')",
		func(f *Facts) { f.Nodes[1].Proxy.Peers = 2 }},
	{"proxy_kills", Error, "n1's proxy", "KILL", mended(varKills, "false"), proxy(0, varKills, "true")},
	{"proxy_hold_time", Warning, "n1's proxy", "is 10000 ms", mended(varHold, "20000"), proxy(0, varHold, "10000")},
	{"proxy_hold_time", Warning, "n1's proxy", "is 20000 ms", mended(varHold, "35000"), all(policy(func(p *failover.Policy) { p.Switchover.Timeout = 30 * second }), proxy(1, varHold, "40000"))},
	{"proxy_connect_retries", Warning, "n1's proxy", "is 0", mended(varConnectRetries, "10"), proxy(0, varConnectRetries, "0")},
	{"proxy_query_retries", Warning, "n1's proxy", "is 1", "", proxy(0, varQueryRetries, "1")},
	{"proxy_sticky_inserts", Warning, "n1's proxy", "is 5", "", proxy(0, varStickyInserts, "5")},
	{"proxy_one_writer", Error, "n1's proxy", "of hostgroup 30 is not 1", "", func(f *Facts) { delete(f.Nodes[0].Proxy.Online, 30) }},
	{"proxy_one_writer", Warning, "n1's proxy", "ProxySQL 2.5.5 does not heed", "", func(f *Facts) { f.Nodes[0].Proxy.Version = "2.5.5" }},
	{"proxy_monitor", Warning, "n1's proxy", "refused by a:3306", "", func(f *Facts) { f.Nodes[0].Proxy.Logins = []string{"a:3306"} }},
	{"proxy_monitor", Warning, "n1's proxy", "is 600", mended(varShunned, "10"), proxy(0, varShunned, "600")},
	{"proxy_layers", Warning, "n1's proxy", "60000 in memory", "", func(f *Facts) { f.Nodes[0].Proxy.Memory[varHold] = "60000" }},
	{"proxy_layers", Warning, "n1's proxy", "10000 on disk", "", func(f *Facts) { f.Nodes[0].Proxy.Disk[varHold] = "10000" }},
	{"proxy_hostgroups", Error, "n1's proxy", "no server of hostgroup 10", "", func(f *Facts) { delete(f.Nodes[0].Proxy.Groups, 10) }},
	{"proxy_users", Warning, "n1's proxy", "goes to the readers", "", func(f *Facts) { f.Nodes[0].Proxy.Users[0].Group = 20 }},
	{"proxy_users", Warning, "n1's proxy", "hostgroup 99, which has no server", "", func(f *Facts) { f.Nodes[0].Proxy.Users[0].Group = 99 }},
	{"proxy_users", Warning, "n1's proxy", "transaction_persistent off", "", func(f *Facts) { f.Nodes[0].Proxy.Users[0].Persistent = false }},
	{"proxy_admin", Warning, "n1's proxy", "listens on 0.0.0.0:6032", "", proxy(0, varAdmin, "0.0.0.0:6032")},

	{"node_unreachable", Unknown, "n2", "no route", "", func(f *Facts) { f.Nodes[1] = Node{Name: "n2", Error: "no route"} }},
	{"leader", Error, "fleet", "no leader is known to n1", "", func(f *Facts) { f.Leader = "" }},
	{"leader", Warning, "n2", "it takes n3 for the leader, and n1 takes n1", "", func(f *Facts) { f.Nodes[1].Raft.Leader = "n3" }},
	{"raft_members", Error, "n2", "n9 is a committed member and not configured", "", func(f *Facts) { f.Nodes[1].Raft.Members = append(f.Nodes[1].Raft.Members, RaftMember{Name: "n9"}) }},
	{"raft_members", Error, "n2", "n3 is configured and no committed member", "", func(f *Facts) { f.Nodes[1].Raft.Members = f.Nodes[1].Raft.Members[:2] }},
	{"raft_members", Error, "n2", "has halted", "", func(f *Facts) { f.Nodes[1].Raft.Halted = "unknown command" }},
	{"raft_members", Advice, "n1", "there are 2 nodes", "", func(f *Facts) {
		f.Members, f.Nodes = f.Members[:2], f.Nodes[:2]
		for i := range f.Nodes {
			f.Nodes[i].Raft.Members = f.Nodes[i].Raft.Members[:2]
		}
	}},
	{"raft_peers", Warning, "n2", "cannot reach the raft of n3 at n3:3031: refused", "", func(f *Facts) { f.Nodes[1].Peers = []Peer{{"n3", "n3:3031", "refused"}, {Name: "n1"}} }},
	{"raft_disk", Error, "n2", "cannot be written: full", "", func(f *Facts) { f.Nodes[1].Disk.Error = "full" }},
	{"raft_disk", Warning, "n2", "takes 300ms", "", func(f *Facts) { f.Nodes[1].Disk.Median = 300 * second / 1000 }},
	{"raft_disk", Advice, "n2", "in memory", "", func(f *Facts) { f.Nodes[1].Disk = nil }},
	{"raft_log", Warning, "n2", "takes 1024 MiB", "", func(f *Facts) { f.Nodes[1].Raft.Bytes = 1 << 30 }},
	{"node_versions", Warning, "n2", "runs version 0.9, and n1 runs 1.0", "", func(f *Facts) { f.Nodes[1].Version = "0.9" }},
	{"node_settings", Warning, "n2", "differs from n1's in clusters.main.policy, lease", "", func(f *Facts) { f.Nodes[1].Settings = map[string]string{"lease": "z"} }},
	{"node_clock", Warning, "n2", "2s ahead", "", func(f *Facts) { f.Nodes[1].Clock.Ahead = 2 * second }},
	{"consul_access", Error, "n2's consul east (c:8500)", "denied", "", func(f *Facts) {
		f.Nodes[1].Stores[0] = Store{Name: "east", Agent: "c:8500", Error: "denied", Denied: true}
	}},
	{"consul_access", Unknown, "n2's consul east (c:8500)", "did not answer", "", func(f *Facts) { f.Nodes[1].Stores[0].Error = "did not answer" }},
	{"consul_epoch", Error, "n2's consul east (c:8500)", "it holds epoch 70 of main, and the ledger is at 7", "", func(f *Facts) { f.Nodes[1].Stores[0].Epochs["main"] = 70 }},
}

func missing(use Use, privilege string) func(*Server) {
	return func(s *Server) {
		s.Account = Account{Missing: map[Use][]string{use: {privilege}}, Grant: map[Use]string{use: "GRANT " + privilege}}
	}
}

func mended(name, value string) string {
	return Fix{Proxy: "n1", Settings: []Setting{{Name: name, Value: value}}}.String()
}

// Each thing that is wrong is said once, where it is, with its reason and what mends
// it; and nothing else is said for it.
func TestEachThingThatIsWrongIsSaid(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sicknesses {
		t.Run(s.check+" "+s.says, func(t *testing.T) {
			seen[s.check] = true
			f := well()
			s.spoil(f)
			r := Examine(f)
			i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Where == s.where && strings.Contains(f.Sentence, s.says) })
			if i < 0 {
				t.Fatalf("%+v", r.Findings)
			}
			got := r.Findings[i]
			if got.Check != s.check || got.Severity != s.severity || got.Why == "" || got.Mend == "" {
				t.Errorf("%+v", got)
			}
			fix := ""
			if got.Fix != nil {
				fix = got.Fix.String()
			}
			if fix != s.fix {
				t.Errorf("its fix is %q, want %q", fix, s.fix)
			}
			for _, other := range r.Findings {
				if other.Check != s.check {
					t.Errorf("it is also said: %+v", other)
				}
			}
			if diff := cmp.Diff(r, Examine(f)); diff != "" {
				t.Errorf("the same facts give another report:\n%s", diff)
			}
		})
	}
	for _, c := range Catalogue() {
		if !seen[c.Name] {
			t.Errorf("no test makes the check %s find anything", c.Name)
		}
		if !strings.HasSuffix(c.Why, ".") || strings.Contains(c.Why, "\n") {
			t.Errorf("%s: its reason is no sentence: %q", c.Name, c.Why)
		}
	}
}

func TestFindingsOfTheDecisionCycleAreLines(t *testing.T) {
	f := well()
	f.Clusters[0].Findings = []failover.Finding{
		{Code: "ReplicaDead", Instance: "c:3306", Priority: 4, Sentence: "c is dead"},
		{Code: "DeadMaster", Instance: "a:3306", Priority: 1, Sentence: "a is dead"},
		{Code: "RingOfPrimaries", Priority: 5, Sentence: "a ring"},
		{Code: "ProxyKills", Priority: 2, Sentence: "the doctor says it itself"},
	}
	var got []string
	for _, x := range Examine(f).Findings {
		if x.Why == "" || x.Mend == "" {
			t.Errorf("%+v", x)
		}
		got = append(got, strings.Join([]string{string(x.Severity), x.Cluster, x.Where, x.Check, x.Sentence}, " | "))
	}
	want := []string{"error | main | a:3306 | DeadMaster | a is dead", "warning | main | c:3306 | ReplicaDead | c is dead", "advice | main | cluster main | RingOfPrimaries | a ring"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if w := (Report{}).Worst(); w != "" {
		t.Errorf("the worst of nothing is %q", w)
	}
}

// What a cluster by GTID has no use for is not asked for.
func TestOnlyWhatIsUsedIsAskedFor(t *testing.T) {
	f := well()
	f.Clusters[0].Servers[1].State.Sources[0].GTID = true
	for _, use := range []Use{UsePositions, UseEvents, UseClone} {
		missing(use, "SOMETHING")(&f.Clusters[0].Servers[0])
		if r := Examine(f); len(r.Findings) > 0 {
			t.Errorf("%s: %+v", use, r.Findings)
		}
	}
}

// Nothing that is made up where nothing could be read.
func TestWhatWasNotReadIsNotJudged(t *testing.T) {
	f := &Facts{Node: "n1", Leader: "n1", Members: []Member{{Name: "n1"}}, Nodes: []Node{{Name: "n1", Error: "gone"}},
		Clusters: []Cluster{{Name: "main", Writer: "a:3306", Epoch: 1, Policy: failover.DefaultPolicy(), Servers: []Server{{Addr: "a:3306", Error: "gone"}, {Addr: "b:3306"}}}}}
	for _, x := range Examine(f).Findings {
		if x.Severity != Unknown {
			t.Errorf("%+v", x)
		}
	}
}
