package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/topology"
)

const (
	// reachPeer bounds the connection to another node's raft.
	reachPeer = time.Second
	// diskTries is how often the disk is tried for an examination.
	diskTries = 3
)

// ExamineNode is what this node says of itself and of what is beside it.
func (s *Sidecar) ExamineNode(ctx context.Context) (doctor.Node, error) {
	began := time.Now()
	n := doctor.Node{Name: s.cfg.Node, Version: s.version, Settings: s.settings(), Peers: make([]doctor.Peer, 0, len(s.cfg.Nodes))}
	var asking sync.WaitGroup
	asking.Go(func() { n.Raft = s.raftFacts(ctx) })
	if s.ports.Disk != nil {
		asking.Go(func() { n.Disk = s.diskFacts(ctx) })
	}
	if s.ports.ProxyExaminer != nil {
		asking.Go(func() { p := s.ports.ProxyExaminer.Examine(ctx); n.Proxy = &p })
	}
	for _, other := range s.cfg.Nodes {
		if other.Name != s.cfg.Node {
			n.Peers = append(n.Peers, doctor.Peer{Name: other.Name, Addr: other.Raft})
		}
	}
	for i := range n.Peers {
		asking.Go(func() { n.Peers[i].Error = dials(ctx, n.Peers[i].Addr) })
	}
	clusters := slices.Sorted(maps.Keys(s.cfg.Clusters))
	for _, store := range s.ports.Stores {
		for range store.Agents {
			n.Stores = append(n.Stores, doctor.Store{})
		}
	}
	at := 0
	for _, store := range s.ports.Stores {
		for _, agent := range store.Agents {
			slot := &n.Stores[at]
			at++
			asking.Go(func() { *slot = agent.Check(ctx, clusters) })
		}
	}
	asking.Wait()
	n.Took, n.Now = topology.Duration(time.Since(began)), time.Now()
	return n, nil
}

// raftFacts leaves the log's size out where its disk hangs.
func (s *Sidecar) raftFacts(ctx context.Context) doctor.Raft {
	stats := s.ports.Consensus.Stats()
	r := doctor.Raft{State: stats.State, Leader: stats.Leader, Halted: stats.Halted}
	for _, p := range stats.Peers {
		r.Members = append(r.Members, doctor.RaftMember{Name: p.Name, Addr: p.Addr, Voter: !p.NonVoter})
	}
	type size struct {
		entries uint64
		bytes   int64
	}
	sized := make(chan size, 1)
	go func() {
		entries, bytes := s.ports.Consensus.LogSize()
		sized <- size{entries, bytes}
	}()
	bounded, cancel := context.WithTimeout(ctx, hungAfter)
	defer cancel()
	select {
	case z := <-sized:
		r.Entries, r.Bytes = z.entries, z.bytes
	case <-bounded.Done():
	}
	return r
}

// diskFacts tries the disk a few times. A try that hangs is left behind.
func (s *Sidecar) diskFacts(ctx context.Context) *doctor.Disk {
	bounded, cancel := context.WithTimeout(ctx, hungAfter)
	defer cancel()
	var took []time.Duration
	for range diskTries {
		began, done := time.Now(), make(chan error, 1)
		go func() { done <- s.ports.Disk.Try() }()
		select {
		case err := <-done:
			if err != nil {
				return &doctor.Disk{Error: err.Error()}
			}
			took = append(took, time.Since(began))
		case <-bounded.Done():
			return &doctor.Disk{Error: fmt.Sprintf("no answer within %s", hungAfter)}
		}
	}
	slices.Sort(took)
	return &doctor.Disk{Median: topology.Duration(took[len(took)/2]), Worst: topology.Duration(took[len(took)-1])}
}

// dials says why an address cannot be connected to; empty when it can.
func dials(ctx context.Context, addr string) string {
	ctx, cancel := context.WithTimeout(ctx, reachPeer)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err.Error()
	}
	_ = conn.Close()
	return ""
}

// settings are digests of what all nodes must be configured alike in, by its name in the
// file. No secret is part of one.
func (s *Sidecar) settings() map[string]string {
	nodes := slices.Clone(s.cfg.Nodes)
	slices.SortFunc(nodes, func(a, b NodeConfig) int { return strings.Compare(a.Name, b.Name) })
	lease, raft, servers := s.cfg.Lease, s.cfg.Raft, s.cfg.MySQL
	parts := map[string]any{
		"nodes": nodes,
		"lease": []any{lease.Heartbeat, lease.TTL, lease.FenceTime, lease.Failsafe},
		"raft":  []any{raft.Heartbeat, raft.Election, raft.Lease},
		"mysql": []any{servers.User, servers.ReplicationUser, servers.TLS.Mode, servers.ReplicationTLS, servers.ConnectRetry, servers.KillAfter, servers.Keep, servers.EnableEvents},
	}
	var consuls []any // each node may reach one through an agent of its own
	for _, store := range s.cfg.Consul {
		consuls = append(consuls, []any{store.Prefix, store.Datacenter, store.Services})
	}
	parts["consul"] = consuls
	for name, c := range s.cfg.Clusters {
		parts["clusters."+name+".hostgroups"], parts["clusters."+name+".policy"] = c.Hostgroups, c.Policy
		parts["clusters."+name+".seeds"] = topology.SortAddrs(slices.Clone(c.Seeds))
	}
	digests := make(map[string]string, len(parts))
	for name, part := range parts {
		raw, err := json.Marshal(part)
		if err != nil {
			raw = []byte(err.Error())
		}
		sum := sha256.Sum256(raw)
		digests[name] = hex.EncodeToString(sum[:8])
	}
	return digests
}
