package sidecar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// Epochs are one count for all clusters: that another one's are higher is no sign of
// a ledger that was lost.
func TestClustersAtRestCommitNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &led{follower: newFollower(), disk: &hungDisk{}}
		l.seen.Store(&map[string]topology.Reach{})
		l.raft.leader = "n1"
		l.cfg.Nodes = l.cfg.Nodes[:1]
		other := l.cfg.Clusters["main"]
		other.Seeds, other.Hostgroups = []topology.Addr{"x:3306"}, proxysql.Hostgroups{Writer: 30, Reader: 40}
		l.cfg.Clusters["other"] = other
		l.ports.Proxy = nil
		l.ports.Prober = func(_ string, addr topology.Addr, _ func()) Prober {
			return probeFunc(func(context.Context) topology.View { return l.view("n1", addr) })
		}
		l.observer.ports = l.ports
		for cluster, addr := range map[string]topology.Addr{"main": dbA, "other": "x:3306"} {
			l.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: cluster, Addrs: []topology.Addr{addr}}})
			l.raft.must(t, ledger.Command{SetRoute: &ledger.SetRoute{Cluster: cluster, Writer: addr}})
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		l.raft.terms <- consensus.Term{Ctx: ctx, Number: 1}
		rest := func(seconds int) {
			for range seconds {
				for cluster, cl := range l.raft.State().Clusters { // as a keeper does
					l.acked.note(cluster, cl.Desired().Epoch)
				}
				<-time.After(time.Second)
			}
		}
		rest(10)
		before := l.raft.State().Index
		rest(60)
		if after := l.raft.State(); after.Index != before {
			t.Errorf("%d commits in a minute; main is at epoch %d, other at %d", after.Index-before, after.Clusters["main"].Route.Epoch, after.Clusters["other"].Route.Epoch)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
