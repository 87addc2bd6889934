package world

import (
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// The smallest whole: the primary dies, another one takes its place.
func TestAPrimaryDies(t *testing.T) {
	for _, semi := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := Options{Seed: 1, SemiSync: semi}
			if os.Getenv("WORLD_LOG") != "" {
				o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
			}
			w := New(o)
			defer w.Close()
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			w.Wait(time.Second)
			w.servers[0].crash(false)
			w.Wait(10 * time.Second)
			w.servers[0].restart(false)
			w.Finish()
			for _, line := range w.trace {
				t.Log(line)
			}
			for _, sentence := range w.failures {
				t.Error(sentence)
			}
			if w.checks.now.Route.Writer == w.servers[0].addr {
				t.Errorf("the writer still is %s", w.checks.now.Route.Writer)
			}
			t.Logf("%d writes, %d acknowledged, %v of virtual time", len(w.history.attempts), w.history.acknowledged(), time.Since(w.began))
		})
	}
}
