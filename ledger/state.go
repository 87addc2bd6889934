package ledger

import (
	"maps"
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// How much history a state keeps. Older entries are dropped, oldest first.
const (
	KeptRecoveries = 100 // ended recoveries of a cluster
	KeptSteps      = 256 // step results of a recovery
	KeptHooks      = 32  // hook results of a recovery
	KeptRescues    = 50  // savings of transactions of a cluster
	KeptCommands   = 512 // commands whose repetition is recognised
)

// State is all that the sidecars agree on. Make one with [NewState]; change it
// only with [State.Apply].
type State struct {
	Version int    `json:"version"` // of the snapshot format, see [Version]
	Index   uint64 `json:"index"`   // raft index of the last command applied
	// Base is added to a raft index to make an epoch. It is 0 unless every node
	// lost its log at once, for then indexes start again while proxies remember
	// higher epochs: the first node to register with one raises Base above it.
	Base     uint64             `json:"base,omitempty"`
	Nodes    map[string]Node    `json:"nodes"`    // by name
	Clusters map[string]Cluster `json:"clusters"` // by alias
	// Recent are the last commands with their answers, newest last, so that one
	// that is sent again after an unknown outcome is recognised.
	Recent []Answer `json:"recent,omitempty"`
}

// Node is a registered sidecar.
type Node struct {
	Name  string    `json:"name"`
	Raft  string    `json:"raft,omitempty"` // host:port for the other nodes' raft
	API   string    `json:"api,omitempty"`  // host:port of its HTTP API
	Proxy bool      `json:"proxy"`          // it owns a ProxySQL, whose acknowledgement counts
	Since time.Time `json:"since"`          // of its first registration
	// TTL and FenceTime are the sidecar's own settings, and Holds are the clusters, sorted,
	// whose writer its proxy keeps without a lease. Nodes are configured one after the other, so
	// a leader counts on what each was started with rather than on its own file.
	TTL       topology.Duration `json:"ttl,omitempty"`
	FenceTime topology.Duration `json:"fence_time,omitempty"`
	Holds     []string          `json:"holds,omitempty"`
}

// Cluster is one replication cluster.
type Cluster struct {
	Name  string          `json:"name"`
	Known []topology.Addr `json:"known"` // every instance, sorted
	// Route is the committed one; Epoch 0 means that there was none yet. Proxies
	// apply [Cluster.Desired] instead.
	Route topology.Route `json:"route"`
	// Intent is the open one, nil when none is; Recovery is its history so far.
	Intent   *failover.Intent   `json:"intent,omitempty"`
	Recovery *failover.Recovery `json:"recovery,omitempty"`
	// Recoveries have ended, newest last; at most [KeptRecoveries].
	Recoveries []failover.Recovery `json:"recoveries,omitempty"`
	Downtimes  []failover.Downtime `json:"downtimes,omitempty"` // sorted by instance
	Rescued    []failover.Rescued  `json:"rescued,omitempty"`   // newest last; at most [KeptRescues]
}

// Answer is a command that was applied and what came of it.
type Answer struct {
	ID     string `json:"id"`
	Result Result `json:"result"`
}

// NewState is the state before the first command.
func NewState() *State {
	return &State{Version: Version, Nodes: map[string]Node{}, Clusters: map[string]Cluster{}}
}

// Clone is a state of its own: applying commands to one does not show in the
// other. They share what neither will ever change.
func (s *State) Clone() *State {
	c := *s
	c.Nodes, c.Clusters = maps.Clone(s.Nodes), maps.Clone(s.Clusters)
	return &c
}

// ClusterNames are the aliases, sorted.
func (s *State) ClusterNames() []string { return slices.Sorted(maps.Keys(s.Clusters)) }

// NodeNames are the registered sidecars, sorted.
func (s *State) NodeNames() []string { return slices.Sorted(maps.Keys(s.Nodes)) }

// Desired is what every proxy must apply now: the committed route, or, from the
// commit of an intent, or the end of its regrouping, until the commit of its route, the
// same assignment with its writer closed and the intent's epoch. Epoch 0: nothing yet.
func (c Cluster) Desired() topology.Route {
	r := c.Route
	r.Cluster, r.Known = c.Name, c.Known
	if c.Intent != nil && !c.Intent.Regroups() && r.Epoch < c.Intent.Epoch {
		r.Epoch, r.Mode, r.At = c.Intent.Epoch, c.Intent.Mode(), c.Intent.At
	}
	return r
}

// Routed says whether the open intent's route has been committed: its point of no
// return lies behind. False when no intent is open.
func (c Cluster) Routed() bool { return c.Intent != nil && c.Route.Epoch > c.Intent.Epoch }

// Last is the newest ended recovery that had begun, nil when there was none.
func (c Cluster) Last() *failover.Recovery {
	for i := len(c.Recoveries) - 1; i >= 0; i-- {
		if r := c.Recoveries[i]; r.Outcome != failover.Aborted {
			return &r
		}
	}
	return nil
}

// Stopped is the newest automatic recovery that a hook has stopped since Last;
// nil when there is none.
func (c Cluster) Stopped() *failover.Recovery {
	for i := len(c.Recoveries) - 1; i >= 0 && c.Recoveries[i].Outcome == failover.Aborted; i-- {
		if r := c.Recoveries[i]; r.Intent.By == "" {
			return &r
		}
	}
	return nil
}

// knows says whether a is an instance of the cluster.
func (c Cluster) knows(a topology.Addr) bool {
	_, ok := slices.BinarySearch(c.Known, a)
	return ok
}

// keepNewest is list with one more at the end and at most limit elements; the
// list itself stays as it is, for readers hold it.
func keepNewest[T any](limit int, list []T, more ...T) []T {
	if drop := len(list) + len(more) - limit; drop > 0 {
		list = list[min(drop, len(list)):]
	}
	return slices.Concat(list, more[max(0, len(more)-limit):])
}
