package fleet_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab/fleet"
)

// settled is how long a route is committed when every file that is newly rendered has to show it.
const settled = 2 * time.Second

// routeSeen is the newest route that the sidecars tell of.
type routeSeen struct {
	mu     sync.Mutex
	epoch  uint64
	writer string // empty unless it is open
	since  time.Time
}

func (r *routeSeen) learn(epoch uint64, writer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch > r.epoch {
		r.epoch, r.writer, r.since = epoch, writer, time.Now()
	}
}

// settled gives the route once it has been open for long enough.
func (r *routeSeen) settled() (epoch uint64, writer string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.writer, r.writer != "" && time.Since(r.since) > settled
}

// watchFiles looks at every node's file again and again until the test ends. The test fails when one goes back in epoch,
// is without its cluster, or is rendered with nobody or an old writer though a route was committed long before. What it
// returns counts the contents that were seen.
func watchFiles(t *testing.T, f *fleet.Fleet) (count func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	route := &routeSeen{}
	looking.Go(func() {
		every(ctx, 50*time.Millisecond, func() {
			if c, err := state(ctx, f); err == nil && c.Mode == "open" {
				route.learn(c.Epoch, string(c.Primary))
			} else if err == nil {
				route.learn(c.Epoch, "")
			}
		})
	})
	var mu sync.Mutex
	contents := 0
	for i := range f.HAProxys {
		looking.Go(func() {
			last := fileSeen{}
			every(ctx, 5*time.Millisecond, func() {
				now, changed := look(t, f, route, i, last)
				if changed {
					mu.Lock()
					contents++
					mu.Unlock()
				}
				last = now
			})
		})
	}
	t.Cleanup(func() {
		cancel()
		looking.Wait()
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return contents
	}
}

// fileSeen is what a file said.
type fileSeen struct {
	epoch  uint64
	writer string
}

// look reads a node's file and judges what is new in it.
func look(t *testing.T, f *fleet.Fleet, route *routeSeen, i int, last fileSeen) (now fileSeen, changed bool) {
	epoch, writer, ok := route.settled()
	said, number, err := f.Rendered(i)
	if err != nil {
		said = err.Error() // told once
	}
	n, _ := strconv.ParseUint(number, 10, 64)
	now = fileSeen{n, said}
	switch {
	case now == last:
		return now, false
	case now.epoch == 0, now.epoch < last.epoch:
		t.Errorf("file %d shows %+v after %+v", i+1, now, last)
	case ok && last.epoch > 0 && (now.epoch < epoch || now.epoch == epoch && now.writer != writer):
		t.Errorf("file %d was rendered with %+v, while %s is committed at epoch %d for more than %s", i+1, now, writer, epoch, settled)
	}
	return now, true
}

// every calls fn at once and then again and again until ctx ends.
func every(ctx context.Context, pause time.Duration, fn func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for ctx.Err() == nil {
		fn()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
