package api

import (
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// Status is the fleet and its clusters as the answering node knows them.
type Status struct {
	Node     string          `json:"node"` // who answers
	Version  string          `json:"version"`
	Leader   string          `json:"leader,omitempty"`
	Term     uint64          `json:"term"`
	Index    uint64          `json:"index"`
	Taken    time.Time       `json:"taken"`
	Nodes    []NodeStatus    `json:"nodes"`
	Clusters []ClusterStatus `json:"clusters"`
}

// NodeStatus is one sidecar.
type NodeStatus struct {
	Name    string             `json:"name"`
	API     string             `json:"api"`
	Raft    string             `json:"raft"`
	Role    string             `json:"role"`              // "leader", "follower", "silent"
	Heard   *topology.Duration `json:"heard,omitempty"`   // since its last heartbeat; nil: never in this term
	Lease   *topology.Duration `json:"lease,omitempty"`   // what is left of it
	Witness bool               `json:"witness,omitempty"` // it has no ProxySQL
	Proxy   string             `json:"proxy,omitempty"`   // ProxySQL's version
	Applied map[string]uint64  `json:"applied,omitempty"` // newest epoch its proxy applied, by cluster
	Shares  bool               `json:"shares,omitempty"`  // it watches a share of the instances, not all
	Trouble []string           `json:"trouble,omitempty"`
}

// ClusterStatus is one cluster in short.
type ClusterStatus struct {
	Name      string             `json:"name"`
	Epoch     uint64             `json:"epoch"`
	Primary   topology.Addr      `json:"primary,omitempty"`
	Mode      topology.Mode      `json:"mode,omitempty"`
	Sentence  string             `json:"sentence"` // the last decision cycle's
	Instances []InstanceStatus   `json:"instances"`
	Findings  []failover.Finding `json:"findings"`
	Refusals  []failover.Refusal `json:"refusals,omitempty"`
	Recovery  *failover.Recovery `json:"recovery,omitempty"` // the open one
}

// InstanceStatus is one instance in short.
type InstanceStatus struct {
	Addr     topology.Addr      `json:"addr"`
	Role     string             `json:"role"` // "primary", "replica", "detached", "unknown"
	Reach    topology.Verdict   `json:"reach"`
	ReadOnly bool               `json:"read_only"`
	Source   topology.Addr      `json:"source,omitempty"`
	IO       topology.Thread    `json:"io,omitempty"`
	SQL      topology.Thread    `json:"sql,omitempty"`
	Lag      *topology.Duration `json:"lag,omitempty"`
	Reads    bool               `json:"reads"` // routed as a reader
	Version  string             `json:"version,omitempty"`
	Executed string             `json:"executed,omitempty"`
	Read     *topology.Duration `json:"read,omitempty"` // since it was last read wholly; nil: never
	Watchers []Watcher          `json:"watchers"`       // sorted by node
}

// Watcher is a sidecar that looked at an instance just now.
type Watcher struct {
	Node  string            `json:"node"`
	Ago   topology.Duration `json:"ago"` // since its last look
	Reach topology.Reach    `json:"reach"`
}

// TopologyReply is a cluster's replication tree.
type TopologyReply struct {
	Cluster  string            `json:"cluster"`
	Lines    []string          `json:"lines"` // for people
	Snapshot topology.Snapshot `json:"snapshot"`
}

// RecoveryRequest asks for a switchover or a forced failover.
type RecoveryRequest struct {
	failover.Request
	DryRun bool `json:"dry_run,omitempty"`
}

// RecoveryReply says what was decided. Recovery is its id when one was begun.
type RecoveryReply struct {
	Recovery string             `json:"recovery,omitempty"`
	Decision failover.Decision  `json:"decision"`
	Plan     []failover.Stage   `json:"plan,omitempty"`
	Findings []failover.Finding `json:"findings,omitempty"`
}

// RejoinRequest asks to bring an instance back as a replica.
type RejoinRequest struct {
	failover.RejoinRequest
	DryRun bool `json:"dry_run,omitempty"`
}

// RejoinReply says what was done, or for a dry run what would be.
type RejoinReply struct {
	Plan  []failover.Step       `json:"plan,omitempty"`  // of a dry run
	Rows  int                   `json:"rows,omitempty"`  // of a dry run: changes of rows that would be taken back
	Steps []failover.StepResult `json:"steps,omitempty"` // what was done
	Error string                `json:"error,omitempty"`
}

// AcknowledgeRequest releases the anti-flap period. An empty Recovery means all
// of the cluster.
type AcknowledgeRequest struct {
	Recovery string `json:"recovery,omitempty"`
	By       string `json:"by"`
	Comment  string `json:"comment,omitempty"`
}

// DowntimeRequest begins a downtime of an instance, or ends it where For is zero.
type DowntimeRequest struct {
	Instance topology.Addr     `json:"instance"`
	For      topology.Duration `json:"for,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	By       string            `json:"by,omitempty"`
}

// ErrorReply is the body of every answer that is not 2xx.
type ErrorReply struct {
	Error    string             `json:"error"`
	Refusals []failover.Refusal `json:"refusals,omitempty"`
	Checks   []failover.Check   `json:"checks,omitempty"`
}

// KVReply is what the stores outside hold of a cluster.
type KVReply struct {
	Cluster string            `json:"cluster"`
	Stores  []topology.Stored `json:"stores"`
}

// LeaderRequest asks the leader to hand the leadership over.
type LeaderRequest struct {
	To string `json:"to,omitempty"` // empty: whoever is best placed
	By string `json:"by,omitempty"`
}

// LeaderReply says who led and who was handed the leadership.
type LeaderReply struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// MendRequest asks for what an examination said that may be done without a person.
type MendRequest struct {
	Fixes []doctor.Fix `json:"fixes"`
	By    string       `json:"by"`
}

// MendReply says what became of each.
type MendReply struct {
	Results []MendResult `json:"results"`
}

// MendResult is one fix with its end.
type MendResult struct {
	Fix   doctor.Fix `json:"fix"`
	Error string     `json:"error,omitempty"` // empty: it was done, and read back
}
