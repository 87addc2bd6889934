package sidecar

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

// Where the watching is shared the status says who looked at an instance just now, and how old the reading is
// that decisions have: a look that only confirms it makes it no younger.
func TestTheStatusSaysWhoWatchesWhatAndSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		f.beat(dbA, dbB)
		pass(300 * time.Millisecond)
		then := time.Now()
		pass(200 * time.Millisecond)
		f.seq++
		f.evidence.take(api.Heartbeat{
			Node: "n3", Seq: f.seq, Since: f.seq - 1, Started: f.started, Shares: "all",
			Again: []api.Again{{Instance: dbA, Age: time.Since(then)}},
		}, time.Now())

		st := f.Status()
		if n := st.Nodes[1]; n.Name != "n2" || !n.Shares {
			t.Errorf("n2 watches a share, the status says %+v", n)
		}
		half, tick := topology.Duration(500*time.Millisecond), topology.Duration(200*time.Millisecond)
		type seen struct {
			Read     *topology.Duration
			Watchers []api.Watcher
		}
		want := []seen{
			{&half, []api.Watcher{{Node: "n2", Ago: half, Reach: topology.Answered}, {Node: "n3", Ago: tick, Reach: topology.Answered}}},
			{&half, []api.Watcher{{Node: "n2", Ago: half, Reach: topology.Answered}, {Node: "n3", Ago: half, Reach: topology.Answered}}},
			{nil, []api.Watcher{}},
		}
		for n, i := range st.Clusters[0].Instances {
			if diff := cmp.Diff(want[n], seen{i.Read, i.Watchers}); diff != "" {
				t.Errorf("%s is watched otherwise (-want +got):\n%s", i.Addr, diff)
			}
		}

		pass(f.cfg.Clusters["main"].Policy.Detection.Fresh.D())
		if i := f.Status().Clusters[0].Instances[0]; len(i.Watchers) > 0 || i.Read == nil {
			t.Errorf("nobody has looked at %s for long, the status says %+v, read %v ago", i.Addr, i.Watchers, i.Read)
		}
	})
}
