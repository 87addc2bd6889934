package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gopkg.in/yaml.v3"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// exampleSecrets are the variables that the shipped configurations name.
func exampleSecrets(t *testing.T) {
	t.Helper()
	for _, name := range []string{"REMORA_TOKEN", "REMORA_MYSQL_PASSWORD", "REMORA_REPLICATION_PASSWORD", "REMORA_PROXYSQL_PASSWORD", "REMORA_CONSUL_TOKEN"} {
		t.Setenv(name, "hunter2")
	}
}

func TestTheShippedConfigurationsAreValid(t *testing.T) {
	exampleSecrets(t)
	files := []string{"../config.yaml"}
	nodes, err := filepath.Glob("../examples/three-nodes/*.yaml")
	if err != nil || len(nodes) == 0 {
		t.Fatalf("no example of a fleet: %v", err)
	}
	for _, file := range append(files, nodes...) {
		if _, err := LoadConfig(file); err != nil {
			t.Error(err)
		}
	}
	policies, err := filepath.Glob("../examples/policies/*.yaml")
	if err != nil || len(policies) == 0 {
		t.Fatalf("no example of a policy: %v", err)
	}
	for _, file := range policies { // each is added to a configuration without one
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseConfig(file, []byte(minimal+string(raw))); err != nil {
			t.Error(err)
		}
	}
}

func TestTheShippedConfigurationShowsTheDefaults(t *testing.T) {
	exampleSecrets(t)
	have, err := LoadConfig("../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	// What the file marks as required, or as an example.
	want.Node, want.DataDir, want.Nodes, want.API, want.Clusters = have.Node, have.DataDir, have.Nodes, have.API, have.Clusters
	want.Raft.Listen, want.ProxySQL.Admin, want.ProxySQL.Password = have.Raft.Listen, have.ProxySQL.Admin, have.ProxySQL.Password
	want.ProxySQL.WhenHung = have.ProxySQL.WhenHung
	want.MySQL.Password, want.MySQL.ReplicationUser, want.MySQL.ReplicationPassword = have.MySQL.Password, have.MySQL.ReplicationUser, have.MySQL.ReplicationPassword
	want.Consul, want.Templates = have.Consul, have.Templates
	// A list that is shown as [] is none.
	if diff := cmp.Diff(want, have, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("config.yaml shows other values than the defaults (-default +shown):\n%s", diff)
	}
}

func TestTheShippedConfigurationHasEveryKey(t *testing.T) {
	raw, err := os.ReadFile("../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Keys whose files would have to exist are commented out.
	raw = regexp.MustCompile(`(?m)^( +)# (\w+: +\S+ +# Example)`).ReplaceAll(raw, []byte("$1$2"))
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]map[string]bool{}
	noteKeys(&doc, reflect.TypeFor[Config](), seen)
	wantKeys(t, reflect.TypeFor[Config](), seen)
}

// noteKeys notes the keys that a document gives for each struct type.
func noteKeys(n *yaml.Node, t reflect.Type, seen map[reflect.Type]map[string]bool) {
	switch n.Kind {
	case yaml.DocumentNode:
		noteKeys(n.Content[0], t, seen)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			noteKeys(item, t.Elem(), seen)
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			if t.Kind() == reflect.Map {
				noteKeys(value, t.Elem(), seen)
				continue
			}
			if seen[t] == nil {
				seen[t] = map[string]bool{}
			}
			seen[t][key] = true
			if field, _ := yamlField(t, key); field != nil {
				noteKeys(value, field, seen)
			}
		}
	}
}

// wantKeys reports the keys of a type, and of the types below it, that were not seen.
func wantKeys(t *testing.T, typ reflect.Type, seen map[reflect.Type]map[string]bool) {
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[Secret]() { // the file says what a secret is in a comment
		return
	}
	_, keys := yamlField(typ, "")
	if len(keys) == 0 {
		t.Errorf("%s has no keys", typ)
	}
	for _, key := range keys {
		if !seen[typ][key] {
			t.Errorf("config.yaml does not show %q of %s", key, typ)
		}
		field, _ := yamlField(typ, key)
		wantKeys(t, field, seen)
	}
}

// minimal is the shortest configuration.
const minimal = `node: a
nodes:
  - {name: a, raft: "10.0.0.1:3031", api: "10.0.0.1:3030"}
  - {name: b, raft: "10.0.0.2:3031", api: "10.0.0.2:3030"}
  - {name: c, raft: "10.0.0.3:3031", api: "10.0.0.3:3030", witness: true}
proxysql:
  admin: 127.0.0.1:6032
clusters:
  main:
    seeds: ["db1:3306"]
    hostgroups: {writer: 10, reader: 20}
`

