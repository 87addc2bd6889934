package world

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestWalk kills the leader after each single step of a failover and of a
// switchover: the next one finishes, or puts everything back. It walks until a
// recovery has fewer steps.
func TestWalk(t *testing.T) {
	kinds := []struct {
		name  string
		begin func(w *World)
	}{
		{"failover from a dead primary", func(w *World) { w.servers[0].crash(false) }},
		{"failover from a frozen primary", func(w *World) { w.net.freeze(w.servers[0].host, true) }},
		{"switchover", func(w *World) {
			if err := w.Switchover("walk", w.servers[1].addr); err != nil {
				w.fail("the switchover was refused: %v", err)
			}
		}},
	}
	for _, kind := range kinds {
		for _, semi := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, semi_sync %t", kind.name, semi), func(t *testing.T) {
				for step := 1; ; step++ {
					what := ""
					synctest.Test(t, func(t *testing.T) { what = walk(t, step, semi, kind.begin) })
					if what == "" {
						t.Logf("%d steps", step-1)
						if step < 4 {
							t.Errorf("a recovery of %d steps is none", step-1)
						}
						break
					}
					t.Logf("killed the leader after step %d: %s", step, what)
				}
			})
		}
	}
}

// walk kills the leader after a step, and says which that was; empty when the
// recovery ended before.
func walk(t *testing.T, step int, semi bool, begin func(*World)) (killed string) {
	var w *World // its own steps speak of it
	w = New(Options{Seed: uint64(step), Servers: 4, SemiSync: semi, AfterStep: func(n int, node, what string) {
		if n != step {
			return
		}
		w.mu.Lock()
		killed = what
		w.mu.Unlock()
		w.event("the leader %s is killed after %q", node, what)
		w.node(node).kill()
		time.AfterFunc(time.Second, w.node(node).restart)
	}})
	defer w.Close()
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	w.Wait(time.Second)
	begin(w)
	w.Wait(8 * time.Second)
	w.net.freeze(w.servers[0].host, false)
	w.servers[0].restart(false)
	w.Finish()
	for _, sentence := range w.failures {
		t.Errorf("step %d, %q: %s", step, killed, sentence)
	}
	if t.Failed() {
		for _, line := range w.trace {
			t.Log(line)
		}
	}
	return killed
}
