package sidecar

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

var _ api.Node = (*Sidecar)(nil)

// Name is the node's own.
func (s *Sidecar) Name() string { return s.cfg.Node }

// Leader is where the leader's API is, and whether it is this node's.
func (s *Sidecar) Leader() (base string, local bool) {
	if s.leading() != nil {
		return "http://" + s.cfg.self().API, true
	}
	name, ok := s.ports.Consensus.Leader()
	if !ok || name == s.cfg.Node { // elected, but the term has not begun
		return "", false
	}
	n, _ := s.member(name)
	return "http://" + n.API, false
}

// decider is the decider of a cluster in this node's term.
func (s *Sidecar) decider(cluster string) (*decider, error) {
	if _, ok := s.cfg.Clusters[cluster]; !ok {
		return nil, fmt.Errorf("cluster %q: %w; configured are %s", cluster, api.ErrNotFound,
			strings.Join(slices.Sorted(maps.Keys(s.cfg.Clusters)), ", "))
	}
	t := s.leading()
	if t == nil {
		return nil, s.errFollower("cluster " + cluster)
	}
	return t.deciders[cluster], nil
}

// Snapshot is everything that a decision about the cluster depends on.
func (s *Sidecar) Snapshot(cluster string) (failover.Case, error) {
	d, err := s.decider(cluster)
	if err != nil {
		return failover.Case{}, err
	}
	return d.remembering(d.caseOf(cluster, nil)), nil
}

// Recover begins a switchover or a forced failover.
func (s *Sidecar) Recover(ctx context.Context, cluster string, r api.RecoveryRequest) (api.RecoveryReply, error) {
	d, err := s.decider(cluster)
	if err != nil {
		return api.RecoveryReply{}, err
	}
	if r.ID == "" && !r.DryRun {
		return api.RecoveryReply{}, fmt.Errorf("%w: a %s needs an id, so that asking twice does it once", api.ErrBadInput, r.Kind)
	}
	return d.recover(ctx, r)
}

// Rejoin brings an instance back as a replica.
func (s *Sidecar) Rejoin(ctx context.Context, cluster string, r api.RejoinRequest) (api.RejoinReply, error) {
	d, err := s.decider(cluster)
	if err != nil {
		return api.RejoinReply{}, err
	}
	return d.rejoin(ctx, r)
}

// Recoveries lists the recoveries of all clusters, newest first; of an open one
// with the steps that are not committed yet.
func (s *Sidecar) Recoveries() []failover.Recovery {
	list := []failover.Recovery{}
	for name, cl := range s.ports.Consensus.State().Clusters {
		if r := s.openRecovery(name, cl); r != nil {
			list = append(list, *r)
		}
		list = append(list, cl.Recoveries...)
	}
	slices.SortStableFunc(list, func(a, b failover.Recovery) int { return b.Intent.At.Compare(a.Intent.At) })
	return list
}

func (s *Sidecar) openRecovery(name string, cl ledger.Cluster) *failover.Recovery {
	if cl.Recovery == nil {
		return nil
	}
	r := *cl.Recovery
	if t := s.leading(); t != nil && t.deciders[name] != nil {
		r.Steps = append(slices.Clone(r.Steps), t.deciders[name].pendingSteps(r.Intent.ID)...)
	}
	return &r
}

// Acknowledge releases the anti-flap period.
func (s *Sidecar) Acknowledge(ctx context.Context, cluster string, r api.AcknowledgeRequest) error {
	return s.submit(ctx, cluster, ledger.Command{Acknowledge: &ledger.Acknowledge{
		Cluster: cluster, RecoveryID: r.Recovery, Ack: failover.Acknowledgement{By: r.By, Comment: r.Comment},
	}})
}

// Downtime begins or ends a downtime.
func (s *Sidecar) Downtime(ctx context.Context, cluster string, r api.DowntimeRequest) error {
	if r.For <= 0 {
		return s.submit(ctx, cluster, ledger.Command{EndDowntime: &ledger.EndDowntime{Cluster: cluster, Instance: r.Instance}})
	}
	return s.submit(ctx, cluster, ledger.Command{SetDowntime: &ledger.SetDowntime{Cluster: cluster, Downtime: failover.Downtime{
		Instance: r.Instance, Until: time.Now().Add(r.For.D()), Reason: r.Reason, By: r.By,
	}}})
}

// Forget removes an instance from the known ones. It comes back when a source or
// a replica still names it.
func (s *Sidecar) Forget(ctx context.Context, cluster string, instance topology.Addr) error {
	return s.submit(ctx, cluster, ledger.Command{Forget: &ledger.Forget{Cluster: cluster, Addr: instance}})
}

