package fleet_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestADeposedLeaderCannotOverwrite freezes the leader when it has just begun a failover, and lets it go on when its
// successor has published the outcome: what it still meant to write comes too late.
func TestADeposedLeaderCannotOverwrite(t *testing.T) {
	lab.ConsulForTest(t)
	opts := measured
	opts.HAProxy = true
	ctx, f, _ := start(t, opts, lab.LoadOptions{Writers: 1, Pace: 20 * time.Millisecond})
	load, err := f.Lab.Load(ctx, lab.LoadOptions{Addrs: f.HAProxyAddrs(), Writers: 3, Pace: 20 * time.Millisecond})
	must(t, err)
	watch := watchKV(t, f)
	t.Run("between two writes", func(t *testing.T) { deposed(t, ctx, f, watch, false) })
	t.Run("with a write under way", func(t *testing.T) { deposed(t, ctx, f, watch, true) })
	nothingLost(t, ctx, f, load)
}

// deposed plays it once; with underway Consul is frozen before the leader, and thawed after it, so that the leader
// wakes up over a write that is half done.
func deposed(t *testing.T, ctx context.Context, f *fleet.Fleet, watch *kvWatch, underway bool) {
	old, err := f.Leader(ctx)
	must(t, err)
	primary, err := f.Primary(ctx)
	must(t, err)
	before, err := state(ctx, f)
	must(t, err)
	began, resigned := says(t, old, "msg=began"), says(t, old, "no longer leads")
	if underway {
		must(t, f.Consul.Freeze())
	}
	must(t, primary.Kill())
	eventually(t, ctx, old.Name+" to begin a failover", began)
	must(t, old.Freeze())
	must(t, f.Consul.Thaw())

	var epoch uint64
	eventually(t, ctx, "the successor to publish", func() (bool, string) {
		d, err := f.Published(ctx)
		if err != nil {
			return false, err.Error()
		}
		epoch = d.Epoch
		return d.Writer != nil && string(d.Writer.Address) != primary.Addr && d.Epoch > before.Epoch, string(d.Mode)
	})
	heir, err := f.Leader(ctx)
	must(t, err)
	if heir == old {
		t.Fatalf("%s finished before it was frozen", old.Name)
	}
	t.Logf("%s began, %s published epoch %d", old.Name, heir.Name, epoch)
	must(t, old.Thaw())

	client := api.NewClient(f.APIs[slices.Index(f.Sidecars, old)], "", nil)
	eventually(t, ctx, old.Name+" to know that it does not lead", func() (bool, string) {
		s, err := client.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		stepped, _ := resigned()
		return stepped && s.Leader != "" && s.Leader != old.Name, "the leader is " + s.Leader
	})
	_, err = f.Return(ctx, primary)
	must(t, err)
	inLine(t, ctx, f, epoch)
	watch.neverBack(t)
	if late := grep(t, old, "holds a newer epoch"); len(late) > 0 {
		t.Logf("it was refused: %s", late[len(late)-1])
	}
}

// inLine waits until Consul holds the route that is committed now, not an older one than given.
func inLine(t *testing.T, ctx context.Context, f *fleet.Fleet, atLeast uint64) {
	t.Helper()
	eventually(t, ctx, "Consul to hold the route", func() (bool, string) {
		c, err := state(ctx, f)
		if err != nil {
			return false, err.Error()
		}
		d, err := f.Published(ctx)
		if err != nil {
			return false, err.Error()
		}
		if d.Epoch < atLeast {
			t.Fatalf("Consul holds epoch %d after %d", d.Epoch, atLeast)
		}
		return d.Epoch == c.Epoch && d.Writer != nil && d.Writer.Address == c.Primary, c.Sentence
	})
}

// says gives a condition: that a process has logged some words since now.
func says(t *testing.T, p *lab.Process, words string) func() (bool, string) {
	t.Helper()
	before := len(grep(t, p, words))
	return func() (bool, string) { return len(grep(t, p, words)) > before, "it does not say " + words }
}

// grep lists the lines of a process's log that have some words.
func grep(t *testing.T, p *lab.Process, words string) []string {
	t.Helper()
	raw, err := os.ReadFile(p.LogFile())
	must(t, err)
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, words) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
