package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/remora-ha/remora/ledger"
)

// Node is a running raft node with its ledger.
type Node struct {
	cfg     Config
	raft    *raft.Raft
	machine *machine
	stream  *stream
	trans   *transport
	stores  *openedStores
	terms   chan Term
	// asking bounds the requests that wait for raft, see [Node.ask].
	asking chan struct{}
	nudges atomic.Int64 // that were asked for and not sent, see [Node.nudge]

	stop     func()        // ends the node's own goroutines
	own      chan struct{} // closed when they have ended
	closing  sync.Once
	closed   chan struct{} // closed when all has ended; closeErr is set before
	closeErr error
}

// Start runs a node. A new one makes the cluster of its peers; one with a past
// goes on from there. On an error nothing is left running or locked.
func Start(cfg Config) (n *Node, err error) {
	cfg = cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n = &Node{
		cfg: cfg, machine: newMachine(), terms: make(chan Term), asking: make(chan struct{}, maxAsking),
		own: make(chan struct{}), closed: make(chan struct{}),
	}
	if n.stores, err = openStores(cfg); err != nil {
		return nil, err
	}
	if n.stream, err = listen(cfg); err != nil {
		return nil, errors.Join(err, n.stores.close())
	}
	n.trans = newTransport(cfg, n.stream)
	notify := make(chan bool, 8)
	if err := n.startRaft(notify); err != nil {
		return nil, errors.Join(err, n.trans.Close(), n.stores.close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go n.followLeadership(ctx, notify)
	return n, nil
}

func (n *Node) startRaft(notify chan<- bool) error {
	conf, s := n.cfg.raft(notify), n.stores
	// The same list on every node: whoever starts first, all agree on the first entry.
	err := raft.BootstrapCluster(conf, s.Logs, s.Stable, s.Snapshots, n.trans, n.cfg.servers())
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap the cluster: %w", err)
	}
	n.raft, err = raft.NewRaft(conf, n.machine, s.Logs, s.Stable, s.Snapshots, n.trans)
	if err != nil {
		// Raft says only that no snapshot could be read; the machine knows why.
		return fmt.Errorf("start raft: %w", errors.Join(err, n.machine.halted()))
	}
	return nil
}

// State is the newest state of this node, which may be behind the leader's. It
// never changes; ask again for a newer one.
func (n *Node) State() *ledger.State { return n.machine.current.Load().state }

// Watch gives the newest state and a channel that is closed as soon as there is
// a newer one. Many may watch; changes in between are not queued.
func (n *Node) Watch() (*ledger.State, <-chan struct{}) {
	v := n.machine.current.Load()
	return v.state, v.superseded
}

// Halted is nil unless the node has met something that it does not understand;
// then it is an [ErrHalted].
func (n *Node) Halted() error { return n.machine.halted() }

// Leader is the name of the leader as this node knows it.
func (n *Node) Leader() (name string, ok bool) {
	_, id := n.raft.LeaderWithID()
	return string(id), id != ""
}

// IsLeader says whether this node believes itself the leader. It may be wrong,
// see [Node.Verify].
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Close ends the node and waits until it has ended, or ctx has. Then the node is
// cut off from the others nevertheless, and no longer leads; Close may be called
// again to wait on.
func (n *Node) Close(ctx context.Context) error {
	n.closing.Do(func() { go n.shutdown() })
	select {
	case <-n.closed:
		return n.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close node %s: raft has not ended: %w", n.cfg.Name, ctx.Err())
	}
}

func (n *Node) shutdown() {
	defer close(n.closed)
	n.stop()
	future := n.raft.Shutdown()
	// Raft waits for its own messages; nobody needs the answers.
	cut := n.stream.Close()
	err := future.Error()
	<-n.own
	n.closeErr = errors.Join(cut, err, n.stores.close())
}
