package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

const (
	dbA = topology.Addr("a:3306")
	dbB = topology.Addr("b:3306")
)

// fakeRaft is a ledger without a network: commands are applied at once.
type fakeRaft struct {
	mu      sync.Mutex
	state   *ledger.State
	changed chan struct{}
	leader  string
	deposed error // of Verify
	terms   chan consensus.Term

	transfers []string // whom the leadership was handed to
	stays     error    // of TransferLeadership
	closed    bool
	endTerm   func()
}

func newFakeRaft(leader string) *fakeRaft {
	return &fakeRaft{state: ledger.NewState(), changed: make(chan struct{}), leader: leader, terms: make(chan consensus.Term)}
}

func (r *fakeRaft) State() *ledger.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *fakeRaft) Watch() (*ledger.State, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.changed
}

func (r *fakeRaft) Apply(_ context.Context, cmd ledger.Command) (ledger.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.state.Clone()
	res := next.Apply(next.Index+1, cmd)
	r.state = next
	close(r.changed)
	r.changed = make(chan struct{})
	return res, nil
}

// leaderIs lets raft know another leader; "" is none.
func (r *fakeRaft) leaderIs(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = name
}

// must applies a command that may not be refused.
func (r *fakeRaft) must(t *testing.T, cmd ledger.Command) ledger.Result {
	t.Helper()
	cmd.ID, cmd.At = t.Name()+time.Now().String()+string(rune('a'+r.State().Index)), time.Now()
	res, _ := r.Apply(t.Context(), cmd)
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	return res
}

func (r *fakeRaft) Terms() <-chan consensus.Term { return r.terms }
func (r *fakeRaft) Leader() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leader, r.leader != ""
}
func (r *fakeRaft) Verify(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deposed
}
func (r *fakeRaft) TransferLeadership(ctx context.Context, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transfers = append(r.transfers, to)
	if r.stays == nil {
		r.endTerm()
	}
	return r.stays
}
func (r *fakeRaft) LogSize() (entries uint64, bytes int64) { return 7, 0 }
func (r *fakeRaft) Stats() consensus.Stats                 { return consensus.Stats{Leader: r.leader} }

func (r *fakeRaft) left() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Close ends the terms, as raft does.
func (r *fakeRaft) Close(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		close(r.terms)
	}
	if r.endTerm != nil {
		r.endTerm()
	}
	r.closed, r.leader = true, ""
	return nil
}

// fakeProxy is a ProxySQL that does what it is told, and writes down what it was.
type fakeProxy struct {
	mu    sync.Mutex
	now   topology.Proxy
	calls []string
	err   error
}

func (p *fakeProxy) call(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
	return p.err
}

func (p *fakeProxy) called(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.calls, name)
}

// routes says what the proxy does with the writer now.
func (p *fakeProxy) routes() topology.Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now.Mode
}

