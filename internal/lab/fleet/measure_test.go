package fleet_test

import (
	"context"
	"encoding/json"
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

// The long checks behind docs/benchmarks.md that are tests. They run only when REMORA_MEASURE
// names them ("quiet,haproxy,kvchaos,walk" or "all"), N times each where REMORA_N says so; `make
// measure` calls them. What is a figure alone `make bench` measures.

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

// series runs a scenario again and again on one fleet and judges the promises.
type series struct {
	name        string
	pause, back figures
	errors      int
	samples     []string
}

func (s *series) add(t *testing.T, r fleet.Result) {
	t.Log(r)
	s.pause, s.back = append(s.pause, r.Pause()), append(s.back, r.Back)
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
