package consensus

import (
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	good := Config{Name: "a", Peers: []Peer{{Name: "a", Addr: "a:1"}, {Name: "b", Addr: "b:1"}}}
	if err := good.Defaults().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"the node has no name":                                       func(c *Config) { c.Name = "" },
		`node "x" is not among its peers`:                            func(c *Config) { c.Name = "x" },
		`peer "a" is listed twice`:                                   func(c *Config) { c.Peers = []Peer{{"a", "a:1", false}, {"a", "b:1", false}} },
		`peers "a" and "b" have the same address a:1`:                func(c *Config) { c.Peers = []Peer{{"a", "a:1", false}, {"b", "a:1", false}} },
		`a peer with address "b:1" has no name`:                      func(c *Config) { c.Peers = []Peer{{"a", "a:1", false}, {"", "b:1", false}} },
		`peer "a": address "a" is not host:port`:                     func(c *Config) { c.Peers = []Peer{{"a", "a", false}} },
		"no peer has a vote":                                         func(c *Config) { c.Peers = []Peer{{"a", "a:1", true}} },
		"the lease of 1s is longer than the heartbeat time-out":      func(c *Config) { c.Lease = time.Second },
		"time-out of 1s is longer than the election time-out of 1ms": func(c *Config) { c.Heartbeat, c.Election = time.Second, time.Millisecond },
	} {
		c := good
		change(&c)
		if err := c.Defaults().Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := Start(Config{}); err == nil {
		t.Error("a node without a configuration started")
	}
}

func TestDefaults(t *testing.T) {
	c := Config{Name: "a", Peers: []Peer{{Name: "a", Addr: "a:1"}}}.Defaults()
	if c.Bind != "a:1" || c.Advertise != "a:1" || c.Heartbeat != 300*time.Millisecond || c.Election != 300*time.Millisecond ||
		c.Lease != 150*time.Millisecond || c.CommitTimeout != 10*time.Millisecond {
		t.Errorf("%+v", c)
	}
	r := c.raft(nil)
	if r.LocalID != "a" || r.HeartbeatTimeout != c.Heartbeat || r.ElectionTimeout != c.Election || r.LeaderLeaseTimeout != c.Lease ||
		r.CommitTimeout != c.CommitTimeout || r.SnapshotThreshold != c.SnapshotThreshold || r.SnapshotInterval != c.SnapshotInterval || r.TrailingLogs != c.TrailingLogs {
		t.Errorf("raft gets %+v of %+v", r, c)
	}
	c = Config{Heartbeat: 100 * time.Millisecond, Election: time.Second}.Defaults()
	if c.Lease > c.Heartbeat || c.Heartbeat > c.Election {
		t.Errorf("lease %s, heartbeat %s, election %s", c.Lease, c.Heartbeat, c.Election)
	}
}
