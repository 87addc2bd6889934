package doctor

import (
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// Facts is all that was gathered, in the order in which it shall be told.
type Facts struct {
	Taken    time.Time // by the clock of who gathered it
	Node     string    // who gathered it
	Leader   string    // empty: none is known
	Members  []Member
	Nodes    []Node // all configured ones; one that could not be asked has an Error
	Clusters []Cluster
}

// Member is a node as the gathering one is configured.
type Member struct {
	Name    string
	Raft    string // host:port
	Witness bool
}

// Cluster is one replication cluster: its servers and what is wanted of them.
type Cluster struct {
	Name        string
	Writer      topology.Addr // routed; empty before the first route
	Epoch       uint64
	WriterGroup int
	ReaderGroup int
	Policy      failover.Policy
	Want        Want
	Servers     []Server
	Findings    []failover.Finding // of the leader's last decision cycle
}

// Want is what Remora's configuration says of every server of a cluster.
type Want struct {
	ConnectRetry   topology.Duration // of a replica that lost its source
	ReplicationTLS bool              // replicas shall encrypt
	TLS            string            // the mode of Remora's own connections
	Sidecars       int               // that keep a connection to each server
	Events         bool              // a promotion shall enable events
}

// Server is what one database server is set to.
type Server struct {
	Addr  topology.Addr
	Error string // why nothing is known of it
	State *topology.State
	// Variables are global ones by their lower-case names; absent: the server has
	// none of that name.
	Variables map[string]string
	// Origins say where the value in force of a variable came from, in the server's
	// own word: CONFIG, COMPILED, SQL, DYNAMIC, ….
	Origins   map[string]string
	Persisted map[string]string // MySQL: set by SET PERSIST, for the next start
	Channels  []Channel
	Plugins   map[string]bool // MySQL: active, by name
	Account   Account         // that Remora logs in with
	// Replication are the accounts of replication_user, one a host; nil: not read.
	Replication []Account
	Events      *int // enabled ones; nil: not read
	Cipher      string
	// CertificateUntil is when the server's certificate ends; zero: it has none, or
	// that could not be read.
	CertificateUntil time.Time
	Clock            *Clock
	Unread           []string // sentences on what could not be read
}

// Channel is what [topology.Source] does not hold of a replication channel.
type Channel struct {
	Name         string
	ConnectRetry topology.Duration
	Retries      *int // until the receiver gives up; 0: never; nil: the server does not say
	TLS          bool
	Wanders      bool // MySQL changes its source by itself when that is lost
}

// Account is an account on a server.
type Account struct {
	Host string // of the account's name
	// Missing are the privileges that it lacks, by what they are for.
	Missing map[Use][]string
	// Limit is max_user_connections; 0: none.
	Limit int
	// Grant gives what is missing of a use, as one statement.
	Grant map[Use]string
}

// Use is what privileges are for.
type Use string

// The uses.
const (
	UseAlways    Use = "always"    // everything else
	UseRescue    Use = "rescue"    // saving transactions as SQL
	UseClone     Use = "clone"     // MySQL's CLONE
	UseEvents    Use = "events"    // enabling events on promotion
	UsePositions Use = "positions" // a failover without GTID
	UseReplicate Use = "replicate" // the replication account's own
)

// Clock is how far another clock is ahead of the asker's, and how sure that is.
type Clock struct {
	Ahead  topology.Duration `json:"ahead"`
	Within topology.Duration `json:"within"`
}

// Node is what a sidecar says of itself and of what is beside it.
type Node struct {
	Name     string            `json:"name"`
	Error    string            `json:"error,omitempty"` // why nothing is known of it
	Version  string            `json:"version,omitempty"`
	Now      time.Time         `json:"now,omitzero"`    // when it had gathered the rest
	Took     topology.Duration `json:"took,omitempty"`  // the gathering
	Clock    *Clock            `json:"clock,omitempty"` // filled by who asked
	Raft     Raft              `json:"raft"`
	Disk     *Disk             `json:"disk,omitempty"`     // nil: it keeps nothing on disk
	Peers    []Peer            `json:"peers,omitempty"`    // the other nodes as this one reaches them
	Settings map[string]string `json:"settings,omitempty"` // a digest of each part of its configuration that all must share
	Proxy    *Proxy            `json:"proxy,omitempty"`    // nil on a witness
	Stores   []Store           `json:"stores,omitempty"`
}

// Raft is a node's place in the consensus.
type Raft struct {
	State   string       `json:"state,omitempty"`
	Leader  string       `json:"leader,omitempty"`
	Members []RaftMember `json:"members,omitempty"` // as committed
	Entries uint64       `json:"entries,omitempty"` // in its log
	Bytes   int64        `json:"bytes,omitempty"`   // of its log on disk
	Halted  string       `json:"halted,omitempty"`
}

// RaftMember is a committed member.
type RaftMember struct {
	Name  string `json:"name"`
	Addr  string `json:"addr,omitempty"`
	Voter bool   `json:"voter,omitempty"`
}

// Disk is how long the disk under data_dir takes to write and sync a little.
type Disk struct {
	Median topology.Duration `json:"median"`
	Worst  topology.Duration `json:"worst"`
	Error  string            `json:"error,omitempty"`
}

// Peer is how a node reaches another one's raft listener.
type Peer struct {
	Name  string `json:"name"`
	Addr  string `json:"addr"`
	Error string `json:"error,omitempty"`
}

// Proxy is what a ProxySQL is set to.
type Proxy struct {
	Error   string `json:"error,omitempty"` // why nothing is known of it
	Version string `json:"version,omitempty"`
	// Runtime, Memory and Disk are the variables that matter, in the three layers.
	Runtime map[string]string `json:"runtime,omitempty"`
	Memory  map[string]string `json:"memory,omitempty"`
	Disk    map[string]string `json:"disk,omitempty"`
	Claims  []Claim           `json:"claims,omitempty"`
	Peers   int               `json:"peers,omitempty"`  // rows of proxysql_servers
	Groups  map[int]int       `json:"groups,omitempty"` // servers by hostgroup, in runtime
	// Online is max_num_online_servers by hostgroup, in runtime; nil: this ProxySQL
	// has no such table.
	Online map[int]int `json:"online,omitempty"`
	Users  []User      `json:"users,omitempty"`
	Logins []string    `json:"logins,omitempty"` // servers that refuse the monitor's log-in, with the error
}

// Claim is a row by which ProxySQL itself moves servers between hostgroups.
type Claim struct {
	Table  string `json:"table"`
	Groups []int  `json:"groups"`
}

// User is an application's account in ProxySQL.
type User struct {
	Name       string `json:"name"`
	Group      int    `json:"group"`
	Persistent bool   `json:"persistent"` // a transaction stays in its hostgroup
}

// Store is one Consul as a node reaches it.
type Store struct {
	Name  string `json:"name"`
	Agent string `json:"agent"`
	Error string `json:"error,omitempty"`
	// Denied says that the error is a missing right.
	Denied bool `json:"denied,omitempty"`
	// Epochs are those of the stored documents, by cluster.
	Epochs map[string]uint64 `json:"epochs,omitempty"`
}

// Primary says whether the server is the routed writer.
func (c *Cluster) primary(s *Server) bool { return s.Addr == c.Writer }

// writer is the routed writer; nil where it is not known or was not read.
func (c *Cluster) writer() *Server {
	for i := range c.Servers {
		if s := &c.Servers[i]; c.primary(s) && s.read() {
			return s
		}
	}
	return nil
}

// byPosition says that the cluster replicates by file and position, as far as it was read.
func (c *Cluster) byPosition() bool {
	positions := false
	for i := range c.Servers {
		if !c.Servers[i].read() {
			continue
		}
		for _, src := range c.Servers[i].State.Sources {
			if src.GTID {
				return false
			}
			positions = true
		}
	}
	return positions
}

// read says whether anything is known of the server.
func (s *Server) read() bool { return s.Error == "" && s.State != nil }

func (s *Server) mariadb() bool { return s.State.Flavor == "mariadb" }

// either is the first of the variables that the server has, and its name.
func (s *Server) either(names ...string) (name, value string, ok bool) {
	for _, n := range names {
		if v, has := s.Variables[n]; has {
			return n, v, true
		}
	}
	return "", "", false
}
