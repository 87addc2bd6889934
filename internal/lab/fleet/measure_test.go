package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// The measurements behind docs/benchmarks.md. They run only when REMORA_MEASURE
// names them ("switchover,kill,freeze,leader,cut,cut-lease,quiet,haproxy,kvchaos,walk" or "all"), N
// times each where REMORA_N says so; `make measure` calls them.

func wanted(t *testing.T, name string, times int) int {
	t.Helper()
	list := strings.Split(os.Getenv("REMORA_MEASURE"), ",")
	if !slices.Contains(list, name) && !slices.Contains(list, "all") {
		t.Skipf("a measurement: run `make measure WHAT=%s`", name)
	}
	if n, err := strconv.Atoi(os.Getenv("REMORA_N")); err == nil {
		return n
	}
	return times
}

// figures are one number a run, in milliseconds.
type figures []time.Duration

func (f figures) String() string {
	s := slices.Sorted(slices.Values(f))
	at := func(q float64) time.Duration { return s[min(len(s)-1, int(q*float64(len(s))))].Round(time.Millisecond) }
	return fmt.Sprintf("n=%d min %s, median %s, p90 %s, max %s", len(s), at(0), lab.Median(s).Round(time.Millisecond), at(0.9), at(1))
}

func (f figures) max() time.Duration { return slices.Max(f) }

// series runs a scenario again and again on one fleet and judges the promises.
type series struct {
	name        string
	pause, back figures
	errors      int
	samples     []string
}

func (s *series) add(t *testing.T, r fleet.Result) {
	t.Log(r)
	s.pause, s.back = append(s.pause, r.Pause), append(s.back, r.Back)
	s.errors += len(r.Failures)
	for _, e := range r.Failures[:min(3, len(r.Failures))] {
		s.samples = append(s.samples, e.String())
	}
}

func (s *series) report(t *testing.T, f *fleet.Fleet, v lab.Verdict) {
	fmt.Printf("MEASURED %s, proxies %s: longest pause of a client %s; writes back %s; %d client errors; %s\n",
		s.name, f.ProxyKind(), s.pause, s.back, s.errors, v)
	for _, e := range s.samples[:min(5, len(s.samples))] {
		t.Log(e)
	}
	if path := os.Getenv("REMORA_REPORT"); path != "" {
		raw, _ := json.Marshal(map[string]any{
			"name": s.name, "proxysql": f.ProxyKind(), "pause_ms": ms(s.pause), "back_ms": ms(s.back),
			"client_errors": s.errors, "acked": v.Acked, "lost": len(v.Lost),
		})
		out, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		fmt.Fprintf(out, "%s\n", raw)
	}
}

func ms(f figures) []float64 {
	out := make([]float64, len(f))
	for i, d := range f {
		out[i] = float64(d.Microseconds()) / 1000
	}
	return out
}

var measured = fleet.Options{Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, DropUnacked: true, Appliers: 4}}, Policy: "anti_flap: 0s"}

func verify(t *testing.T, ctx context.Context, f *fleet.Fleet, load *lab.Load) lab.Verdict {
	t.Helper()
	p, err := f.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, err := load.Verify(ctx, p.DB())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Lost) > 0 {
		t.Errorf("acknowledged writes were lost: %s", v)
	}
	return v
}

func TestMeasureSwitchover(t *testing.T) {
	n := wanted(t, "switchover", 20)
	ctx, f, load := startLong(t, measured, 16)
	s := series{name: "switchover"}
	for i := range n {
		r, err := f.Switchover(ctx, load, i%len(f.Sidecars), "")
		if err != nil {
			t.Fatal(err)
		}
		s.add(t, r)
	}
	s.report(t, f, verify(t, ctx, f, load))
	if s.errors > 0 {
		t.Errorf("%d client errors in planned switchovers", s.errors)
	}
	if m := lab.Median(slices.Sorted(slices.Values(s.pause))); m > 300*time.Millisecond {
		t.Errorf("the longest pause of a client was %s in the median; the promise is 300ms", m)
	}
}

// promise is what the README says of a blow: how long writes may be away.
type promise struct{ median, worst time.Duration }

