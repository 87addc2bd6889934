package fleet_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// leads waits until another sidecar than the given one leads.
func leads(t *testing.T, ctx context.Context, f *fleet.Fleet, not *lab.Process) (leader *lab.Process) {
	t.Helper()
	eventually(t, ctx, "another leader than "+not.Name, func() (bool, string) {
		s, err := f.Status(ctx)
		if err != nil || s.Node != s.Leader || s.Leader == not.Name {
			return false, "the leader is " + s.Leader
		}
		i := slices.IndexFunc(f.Sidecars, func(p *lab.Process) bool { return p.Name == s.Leader })
		leader = f.Sidecars[i]
		return true, ""
	})
	return leader
}

// TestTheLeadershipMoves: at an operator's word, and by itself from a sidecar whose
// disk hangs. Clients notice neither.
func TestTheLeadershipMoves(t *testing.T) {
	ctx, f, load := start(t, measured, lab.LoadOptions{Writers: 3, Pace: 10 * time.Millisecond})
	began := time.Now()
	first, err := f.Leader(ctx)
	must(t, err)
	remora(t, ctx, f, "", "leader", "transfer", first.Name).want(t, 0, first.Name+" leads already")
	remora(t, ctx, f, "", "leader", "transfer", "node9").want(t, 1, "the nodes are node1, node2, node3")
	remora(t, ctx, f, "", "leader", "transfer").want(t, 0, first.Name+" has handed the leadership to node")
	second := leads(t, ctx, f, first)
	must(t, f.Converged(ctx)) // a new leader reads the ledger before it answers
	remora(t, ctx, f, "", "leader", "transfer", first.Name).want(t, 0, second.Name+" has handed the leadership to "+first.Name)
	if now := leads(t, ctx, f, second); now != first {
		t.Errorf("%s leads, want %s", now.Name, first.Name)
	}
	must(t, f.Converged(ctx))

	// Opening a pipe that nobody reads hangs as a disk does.
	file := filepath.Join(f.DataDir(slices.Index(f.Sidecars, first)), "disk-test")
	pipe := file + ".pipe"
	must(t, syscall.Mkfifo(pipe, 0o600))
	must(t, os.Rename(pipe, file))
	second = leads(t, ctx, f, first)
	hung := found(t, ctx, f, "SidecarDiskHung", "")
	if !strings.Contains(hung.Sentence, first.Name) {
		t.Errorf("the finding does not name %s: %s", first.Name, hung.Sentence)
	}
	remora(t, ctx, f, "", "leader", "transfer", first.Name).want(t, 3, "would be a worse leader: its disk")
	must(t, f.Converged(ctx))

	// The pipe is read, and gone: the disk answers.
	reader, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	must(t, os.Remove(file))
	eventually(t, ctx, "the disk to be well", func() (bool, string) {
		s, err := f.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		i := slices.IndexFunc(s.Nodes, func(n api.NodeStatus) bool { return n.Name == first.Name })
		return len(s.Nodes[i].Trouble) == 0, strings.Join(s.Nodes[i].Trouble, "; ")
	})
	must(t, reader.Close())
	if now, err := f.Leader(ctx); err != nil || now != second {
		t.Errorf("the leadership has moved on from %s: %v, %v", second.Name, now, err)
	}
	_, err = load.Back(ctx, time.Now())
	must(t, err)
	nothingLost(t, ctx, f, load)
	for _, e := range load.Window(began, time.Now()).Failures {
		t.Errorf("a client saw the leadership move: %s", e)
	}
}
