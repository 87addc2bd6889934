package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// examineServer and examineNode bound one question of an examination.
	examineServer = 3 * time.Second
	examineNode   = 4 * time.Second
	// examineAll bounds an examination: what was not asked by then is said to be so.
	examineAll = 9 * time.Second
	// examineAtOnce is how many servers are asked side by side.
	examineAtOnce = 32
	// mendOne bounds a fix. A recovery breaks it off.
	mendOne = 3 * time.Second
)

// Examine gathers facts from all nodes and servers, and says what is set up badly. It
// changes nothing, and needs no leader.
func (s *Sidecar) Examine(ctx context.Context, cluster string) (doctor.Report, error) {
	facts, err := s.facts(ctx, cluster)
	if err != nil {
		return doctor.Report{}, err
	}
	return doctor.Examine(facts), nil
}

// facts asks everybody side by side.
func (s *Sidecar) facts(ctx context.Context, cluster string) (*doctor.Facts, error) {
	if _, ok := s.cfg.Clusters[cluster]; !ok && cluster != "" {
		return nil, fmt.Errorf("cluster %q: %w; configured are %s", cluster, api.ErrNotFound,
			strings.Join(slices.Sorted(maps.Keys(s.cfg.Clusters)), ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, examineAll)
	defer cancel()
	leader, _ := s.ports.Consensus.Leader()
	f := &doctor.Facts{Taken: time.Now(), Node: s.cfg.Node, Leader: leader, Nodes: make([]doctor.Node, len(s.cfg.Nodes))}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Clusters)) {
		if cluster == "" || name == cluster {
			f.Clusters = append(f.Clusters, s.clusterFacts(name))
		}
	}
	var asking sync.WaitGroup
	for i, n := range s.cfg.Nodes {
		f.Members = append(f.Members, doctor.Member{Name: n.Name, Raft: n.Raft, Witness: n.Witness})
		asking.Go(func() { f.Nodes[i] = s.askNode(ctx, n.Name) })
	}
	room := make(chan struct{}, examineAtOnce)
	for i := range f.Clusters {
		c := &f.Clusters[i]
		for j := range c.Servers {
			asking.Go(func() { c.Servers[j] = s.askServer(ctx, c.Name, c.Servers[j].Addr, room) })
		}
	}
	asking.Wait()
	return f, nil
}

// clusterFacts is what this node itself knows of a cluster.
func (s *Sidecar) clusterFacts(name string) doctor.Cluster {
	cfg := s.cfg.Clusters[name]
	route := s.ports.Consensus.State().Clusters[name].Desired()
	c := doctor.Cluster{
		Name: name, Writer: route.Writer, Epoch: route.Epoch, WriterGroup: cfg.Hostgroups.Writer, ReaderGroup: cfg.Hostgroups.Reader, Policy: cfg.Policy,
		Want: doctor.Want{
			ConnectRetry: s.cfg.MySQL.ConnectRetry, ReplicationTLS: s.cfg.MySQL.ReplicationTLS == "on", TLS: s.cfg.MySQL.TLS.Mode, Sidecars: len(s.cfg.Nodes), Events: s.cfg.MySQL.EnableEvents,
		},
	}
	for _, a := range s.known(name) {
		c.Servers = append(c.Servers, doctor.Server{Addr: a})
	}
	if t := s.leading(); t != nil {
		c.Findings = t.deciders[name].lastVerdict().Findings
	}
	return c
}

func (s *Sidecar) askServer(ctx context.Context, cluster string, addr topology.Addr, room chan struct{}) doctor.Server {
	examiner := s.ports.Examiners[cluster]
	if examiner == nil {
		return doctor.Server{Addr: addr, Error: "this sidecar cannot examine servers"}
	}
	select {
	case room <- struct{}{}:
		defer func() { <-room }()
	case <-ctx.Done():
		return doctor.Server{Addr: addr, Error: fmt.Sprintf("it was not asked within %s, as others took long", examineAll)}
	}
	ctx, cancel := context.WithTimeout(ctx, examineServer)
	defer cancel()
	return examiner.Examine(ctx, addr)
}

