package world

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The environment of `make sim`.
const (
	envN     = "SIM_N"     // how many schedules; empty: the 500 of `make test`
	envSeed  = "SIM_SEED"  // the first one's seed
	envKeep  = "SIM_KEEP"  // numbers of the faults to be kept, as a shrunk schedule prints them
	envUntil = "SIM_UNTIL" // for sabotages: go on until an invariant with one of these beginnings broke
)

// play runs a schedule in a bubble of its own.
func play(t *testing.T, s Schedule, o Options) (out Outcome) {
	t.Run("seed="+strconv.FormatUint(s.Seed, 10), func(t *testing.T) {
		// Raft forgets to answer a request now and then when it is shut down, and the
		// goroutine that waits for it stays behind.
		defer func() {
			if r := recover(); r != nil && (out.Virtual == 0 || !strings.Contains(fmt.Sprint(r), "blocked goroutines remain")) {
				panic(r)
			}
		}()
		synctest.Test(t, func(*testing.T) { out = s.Run(o) })
	})
	return out
}

// TestSchedules plays schedules; every invariant must hold in all of them. It stops
// at the first that breaks one, shrinks it, and says how to play it again.
func TestSchedules(t *testing.T) {
	n, from := number(t, envN, 500), number(t, envSeed, 1)
	if os.Getenv(envSeed) != "" && os.Getenv(envN) == "" {
		replay(t, from)
		return
	}
	var until []string
	if v := os.Getenv(envUntil); v != "" {
		until = strings.Split(v, "|")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and short
	r := run{t: t, n: n, from: from, until: until, began: time.Now()}
	stop := r.progress()
	t.Run("all", func(t *testing.T) {
		for range 2 {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				r.work(t)
			})
		}
	})
	stop()
	switch {
	case r.failed == nil:
		t.Logf("%d schedules from seed %d: all invariants held, %d writes acknowledged, %v", n, from, r.acked.Load(), time.Since(r.began).Round(time.Second))
	case len(until) > 0:
		fmt.Printf("FOUND after %d schedules, seed %d: %s\n", r.next.Load(), r.failed.Seed, r.why)
	default:
		short, why := shrink(t, *r.failed, r.why)
		t.Errorf("broken after %d schedules:\n%s  => %s\n\nshortest:\n%s  => %s\n\nagain: %s", r.next.Load(), r.failed, r.why, short, why, again(*r.failed, short))
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: %v", name, v, err)
	}
	return n
}

// run is one call of TestSchedules.
type run struct {
	t       *testing.T
	n, from uint64
	until   []string
	began   time.Time
	next    atomic.Uint64
	acked   atomic.Int64

	mu     sync.Mutex
	failed *Schedule
	why    string
}

func (r *run) work(t *testing.T) {
	for {
		i := r.next.Add(1) - 1
		r.mu.Lock()
		over := i >= r.n || r.failed != nil
		r.mu.Unlock()
		if over {
			return
		}
		s := NewSchedule(r.from + i)
		out := play(t, s, Options{})
		r.acked.Add(int64(out.Acked))
		if why := wanted(out.Failures, r.until); why != "" {
			r.mu.Lock()
			if r.failed == nil {
				r.failed, r.why = &s, why
			}
			r.mu.Unlock()
		}
	}
}

// wanted is the first failure, or the first of those that are looked for.
func wanted(failures, until []string) string {
	for _, f := range failures {
		if len(until) == 0 || slices.ContainsFunc(until, func(u string) bool { return strings.HasPrefix(f, u) }) {
			return f
		}
	}
	return ""
}

// progress says now and then how far it is.
func (r *run) progress() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				done := min(r.next.Load(), r.n)
				fmt.Fprintf(os.Stderr, "%d of %d schedules, %.0f ms each, %d writes acknowledged\n", done, r.n,
					float64(time.Since(r.began).Milliseconds())/float64(max(done, 1)), r.acked.Load())
			}
		}
	}()
	return func() { close(end); <-ended }
}

// replay plays one seed and shows everything. As goroutines are not replayed it
// tries several times until it breaks.
func replay(t *testing.T, seed uint64) {
	s := NewSchedule(seed)
	if v := os.Getenv(envKeep); v != "" {
		s = s.keep(v)
	}
	var out Outcome
	for range tries {
		if out = play(t, s, Options{}); len(out.Failures) > 0 {
			break
		}
	}
	fmt.Printf("%s\n%s\n", s, strings.Join(out.Trace, "\n"))
	for _, f := range out.Failures {
		t.Error(f)
	}
}

// keep leaves only the faults of the given numbers.
func (s Schedule) keep(numbers string) Schedule {
	var kept []Fault
	for _, word := range strings.Split(numbers, ",") {
		if i, err := strconv.Atoi(word); err == nil && i < len(s.Faults) {
			kept = append(kept, s.Faults[i])
		}
	}
	s.Faults = kept
	return s
}

// tries is how often a schedule is played to see whether it still breaks.
const tries = 8

// shrink takes away faults, one by one, as long as an invariant still breaks.
func shrink(t *testing.T, s Schedule, why string) (Schedule, string) {
	for i := 0; i < len(s.Faults); {
		less := s
		less.Faults = slices.Delete(slices.Clone(s.Faults), i, i+1)
		broken := ""
		for n := 0; n < tries && broken == ""; n++ {
			broken = wanted(play(t, less, Options{}).Failures, []string{why[:min(len(why), len("invariant 1"))]})
		}
		if broken == "" {
			i++
			continue
		}
		s, why, i = less, broken, 0
	}
	return s, why
}

// again is the line that plays a shrunk schedule.
func again(whole, short Schedule) string {
	var kept []string
	for i, f := range whole.Faults {
		if slices.ContainsFunc(short.Faults, func(o Fault) bool { return o.String() == f.String() }) {
			kept = append(kept, strconv.Itoa(i))
		}
	}
	return fmt.Sprintf("make sim SEED=%d KEEP=%s", whole.Seed, strings.Join(kept, ","))
}
