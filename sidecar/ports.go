package sidecar

import (
	"context"
	"io"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/mysql"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/templates"
	"github.com/remora-ha/remora/topology"
)

// Prober reads one instance.
type Prober interface {
	// Probe reads the instance now; it returns within ctx's deadline whatever
	// the server does.
	Probe(ctx context.Context) topology.View
	// Ping asks only whether the instance answers: the view has the state of the last Probe. It is a
	// Probe where there was none, or the instance does not answer as it did.
	Ping(ctx context.Context) topology.View
	// Hail asks for a sign of life and waits for nothing; it is false where that cannot be done. Heard says
	// whether it came, and when it was asked for; what did not come is waited for by the next Ping or Probe.
	Hail() bool
	Heard() (asked time.Time, ok bool)
	Close()
}

// Servers acts on instances.
type Servers interface {
	// Do executes a step that changes a server. Doing it twice is harmless.
	Do(ctx context.Context, step failover.Step) error
	// Settled says that nothing of an act that was given up can be executed on a server
	// any more, and since when; zero: there never was anything.
	Settled(addr topology.Addr) (since time.Time, ok bool)
	Close()
}

// Rescuer saves what a server has and its primary lacks, and takes it back.
type Rescuer interface {
	// SaveTransactions writes transactions of a server as SQL, up to a limit in bytes.
	SaveTransactions(ctx context.Context, addr topology.Addr, want gtid.Set, w io.Writer, limit int) (mysql.Saved, error)
	// Discard takes transactions of a server back; when dry it only says whether it could.
	Discard(ctx context.Context, addr topology.Addr, extra gtid.Set, dry bool) (mysql.Discarded, error)
}

// Locator finds where servers without GTID stand.
type Locator interface {
	// Locate carries out a [failover.Locate] step: what it says holds as long as the
	// target takes no writes and its replication stays stopped.
	Locate(ctx context.Context, step failover.Step) (failover.Anchor, error)
}

// Examiner reads for the doctor what servers are set to.
type Examiner interface {
	// Examine reads a server within ctx; what could not be read is in the answer.
	Examine(ctx context.Context, addr topology.Addr) doctor.Server
	// Mend makes the settings of a fix on a server and reads them back.
	Mend(ctx context.Context, fix doctor.Fix) error
}

// ProxyExaminer is the same for the node's own ProxySQL.
type ProxyExaminer interface {
	Examine(ctx context.Context) doctor.Proxy
	Mend(ctx context.Context, fix doctor.Fix) error
}

// Colleague is another sidecar, whom the doctor asks.
type Colleague interface {
	// ExamineNode is what it says of itself and of what is beside it.
	ExamineNode(ctx context.Context) (doctor.Node, error)
	// MendProxy has it change its own proxy.
	MendProxy(ctx context.Context, fix doctor.Fix) error
}

// Proxy is the node's own ProxySQL.
type Proxy interface {
	// Apply brings the proxy to the route's epoch and reads it back.
	Apply(ctx context.Context, route topology.Route, hg proxysql.Hostgroups) (topology.Proxy, error)
	// Status reads what the proxy does now, against the route.
	Status(ctx context.Context, route topology.Route, hg proxysql.Hostgroups) (topology.Proxy, error)
	// Fence closes the cluster's writer without a new epoch: hard ends sessions,
	// soft lets transactions end.
	Fence(ctx context.Context, cluster string, hg proxysql.Hostgroups, hard bool) error
	// EndSessions ends the client sessions that hold a connection to the writer.
	EndSessions(ctx context.Context, hg proxysql.Hostgroups, writer topology.Addr) (int, error)
	// Save writes the managed rows to the proxy's disk, in their fenced form.
	Save(ctx context.Context, hg proxysql.Hostgroups) error
	Close()
}

// Commands runs an operator's commands.
type Commands interface {
	// Run runs a command to its end, its time-out or the end of ctx.
	Run(ctx context.Context, c hooks.Command) hooks.Result
}

