package sidecar

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// fleetOf is a leader n1 of five nodes with many clusters of a primary and two or three
// replicas, whose sidecars have told it what each of them watches.
func fleetOf(tb testing.TB, clusters int) *term {
	tb.Helper()
	f := newFollower()
	f.raft.leader = "n1"
	f.cfg.Nodes = nil
	for i := range 5 {
		f.cfg.Nodes = append(f.cfg.Nodes, NodeConfig{Name: fmt.Sprintf("n%d", i+1), API: fmt.Sprintf("n%d:1", i+1), Witness: true})
	}
	one := f.cfg.Clusters["main"]
	delete(f.cfg.Clusters, "main")
	one.Policy.Detection.Fresh = topology.Duration(time.Hour) // nobody tells anything again
	state := ledger.NewState()
	for i := range clusters {
		name := fmt.Sprintf("c%04d", i)
		var addrs []topology.Addr
		for n := range 3 + i%3/2 {
			addrs = append(addrs, topology.Addr(fmt.Sprintf("10.%d.%d.%d:3306", i/250, i%250, n+1)))
		}
		one.Seeds, one.Hostgroups = addrs[:1], proxysql.Hostgroups{Writer: 2 * i, Reader: 2*i + 1}
		f.cfg.Clusters[name] = one
		route := topology.Route{Cluster: name, Epoch: uint64(i + 1), Writer: addrs[0], Mode: topology.Open, At: time.Now().Add(-time.Hour)}
		for _, a := range addrs[1:] {
			route.Readers = append(route.Readers, topology.Reader{Addr: a, Weight: 1})
		}
		state.Clusters[name] = ledger.Cluster{Name: name, Known: addrs, Route: route}
	}
	f.raft.state = state
	t := newTerm(f.Sidecar, 1)
	f.setTerm(t)
	t.beats(tb, time.Now())
	return t
}

// beats has every node tell what it watches: primaries three of them, others one.
func (t *term) beats(tb testing.TB, now time.Time) {
	tb.Helper()
	for _, node := range t.cfg.Nodes[1:] {
		h := api.Heartbeat{Node: node.Name, Seq: 1, Started: t.started, Shares: "x"}
		own := share{node: node.Name}
		own.among([]string{"n2", "n3", "n4", "n5"})
		for _, cl := range t.ports.Consensus.State().Clusters {
			for _, a := range cl.Known {
				n := 1
				if a == cl.Route.Writer {
					n = 3
				}
				if _, ok := own.place(a, n); ok {
					h.Views = append(h.Views, api.Age(wellView(node.Name, a, cl.Route.Writer, now), now))
				}
			}
		}
		if !t.evidence.take(h, now) {
			tb.Fatal("a heartbeat was not taken")
		}
	}
}

// wellView is what a node sees of an instance that is well.
func wellView(node string, a, primary topology.Addr, now time.Time) topology.View {
	zero := topology.Duration(0)
	st := &topology.State{
		Flavor: "mysql", Version: "8.4.5", ServerID: uint32(a[len(a)-6]), ServerUUID: "8c2c7a2e-3e1c-11ef-9d3b-0242ac120002", LogBin: true, LogReplicaUpdates: true,
		BinlogFormat: "ROW", GTIDMode: "ON", GTIDStrict: true, Uptime: topology.Duration(time.Hour), ReportedAs: a,
		Executed: gtid.MustParse("8c2c7a2e-3e1c-11ef-9d3b-0242ac120002:1-1000000"), MaxConnections: 1000, Connections: 10,
	}
	if a != primary {
		st.ReadOnly, st.SuperReadOnly = true, true
		st.Sources = []topology.Source{{Addr: primary, IO: topology.ThreadYes, SQL: topology.ThreadYes, GTID: true, Received: st.Executed,
			Heartbeat: topology.Duration(500 * time.Millisecond), Lag: &zero, Silence: &zero}}
	}
	return topology.View{Observer: node, Instance: a, At: now, Reach: topology.Answered, State: st, StateAt: now}
}

// BenchmarkCycle is one look of the leader at a cluster that is well, among 3,000.
func BenchmarkCycle(b *testing.B) {
	t := fleetOf(b, 3000)
	var all []*decider
	for _, d := range t.deciders {
		all = append(all, d)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		all[i%len(all)].cycle(context.Background())
		i++
	}
	if v := all[0].lastVerdict(); len(v.Findings) > 1 { // this node's own beats are not played
		b.Error(v.Decision.Sentence, v.Findings)
	}
}
