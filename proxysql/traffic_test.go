package proxysql

import (
	"slices"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// Pause, wait for the drain, open elsewhere: no client of the proxy sees an
// error, and the limit of one ONLINE writer gets in nobody's way.
func TestSwitchoversUnderLoad(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	var sides []topology.Addr
	for _, name := range []string{"a", "b"} { // replication is not what is tested
		s, err := l.Server(within(t), lab.ServerOptions{Name: name, Writable: true})
		must(t, err)
		must(t, s.Exec(within(t), lab.CreateWrites...))
		sides = append(sides, topology.Addr(s.Addr))
	}
	onProxies(t, func(t *testing.T, b *bench) {
		r := topology.Route{Cluster: "main", Epoch: 1, Writer: sides[0], Mode: topology.Open, Known: slices.Sorted(slices.Values(sides))}
		b.apply(t, r)
		load, err := l.Load(within(t), lab.LoadOptions{Addrs: []string{b.ClientAddr}, Writers: 16, Pace: 2 * time.Millisecond})
		must(t, err)
		defer load.Stop()
		const rounds = 20
		var paused []time.Duration
		for i := range rounds {
			from := time.Now()
			r.Epoch, r.Mode = r.Epoch+1, topology.Paused
			p := b.apply(t, r)
			if !p.Drained {
				eventually(t, "drained", func() (bool, string) { p = b.status(t, r); return p.Drained, "connections in use" })
			}
			r.Epoch, r.Mode, r.Writer = r.Epoch+1, topology.Open, sides[(i+1)%2]
			b.apply(t, r)
			paused = append(paused, time.Since(from))
			_, err := load.Back(within(t), time.Now())
			must(t, err)
		}
		load.Stop()
		s := load.Snapshot()
		slices.Sort(paused)
		t.Logf("%d switchovers, %d writes: closed for %s at the median, %s at most; %d errors", rounds, s.Acked, paused[rounds/2], paused[rounds-1], s.Errors)
		if s.Errors > 0 {
			t.Errorf("%v", load.Window(time.Time{}, time.Now()).Failures)
		}
	})
}

// A server that hangs with statements in flight holds neither the fence nor the
// end of its sessions up.
func TestAHungServerIsFenced(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	onProxies(t, func(t *testing.T, b *bench) {
		s, err := l.Server(within(t), lab.ServerOptions{Name: "hung-" + b.Name, Writable: true})
		must(t, err)
		must(t, s.Exec(within(t), lab.CreateWrites...))
		r := topology.Route{Cluster: "main", Epoch: 1, Writer: topology.Addr(s.Addr), Mode: topology.Open}
		b.apply(t, r)
		load, err := l.Load(within(t), lab.LoadOptions{Addrs: []string{b.ClientAddr}, Writers: 8, Timeout: 5 * time.Second})
		must(t, err)
		defer load.Stop()
		must(t, s.Freeze())
		eventually(t, "statements in flight", func() (bool, string) {
			n := table(t, b.Proxy, "SELECT COUNT(*) FROM stats_mysql_processlist WHERE srv_port <> ''")
			return n == "8", n + " of 8"
		})
		start := time.Now()
		r.Epoch, r.Mode = 2, topology.Fenced
		p := b.apply(t, r)
		t.Logf("fenced, and all sessions ended, in %s", time.Since(start))
		if p.Mode != topology.Fenced || p.Epoch != 2 {
			t.Errorf("%+v", p)
		}
		load.Stop()
		must(t, s.Thaw())
	})
}