// askNode asks a node, this one too, what it says of itself, and compares its clock.
func (s *Sidecar) askNode(ctx context.Context, name string) doctor.Node {
	ctx, cancel := context.WithTimeout(ctx, examineNode)
	defer cancel()
	if name == s.cfg.Node {
		n, _ := s.ExamineNode(ctx)
		return n
	}
	if s.ports.Colleague == nil {
		return doctor.Node{Name: name, Error: "this sidecar cannot ask others"}
	}
	began := time.Now()
	n, err := s.ports.Colleague(name).ExamineNode(ctx)
	took := time.Since(began)
	if err != nil {
		return doctor.Node{Name: name, Error: err.Error()}
	}
	// It looked at its clock at its very end, so only the way back and forth is in doubt.
	way := max(0, took-n.Took.D())
	n.Name, n.Clock = name, &doctor.Clock{Ahead: topology.Duration(n.Now.Sub(began.Add(took - way/2))), Within: topology.Duration(way / 2)}
	return n
}

// Mend does what was asked for as far as an examination of now says the same again:
// it is no way to send other statements. Servers are changed by the leader, a proxy by
// its own sidecar, each on a quorum round.
func (s *Sidecar) Mend(ctx context.Context, r api.MendRequest) (api.MendReply, error) {
	t := s.leading()
	if t == nil {
		return api.MendReply{}, s.errFollower("mending")
	}
	facts, err := s.facts(ctx, "")
	if err != nil {
		return api.MendReply{}, err
	}
	allowed := doctor.Examine(facts).Fixes()
	reply := api.MendReply{Results: []api.MendResult{}}
	for _, fix := range r.Fixes {
		err := errors.New("not sent: an examination of now does not find it any more, or mends it otherwise; ask again")
		if slices.ContainsFunc(allowed, fix.Same) {
			err = t.mend(ctx, fix, facts)
		}
		result := api.MendResult{Fix: fix}
		if err != nil {
			result.Error = err.Error()
		}
		t.log.Info("a setting was to be mended", "by", r.By, "where", fix.Where(), "statements", fix.Statements(), "error", result.Error)
		reply.Results = append(reply.Results, result)
	}
	return reply, nil
}

func (t *term) mend(ctx context.Context, fix doctor.Fix, facts *doctor.Facts) error {
	ctx, stop := t.untilTermEnds(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, mendOne)
	defer cancel()
	if fix.Proxy != "" {
		if err := t.ports.Consensus.Verify(ctx); err != nil {
			return fmt.Errorf("not sent: this node may not lead any more: %w", err)
		}
		if fix.Proxy == t.cfg.Node {
			return t.MendProxy(ctx, fix)
		}
		return t.ports.Colleague(fix.Proxy).MendProxy(ctx, fix)
	}
	d := t.deciders[fix.Cluster]
	if d == nil || t.ports.Examiners[fix.Cluster] == nil {
		return fmt.Errorf("not sent: cluster %q is not known", fix.Cluster)
	}
	// It is a repair like others: it collides with them, and a recovery goes first.
	ctx, m, err := d.enterAlone(ctx, failover.Step{Do: "mend", Target: fix.Server})
	if err != nil {
		return fmt.Errorf("not sent: %w", err)
	}
	defer d.leave(m)
	writer := t.ports.Consensus.State().Clusters[fix.Cluster].Desired().Writer
	i := slices.IndexFunc(facts.Clusters, func(c doctor.Cluster) bool { return c.Name == fix.Cluster })
	if i < 0 || facts.Clusters[i].Writer != writer {
		return fmt.Errorf("not sent: the primary of %s has changed; ask again", fix.Cluster)
	}
	return t.ports.Examiners[fix.Cluster].Mend(ctx, fix)
}

// MendProxy changes this node's own proxy as the doctor's table allows.
func (s *Sidecar) MendProxy(ctx context.Context, fix doctor.Fix) error {
	switch why := fix.Refused(); {
	case why != "":
		return fmt.Errorf("%w: %s", api.ErrBadInput, why)
	case fix.Proxy != s.cfg.Node || s.ports.ProxyExaminer == nil:
		return fmt.Errorf("%w: %s keeps no proxy called %q", api.ErrBadInput, s.cfg.Node, fix.Proxy)
	}
	return s.ports.ProxyExaminer.Mend(ctx, fix)
}
