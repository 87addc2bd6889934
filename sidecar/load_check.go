package sidecar

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/mysql"
	"github.com/remora-ha/remora/topology"
)

// complain reports what is wrong at a key path.
type complain func(path, format string, args ...any)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// leastRaft is what raft takes as its shortest time.
const leastRaft = topology.Duration(5 * time.Millisecond)

// validate checks what types cannot, and completes what may be left out.
func (c *Config) validate(bad complain) {
	c.validateStores(bad)
	c.validateJoin(bad)
	c.validateNodes(bad)
	c.validateListeners(bad)
	c.validateTimes(bad)
	c.validateSecrets(bad)
	c.validateAdapters(bad)
	if len(c.Clusters) == 0 {
		bad("clusters", "name at least one replication cluster")
	}
	validatePolicy(c.Policy, "policy", bad)
	taken := taken{hostgroups: map[int]string{}, seeds: map[topology.Addr]string{}}
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		c.validateCluster(name, taken, bad)
	}
}

func (c *Config) validateNodes(bad complain) {
	if len(c.Nodes) == 0 {
		bad("nodes", "list every sidecar, each with name, raft and api; or find them by `join`")
		return
	}
	names, addrs := map[string]string{}, map[string]string{}
	for i, n := range c.Nodes {
		at := fmt.Sprintf("nodes[%d]", i)
		if !namePattern.MatchString(n.Name) {
			bad(at+".name", "%q is not a name; use letters, digits, - and _", n.Name)
		} else if first, twice := names[n.Name]; twice {
			bad(at+".name", "%q is already the name of %s", n.Name, first)
		} else {
			names[n.Name] = at
		}
		for _, a := range []struct{ key, addr string }{{"raft", n.Raft}, {"api", n.API}} {
			host, err := splitAddr(a.addr)
			if err != nil {
				bad(at+"."+a.key, "%v", err)
			} else if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				bad(at+"."+a.key, "%q names no host; give the one at which the other nodes reach it", a.addr)
			} else if first, twice := addrs[a.addr]; twice {
				bad(at+"."+a.key, "%q is already %s", a.addr, first)
			} else {
				addrs[a.addr] = at + "." + a.key
			}
		}
	}
	if !slices.Contains(c.observers(), c.Node) || c.Node == "" {
		bad("node", "%q is none of nodes, which are: %s", c.Node, strings.Join(c.observers(), ", "))
	}
}

// splitAddr checks a host:port of a listener; the host may be empty.
func splitAddr(addr string) (host string, err error) {
	host, port, err := net.SplitHostPort(addr)
	n, numeric := strconv.Atoi(port)
	if err != nil || numeric != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%q is not host:port with a port from 1 to 65535", addr)
	}
	return host, nil
}

// validateListeners checks and completes where this node listens.
func (c *Config) validateListeners(bad complain) {
	self := c.self()
	if c.Raft.Listen == "" {
		c.Raft.Listen = self.Raft
	} else if _, err := splitAddr(c.Raft.Listen); err != nil {
		bad("raft.listen", "%v", err)
	}
	if c.API.Listen == "" {
		if _, port, err := net.SplitHostPort(self.API); err == nil {
			c.API.Listen = net.JoinHostPort("127.0.0.1", port)
		}
		return
	}
	host, err := splitAddr(c.API.Listen)
	if err != nil {
		bad("api.listen", "%v", err)
	} else if ip := net.ParseIP(host); c.API.Token == (Secret{}) && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		bad("api.listen", "%s is reachable from elsewhere, so api.token is needed: {file: PATH} or {env: NAME}", c.API.Listen)
	}
}

