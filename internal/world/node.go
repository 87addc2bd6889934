package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/sidecar"
)

// node is a machine with a sidecar and a proxy; its disk outlives both.
type node struct {
	w     *World
	name  string
	host  string // of the sidecar's process
	proxy *proxy

	life    chan struct{} // starts and kills take turns; a mutex could not be waited for in virtual time, and a start waits for its disk
	disk    *disk
	slept   time.Duration // in suspends
	set     time.Duration // by which the time of day was moved
	running *process      // nil: the sidecar is not running
}

// process is one life of a sidecar. It cannot be stopped from outside as an
// operating system does it: a killed one reaches nothing and nobody any more,
// and ends by itself; a frozen one finds that nothing answers.
type process struct {
	node    *node
	sidecar *sidecar.Sidecar
	raft    *consensus.Node
	ctx     context.Context
	stop    context.CancelFunc
	broke   chan struct{}

	mu       sync.Mutex
	dead     bool
	verified map[context.Context]bool // calls of Verify that a majority answered, by their context
	round    uint64                   // of such calls
	leases   []leaseGot
	asked    time.Time // when the last question was sent that may have been answered with a lease
}

// leaseGot is a lease that a process was told of, with the ledger's index that it
// needs.
type leaseGot struct {
	at    time.Time
	index uint64
}

// needs is the index that the leases ask for that came long enough ago to bind
// whatever is under way.
func (p *process) needs() (index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.leases {
		if time.Since(l.at) > known {
			index = max(index, l.index)
		}
	}
	return index
}

var errDead = errors.New("this process was killed")

// start runs the sidecar with what its disk holds.
func (n *node) start() error {
	p := &process{node: n, broke: make(chan struct{}, 1), verified: map[context.Context]bool{}}
	p.ctx, p.stop = context.WithCancel(n.w.ctx)
	cfg := n.w.config(n.name)
	log := slog.New(slog.DiscardHandler)
	if n.w.options.Log != nil {
		log = n.w.options.Log.With("node", n.name)
	}
	var err error
	p.raft, err = consensus.Start(consensus.Config{
		Name: n.name, Peers: n.w.peers(), Heartbeat: n.w.timing.Election, Election: n.w.timing.Election, Lease: n.w.timing.Election / 2,
		CommitTimeout: n.w.timing.CommitTimeout, Network: processNet{raftNet{n.w.exchange, n.host}, p}, Stores: &n.disk.stores,
		Log: log.With("part", "raft"),
	})
	if err != nil {
		p.stop()
		return fmt.Errorf("start raft of %s: %w", n.name, err)
	}
	ports := sidecar.Ports{
		Prober: p.prober,
		Proxy:  admin{p, n.proxy}, Ladder: n.w.ladder(p), ProxyBroke: p.broke,
		Consensus: raftPort{p.raft, p},
		Clock:     p.clock,
		Disk:      diskPort{n.disk},
		Peer:      func(name string) sidecar.Peer { return peer{p, n.w.node(name)} },
	}
	ports.Servers = map[string]sidecar.Servers{Cluster: acts{p, sidecar.Confirmed(&ports)}}
	p.sidecar = sidecar.New(cfg, ports, log, "world")
	n.w.mu.Lock()
	n.running = p
	n.w.checks.started(n.proxy)
	n.w.mu.Unlock()
	n.w.running.Go(func() {
		if err := p.sidecar.Run(p.ctx); errors.Is(err, sidecar.ErrLeft) {
			n.kill()
			n.restart() // as systemd does
		}
	})
	n.w.running.Go(func() { n.w.checks.follow(p) })
	return nil
}

// clock is the machine's, as its sidecar reads it.
func (p *process) clock() sidecar.Instant {
	n := p.node
	ran := time.Since(n.w.began)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return sidecar.Instant{Boot: ran, Mono: ran - n.slept, Wall: time.Now().Add(n.set).Round(0)}
}

// kill ends the sidecar's process as SIGKILL does.
func (n *node) kill() {
	n.life <- struct{}{}
	defer func() { <-n.life }()
	n.w.mu.Lock()
	p := n.running
	n.running = nil
	n.w.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	n.w.exchange.kill(n.host)
	old := n.disk
	n.disk = old.fork()
	old.release()
	n.w.net.freeze(n.host, false)
	p.stop()
	n.watchdog(p)
}

// watchdog is what ProxySQL's scheduler runs: it closes the proxy within the fence
// time when the lease of a sidecar that is dead or stands still is over.
func (n *node) watchdog(p *process) {
	lease := n.w.config(n.name).Lease
	p.mu.Lock()
	over := time.Until(p.asked.Add(lease.TTL.D()))
	p.mu.Unlock()
	time.AfterFunc(max(0, over)+lease.FenceTime.D()/2, func() {
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		if alive := n.running == p && !n.w.net.stands(n.host); alive || n.running != nil && n.running != p || !n.proxy.up || n.proxy.thaw != nil {
			return
		}
		n.w.eventLocked("%s: the watchdog closes the proxy", n.name)
		n.proxy.close(true)
		n.proxy.end(func(*statement) bool { return true })
	})
}

// freeze stops the process as SIGSTOP does: its network, its adapters, and raft
// at its next write.
func (n *node) freeze() {
	n.w.mu.Lock()
	p := n.running
	n.w.mu.Unlock()
	if p == nil {
		return
	}
	n.disk.hang()
	n.w.net.freeze(n.host, true)
	n.w.running.Go(func() { _ = p.raft.Barrier(p.ctx) }) // so that there is a write
	n.watchdog(p)
}

