package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Config of a node. [Config.Defaults] fills what is left zero.
type Config struct {
	// Name identifies the node for ever; it must be one of Peers.
	Name string
	// Bind is the address to listen on, host:port; the node's own in Peers when empty.
	Bind string
	// Advertise is what the others are told; the node's own in Peers when empty.
	Advertise string
	// Dir keeps log, vote and snapshots, for this node alone. Empty: in memory.
	Dir string
	// Peers are all nodes, this one too; the same list everywhere. It makes the
	// first configuration of a new cluster; later only its addresses count, so
	// that a node may move.
	Peers []Peer

	// Heartbeat is how long a follower hears nothing until it stands for election,
	// Election how long an election takes at most, Lease how long a leader without
	// a majority believes itself. Lease ≤ Heartbeat ≤ Election.
	Heartbeat, Election, Lease time.Duration
	// CommitTimeout is how long an idle leader waits until it tells followers what
	// is committed; a follower knows after one to two of them.
	CommitTimeout time.Duration
	// IOTimeout bounds connecting to a peer and every message.
	IOTimeout time.Duration

	// SnapshotThreshold is how many entries make a new snapshot worth its while,
	// SnapshotInterval how often that is checked, TrailingLogs how many entries
	// stay for a follower that is a little behind.
	SnapshotThreshold uint64
	SnapshotInterval  time.Duration
	TrailingLogs      uint64

	Log *slog.Logger // nil: silent

	// Network carries raft's connections; nil: TCP.
	Network Network
	// Stores replace Dir; nil: Dir, or memory. They are not closed with the node.
	Stores *Stores
}

// Network is how a node is reached and reaches the others.
type Network interface {
	Listen(addr string) (net.Listener, error)
	// Dial connects within timeout.
	Dial(addr string, timeout time.Duration) (net.Conn, error)
}

// tcp is the Network of the real world.
type tcp struct{}

func (tcp) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
func (tcp) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, timeout)
}

// Peer is a node of the cluster.
type Peer struct {
	Name string
	Addr string // host:port of its raft
	// NonVoter nodes hold the state and neither vote nor lead.
	NonVoter bool
}

// Defaults fills in what is zero.
func (c Config) Defaults() Config {
	set(&c.Heartbeat, 300*time.Millisecond)
	set(&c.Election, max(300*time.Millisecond, c.Heartbeat))
	set(&c.Lease, min(150*time.Millisecond, c.Heartbeat))
	set(&c.CommitTimeout, 10*time.Millisecond)
	set(&c.IOTimeout, time.Second)
	set(&c.SnapshotThreshold, 1024)
	set(&c.SnapshotInterval, 30*time.Second)
	set(&c.TrailingLogs, 512)
	set(&c.Log, slog.New(slog.DiscardHandler))
	set(&c.Network, Network(tcp{}))
	if self, ok := c.self(); ok {
		set(&c.Advertise, self.Addr)
		set(&c.Bind, self.Addr)
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) self() (Peer, bool) {
	for _, p := range c.Peers {
		if p.Name == c.Name {
			return p, true
		}
	}
	return Peer{}, false
}

// Validate says what is wrong with the configuration, all at once.
func (c Config) Validate() error {
	var wrong []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	add(c.Name == "", "the node has no name")
	_, ok := c.self()
	add(!ok && c.Name != "", "node %q is not among its peers", c.Name)
	names, addrs, voters := map[string]bool{}, map[string]string{}, 0
	for _, p := range c.Peers {
		add(p.Name == "", "a peer with address %q has no name", p.Addr)
		add(names[p.Name], "peer %q is listed twice", p.Name)
		_, _, err := net.SplitHostPort(p.Addr)
		add(err != nil, "peer %q: address %q is not host:port", p.Name, p.Addr)
		add(addrs[p.Addr] != "", "peers %q and %q have the same address %s", addrs[p.Addr], p.Name, p.Addr)
		names[p.Name], addrs[p.Addr] = true, p.Name
		if !p.NonVoter {
			voters++
		}
	}
	add(voters == 0 && len(c.Peers) > 0, "no peer has a vote")
	add(c.Lease > c.Heartbeat, "the lease of %s is longer than the heartbeat time-out of %s", c.Lease, c.Heartbeat)
	add(c.Heartbeat > c.Election, "the heartbeat time-out of %s is longer than the election time-out of %s", c.Heartbeat, c.Election)
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("consensus: %w", errors.Join(wrong...))
}

// raft is the library's configuration.
func (c Config) raft(notify chan<- bool) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(c.Name)
	r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout = c.Heartbeat, c.Election, c.Lease
	r.CommitTimeout = c.CommitTimeout
	r.SnapshotThreshold, r.SnapshotInterval, r.TrailingLogs = c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs
	r.NotifyCh = notify
	r.Logger = hclogger(c.Log)
	r.NoLegacyTelemetry = true
	return r
}

// servers is the configuration of a new cluster.
func (c Config) servers() raft.Configuration {
	var conf raft.Configuration
	for _, p := range c.Peers {
		s := raft.Server{ID: raft.ServerID(p.Name), Address: raft.ServerAddress(p.Addr)}
		if p.NonVoter {
			s.Suffrage = raft.Nonvoter
		}
		conf.Servers = append(conf.Servers, s)
	}
	return conf
}
