package sidecar

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	topKeys     = "api, clusters, consul, data_dir, join, lease, log, mysql, node, nodes, policy, proxysql, raft, templates, watch"
	clusterKeys = "hostgroups, policy, seeds"
)

// broken are configurations that begin as the minimal one. `old` is replaced by
// `new`, or `new` is added at the end, as line 12; `want` is the whole error.
var broken = map[string]struct{ old, new, want string }{
	"unknown key":                {"", "datadir: /x", "r.yaml:12: datadir is not a key of Remora's configuration; allowed here: " + topKeys},
	"unknown key of a cluster":   {"seeds:", "seed:", "r.yaml:10: clusters.main.seed is not a key of Remora's configuration; allowed here: " + clusterKeys},
	"unknown key in a list":      {"witness:", "witnes:", "r.yaml:5: nodes[2].witnes is not a key of Remora's configuration; allowed here: api, name, raft, witness"},
	"key given twice":            {"", "node: b", "r.yaml:12: node is given twice, first in line 1"},
	"key given twice, deep":      {"writer: 10,", "writer: 10, writer: 11,", "r.yaml:11: clusters.main.hostgroups.writer is given twice, first in line 11"},
	"cluster given twice":        {"", "  main: {}", "r.yaml:12: clusters.main is given twice, first in line 9"},
	"merge key":                  {"", "lease: {<<: {}}", "r.yaml:12: lease.<< is not a key of Remora's configuration; allowed here: failsafe, fence_time, file, heartbeat, ttl"},
	"text for a number":          {"writer: 10", "writer: ten", `r.yaml:11: clusters.main.hostgroups.writer: "ten" is not a whole number`},
	"fraction for a number":      {"writer: 10", "writer: 1.5", `r.yaml:11: clusters.main.hostgroups.writer: "1.5" is not a whole number`},
	"text for a fraction":        {"", "policy: {detection: {beats: some}}", `r.yaml:12: policy.detection.beats: "some" is not a number`},
	"not a number":               {"", "policy: {detection: {beats: .nan}}", `r.yaml:12: policy.detection.beats: ".nan" is not a number`},
	"text for a switch":          {"witness: true", "witness: maybe", `r.yaml:5: nodes[2].witness: "maybe" is not true or false`},
	"list for a text":            {"", "data_dir: [a]", "r.yaml:12: data_dir: a list is given, want a text"},
	"keys for a list":            {`["db1:3306"]`, "{a: b}", "r.yaml:10: clusters.main.seeds: keys are given, want a list"},
	"text for a list":            {`["db1:3306"]`, "db1:3306", "r.yaml:10: clusters.main.seeds: a single value is given, want a list"},
	"text for keys":              {"", "raft: fast", "r.yaml:12: raft: a single value is given, want keys of election, heartbeat, lease, listen"},
	"keys for a duration":        {"", "lease: {ttl: {a: b}}", "r.yaml:12: lease.ttl: keys are given, want a duration such as 250ms, 10s or 5m"},
	"list for an address":        {`["db1:3306"]`, "[[db1]]", "r.yaml:10: clusters.main.seeds[0]: a list is given, want host:port"},
	"list of clusters":           {"  main:\n    seeds: [\"db1:3306\"]\n    hostgroups: {writer: 10, reader: 20}", "  - main", "r.yaml:9: clusters: a list is given, want names with what belongs to each"},
	"bad duration":               {"", "lease: {ttl: soon}", `r.yaml:12: lease.ttl: "soon" is not a duration such as 250ms, 10s or 5m`},
	"duration without unit":      {"", "lease: {ttl: 2}", `r.yaml:12: lease.ttl: "2" is not a duration such as 250ms, 10s or 5m`},
	"negative duration":          {"", "lease: {ttl: -2s}", `r.yaml:12: lease.ttl: "-2s" is negative; a duration here is at least 0s`},
	"bad duration in a cluster":  {"", "    policy:\n      lag:\n        max: 1 h", `r.yaml:14: clusters.main.policy.lag.max: "1 h" is not a duration such as 250ms, 10s or 5m`},
	"bad seed":                   {"db1:3306", "db1:port", `r.yaml:10: clusters.main.seeds[0]: address "db1:port": port "port" is not a number from 1 to 65535`},
	"not YAML":                   {"", "lease: {ttl: 2s", "r.yaml:12: not YAML: did not find expected ',' or '}'"},
	"a tab":                      {"", "lease:\n\tttl: 2s", "r.yaml:13: not YAML: found character that cannot start any token"},
	"unknown anchor":             {"", "data_dir: *x", "r.yaml: not YAML: a value begins with * and names no anchor; put a text that begins so in quotes"},
	"second document":            {"", "---\nnode: b", "r.yaml:12: a second document begins here (after ---); only one is read, so keep one"},
	"broken second document":     {"", "---\n{", "r.yaml:14: not YAML: did not find expected node content"},
	"first line broken":          {"node: a", "node: {", "r.yaml:3: not YAML: did not find expected node content"},
	"no name":                    {"name: b", `name: "b c"`, `r.yaml:4: nodes[1].name: "b c" is not a name; use letters, digits, - and _`},
	"duplicated node":            {"name: b", "name: a", `r.yaml:4: nodes[1].name: "a" is already the name of nodes[0]`},
	"duplicated address":         {"10.0.0.2:3031", "10.0.0.1:3031", `r.yaml:4: nodes[1].raft: "10.0.0.1:3031" is already nodes[0].raft`},
	"raft and API at one port":   {"10.0.0.2:3031", "10.0.0.2:3030", `r.yaml:4: nodes[1].api: "10.0.0.2:3030" is already nodes[1].raft`},
	"node not listed":            {"node: a", "node: d", `r.yaml:1: node: "d" is none of nodes, which are: a, b, c`},
	"no node":                    {"node: a\n", "", `r.yaml:1: node: "" is none of nodes, which are: a, b, c`},
	"node without API":           {`, api: "10.0.0.2:3030"`, "", `r.yaml:4: nodes[1].api: "" is not host:port with a port from 1 to 65535`},
	"node at a bad port":         {"10.0.0.2:3030", "10.0.0.2:http", `r.yaml:4: nodes[1].api: "10.0.0.2:http" is not host:port with a port from 1 to 65535`},
	"node at no host":            {"10.0.0.2:3031", ":3031", `r.yaml:4: nodes[1].raft: ":3031" names no host; give the one at which the other nodes reach it`},
	"node at every host":         {"10.0.0.2:3031", "0.0.0.0:3031", `r.yaml:4: nodes[1].raft: "0.0.0.0:3031" names no host; give the one at which the other nodes reach it`},
	"beyond loopback, no token":  {"", "api: {listen: \"10.0.0.1:3030\"}", "r.yaml:12: api.listen: 10.0.0.1:3030 is reachable from elsewhere, so api.token is needed: {file: PATH} or {env: NAME}"},
	"all interfaces, no token":   {"", "api: {listen: \":3030\"}", "r.yaml:12: api.listen: :3030 is reachable from elsewhere, so api.token is needed: {file: PATH} or {env: NAME}"},
	"a name, no token":           {"", "api: {listen: \"localhost.example.org:3030\"}", "r.yaml:12: api.listen: localhost.example.org:3030 is reachable from elsewhere, so api.token is needed: {file: PATH} or {env: NAME}"},
	"token that cannot be read":  {"", "api: {listen: \":3030\", token: {env: TEST_MISSING}}", "r.yaml:12: api.token: environment variable TEST_MISSING is not set"},
	"bad listener":               {"", "api: {listen: here}\nraft: {listen: here}", "r.yaml:12: api.listen: \"here\" is not host:port with a port from 1 to 65535\nr.yaml:13: raft.listen: \"here\" is not host:port with a port from 1 to 65535"},
	"secret's file missing":      {"", "mysql:\n  password: {file: /does/not/exist}", "r.yaml:13: mysql.password: open /does/not/exist: no such file or directory"},
	"secret's file empty":        {"", "mysql:\n  password: {file: /dev/null}", "r.yaml:13: mysql.password: file /dev/null is empty"},
	"secret's variable missing":  {"", "mysql:\n  replication_password: {env: TEST_MISSING}", "r.yaml:13: mysql.replication_password: environment variable TEST_MISSING is not set"},
	"secret's variable empty":    {"", "api: {token: {env: TEST_EMPTY}}", "r.yaml:12: api.token: environment variable TEST_EMPTY is empty"},
	"secret in two places":       {"admin:", "password: {env: TEST_EMPTY, file: /dev/null}\n  admin:", "r.yaml:7: proxysql.password: both file and env are given; keep one"},
	"secret in the file":         {"", "mysql:\n  password: hunter2", "r.yaml:13: mysql.password: a secret is never in this file; want {file: PATH} or {env: NAME}"},
	"no MySQL user":              {"", "mysql: {user: \"\"}", "r.yaml:12: mysql.user: name the account that Remora logs in with"},
	"bad TLS mode":               {"", "mysql:\n  tls:\n    mode: on", `r.yaml:14: mysql.tls.mode: "on"; allowed: off, preferred, required, verify`},
	"bad TLS file":               {"", "mysql:\n  tls: {mode: verify, ca: /does/not/exist}", "r.yaml:13: mysql.tls: tls ca: open /does/not/exist: no such file or directory"},
	"bad replication TLS":        {"", "mysql: {replication_tls: maybe}", `r.yaml:12: mysql.replication_tls: "maybe"; allowed: off, on`},
	"no retry, no patience":      {"", "mysql:\n  connect_retry: 0s\n  kill_after: 0s", "r.yaml:13: mysql.connect_retry: 0s; want more than 0s\nr.yaml:14: mysql.kill_after: 0s; want more than 0s"},
	"no proxy":                   {"proxysql:\n  admin: 127.0.0.1:6032\n", "", `r.yaml:1: proxysql.admin: "" is not host:port with a port from 1 to 65535; give this node's ProxySQL admin interface, or make the node a witness`},
	"no time for the proxy":      {"admin:", "timeout: 0s\n  admin:", "r.yaml:7: proxysql.timeout: 0s; want more than 0s"},
	"a rung without its needs":   {"admin:", "when_hung: [{rung: stop}, {rung: hook, timeout: 10ms}, {rung: filter, timeout: 10ms}]\n  admin:", "r.yaml:7: proxysql.when_hung[0]: give the rung stop a pid_file of ProxySQL or a command that stops it, and not both\nr.yaml:7: proxysql.when_hung[1]: give the rung hook a command, a list of words\nr.yaml:7: proxysql.when_hung[2]: give the rung filter the user that ProxySQL runs as"},
	"a rung with another's":      {"admin:", "when_hung: [{rung: hook, command: [x], user: y, pid_file: /z}]\n  admin:", "r.yaml:7: proxysql.when_hung[0].pid_file: is for the rung stop, not for hook\nr.yaml:7: proxysql.when_hung[0].user: is for the rung filter, not for hook"},
	"no such rung":               {"admin:", "when_hung: [{rung: pray}]\n  admin:", `r.yaml:7: proxysql.when_hung[0].rung: "pray"; allowed: stop, filter, hook`},
	"no time for the rungs":      {"admin:", "when_hung: [{rung: stop, pid_file: p, timeout: 251ms}]\n  admin:", "r.yaml:7: proxysql.when_hung[0].pid_file: \"p\" is not an absolute path\nr.yaml:7: proxysql.when_hung: its rungs may take 251ms, and half of lease.fence_time, which is theirs, is 250ms; raise fence_time to 502ms"},
	"bad log":                    {"", "log: {level: loud, format: xml}", "r.yaml:12: log.level: \"loud\"; allowed: debug, info, warn, error\nr.yaml:12: log.format: \"xml\"; allowed: text, json"},
	"lease file not absolute":    {"", "lease: {file: lease}", `r.yaml:12: lease.file: "lease" is not an absolute path`},
	"raft too short":             {"", "raft: {heartbeat: 4ms, lease: 4ms}", "r.yaml:12: raft.heartbeat: 4ms is too short; want at least 5ms\nr.yaml:12: raft.lease: 4ms is too short; want at least 5ms"},
	"raft's lease too long":      {"", "raft: {lease: 301ms}", "r.yaml:12: raft.lease: 301ms is longer than raft.heartbeat (300ms); want at most that"},
	"raft's election too short":  {"", "raft: {election: 299ms}", "r.yaml:12: raft.election: 299ms is shorter than raft.heartbeat (300ms); want at least that"},
	"no heartbeat":               {"", "lease: {heartbeat: 0s}", "r.yaml:12: lease.heartbeat: 0s; want more than 0s"},
	"no time to fence":           {"", "lease: {fence_time: 0s}", "r.yaml:12: lease.fence_time: 0s; want more than 0s"},
	"lease of three heartbeats":  {"", "lease: {heartbeat: 501ms}", "r.yaml:12: lease.ttl: 2s is too short for a heartbeat every 501ms; want at least four of them"},
	"lease as an election":       {"", "raft: {election: 1s}", "r.yaml:1: lease.ttl: 2s would run out during an election (raft.election is 1s); want more than twice that"},
	"no cluster":                 {"  main:\n    seeds: [\"db1:3306\"]\n    hostgroups: {writer: 10, reader: 20}", "  {}", "r.yaml:8: clusters: name at least one replication cluster"},
	"bad cluster name":           {"main:", "ma.in:", `r.yaml:9: clusters.ma.in: "ma.in" is not a name; use letters, digits, - and _`},
	"cluster without anything":   {"", "  other:", "r.yaml:12: clusters.other.seeds: give at least one server, host:port; the others are found through it\nr.yaml:12: clusters.other.hostgroups.writer: 0; give a ProxySQL hostgroup from 1\nr.yaml:12: clusters.other.hostgroups.reader: 0; give a ProxySQL hostgroup from 1"},
	"one hostgroup for both":     {"reader: 20", "reader: 10", "r.yaml:11: clusters.main.hostgroups.reader: hostgroup 10 is already the writer of main; each belongs to one role of one cluster"},
	"negative hostgroup":         {"writer: 10", "writer: -1", "r.yaml:11: clusters.main.hostgroups.writer: -1; give a ProxySQL hostgroup from 1"},
	"overlapping hostgroups":     {"", "  other:\n    seeds: [db2]\n    hostgroups:\n      writer: 20\n      reader: 30", "r.yaml:15: clusters.other.hostgroups.writer: hostgroup 20 is already the reader of main; each belongs to one role of one cluster"},
	"a server of two clusters":   {"", "  other:\n    seeds: [db1]\n    hostgroups: {writer: 30, reader: 40}", "r.yaml:13: clusters.other.seeds: db1:3306 is already a seed of main; a server belongs to one cluster"},
	"bad failover":               {"", "    policy: {failover: auto}", `r.yaml:12: clusters.main.policy.failover: "auto" is not allowed, want automatic, manual`},
	"bad policy, once":           {"", "policy:\n  durability: sync\n  wait_count: 0", "r.yaml:13: policy.durability: \"sync\" is not allowed, want async, semi_sync\nr.yaml:14: policy.wait_count: 0 is not allowed, want at least 1"},
	"bad policy of both":         {"", "    policy:\n      errant: a\npolicy:\n  errant: b", "r.yaml:13: clusters.main.policy.errant: \"a\" is not allowed, want refuse, tolerate, inject\nr.yaml:15: policy.errant: \"b\" is not allowed, want refuse, tolerate, inject"},
	"bad rule of a server":       {"", "    policy:\n      servers:\n        - {match: \"db2*\"}\n        - {match: \"db1*\", promotion: always}\npolicy:\n  servers: [{match: \"db*\"}]", `r.yaml:15: clusters.main.policy.servers[1].promotion: "always" is not allowed, want must, prefer, neutral, prefer_not, must_not`},
	"bad common rule":            {"", "policy:\n  servers:\n    - {match: \"db*\"}\n    - {match: \"\"}", `r.yaml:15: policy.servers[1].match: "" is not allowed, want a shell pattern of host or host:port, such as db-*.example.org`},
	"several, in the file's way": {"node: a", "node: d\napi: {listen: here}\nlog: {level: loud}", "r.yaml:1: node: \"d\" is none of nodes, which are: a, b, c\nr.yaml:2: api.listen: \"here\" is not host:port with a port from 1 to 65535\nr.yaml:3: log.level: \"loud\"; allowed: debug, info, warn, error"},
}