func (n *node) unfreeze() {
	n.disk.release()
	n.w.net.freeze(n.host, false)
}

// enter is how a call of a sidecar gets out into the world.
func (p *process) enter(ctx context.Context) error {
	err := p.node.w.net.thawed(ctx, p.node.host, p.ctx.Done())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	return err
}

// processNet is raft's network for one process: a dead one connects to nobody.
type processNet struct {
	raftNet
	p *process
}

// raftPort is the process's consensus as its sidecar sees it, watched.
type raftPort struct {
	*consensus.Node
	p *process
}

// Apply implements sidecar.Consensus.
func (r raftPort) Apply(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	if err := r.p.enter(ctx); err != nil {
		return ledger.Result{}, err
	}
	res, err := r.Node.Apply(ctx, cmd)
	if err == nil && r.p.enter(ctx) == nil {
		r.p.node.w.committed(r.p, cmd, res)
	}
	return res, err
}

// Verify implements sidecar.Consensus.
func (r raftPort) Verify(ctx context.Context) error {
	if err := r.p.enter(ctx); err != nil {
		return err
	}
	leaders := r.p.node.w.leaders()
	err := r.Node.Verify(ctx)
	if err == nil {
		r.p.node.w.checks.verified(r.p, leaders)
		r.p.mu.Lock()
		r.p.verified[ctx] = true
		r.p.round++
		r.p.asked = time.Now() // a leader grants itself one
		r.p.mu.Unlock()
		err = r.p.enter(ctx)
	}
	return err
}

// TransferLeadership implements sidecar.Consensus.
func (r raftPort) TransferLeadership(ctx context.Context, to string) error {
	if err := r.p.enter(ctx); err != nil {
		return err
	}
	return r.Node.TransferLeadership(ctx, to)
}

// diskPort is the disk as the sidecar tries it.
type diskPort struct{ *disk }

// Try implements sidecar.Disk.
func (d diskPort) Try() error {
	d.wait()
	return nil
}

// peer is another sidecar's API as a process reaches it.
type peer struct {
	from *process
	to   *node
}

// call carries a request there, has it answered, and carries the answer back.
func (c peer) call(ctx context.Context, answer func(*process) error) error {
	w := c.from.node.w
	if err := c.from.enter(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := w.net.pass(ctx, c.from.node.host, c.to.host, APIPort); err != nil {
		return err
	}
	w.mu.Lock()
	p := c.to.running
	w.mu.Unlock()
	var err error = syscall.ECONNREFUSED
	if p != nil {
		err = answer(p)
		if dead := p.enter(ctx); dead != nil {
			err = dead
		}
	}
	if lost := w.net.pass(ctx, c.to.host, c.from.node.host, APIPort); lost != nil {
		return lost
	}
	if err == nil { // what it answered may be a lease, or the word to hold on to one
		c.from.mu.Lock()
		c.from.asked = began
		c.from.mu.Unlock()
	}
	return err
}

// Heartbeat implements sidecar.Peer.
func (c peer) Heartbeat(ctx context.Context, h api.Heartbeat) (reply api.HeartbeatReply, err error) {
	err = c.call(ctx, func(p *process) error {
		p.mu.Lock()
		before := p.round
		p.mu.Unlock()
		var err error
		reply, err = p.sidecar.Heartbeat(ctx, h)
		if err == nil && reply.Lease > 0 {
			p.mu.Lock()
			asked := p.round > before
			p.mu.Unlock()
			p.node.w.checks.granted(p, h.Node, asked)
		}
		return err
	})
	if err != nil {
		return api.HeartbeatReply{}, err
	}
	if err := c.from.enter(ctx); err != nil {
		return api.HeartbeatReply{}, err
	}
	if reply.Lease > 0 {
		c.from.mu.Lock()
		c.from.leases = append(c.from.leases, leaseGot{time.Now(), reply.Index})
		c.from.mu.Unlock()
	}
	return reply, nil
}

// Confirm implements sidecar.Peer.
func (c peer) Confirm(ctx context.Context, r api.ConfirmRequest) (reply api.ConfirmReply, err error) {
	err = c.call(ctx, func(p *process) error {
		var err error
		reply, err = p.sidecar.Confirm(ctx, r)
		return err
	})
	return reply, err
}

// Probe implements sidecar.Peer.
func (c peer) Probe(ctx context.Context, r api.ProbeRequest) (reply api.ProbeReply, err error) {
	err = c.call(ctx, func(p *process) error {
		var err error
		reply, err = p.sidecar.Probe(ctx, r)
		return err
	})
	return reply, err
}

// leaders are the terms of all running nodes that believe they lead.
func (w *World) leaders() map[string]uint64 {
	w.mu.Lock()
	var running []*process
	for _, n := range w.nodes {
		if n.running != nil {
			running = append(running, n.running)
		}
	}
	w.mu.Unlock()
	terms := map[string]uint64{}
	for _, p := range running {
		if p.raft.IsLeader() {
			terms[p.node.name] = p.raft.Stats().Term
		}
	}
	return terms
}

// leading is the node that leads in the newest term, nil when nobody does.
func (w *World) leading() *node {
	var best *node
	var newest uint64
	for name, term := range w.leaders() {
		if best == nil || term > newest {
			best, newest = w.node(name), term
		}
	}
	return best
}
