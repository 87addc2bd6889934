package fleet_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

// TestMeasureHAProxy fails over and switches over under clients that write through HAProxy, and takes the time from the
// commit of a route until Consul holds it.
func TestMeasureHAProxy(t *testing.T) {
	n := wanted(t, "haproxy", 10)
	lab.ConsulForTest(t)
	opts := measured
	opts.HAProxy = true
	ctx, f, _ := startLong(t, opts, 1)
	load, err := f.Lab.Load(ctx, lab.LoadOptions{Addrs: f.HAProxyAddrs(), Writers: 9, Pace: 10 * time.Millisecond})
	must(t, err)
	watch := watchKV(t, f)

	kills, switchovers := series{name: "kill through HAProxy"}, series{name: "switchover through HAProxy"}
	var published figures
	for range n {
		r, err := f.Blow(ctx, load, "kill", func(p *lab.Server) error { return p.Kill() }, nil)
		must(t, err)
		kills.add(t, r)
		took, err := watch.published(ctx, r.Recovery)
		must(t, err)
		published = append(published, took)
		_, err = f.Return(ctx, r.From)
		must(t, err)
	}
	kills.report(t, f, verify(t, ctx, f, load))
	for i := range n {
		r, err := f.Switchover(ctx, load, i%len(f.Sidecars), "")
		must(t, err)
		switchovers.add(t, r)
		took, err := watch.published(ctx, r.Recovery)
		must(t, err)
		published = append(published, took)
	}
	load.Stop()
	switchovers.report(t, f, verify(t, ctx, f, load))
	fmt.Printf("MEASURED publication: Consul holds a new primary %s after its route was committed\n", published)
	watch.neverBack(t)
	if m := lab.Median(kills.back); m > 1500*time.Millisecond {
		t.Errorf("writes were back after %s in the median; the promise is 1.5s", m)
	}
	if m := lab.Median(published); m > 100*time.Millisecond {
		t.Errorf("Consul held a new primary after %s in the median; the promise is 100ms", m)
	}
	if slices.Min(published) < 0 {
		t.Errorf("Consul held a new primary %s before its route was committed", -slices.Min(published))
	}
}