func TestABrokenConfigurationIsRefusedWithItsPlaceAndWhatIsAllowed(t *testing.T) {
	t.Setenv("TEST_EMPTY", "")
	for name, tc := range broken {
		t.Run(name, func(t *testing.T) {
			text := minimal + tc.new + "\n"
			if tc.old != "" {
				if text = strings.Replace(minimal, tc.old, tc.new, 1); text == minimal {
					t.Fatalf("%q is not in the minimal configuration", tc.old)
				}
			}
			wantRefusal(t, text, tc.want)
		})
	}
}

func TestAFileWithoutAConfigurationIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":             "r.yaml: the file is empty; config.yaml in the documentation is a commented example",
		"# nothing\n":  "r.yaml: the file is empty; config.yaml in the documentation is a commented example",
		"hello\n":      "r.yaml:1: the file: a single value is given, want keys of " + topKeys,
		"{":            "r.yaml:2: not YAML: did not find expected node content",
		"- a\n":        "r.yaml:1: the file: a list is given, want keys of " + topKeys,
		"# x\n\n{a: 1": "r.yaml:3: not YAML: did not find expected ',' or '}'",
		"lease: {ttl: 1s}\n": `r.yaml:1: nodes: list every sidecar, each with name, raft and api; or find them by ` + "`join`" + `
r.yaml:1: proxysql.admin: "" is not host:port with a port from 1 to 65535; give this node's ProxySQL admin interface, or make the node a witness
r.yaml:1: clusters: name at least one replication cluster`,
	} {
		wantRefusal(t, text, want)
	}
}