// validateTimes checks the times that only make sense together.
func (c *Config) validateTimes(bad complain) {
	r, l := c.Raft, c.Lease
	for _, d := range []struct {
		key  string
		have topology.Duration
	}{{"heartbeat", r.Heartbeat}, {"election", r.Election}, {"lease", r.Lease}} {
		if d.have < leastRaft {
			bad("raft."+d.key, "%s is too short; want at least %s", d.have, leastRaft)
		}
	}
	if r.Lease > r.Heartbeat {
		bad("raft.lease", "%s is longer than raft.heartbeat (%s); want at most that", r.Lease, r.Heartbeat)
	}
	if r.Election < r.Heartbeat {
		bad("raft.election", "%s is shorter than raft.heartbeat (%s); want at least that", r.Election, r.Heartbeat)
	}
	positive(bad, "lease.heartbeat", l.Heartbeat)
	positive(bad, "lease.fence_time", l.FenceTime)
	if l.File != "" && !filepath.IsAbs(l.File) {
		bad("lease.file", "%q is not an absolute path", l.File)
	}
	if l.TTL < 4*l.Heartbeat {
		bad("lease.ttl", "%s is too short for a heartbeat every %s; want at least four of them", l.TTL, l.Heartbeat)
	}
	if l.TTL <= 2*r.Election {
		bad("lease.ttl", "%s would run out during an election (raft.election is %s); want more than twice that", l.TTL, r.Election)
	}
}

func (c *Config) validateSecrets(bad complain) {
	for _, s := range []struct {
		path string
		Secret
	}{
		{"api.token", c.API.Token}, {"mysql.password", c.MySQL.Password},
		{"mysql.replication_password", c.MySQL.ReplicationPassword}, {"proxysql.password", c.ProxySQL.Password},
	} {
		if _, err := s.Read(); err != nil {
			bad(s.path, "%v", err)
		}
	}
}

func (c *Config) validateAdapters(bad complain) {
	if c.MySQL.User == "" {
		bad("mysql.user", "name the account that Remora logs in with")
	}
	oneOf(bad, "mysql.replication_tls", c.MySQL.ReplicationTLS, "off", "on")
	if oneOf(bad, "mysql.tls.mode", c.MySQL.TLS.Mode, mysql.TLSOff, mysql.TLSPreferred, mysql.TLSRequired, mysql.TLSVerify) {
		if err := (mysql.Config{User: "checked above", TLS: c.MySQL.TLS}).Check(); err != nil {
			bad("mysql.tls", "%v", err)
		}
	}
	positive(bad, "mysql.connect_retry", c.MySQL.ConnectRetry)
	positive(bad, "mysql.kill_after", c.MySQL.KillAfter)
	c.validateWatch(bad)
	var level slog.Level
	if level.UnmarshalText([]byte(c.Log.Level)) != nil {
		bad("log.level", "%q; allowed: debug, info, warn, error", c.Log.Level)
	}
	oneOf(bad, "log.format", c.Log.Format, "text", "json")
	if _, err := splitAddr(c.ProxySQL.Admin); err != nil && !c.self().Witness {
		bad("proxysql.admin", "%v; give this node's ProxySQL admin interface, or make the node a witness", err)
	}
	positive(bad, "proxysql.timeout", c.ProxySQL.Timeout)
	c.validateLadder(bad)
}

func (c *Config) validateWatch(bad complain) {
	w := c.Watch
	if w.ShareAbove < 0 {
		bad("watch.share_above", "%d is no number of instances; 0 shares always", w.ShareAbove)
	}
	if w.Primaries < 1 {
		bad("watch.primaries", "%d; at least 1 sidecar is to watch each primary, 3 are better", w.Primaries)
	}
	if w.Others < 1 {
		bad("watch.others", "%d; at least 1 sidecar is to watch each instance", w.Others)
	}
	if every := w.ReadEvery.D(); every < 0 || every > time.Minute {
		bad("watch.read_every", "%s; allowed: 0s, which reads at each detection.interval, to 1m", every)
	}
}

// validateLadder checks and completes what is done about a ProxySQL that hangs.
func (c *Config) validateLadder(bad complain) {
	var sum topology.Duration
	for i := range c.ProxySQL.WhenHung {
		r := &c.ProxySQL.WhenHung[i]
		at := fmt.Sprintf("proxysql.when_hung[%d]", i)
		if r.Timeout == 0 {
			r.Timeout = defaultRungTimeout
		}
		positive(bad, at+".timeout", r.Timeout)
		sum += r.Timeout
		if oneOf(bad, at+".rung", r.Rung, rungStop, rungFilter, rungHook) {
			r.validate(at, bad)
		}
	}
	if half := c.Lease.FenceTime / 2; sum > half {
		bad("proxysql.when_hung", "its rungs may take %s, and half of lease.fence_time, which is theirs, is %s; raise fence_time to %s", sum, half, 2*sum)
	}
}