// Consensus is the raft node around the ledger.
type Consensus interface {
	// State is the local ledger; it must not be changed.
	State() *ledger.State
	// Watch is the local ledger, and a channel that is closed when it changes.
	Watch() (*ledger.State, <-chan struct{})
	// Terms delivers this node's terms as leader, each with a current ledger.
	Terms() <-chan consensus.Term
	// Leader is the name of the leader, if one is known.
	Leader() (string, bool)
	// Apply commits a command; leader only.
	Apply(ctx context.Context, cmd ledger.Command) (ledger.Result, error)
	// Verify makes sure by a quorum round that this node still leads.
	Verify(ctx context.Context) error
	// TransferLeadership hands the leadership to a voter; leader only.
	TransferLeadership(ctx context.Context, to string) error
	Stats() consensus.Stats
	// LogSize is how many entries its log holds and what it takes on disk, in bytes.
	LogSize() (entries uint64, bytes int64)
	// Close ends the node; it is cut off from the others at once, also when ctx ends
	// first. Terms is closed then.
	Close(ctx context.Context) error
}

// Disk is where this node keeps what must outlive it.
type Disk interface {
	// Try writes a little and syncs it. It returns when that is done, however long
	// it takes.
	Try() error
}

// Peer is another sidecar.
type Peer interface {
	Heartbeat(ctx context.Context, h api.Heartbeat) (api.HeartbeatReply, error)
	Probe(ctx context.Context, r api.ProbeRequest) (api.ProbeReply, error)
	Confirm(ctx context.Context, r api.ConfirmRequest) (api.ConfirmReply, error)
}

// Publisher keeps routes in one store outside. Another kind of store is another
// implementation.
type Publisher interface {
	// Publish brings the store to the document, unless it holds a newer epoch.
	Publish(ctx context.Context, d topology.Document) (consul.Result, error)
	// Forget drops what was published of a cluster: others write it now, and that is
	// no drift.
	Forget(cluster string)
	// Show compares without changing anything.
	Show(ctx context.Context, d topology.Document) (topology.Stored, error)
	// Check says whether the clusters' keys may be read and written, and their epochs.
	Check(ctx context.Context, clusters []string) doctor.Store
	// Watch tells what another hand does to what was published, until ctx ends.
	Watch(ctx context.Context, notice func(drift []topology.Change, err error))
	// Register makes the services of a group exactly these.
	Register(ctx context.Context, group string, services []consul.Service) error
	// Members finds the instances of a service.
	Members(ctx context.Context, service string) ([]consul.Member, error)
	Close()
}

// Store is one store outside, as several agents may reach it.
type Store struct {
	Name     string
	Agents   []Publisher // tried in this order
	Services bool        // instances and sidecars are registered there
}

// Renderer keeps one file up to date from a store.
type Renderer interface {
	// Run renders until ctx ends.
	Run(ctx context.Context)
	// Switch says what is committed for a cluster; nothing older is rendered.
	Switch(ctx context.Context, a templates.Assignment) error
	// Fence closes a cluster's writer in the runtime, and ends its sessions, until
	// the next Switch.
	Fence(ctx context.Context, cluster string) error
	Status() templates.Status
}

// Ports are the outside world as the loops see it.
type Ports struct {
	// Prober makes the prober of a cluster's instance; onBreak is called at once
	// when its kept connection breaks.
	Prober func(cluster string, addr topology.Addr, onBreak func()) Prober
	// Servers act on a cluster's instances, by the cluster's settings.
	Servers  map[string]Servers
	Proxy    Proxy              // nil on a witness
	Ladder   Ladder             // nil: a proxy that hangs is not cut off
	Rescuers map[string]Rescuer // by cluster; nil: binary logs are not read
	Locators map[string]Locator // by cluster; nil where all servers have GTIDs
	// Examiners (by cluster), ProxyExaminer and Colleague are the doctor's; without
	// them it says what it could not ask.
	Examiners     map[string]Examiner
	ProxyExaminer ProxyExaminer
	Colleague     func(name string) Colleague

	Stores    []Store
	Renderers []Renderer
	Commands  Commands
	Consensus Consensus
	Disk      Disk // nil where nothing is kept
	Peer      func(name string) Peer
	// Clock is what leases are counted on; nil: Go's, for tests in virtual time.
	Clock Clock
	// ProxyBroke delivers a signal when the connection to the proxy broke.
	ProxyBroke <-chan struct{}
}
