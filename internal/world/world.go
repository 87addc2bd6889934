package world

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/sidecar"
	"github.com/remora-ha/remora/topology"
)

// Cluster is the name of the one cluster of a world.
const Cluster = "main"

// Options are what a world is made with.
type Options struct {
	Seed     uint64
	Servers  int // 3 to 5
	SemiSync bool
	Ladder   bool // a proxy that hangs is killed
	Hold     bool // a sidecar without a lease leaves its proxy as it is
	// Share is how many sidecars watch the primary, and one each replica, as in a large fleet; 0: all
	// watch everything.
	Share int
	// Log gets what the sidecars log, nil for nothing.
	Log *slog.Logger
	// AfterStep is called after each step of a recovery with its number, from 1,
	// and the node that did it.
	AfterStep func(n int, node string, what string)
}

// timing is how fast everything goes. It is slower than the defaults, in
// proportion, for each event costs real time.
type timing struct {
	Beat          time.Duration // of a source that logs nothing
	Election      time.Duration // raft's heartbeat and election time-out
	CommitTimeout time.Duration // raft's
	Think         time.Duration // of a client, on average
}

var usual = timing{Beat: 500 * time.Millisecond, Election: time.Second, CommitTimeout: 200 * time.Millisecond, Think: 150 * time.Millisecond}

// World is three machines with a sidecar and a ProxySQL each, the database
// servers of one cluster, the network between them and clients that write.
type World struct {
	options  Options
	timing   timing
	began    time.Time
	ctx      context.Context
	end      context.CancelFunc
	running  sync.WaitGroup
	net      *network
	exchange *exchange
	history  *history
	checks   *checks
	nodes    []*node
	servers  []*server

	mu       sync.Mutex // guards servers, proxies and what follows
	trace    []string
	failures []string
	steps    int                            // of recoveries
	vouchers map[int]map[topology.Addr]bool // who acknowledged a client's write and has not lost its disk since
	opened   bool                           // an operator chose to lose what the routed primary lacked
}

// nodeNames are the machines.
var nodeNames = []string{"n1", "n2", "n3"}

