package sidecar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

const (
	// commitTimeout bounds one commit with its retries.
	commitTimeout = 3 * time.Second
	// commitPause is waited before a commit of unknown outcome is sent again.
	commitPause = 20 * time.Millisecond
	// maxLooking bounds how many clusters of a large fleet are looked at at once: that takes a core each.
	maxLooking = 4
	// maxAsking bounds how many questions to other nodes begin at once.
	maxAsking = 32
)

// term is this node's time as leader. What it holds is gone with it: all that
// must outlive a leader is in the ledger or can be observed again.
type term struct {
	*Sidecar
	number   uint64
	evidence *evidence
	deciders map[string]*decider
	stores   []*publishing
	// handing is the sentence on a handing over that is under way.
	handing atomic.Pointer[string]
	// doubting counts the clusters whose primary is in doubt.
	doubting atomic.Int32
	// restless counts the clusters of a large fleet where something is going on.
	restless  atomic.Int32
	inquiries inquiries
	looking   turns         // of the clusters of a large fleet
	asking    turns         // of the questions to other nodes
	ended     chan struct{} // closed when the term is over
}

func newTerm(s *Sidecar, number uint64) *term {
	t := &term{Sidecar: s, number: number, evidence: newEvidence(s.cfg.Lease, s.ports.Clock().Boot), deciders: map[string]*decider{}, looking: make(turns, maxLooking), asking: make(turns, maxAsking), ended: make(chan struct{})}
	t.evidence.clusterOf = s.observer.clusterOf
	for name := range s.cfg.Clusters {
		t.deciders[name] = newDecider(t, name)
	}
	for _, store := range s.ports.Stores {
		t.stores = append(t.stores, newPublishing(t, store))
	}
	return t
}

// run decides for every cluster, and publishes to every store, until the term ends.
func (t *term) run(ctx context.Context) {
	context.AfterFunc(ctx, func() { close(t.ended) })
	var loops sync.WaitGroup
	var ends []func()
	for _, d := range t.deciders {
		ends = append(ends, d.attend(ctx, &loops))
	}
	for _, p := range t.stores {
		loops.Go(func() { p.run(ctx) })
	}
	loops.Go(func() { t.yield(ctx) })
	<-ctx.Done()
	for _, end := range ends {
		end()
	}
	loops.Wait()
}

// commit puts a command into the log. After an unknown outcome the same command
// is sent again: its id makes that harmless.
func (t *term) commit(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	cmd.ID, cmd.At = rand.Text(), time.Now()
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for {
		res, err := t.ports.Consensus.Apply(ctx, cmd)
		if err == nil {
			return res, res.Err()
		}
		if !errors.Is(err, consensus.ErrAmbiguous) || ctx.Err() != nil {
			return res, err
		}
		pause(ctx, commitPause) // a raft that is being closed answers at once
	}
}

// register commits a sidecar's membership.
func (t *term) register(ctx context.Context, n ledger.Node, epoch uint64) error {
	_, err := t.commit(ctx, ledger.Command{RegisterNode: &ledger.RegisterNode{Node: n, Epoch: epoch}})
	if err != nil {
		return fmt.Errorf("register %s: %w", n.Name, err)
	}
	t.log.Info("registered a sidecar", "node", n.Name, "proxy", n.Proxy)
	return nil
}

// caseOf puts together everything that a decision about the cluster depends on.
func (t *term) caseOf(cluster string, request *failover.Request) failover.Case {
	now := time.Now()
	state := t.ports.Consensus.State()
	cl := state.Clusters[cluster]
	policy := t.cfg.Clusters[cluster].Policy
	observers := t.cfg.observers()
	slices.Sort(observers)

	var publications []topology.Publication
	for _, p := range t.stores {
		publications = append(publications, p.state(cluster))
	}
	route := cl.Route
	route.Cluster, route.Known = cluster, cl.Known
	return failover.Case{
		Version: failover.CaseVersion,
		Snapshot: topology.Snapshot{
			Cluster: cluster, Taken: now, Observers: observers, Route: route,
			Instances: t.instances(cluster, observers, now),
			Proxies:   t.evidence.proxies(cluster, t.suspects(cluster, state), t.ports.Clock().Boot, t.held(cluster, state)), Publications: publications, Files: t.evidence.files(now),
			Sidecars: t.sidecars(now),
		},
		Policy: policy, Intent: cl.Intent, Last: cl.Last(), Stopped: cl.Stopped(), Downtime: cl.Downtimes, Rescued: cl.Rescued, Request: request,
	}
}