func wantRefusal(t *testing.T, text, want string) {
	t.Helper()
	_, err := ParseConfig("r.yaml", []byte(text))
	if err == nil {
		t.Fatalf("no error, want %s; of\n%s", want, text)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +have)\n%s\nof\n%s", diff, text)
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.yaml")
	_, err := LoadConfig(file)
	if want := "configuration: open " + file + ": no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := LoadConfig(filepath.Dir(file)); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("of a directory: %v", err)
	}
}

func TestALoopbackListenerNeedsNoToken(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:3030", "127.8.8.8:3030", "[::1]:3030", "localhost:3030"} {
		parse(t, minimal+"api: {listen: \""+listen+"\"}\n")
	}
	t.Setenv("TEST_TOKEN", "hunter2")
	parse(t, minimal+"api: {listen: \":3030\", token: {env: TEST_TOKEN}}\n")
}

func TestAWitnessNeedsNoProxy(t *testing.T) {
	witness := strings.Replace(minimal, "node: a", "node: c", 1)
	parse(t, strings.Replace(witness, "proxysql:\n  admin: 127.0.0.1:6032\n", "", 1))
}

func TestASecretLosesItsNewlineOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for raw, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", " a b \n": " a b "} {
		if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := (Secret{File: file}).Read(); v != want || err != nil {
			t.Errorf("%q reads as %q, %v", raw, v, err)
		}
	}
	if v, err := (Secret{}).Read(); v != "" || err != nil {
		t.Errorf("no secret reads as %q, %v", v, err)
	}
}
