package sidecar

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/mysql"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// Config is a sidecar's configuration, the same file on every node but for
// `node` and what belongs to its own machine.
type Config struct {
	Node     string         `yaml:"node"`
	DataDir  string         `yaml:"data_dir"`
	Nodes    []NodeConfig   `yaml:"nodes,omitempty"`
	Join     JoinConfig     `yaml:"join,omitempty"` // in place of Nodes
	API      APIConfig      `yaml:"api"`
	Raft     RaftConfig     `yaml:"raft"`
	Lease    LeaseConfig    `yaml:"lease"`
	MySQL    MySQLConfig    `yaml:"mysql"`
	Watch    WatchConfig    `yaml:"watch"`
	ProxySQL ProxySQLConfig `yaml:"proxysql"`
	Log      LogConfig      `yaml:"log"`
	// Consul are the Consuls that routes are published to, of several data centres
	// perhaps; none: nothing is published.
	Consul []ConsulConfig `yaml:"consul,omitempty"`
	// Templates are the files that this node renders from them.
	Templates []TemplateConfig         `yaml:"templates,omitempty"`
	Policy    failover.Policy          `yaml:"policy"` // of every cluster, where the cluster says nothing else
	Clusters  map[string]ClusterConfig `yaml:"clusters"`
}

// NodeConfig is one member of the fleet as the others reach it.
type NodeConfig struct {
	Name string `yaml:"name"`
	Raft string `yaml:"raft"` // host:port of its raft listener
	API  string `yaml:"api"`  // host:port of its HTTP listener
	// Witness says that the node has no ProxySQL: it votes and observes only.
	Witness bool `yaml:"witness"`
}

// APIConfig is the HTTP listener.
type APIConfig struct {
	Listen string `yaml:"listen"` // default: the port of the node's own `api` on loopback
	Token  Secret `yaml:"token"`  // demanded of every caller; needed when listening beyond loopback
}

// RaftConfig is the raft member.
type RaftConfig struct {
	Listen    string            `yaml:"listen"` // default: the node's own `raft`
	Heartbeat topology.Duration `yaml:"heartbeat"`
	Election  topology.Duration `yaml:"election"`
	Lease     topology.Duration `yaml:"lease"`
}

// LeaseConfig is the leader's permission for a sidecar to route writes.
type LeaseConfig struct {
	Heartbeat topology.Duration `yaml:"heartbeat"`  // how often a sidecar reports
	TTL       topology.Duration `yaml:"ttl"`        // a sidecar that got no answer for this long fences its proxy
	FenceTime topology.Duration `yaml:"fence_time"` // what the fencing may take
	// Failsafe lets a lease hold on while every node confirms that none leads.
	Failsafe bool `yaml:"failsafe"`
	// File is where the lease is written for `remora watchdog`; "": nowhere.
	File string `yaml:"file"`
}

// MySQLConfig is how to log in to the database servers and how replicas are to replicate.
type MySQLConfig struct {
	User                string            `yaml:"user"`
	Password            Secret            `yaml:"password"`
	ReplicationUser     string            `yaml:"replication_user"`
	ReplicationPassword Secret            `yaml:"replication_password"`
	TLS                 mysql.TLS         `yaml:"tls"`
	ReplicationTLS      string            `yaml:"replication_tls"`  // "off" or "on", for a replica that has no TLS options yet
	ConnectRetry        topology.Duration `yaml:"connect_retry"`    // of a replica that lost its source
	KillAfter           topology.Duration `yaml:"kill_after"`       // how long statements in progress may hold up read_only
	Keep                []string          `yaml:"keep_sessions_of"` // users whose sessions are never ended
	EnableEvents        bool              `yaml:"enable_events"`    // on a promotion those that were off because the server was a replica
}

// adapter is the configuration of package mysql for one cluster.
func (c *MySQLConfig) adapter(d failover.Detection) (mysql.Config, error) {
	password, err := c.Password.Read()
	if err != nil {
		return mysql.Config{}, fmt.Errorf("mysql.password: %w", err)
	}
	replication, err := c.ReplicationPassword.Read()
	if err != nil {
		return mysql.Config{}, fmt.Errorf("mysql.replication_password: %w", err)
	}
	return mysql.Config{
		User: c.User, Password: password, ReplicationUser: c.ReplicationUser, ReplicationPassword: replication,
		TLS: c.TLS, ReplicationTLS: c.ReplicationTLS, ConnectRetry: c.ConnectRetry, KillAfter: c.KillAfter, Keep: c.Keep, EnableEvents: c.EnableEvents,
		Heartbeat: d.Heartbeat, ProbeTimeout: d.Timeout,
	}, nil
}

// ProxySQLConfig is the admin interface of the node's own ProxySQL.
type ProxySQLConfig struct {
	Admin    string            `yaml:"admin"`
	User     string            `yaml:"user"`
	Password Secret            `yaml:"password"`
	Timeout  topology.Duration `yaml:"timeout"`
	// WhenHung is tried in this order where a fence is due and the admin interface
	// does not carry it out; none: a failover waits.
	WhenHung []RungConfig `yaml:"when_hung,omitempty"`
}

// LogConfig is what is logged, and how.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// ClusterConfig is one replication cluster.
type ClusterConfig struct {
	Seeds      []topology.Addr     `yaml:"seeds"`
	Hostgroups proxysql.Hostgroups `yaml:"hostgroups"`
	Policy     failover.Policy     `yaml:"policy"`
}

// DefaultConfig holds where the YAML is silent.
func DefaultConfig() Config {
	ms := func(n int) topology.Duration { return topology.Duration(time.Duration(n) * time.Millisecond) }
	servers := mysql.DefaultConfig()
	return Config{
		Raft:  RaftConfig{Heartbeat: ms(300), Election: ms(300), Lease: ms(300)},
		Lease: LeaseConfig{Heartbeat: ms(200), TTL: ms(2000), FenceTime: ms(500)},
		MySQL: MySQLConfig{
			User: "remora", TLS: servers.TLS, ReplicationTLS: servers.ReplicationTLS,
			ConnectRetry: servers.ConnectRetry, KillAfter: servers.KillAfter,
		},
		Watch:    WatchConfig{ShareAbove: 100, Primaries: 3, Others: 1, ReadEvery: topology.Duration(5 * time.Second)},
		ProxySQL: ProxySQLConfig{User: "admin", Timeout: topology.Duration(proxysql.DefaultTimeout)},
		Log:      LogConfig{Level: "info", Format: "text"},
		Policy:   failover.DefaultPolicy(),
	}
}

// self is the node's own entry.
func (c *Config) self() NodeConfig {
	for _, n := range c.Nodes {
		if n.Name == c.Node {
			return n
		}
	}
	return NodeConfig{}
}

// observers are the names of all nodes: a majority is counted of them.
func (c *Config) observers() []string {
	names := make([]string, 0, len(c.Nodes))
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// Logger makes the logger that the configuration asks for.
func (c *LogConfig) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked when the file was read
	opt := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}