// validate checks that a rung has what it needs and nothing else.
func (r *RungConfig) validate(at string, bad complain) {
	for _, key := range []struct {
		name  string
		given bool
		rungs []string
	}{
		{"pid_file", r.PIDFile != "", []string{rungStop}},
		{"command", len(r.Command) > 0, []string{rungStop, rungHook}},
		{"user", r.User != "", []string{rungFilter}},
	} {
		if key.given && !slices.Contains(key.rungs, r.Rung) {
			bad(at+"."+key.name, "is for the rung %s, not for %s", strings.Join(key.rungs, " or "), r.Rung)
		}
	}
	switch {
	case r.Rung == rungStop && (r.PIDFile == "") == (len(r.Command) == 0):
		bad(at, "give the rung stop a pid_file of ProxySQL or a command that stops it, and not both")
	case r.PIDFile != "" && !filepath.IsAbs(r.PIDFile):
		bad(at+".pid_file", "%q is not an absolute path", r.PIDFile)
	case r.Rung == rungHook && len(r.Command) == 0:
		bad(at, "give the rung hook a command, a list of words")
	case r.Rung == rungFilter && r.User == "":
		bad(at, "give the rung filter the user that ProxySQL runs as")
	}
}

// taken is what belongs to a cluster already, and to which.
type taken struct {
	hostgroups map[int]string
	seeds      map[topology.Addr]string
}

func (c *Config) validateCluster(name string, taken taken, bad complain) {
	at := "clusters." + name
	cl := c.Clusters[name]
	if !namePattern.MatchString(name) {
		bad(at, "%q is not a name; use letters, digits, - and _", name)
	}
	cl.Seeds = topology.SortAddrs(cl.Seeds)
	c.Clusters[name] = cl
	if len(cl.Seeds) == 0 {
		bad(at+".seeds", "give at least one server, host:port; the others are found through it")
	}
	for _, seed := range cl.Seeds {
		if other, twice := taken.seeds[seed]; twice {
			bad(at+".seeds", "%s is already a seed of %s; a server belongs to one cluster", seed, other)
		}
		taken.seeds[seed] = name
	}
	for _, g := range []struct {
		role string
		hg   int
	}{{"writer", cl.Hostgroups.Writer}, {"reader", cl.Hostgroups.Reader}} {
		if g.hg <= 0 {
			bad(at+".hostgroups."+g.role, "%d; give a ProxySQL hostgroup from 1", g.hg)
		} else if other, twice := taken.hostgroups[g.hg]; twice {
			bad(at+".hostgroups."+g.role, "hostgroup %d is already the %s; each belongs to one role of one cluster", g.hg, other)
		} else {
			taken.hostgroups[g.hg] = g.role + " of " + name
		}
	}
	validatePolicy(c.own(cl.Policy), at+".policy", func(path, format string, args ...any) {
		if !inherited(c.Policy, strings.TrimPrefix(path, at+".policy."), fmt.Sprintf(format, args...)) {
			bad(path, format, args...)
		}
	})
}

// own is a cluster's policy without the common rules for servers, so that its
// rules count as they do in the file.
func (c *Config) own(p failover.Policy) failover.Policy {
	p.Servers = p.Servers[len(c.Policy.Servers):]
	return p
}

// inherited says whether the common policy has the same fault, which is reported
// there.
func inherited(common failover.Policy, key, fault string) bool {
	common.Servers = nil
	found := false
	validatePolicy(common, "", func(path, format string, args ...any) {
		found = found || path == "."+key && fmt.Sprintf(format, args...) == fault
	})
	return found
}

// validatePolicy gives every line of a policy's own verdict its place.
func validatePolicy(p failover.Policy, at string, bad complain) {
	err := p.Validate()
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		key, rest, _ := strings.Cut(line, ": ")
		bad(at+"."+key, "%s", rest)
	}
}

func positive(bad complain, path string, have topology.Duration) {
	if have <= 0 {
		bad(path, "%s; want more than 0s", have)
	}
}

func oneOf(bad complain, path, have string, allowed ...string) bool {
	ok := slices.Contains(allowed, have)
	if !ok {
		bad(path, "%q; allowed: %s", have, strings.Join(allowed, ", "))
	}
	return ok
}