func measureBlow(t *testing.T, name string, times int, p promise, strike func(context.Context, *fleet.Fleet, *lab.Server) error, mend func(context.Context, *lab.Server) error) {
	n := wanted(t, name, times)
	ctx, f, load := startLong(t, measured, 16)
	s := series{name: name}
	for range n {
		var struck *lab.Server
		r, err := f.Blow(ctx, load, name,
			func(p *lab.Server) error { struck = p; return strike(ctx, f, p) },
			func() error { return mend(ctx, struck) })
		if err != nil {
			t.Fatal(err)
		}
		s.add(t, r)
		if _, err := f.Return(ctx, r.From); err != nil {
			t.Fatal(err)
		}
	}
	s.report(t, f, verify(t, ctx, f, load))
	if m := lab.Median(slices.Sorted(slices.Values(s.back))); m > p.median {
		t.Errorf("writes were back after %s in the median; the promise is %s", m, p.median)
	}
	if s.back.max() > p.worst {
		t.Errorf("writes were back after %s at worst; the promise is %s", s.back.max(), p.worst)
	}
}

func TestMeasureKill(t *testing.T) {
	measureBlow(t, "kill", 20, promise{800 * time.Millisecond, 2 * time.Second},
		func(_ context.Context, _ *fleet.Fleet, p *lab.Server) error { return p.Kill() }, nothing)
}

func nothing(context.Context, *lab.Server) error { return nil }

// A frozen server is reset before it returns: thawed it would hold what it had written when it froze and no replica
// acknowledged, and would rightly be kept out (see TestAThawedPrimaryIsKeptOut).
func TestMeasureFreeze(t *testing.T) {
	measureBlow(t, "freeze", 10, promise{2500 * time.Millisecond, 10 * time.Second},
		func(_ context.Context, _ *fleet.Fleet, p *lab.Server) error { return p.Freeze() },
		func(_ context.Context, p *lab.Server) error { return p.Kill() })
}

// Writes are back while the killed sidecar is still dead; the clients of its proxy write again after the service manager
// has started it, here as soon as the first write is through.
func TestMeasureLeaderAndPrimary(t *testing.T) {
	var dead *lab.Process
	measureBlow(t, "leader", 10, promise{5 * time.Second, 5 * time.Second}, func(ctx context.Context, f *fleet.Fleet, p *lab.Server) (err error) {
		if dead, err = f.Leader(ctx); err != nil {
			return err
		}
		if err := dead.Kill(); err != nil {
			return err
		}
		return p.Kill()
	}, func(ctx context.Context, _ *lab.Server) error { return dead.Start(ctx) })
}

// TestMeasureCut is the price of a sidecar that cannot be reached, with its proxy, at the moment of a failover: nobody knows
// whether that proxy still sends writes to the old primary. Where durability fences, nobody has to wait for it; else its
// lease and the fence time are waited for.
func TestMeasureCut(t *testing.T) {
	const lease = 2*time.Second + 500*time.Millisecond
	measureCut(t, "cut", "", lease)
}

// A time-out after which commits go on without a replica is what durability cannot fence with.
func TestMeasureCutWithoutDurabilityFence(t *testing.T) {
	const lease = 2*time.Second + 500*time.Millisecond
	measureCut(t, "cut-lease", "\nsemi_sync: {timeout: 10s}", lease+time.Second)
}

func measureCut(t *testing.T, name, policy string, worst time.Duration) {
	n := wanted(t, name, 10)
	lab.NetworkForTest(t)
	opts := measured
	opts.Hosts = true
	opts.Policy += policy
	ctx, f, load := startLong(t, opts, 15)
	s := series{name: name}
	for i := range n {
		leader, err := f.Leader(ctx)
		must(t, err)
		cut := i % len(f.Sidecars)
		if f.Sidecars[cut] == leader { // an election on top is what the measurement "leader" has
			cut = (cut + 1) % len(f.Sidecars)
		}
		node := f.Nodes[cut]
		r, err := f.Blow(ctx, load, name, func(p *lab.Server) error {
			return errors.Join(f.Network.Cut(ctx, lab.Apart([]*lab.Host{node}, f.Network.Others(node))...), p.Kill())
		}, func() error { return f.Network.Cut(ctx) })
		must(t, err)
		s.add(t, r)
		_, err = f.Return(ctx, r.From)
		must(t, err)
	}
	s.report(t, f, verify(t, ctx, f, load))
	if s.back.max() > worst {
		t.Errorf("writes were back after %s at worst; the promise is %s", s.back.max(), worst)
	}
}

func startLong(t *testing.T, opts fleet.Options, writers int) (context.Context, *fleet.Fleet, *lab.Load) {
	t.Helper()
	l := lab.ForTest(t, lab.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	t.Cleanup(cancel)
	opts.StandIn = os.Getenv("REMORA_STANDIN") != ""
	f, err := fleet.Start(ctx, l, opts)
	if err != nil {
		t.Fatal(err)
	}
	load, err := f.Load(ctx, lab.LoadOptions{Writers: writers, Pace: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, f, load
}