// New makes a world at rest: a is the primary, all others replicate from it. It
// must be called in a bubble of testing/synctest.
func New(o Options) *World {
	rng := draws(o.Seed, 1)
	w := &World{options: o, timing: usual, began: time.Now(), vouchers: map[int]map[topology.Addr]bool{}}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.net = newNetwork(rng)
	w.exchange = newExchange(w.net)
	w.history = &history{w: w}
	w.checks = newChecks(w)
	for i := range max(o.Servers, 3) {
		w.servers = append(w.servers, newServer(w, string(rune('a'+i)), uint32(i+1)))
	}
	for i, name := range nodeNames {
		w.nodes = append(w.nodes, &node{w: w, name: name, host: name, proxy: newProxy(w, name, fmt.Sprintf("p%d", i+1)), disk: newDisk(), life: make(chan struct{}, 1)})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[0].semiSource = o.SemiSync
	for _, s := range w.servers[1:] {
		s.readOnly, s.source, s.semiRepl = true, w.servers[0].addr, o.SemiSync
		s.delay = pick(rng, 0, 0, 10*time.Millisecond, 300*time.Millisecond)
		s.startSQL()
		s.startIO()
	}
	return w
}

// Start starts sidecars and clients and waits until the cluster is routed.
func (w *World) Start() error {
	for _, n := range w.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	if !w.await(20*time.Second, func() bool { return w.unsettled() == "" }) {
		return fmt.Errorf("the world did not settle at its beginning: %s", w.unsettled())
	}
	for i, n := range w.nodes {
		c := &client{w: w, id: i, proxy: n.proxy, rng: draws(w.options.Seed, uint64(100+i))}
		w.running.Go(func() { c.run(w.ctx) })
	}
	return nil
}

// Close ends everything and waits for it.
func (w *World) Close() {
	w.end()
	for _, n := range w.nodes {
		n.proxy.unfreeze()
		n.kill()
	}
	for _, s := range w.servers {
		w.net.freeze(s.host, false)
	}
	w.running.Wait()
}

// Wait lets virtual time pass.
func (w *World) Wait(d time.Duration) { time.Sleep(d) }

// await looks every 100 ms until done, for at most `limit`.
func (w *World) await(limit time.Duration, done func() bool) bool {
	for began := time.Now(); time.Since(began) < limit; {
		if done() {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return done()
}

// config is a sidecar's.
func (w *World) config(name string) sidecar.Config {
	d := func(d time.Duration) topology.Duration { return topology.Duration(d) }
	cfg := sidecar.DefaultConfig()
	cfg.Node = name
	for _, n := range nodeNames {
		cfg.Nodes = append(cfg.Nodes, sidecar.NodeConfig{Name: n, Raft: raftAddr(n), API: n + ":8000"})
	}
	cfg.Lease.Heartbeat, cfg.Lease.TTL, cfg.Lease.FenceTime = d(500*time.Millisecond), d(3*time.Second), d(time.Second)
	p := failover.DefaultPolicy()
	p.Detection.Interval, p.Detection.Timeout, p.Detection.Fresh = d(500*time.Millisecond), d(500*time.Millisecond), d(1500*time.Millisecond)
	p.Detection.Heartbeat = d(w.timing.Beat)
	p.AntiFlap = 0
	p.Lag.Wait = d(20 * time.Second)
	p.Repair.Stopped, p.Repair.Grace, p.Repair.ReadOnlyPrimary = failover.StoppedStart, d(time.Second), failover.ReadOnlyOpen
	if w.options.SemiSync {
		p.Durability = failover.SemiSync
	}
	if w.options.Hold {
		p.OnLeaseLoss = failover.LeaseLossHold
	}
	if w.options.Share > 0 {
		cfg.Watch = sidecar.WatchConfig{ShareAbove: 0, Primaries: w.options.Share, Others: 1}
	}
	cfg.Policy = p
	var seeds []topology.Addr
	for _, s := range w.servers {
		seeds = append(seeds, s.addr)
	}
	cfg.Clusters = map[string]sidecar.ClusterConfig{Cluster: {Seeds: seeds, Hostgroups: proxysql.Hostgroups{Writer: 10, Reader: 20}, Policy: p}}
	return cfg
}

func (w *World) peers() []consensus.Peer {
	var list []consensus.Peer
	for _, n := range nodeNames {
		list = append(list, consensus.Peer{Name: n, Addr: raftAddr(n)})
	}
	return list
}

// server finds one by address or host, nil when there is none.
func (w *World) server(a topology.Addr) *server {
	for _, s := range w.servers {
		if s.addr == a || s.host == string(a) {
			return s
		}
	}
	return nil
}

func (w *World) node(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// breakProxy tells a sidecar that its connection to the proxy broke; the caller
// holds the mutex.
func (w *World) breakProxy(name string) {
	if p := w.node(name).running; p != nil {
		select {
		case p.broke <- struct{}{}:
		default:
		}
	}
}

// event writes something down, with the time since the world began.
func (w *World) event(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.eventLocked(format, args...)
}

func (w *World) eventLocked(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%8.3fs ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail notes that an invariant broke; the world goes on.
func (w *World) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(format, args...)
}

func (w *World) failLocked(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	w.eventLocked("BROKEN: %s", sentence)
	w.failures = append(w.failures, sentence)
}

// stepDone counts a step of a recovery and lets the test interrupt there.
func (w *World) stepDone(p *process, what string) {
	if w.options.AfterStep == nil {
		return
	}
	w.mu.Lock()
	w.steps++
	n := w.steps
	w.mu.Unlock()
	w.options.AfterStep(n, p.node.name, what)
}

// committed is called when a node's command was answered.
func (w *World) committed(p *process, cmd ledger.Command, res ledger.Result) {
	what := ""
	switch {
	case cmd.Begin != nil:
		what = fmt.Sprintf("begin %s %s to %s", cmd.Begin.Intent.Kind, cmd.Begin.Intent.From, cmd.Begin.Intent.To)
	case cmd.Retarget != nil:
		what = "retarget to " + string(cmd.Retarget.To)
	case cmd.Abort != nil:
		what = "abort"
	case cmd.CommitRoute != nil:
		what = "commit the route to " + string(cmd.CommitRoute.Writer)
	case cmd.Conclude != nil:
		what = "conclude: " + string(cmd.Conclude.Outcome)
	case cmd.SetRoute != nil:
		what = "set the route to " + string(cmd.SetRoute.Writer)
	default:
		return
	}
	if res.Refused != "" {
		w.event("%s: %s refused: %s", p.node.name, what, res.Refused)
		return
	}
	w.event("%s: committed: %s (epoch %d)", p.node.name, what, res.Epoch)
	if cmd.SetRoute == nil {
		w.stepDone(p, what)
	}
}

// Switchover asks the leader for a planned change; it says what came of it.
func (w *World) Switchover(id string, to topology.Addr) error {
	n := w.leading()
	if n == nil {
		return fmt.Errorf("switchover to %s: nobody leads", to)
	}
	w.mu.Lock()
	p := n.running
	w.mu.Unlock()
	if p == nil {
		return fmt.Errorf("switchover to %s: the leader has ended", to)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	_, err := p.sidecar.Recover(ctx, Cluster, api.RecoveryRequest{Request: failover.Request{
		ID: id, Kind: failover.KindSwitchover, To: to, By: "the world",
	}})
	return err
}