// instances are those of a cluster as all views of them say.
func (t *term) instances(cluster string, observers []string, now time.Time) []topology.Instance {
	known, detection := t.known(cluster), t.cfg.Clusters[cluster].Policy.Detection
	views := append(t.observer.views(known), t.evidence.all(t.cfg.Node, known)...)
	return topology.Merge(now, known, observers, views, topology.MergeOptions{
		Fresh: detection.Fresh, Timeouts: detection.Timeouts,
		Await: t.evidence.sharing(now, detection.Fresh.D()), Waited: t.deciders[cluster].waited(now, &detection),
	})
}

// sidecars are those that are heard, this one always.
func (t *term) sidecars(now time.Time) []topology.Sidecar {
	var list []topology.Sidecar
	for _, name := range t.cfg.observers() {
		leads := name == t.cfg.Node
		last, trouble, _, ok := t.evidence.node(name)
		if leads {
			trouble = t.troubles()
		}
		if leads || ok && now.Sub(last) < t.cfg.Lease.TTL.D() {
			list = append(list, topology.Sidecar{Node: name, Leads: leads, Shares: t.evidence.shares(name), Trouble: trouble})
		}
	}
	slices.SortFunc(list, func(a, b topology.Sidecar) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// held says that the end of a lease closes no proxy of the cluster: one node that was
// started so is enough.
func (t *term) held(cluster string, state *ledger.State) bool {
	if t.holds(cluster) {
		return true
	}
	for _, n := range state.Nodes {
		if slices.Contains(n.Holds, cluster) {
			return true
		}
	}
	return false
}

// suspects are the nodes whose proxies may route the cluster's writes: those that are
// registered, and until the leases that may be left from before this term ran out
// also those that are configured and did not register, for the ledger may be new.
// Where proxies need no lease those are waited for until they are heard.
func (t *term) suspects(cluster string, state *ledger.State) []string {
	var names []string
	for name, n := range state.Nodes {
		if n.Proxy {
			names = append(names, name)
		}
	}
	held := t.held(cluster, state)
	for _, n := range t.cfg.Nodes {
		_, registered := state.Nodes[n.Name]
		if !registered && !n.Witness && (held || t.evidence.leaseLeft(n.Name, t.ports.Clock().Boot) > 0) {
			names = append(names, n.Name)
		}
	}
	return names
}

// ask reads instances now, at this node and at every other vantage point.
func (t *term) ask(ctx context.Context, cluster string, addrs []topology.Addr, bound time.Duration) {
	of := map[string][]topology.Addr{}
	for _, n := range t.cfg.Nodes {
		of[n.Name] = addrs
	}
	t.askEach(ctx, cluster, of, false, bound)
}

// askEach reads instances now, at each node its own.
// Answers become evidence as they arrive; askEach waits for this node's own only. A vantage point that does not
// answer is asked by its next heartbeat too, unless what it reads is only to be read again.
func (t *term) askEach(ctx context.Context, cluster string, of map[string][]topology.Addr, again bool, bound time.Duration) {
	for _, n := range t.cfg.Nodes {
		addrs := of[n.Name]
		if n.Name == t.cfg.Node || len(addrs) == 0 {
			continue
		}
		asked := time.Now()
		if !again {
			t.evidence.asking(n.Name, addrs, asked)
		}
		go func() {
			bounded, cancel := context.WithTimeout(ctx, bound)
			defer cancel()
			end, ok := t.asking.take(bounded)
			if !ok {
				return // it is asked again
			}
			defer end()
			reply, err := t.ports.Peer(n.Name).Probe(bounded, api.ProbeRequest{Cluster: cluster, Instances: addrs, Again: again})
			if err != nil {
				t.log.Debug("a vantage point did not answer", "node", n.Name, "error", err)
				return
			}
			t.evidence.answered(n.Name, addrs, asked)
			t.evidence.views(cluster, reply, time.Now())
		}()
	}
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	t.observer.now(bounded, of[t.cfg.Node], again)
}