func (p *fakeProxy) Apply(_ context.Context, r topology.Route, _ proxysql.Hostgroups) (topology.Proxy, error) {
	if err := p.call("apply"); err != nil {
		return topology.Proxy{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Epoch < p.now.Epoch {
		return p.now, proxysql.ErrStaleEpoch
	}
	p.now = topology.Proxy{Epoch: r.Epoch, Writer: r.Writer, Mode: r.Mode, Drained: r.Mode != topology.Open}
	return p.now, nil
}

func (p *fakeProxy) Status(context.Context, topology.Route, proxysql.Hostgroups) (topology.Proxy, error) {
	if err := p.call("status"); err != nil {
		return topology.Proxy{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, nil
}

func (p *fakeProxy) Fence(_ context.Context, _ string, _ proxysql.Hostgroups, hard bool) error {
	name := "fence soft"
	if hard {
		name = "fence hard"
	}
	if err := p.call(name); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Mode = topology.Fenced
	return nil
}

func (p *fakeProxy) EndSessions(context.Context, proxysql.Hostgroups, topology.Addr) (int, error) {
	return 1, p.call("end sessions")
}
func (p *fakeProxy) Save(context.Context, proxysql.Hostgroups) error { return p.call("save") }
func (p *fakeProxy) Close()                                          {}

// fakePeer answers heartbeats as a leader that grants, or does not.
type fakePeer struct {
	mu      sync.Mutex
	grant   bool
	index   func() uint64
	beats   []api.Heartbeat
	fellows []string // who share the watching
	ask     []topology.Addr
}

// tell has the leader say who share the watching.
func (p *fakePeer) tell(fellows ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fellows = fellows
}

// asks has the leader ask for instances.
func (p *fakePeer) asks(addrs ...topology.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ask = addrs
}

func (p *fakePeer) set(grant bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grant = grant
}

func (p *fakePeer) Heartbeat(_ context.Context, h api.Heartbeat) (api.HeartbeatReply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats = append(p.beats, h)
	if !p.grant {
		return api.HeartbeatReply{}, errors.New("cut off")
	}
	return api.HeartbeatReply{Leader: "n2", Index: p.index(), Lease: DefaultConfig().Lease.TTL, Fellows: p.fellows, Ask: p.ask}, nil
}

func (p *fakePeer) Probe(context.Context, api.ProbeRequest) (api.ProbeReply, error) {
	return api.ProbeReply{}, errors.New("cut off")
}

func (p *fakePeer) Confirm(context.Context, api.ConfirmRequest) (api.ConfirmReply, error) {
	return api.ConfirmReply{}, errors.New("cut off")
}

// probeFunc is a prober made of a function.
type probeFunc func(ctx context.Context) topology.View

func (f probeFunc) Probe(ctx context.Context) topology.View { return f(ctx) }
func (f probeFunc) Ping(ctx context.Context) topology.View  { return f(ctx) }
func (probeFunc) Hail() bool                                { return false }
func (probeFunc) Heard() (time.Time, bool)                  { return time.Time{}, false }
func (probeFunc) Close()                                    {}

// follower is a sidecar n1 whose leader is n2, with everything else faked.
type follower struct {
	*Sidecar
	raft  *fakeRaft
	proxy *fakeProxy
	peer  *fakePeer
	broke chan struct{}
}

func newFollower() follower {
	cfg := DefaultConfig()
	cfg.Node = "n1"
	cfg.Nodes = []NodeConfig{{Name: "n1", API: "n1:1"}, {Name: "n2", API: "n2:1"}, {Name: "n3", API: "n3:1"}}
	cfg.Clusters = map[string]ClusterConfig{"main": {
		Seeds: []topology.Addr{dbA}, Hostgroups: proxysql.Hostgroups{Writer: 10, Reader: 20}, Policy: failover.DefaultPolicy(),
	}}
	f := follower{raft: newFakeRaft("n2"), proxy: &fakeProxy{}, peer: &fakePeer{grant: true}, broke: make(chan struct{}, 1)}
	f.peer.index = func() uint64 { return f.raft.State().Index }
	f.Sidecar = New(cfg, Ports{
		Prober: func(_ string, addr topology.Addr, _ func()) Prober {
			return probeFunc(func(context.Context) topology.View {
				return topology.View{Observer: "n1", Instance: addr, At: time.Now(), Reach: topology.Answered, State: &topology.State{}, StateAt: time.Now()}
			})
		},
		Servers: map[string]Servers{}, Proxy: f.proxy, Consensus: f.raft, ProxyBroke: f.broke,
		Peer: func(string) Peer { return f.peer },
	}, slog.New(slog.DiscardHandler), "test")
	return f
}

// routed commits the cluster's first route: a writes, b reads.
func (f follower) routed(t *testing.T) {
	t.Helper()
	f.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{dbA, dbB}}})
	f.raft.must(t, ledger.Command{SetRoute: &ledger.SetRoute{Cluster: "main", Writer: dbA, Readers: []topology.Reader{{Addr: dbB, Weight: 1}}}})
}

// start runs the follower's loops in a bubble until the test in it ends, and gives
// what lets time pass there.
func (f follower) start(t *testing.T) (after func(time.Duration)) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func(d time.Duration) {
		<-time.After(d)
		synctest.Wait()
	}
}

// opened gives the cluster a route and sees the proxy open it.
func (f follower) opened(t *testing.T, after func(time.Duration)) {
	t.Helper()
	f.routed(t)
	after(time.Second)
	if f.proxy.routes() != topology.Open {
		t.Fatalf("the proxy is %s: %v", f.proxy.routes(), f.proxy.calls)
	}
}

// behind has the leader agree on entries that this node's ledger does not have yet.
func (f follower) behind(entries uint64) {
	ahead := f.raft.State().Index + entries
	f.peer.mu.Lock()
	defer f.peer.mu.Unlock()
	f.peer.index = func() uint64 { return ahead }
}

// catchesUp brings the last entry that the ledger lacks, which is not of its clusters, and gives the node the time to notice.
func (f follower) catchesUp(t *testing.T, after func(time.Duration)) {
	t.Helper()
	f.raft.must(t, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: ledger.Node{Name: "n9"}}})
	after(2 * catchUpEvery)
}

// begin opens an intent from a to b.
func (f follower) begin(t *testing.T, kind failover.Kind) {
	t.Helper()
	f.raft.must(t, ledger.Command{Begin: &ledger.Begin{
		Intent: failover.Intent{ID: "i1", Cluster: "main", Kind: kind, From: dbA, To: dbB, Deadline: time.Now().Add(time.Minute)},
		Expect: f.raft.State().Clusters["main"].Route.Epoch,
	}})
}
