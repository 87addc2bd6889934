package sidecar

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/remora-ha/remora/topology"
)

// LoadConfig reads and checks a configuration file. Every error names the file,
// the line, the key and what is allowed; all are reported at once.
func LoadConfig(file string) (Config, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return ParseConfig(file, raw)
}

// ParseConfig is LoadConfig for text; file is only named in errors.
func ParseConfig(file string, raw []byte) (Config, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return Config{}, fmt.Errorf("%s: not YAML: %w", file, err)
	}
	if doc.Kind == 0 {
		return Config{}, fmt.Errorf("%s: the file is empty; config.yaml in the documentation is a commented example", file)
	}
	if err := checkKeys(file, &doc, reflect.TypeFor[Config](), ""); err != nil {
		return Config{}, err
	}
	cfg := DefaultConfig()
	if err := decode(&doc, &cfg); err != nil {
		return Config{}, fmt.Errorf("%s: %w", file, err)
	}
	if err := cfg.validate(file, &doc); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// decode fills cfg twice: first all but the clusters, whose policies begin as
// copies of the common policy, then the clusters on top of those copies.
func decode(doc *yaml.Node, cfg *Config) error {
	if err := doc.Decode(cfg); err != nil {
		return err
	}
	var names struct {
		Clusters map[string]yaml.Node `yaml:"clusters"`
	}
	if err := doc.Decode(&names); err != nil {
		return err
	}
	for name, n := range names.Clusters {
		c := ClusterConfig{Policy: cfg.Policy}
		c.Policy.Servers = slices.Clone(cfg.Policy.Servers)
		if err := n.Decode(&c); err != nil {
			return err
		}
		if len(c.Policy.Servers) > 0 && len(cfg.Policy.Servers) > 0 && !slices.Equal(c.Policy.Servers, cfg.Policy.Servers) {
			// The cluster's rules come after the common ones, so they win value by value.
			c.Policy.Servers = append(slices.Clone(cfg.Policy.Servers), c.Policy.Servers...)
		}
		cfg.Clusters[name] = c
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// validate checks what types cannot: every complaint names its key.
func (c *Config) validate(file string, doc *yaml.Node) error {
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s: %s", file, lineOf(doc, path), path, fmt.Sprintf(format, args...)))
	}
	c.validateFleet(bad)
	c.validateAdapters(bad)
	if len(c.Clusters) == 0 {
		bad("clusters", "name at least one replication cluster")
	}
	used := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		c.validateCluster(name, used, bad)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

type complain func(path, format string, args ...any)

func (c *Config) validateFleet(bad complain) {
	if !namePattern.MatchString(c.Node) {
		bad("node", "%q is not a name; use letters, digits, - and _", c.Node)
	}
	seen := map[string]bool{}
	for i, n := range c.Nodes {
		at := fmt.Sprintf("nodes[%d]", i)
		if !namePattern.MatchString(n.Name) || seen[n.Name] {
			bad(at+".name", "%q is not a name of its own; use letters, digits, - and _, each name once", n.Name)
		}
		seen[n.Name] = true
		for key, addr := range map[string]string{"raft": n.Raft, "api": n.API} {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				bad(at+"."+key, "%q is not host:port", addr)
			}
		}
	}
	c.validateListeners(seen[c.Node], bad)
	if r := c.Raft; r.Lease > r.Heartbeat || r.Heartbeat > r.Election {
		bad("raft", "want lease ≤ heartbeat ≤ election, have %s, %s, %s", r.Lease, r.Heartbeat, r.Election)
	}
	if l := c.Lease; l.Heartbeat <= 0 || l.TTL < 4*l.Heartbeat {
		bad("lease.ttl", "%s is too short for a heartbeat every %s; want at least four of them", l.TTL, l.Heartbeat)
	}
	if l := c.Lease; l.TTL <= 2*c.Raft.Election {
		bad("lease.ttl", "%s would run out during an election (raft.election is %s); want more than twice that", l.TTL, c.Raft.Election)
	}
}

// validateListeners checks and completes where this node listens.
func (c *Config) validateListeners(member bool, bad complain) {
	if !member && c.Node != "" {
		bad("nodes", "this node, %q, is not among them", c.Node)
	}
	if c.API.Listen == "" && member {
		_, port, _ := net.SplitHostPort(c.self().API)
		c.API.Listen = net.JoinHostPort("127.0.0.1", port)
	}
	if c.Raft.Listen == "" {
		c.Raft.Listen = c.self().Raft
	}
	if host, _, err := net.SplitHostPort(c.API.Listen); err != nil {
		bad("api.listen", "%q is not host:port", c.API.Listen)
	} else if ip := net.ParseIP(host); c.API.Token == (Secret{}) && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		bad("api.listen", "%s is reachable from elsewhere, so api.token (file or env) is needed", c.API.Listen)
	}
}

func (c *Config) validateAdapters(bad complain) {
	for path, s := range map[string]Secret{
		"api.token": c.API.Token, "mysql.password": c.MySQL.Password,
		"mysql.replication_password": c.MySQL.ReplicationPassword, "proxysql.password": c.ProxySQL.Password,
	} {
		if _, err := s.Read(); err != nil {
			bad(path, "%v", err)
		}
	}
	if m, err := c.MySQL.adapter(c.Policy.Detection); err == nil {
		if err := m.Check(); err != nil {
			bad("mysql", "%v", err)
		}
	}
	var level slog.Level
	if level.UnmarshalText([]byte(c.Log.Level)) != nil {
		bad("log.level", "%q; allowed: debug, info, warn, error", c.Log.Level)
	}
	oneOf(bad, "log.format", c.Log.Format, "text", "json")
	if _, _, err := net.SplitHostPort(c.ProxySQL.Admin); err != nil && !c.self().Witness {
		bad("proxysql.admin", "%q is not host:port; give this node's ProxySQL admin interface, or make the node a witness", c.ProxySQL.Admin)
	}
	if c.ProxySQL.Timeout <= 0 {
		bad("proxysql.timeout", "%s; want more than 0s", c.ProxySQL.Timeout)
	}
}

func (c *Config) validateCluster(name string, used map[int]string, bad complain) {
	at := "clusters." + name
	cl := c.Clusters[name]
	if !namePattern.MatchString(name) {
		bad(at, "%q is not a name; use letters, digits, - and _", name)
	}
	if len(cl.Seeds) == 0 {
		bad(at+".seeds", "give at least one server, host:port; the others are found through it")
	}
	topology.SortAddrs(cl.Seeds)
	for key, hg := range map[string]int{"writer": cl.Hostgroups.Writer, "reader": cl.Hostgroups.Reader} {
		if hg <= 0 {
			bad(at+".hostgroups."+key, "%d; give a ProxySQL hostgroup from 1", hg)
			continue
		}
		if other, taken := used[hg]; taken {
			bad(at+".hostgroups."+key, "hostgroup %d is already %s", hg, other)
		}
		used[hg] = "the " + key + " of " + name
	}
	if err := cl.Policy.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			key, rest, _ := strings.Cut(line, ": ")
			bad(at+".policy."+key, "%s", rest)
		}
	}
}

func oneOf(bad complain, path, have string, allowed ...string) {
	if !slices.Contains(allowed, have) {
		bad(path, "%q; allowed: %s", have, strings.Join(allowed, ", "))
	}
}