func parse(t *testing.T, text string) Config {
	t.Helper()
	cfg, err := ParseConfig("r.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestWhatIsLeftOutIsCompleted(t *testing.T) {
	cfg := parse(t, minimal)
	if cfg.API.Listen != "127.0.0.1:3030" || cfg.Raft.Listen != "10.0.0.1:3031" {
		t.Errorf("listens on %s and %s", cfg.API.Listen, cfg.Raft.Listen)
	}
	if diff := cmp.Diff(failover.DefaultPolicy(), cfg.Clusters["main"].Policy); diff != "" {
		t.Error(diff)
	}
	if cfg.Lease != DefaultConfig().Lease || cfg.ProxySQL.User != "admin" {
		t.Errorf("%+v", cfg)
	}
	if empty := parse(t, minimal+"lease:\nlog: {level: }\n"); empty.Lease != cfg.Lease || empty.Log != cfg.Log {
		t.Error("a key without a value does not keep its default")
	}
}

func TestAClustersPolicyComesOnTopOfTheCommonOne(t *testing.T) {
	cfg := parse(t, minimal+`    policy: {durability: semi_sync, lag: {wait: 5s}, servers: [{match: "db1*", weight: 3}]}
  other:
    seeds: ["db9:3306"]
    hostgroups: {writer: 30, reader: 40}
    policy: {servers: []}
policy: {anti_flap: 1m, lag: {max: 2s}, servers: [{match: "db*", region: here}]}
`)
	p := cfg.Clusters["main"].Policy
	if p.Durability != failover.SemiSync || p.AntiFlap.String() != "1m0s" || p.Lag.Max.String() != "2s" || p.Lag.Wait.String() != "5s" {
		t.Errorf("%+v", p)
	}
	common := []failover.ServerRule{{Match: "db*", Region: "here"}}
	if diff := cmp.Diff(append(common, failover.ServerRule{Match: "db1*", Weight: 3}), p.Servers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(common, cfg.Clusters["other"].Policy.Servers); diff != "" {
		t.Errorf("an empty list took the common rules away:\n%s", diff)
	}
	if cfg.Clusters["other"].Policy.Durability != failover.Async || len(cfg.Policy.Servers) != 1 {
		t.Error("a cluster's policy reached another one's, or the common one")
	}
}

func TestASeedThatIsGivenTwiceIsOne(t *testing.T) {
	cfg := parse(t, strings.Replace(minimal, `["db1:3306"]`, `["db2:3306", "DB1:3306", db1, ""]`, 1))
	if diff := cmp.Diff([]topology.Addr{"db1:3306", "db2:3306"}, cfg.Clusters["main"].Seeds); diff != "" {
		t.Error(diff)
	}
}

// A secret is nowhere but in its place: not in the configuration, however it is
// printed, and not in an error.
func TestASecretIsNeverShown(t *testing.T) {
	const secret = "hunter2"
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_TOKEN", secret)
	places := fmt.Sprintf("mysql: {password: {file: %q}}\napi: {token: {env: TEST_TOKEN}}\n", file)
	cfg := parse(t, minimal+places)
	for _, s := range []Secret{cfg.MySQL.Password, cfg.API.Token} {
		if v, err := s.Read(); v != secret || err != nil {
			t.Errorf("%v reads as %q, %v", s, v, err)
		}
	}
	raw, err := yaml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v", cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%+v", &cfg.MySQL), string(raw)} {
		if strings.Contains(shown, secret) || !strings.Contains(shown, file) {
			t.Errorf("shows the secret, or not its place: %s", shown)
		}
	}
	for _, misplaced := range []string{
		secret, "[" + secret + "]", "{" + secret + "}", "{value: " + secret + "}", "{file: {" + secret + ": x}}", "{env: [" + secret + "]}",
		"*" + secret, "!" + secret + " x", "&x " + secret, "{<<: " + secret + "}", "{file: a, " + secret + ": b, " + secret + ": c}",
	} {
		_, err := ParseConfig("r.yaml", []byte(minimal+"mysql: {password: "+misplaced+"}\n"))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("password: %s: %v", misplaced, err)
		}
	}
}

// What config show prints can be read again and says the same.
func TestAPrintedConfigurationReadsTheSame(t *testing.T) {
	cfg := parse(t, minimal)
	raw, err := yaml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	again := parse(t, string(raw))
	cfg.MySQL.Keep, again.MySQL.Keep = nil, nil
	cfg.Policy.Servers, again.Policy.Servers = nil, nil
	cfg.Clusters, again.Clusters = nil, nil
	if diff := cmp.Diff(cfg, again); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsSaidOfTheServersArrives(t *testing.T) {
	c := MySQLConfig{User: "u", ReplicationUser: "r", ReplicationTLS: "on", ConnectRetry: topology.Duration(time.Second), KillAfter: topology.Duration(time.Minute), Keep: []string{"m"}, EnableEvents: true}
	got, err := c.adapter(failover.Detection{Heartbeat: topology.Duration(2 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if got.User != "u" || got.ReplicationUser != "r" || got.ReplicationTLS != "on" || got.ConnectRetry != c.ConnectRetry || got.KillAfter != c.KillAfter ||
		!slices.Equal(got.Keep, c.Keep) || !got.EnableEvents || got.Heartbeat.D() != 2*time.Second {
		t.Errorf("%+v", got)
	}
}