// submit commits an operator's command.
func (s *Sidecar) submit(ctx context.Context, cluster string, cmd ledger.Command) error {
	d, err := s.decider(cluster)
	if err != nil {
		return err
	}
	if _, ok := s.ports.Consensus.State().Clusters[cluster]; !ok {
		return &api.RefusedError{Sentence: fmt.Sprintf("nothing was recorded: cluster %s has no primary yet, so there is nothing to acknowledge, downtime or forget; %s",
			cluster, d.lastVerdict().Decision.Sentence)}
	}
	res, err := d.commit(ctx, cmd)
	if res.Refused != "" {
		return &api.RefusedError{Sentence: res.Refused}
	}
	return err
}

// Status is what this node knows: on the leader everything, on a follower the
// ledger and its own eyes.
func (s *Sidecar) Status() api.Status {
	stats := s.ports.Consensus.Stats()
	state := s.ports.Consensus.State()
	st := api.Status{
		Node: s.cfg.Node, Version: s.version, Leader: stats.Leader, Term: stats.Term, Index: state.Index, Taken: time.Now(),
	}
	t := s.leading()
	for _, n := range s.cfg.Nodes {
		st.Nodes = append(st.Nodes, s.nodeStatus(n, t, stats.Leader))
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Clusters)) {
		st.Clusters = append(st.Clusters, s.clusterStatus(name, state.Clusters[name], t))
	}
	return st
}

func (s *Sidecar) nodeStatus(n NodeConfig, t *term, leader string) api.NodeStatus {
	ns := api.NodeStatus{Name: n.Name, API: n.API, Raft: n.Raft, Role: "follower", Witness: n.Witness}
	if n.Name == leader {
		ns.Role = "leader"
	}
	if n.Name == s.cfg.Node {
		ns.Trouble = s.troubles()
	}
	if t == nil {
		return ns
	}
	heard, trouble, proxies, ok := t.evidence.node(n.Name)
	if !ok {
		ns.Role = "silent"
		return ns
	}
	if ns.Heard = since(heard, time.Now()); *ns.Heard > s.cfg.Lease.TTL {
		ns.Role = "silent"
	}
	left := topology.Duration(max(0, t.evidence.leaseLeft(n.Name, s.ports.Clock().Boot)-s.cfg.Lease.FenceTime.D()).Round(time.Millisecond))
	ns.Lease, ns.Trouble, ns.Shares = &left, trouble, t.evidence.shares(n.Name)
	for cluster, p := range proxies {
		if ns.Applied == nil {
			ns.Applied = map[string]uint64{}
		}
		ns.Applied[cluster] = p.Epoch
		ns.Proxy = p.Version
		if p.Error != "" {
			ns.Trouble = append(ns.Trouble, cluster+": "+p.Error)
		}
	}
	return ns
}

func (s *Sidecar) clusterStatus(name string, cl ledger.Cluster, t *term) api.ClusterStatus {
	desired := cl.Desired()
	cs := api.ClusterStatus{
		Name: name, Epoch: desired.Epoch, Primary: desired.Writer, Mode: desired.Mode, Recovery: s.openRecovery(name, cl),
		Findings: []failover.Finding{},
	}
	if t == nil {
		cs.Sentence = name + ": this node does not lead; only the leader sees all the evidence"
		return cs
	}
	v := t.deciders[name].lastVerdict()
	cs.Sentence, cs.Refusals = v.Decision.Sentence, v.Decision.Refusals
	cs.Findings = append(cs.Findings, v.Findings...)
	now := time.Now()
	for _, inst := range t.instances(name, s.cfg.observers(), now) {
		cs.Instances = append(cs.Instances, instanceStatus(inst, cl.Route, now))
	}
	return cs
}

func instanceStatus(inst topology.Instance, route topology.Route, now time.Time) api.InstanceStatus {
	is := api.InstanceStatus{
		Addr: inst.Addr, Reach: inst.Reach, Role: "unknown", Reads: route.Reads(inst.Addr), Watchers: watchersOf(inst.Views, now),
	}
	if inst.Addr == route.Writer {
		is.Role = "primary"
	}
	state := inst.State
	if state == nil {
		return is
	}
	is.ReadOnly, is.Version, is.Executed = !state.Writable(), state.Version, state.Executed.String()
	is.Read = since(inst.ReadAt, now)
	src := state.Source()
	switch {
	case is.Role == "primary":
	case src != nil:
		is.Role = "replica"
	default:
		is.Role = "detached"
	}
	if src != nil {
		is.Source, is.IO, is.SQL, is.Lag = src.Addr, src.IO, src.SQL, src.Lag
	}
	return is
}

// watchersOf are the sidecars with fresh views of an instance; merging has put these in order.
func watchersOf(views []topology.View, now time.Time) []api.Watcher {
	list := []api.Watcher{}
	for _, v := range views {
		if v.Reach != topology.Unknown {
			list = append(list, api.Watcher{Node: v.Observer, Ago: *since(v.At, now), Reach: v.Reach})
		}
	}
	return list
}

func since(then, now time.Time) *topology.Duration {
	ago := topology.Duration(max(0, now.Sub(then).Round(time.Millisecond)))
	return &ago
}
