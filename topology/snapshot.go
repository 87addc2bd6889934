package topology

import (
	"slices"
	"time"
)

// Snapshot is all that is known of one cluster at one instant: the sidecars'
// fresh views merged, what the proxies said, and the committed route.
type Snapshot struct {
	Cluster   string     `json:"cluster"`
	Taken     time.Time  `json:"taken"`
	Observers []string   `json:"observers"` // all sidecars that should observe, heard or not; sorted
	Instances []Instance `json:"instances"` // sorted by address
	Route     Route      `json:"route"`
	Proxies   []Proxy    `json:"proxies"` // sorted by node
	// Publications is how each store outside fares, in the configured order.
	Publications []Publication `json:"publications,omitempty"`
	// Files are those that the sidecars render, sorted by node and destination.
	Files []File `json:"files,omitempty"`
	// Sidecars are those that are heard, sorted by node.
	Sidecars []Sidecar `json:"sidecars,omitempty"`
}

// Sidecar is what the leader knows of a sidecar's own health.
type Sidecar struct {
	Node  string `json:"node"`
	Leads bool   `json:"leads,omitempty"`
	// Shares says that it watches a share of the instances, so that it need not have a view of each.
	Shares bool `json:"shares,omitempty"`
	// Trouble is what the sidecar says of itself, in sentences: a disk that hangs.
	Trouble []string `json:"trouble,omitempty"`
}

// Instance is one instance of a snapshot.
type Instance struct {
	Addr Addr `json:"addr"`
	// Reach is the sidecars' verdict, see [Merge].
	Reach Verdict `json:"reach"`
	// State is the freshest reading of all, nil when nobody ever had one; it may
	// be older than the failure that Reach tells of: see ReadAt.
	State  *State    `json:"state,omitempty"`
	ReadAt time.Time `json:"read_at,omitzero"`
	Views  []View    `json:"views,omitempty"` // the evidence, one an observer; without states
}

// Verdict is what all the evidence says of an instance.
type Verdict string

// The verdicts.
const (
	Up      Verdict = "up"      // a sidecar has a fresh reading
	Stuck   Verdict = "stuck"   // it lives but answers nobody usefully: too many connections, wrong credentials
	Down    Verdict = "down"    // a majority of all sidecars cannot reach it and none can
	Partial Verdict = "partial" // some sidecars cannot reach it, too few for Down
	Unclear Verdict = "unknown" // no fresh evidence either way
)

// Proxy is what a sidecar last said of its own ProxySQL for this cluster.
type Proxy struct {
	Node string    `json:"node"`
	Seen time.Time `json:"seen,omitzero"` // when the leader heard of it last
	// Epoch is the newest epoch that the proxy has applied and read back.
	Epoch  uint64 `json:"epoch"`
	Writer Addr   `json:"writer,omitempty"` // routed as writer now
	Mode   Mode   `json:"mode,omitempty"`
	// Drained says that no connection to the writer is in use: a pause is complete.
	Drained bool `json:"drained,omitempty"`
	// Told is the newest epoch that the sidecar knows of: it opens the proxy for
	// none that is older.
	Told uint64 `json:"told,omitempty"`
	// Gone says that nobody listens on the proxy's admin port: the process has
	// ended, so it routes nothing, and it comes back with its writer fenced.
	Gone bool `json:"gone,omitempty"`
	// Hung says that the admin interface does not answer: nobody knows what the
	// proxy routes, and the sidecar cannot fence it through there.
	Hung bool `json:"hung,omitempty"`
	// Cut says how the proxy was kept from its servers without its admin
	// interface; it stays so until it can be applied to again. Empty: it was not.
	Cut string `json:"cut,omitempty"`
	// LeaseOver says that the sidecar was not heard of for its lease and the
	// fence time: by then it has fenced its proxy by itself. It never is while the
	// last word was that the proxy hung, until an operator says that it is fenced.
	LeaseOver bool `json:"lease_over,omitempty"`
	// Silent says that the sidecar has missed several heartbeats. It is no proof of
	// anything: its lease may last.
	Silent bool   `json:"silent,omitempty"`
	Error  string `json:"error,omitempty"` // why Epoch is not the newest, or the disk copy is old
	// Drift names rows that another hand changed and that were mended.
	Drift []string `json:"drift,omitempty"`
	// Conflict names what would fight over the managed hostgroups; Remora does
	// not touch such a proxy.
	Conflict string `json:"conflict,omitempty"`
	// Kills says that the proxy ends a statement with KILL when its client goes away.
	Kills   bool   `json:"kills,omitempty"`
	Version string `json:"version,omitempty"`
}

// Holds says whether the proxy certainly sends no writes to `writer` after
// applying `epoch`: it acknowledged that, its lease has run out, or it ended or was
// cut off and its sidecar opens it for nothing older.
func (p Proxy) Holds(epoch uint64) bool {
	return p.LeaseOver || p.Epoch >= epoch || p.Off() && p.Told >= epoch
}

// Off says that the proxy routes nothing: it has ended, or it was cut off.
func (p Proxy) Off() bool { return p.Gone || p.Cut != "" }

// Instance finds an instance by address; nil when the snapshot has none.
func (s *Snapshot) Instance(a Addr) *Instance {
	i, ok := slices.BinarySearchFunc(s.Instances, a, func(x Instance, a Addr) int {
		switch {
		case x.Addr < a:
			return -1
		case x.Addr > a:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &s.Instances[i]
}

// State is the reading of an instance, nil when unknown.
func (s *Snapshot) State(a Addr) *State {
	if i := s.Instance(a); i != nil {
		return i.State
	}
	return nil
}

// Fresh says whether the instance answered within this snapshot.
func (i *Instance) Fresh() bool { return i != nil && i.Reach == Up && i.State != nil }
