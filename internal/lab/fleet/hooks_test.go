package fleet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestHooksOnRealProcesses: a hook says no and clients see nothing of it; it says
// yes, and hooks around a switchover and a failover are told what happened.
func TestHooksOnRealProcesses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	writes := func(name string) string {
		return fmt.Sprintf(`env >%[1]s.new && mv %[1]s.new %[1]s; echo {failedHost}:{failedPort} to {successorHost}:{successorPort}`, file(name))
	}
	policy := fmt.Sprintf(`anti_flap: 0s
hooks:
  on_detection:
    - {command: 'echo {failureType} >>%s'}
  before_switchover:
    - {command: 'test -e %s || { echo asked; echo not today; exit 7; }'}
  after_switchover:
    - {command: '%s'}
    - {command: 'echo {orchestratorHost} >>%s; while test -d %s -a ! -e %s; do sleep 0.05; done', timeout: 1m}
  before_failover:
    - {command: 'echo going', timeout: 5s}
  after_failover:
    - {command: '%s'}
    - {command: 'sleep 1000', timeout: 500ms}
`, file("detected"), file("yes"), writes("switchover"), file("ran"), dir, file("open"), writes("failover"))
	ctx, f, load := start(t, fleet.Options{Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, DropUnacked: true}}, Policy: policy},
		lab.LoadOptions{Writers: 4, Pace: 5 * time.Millisecond})
	before, err := state(ctx, f)
	must(t, err)

	began := time.Now()
	remora(t, ctx, f, "", "switchover", fleet.Cluster).want(t, 3, "hook before_switchover 1 failed", "exit code 7", "not today")
	_, err = load.First(ctx, time.Now())
	must(t, err)
	after, err := state(ctx, f)
	must(t, err)
	if after.Primary != before.Primary || after.Epoch != before.Epoch || after.Mode != before.Mode {
		t.Errorf("before the hook refused: %+v\nafter: %+v", before, after)
	}
	if w := load.Window(began, time.Now()); len(w.Failures) > 0 {
		t.Errorf("clients saw what a hook refused: %s", w)
	}
	stopped := newest(t, ctx, f)
	remora(t, ctx, f, "", "recoveries", stopped.Intent.ID).want(t, 0, "aborted", "asked", "not today")
	remora(t, ctx, f, "", "hooks", fleet.Cluster, "before_switchover").want(t, 0, "test -e "+file("yes"))

	must(t, os.WriteFile(file("yes"), nil, 0o600))
	remora(t, ctx, f, "", "switchover", fleet.Cluster).want(t, 0, "writes paused")
	killed := killInHook(t, ctx, f, file("ran"))
	must(t, os.WriteFile(file("open"), nil, 0o600))
	done := hooksDone(t, ctx, f, 3)
	if h := done.Hooks[2]; h.Error != "" || h.Node == killed {
		t.Errorf("the hook that was interrupted: %+v", h)
	}
	told(t, file("switchover"), &done, "ORC_COMMAND=graceful-master-takeover", "REMORA_HOOK=after_switchover")
	if h := done.Hooks[1]; h.Output != fmt.Sprintf("%s to %s", done.Intent.From, done.To) || h.Error != "" {
		t.Errorf("the hook after it: %+v", h)
	}
	must(t, f.Converged(ctx))

	r, err := f.Blow(ctx, load, "kill", func(p *lab.Server) error { return p.Kill() }, nil)
	must(t, err)
	done = hooksDone(t, ctx, f, 4)
	told(t, file("failover"), &done, "ORC_FAILURE_TYPE="+string(r.Recovery.Intent.Code), "ORC_COMMAND=", "ORC_COUNT_REPLICAS=2")
	if h := done.Hooks[len(done.Hooks)-1]; h.Error != "it took longer than 500ms and was killed" {
		t.Errorf("the hook that hangs: %+v", h)
	}
	if text, err := os.ReadFile(file("detected")); string(text) != string(r.Recovery.Intent.Code)+"\n" {
		t.Errorf("detected: %q, %v", text, err)
	}
	nothingLost(t, ctx, f, load)
}

// killInHook kills the leader while it runs a hook, which writes the leader's name
// into a file, and waits until the next leader runs the same hook. It names who was killed.
func killInHook(t *testing.T, ctx context.Context, f *fleet.Fleet, file string) string {
	t.Helper()
	ran := func(n int) (nodes []string) {
		eventually(t, ctx, fmt.Sprintf("%d runs of the hook", n), func() (bool, string) {
			text, err := os.ReadFile(file)
			nodes = strings.Fields(string(text))
			return len(nodes) >= n, fmt.Sprint(nodes, err)
		})
		return nodes
	}
	ran(1)
	leader, err := f.Leader(ctx)
	must(t, err)
	must(t, leader.Kill())
	if nodes := ran(2); nodes[0] != leader.Name || nodes[1] == leader.Name {
		t.Errorf("the hook was run by %v, the leader was %s", nodes, leader.Name)
	}
	must(t, leader.Start(ctx))
	return leader.Name
}

// hooksDone waits until the newest recovery has the results of n hooks.
func hooksDone(t *testing.T, ctx context.Context, f *fleet.Fleet, n int) (rec failover.Recovery) {
	t.Helper()
	eventually(t, ctx, fmt.Sprintf("%d hooks on record", n), func() (bool, string) {
		rec = newest(t, ctx, f)
		return len(rec.Hooks) == n && rec.Due == "", fmt.Sprintf("%s %s: %+v, due %q", rec.Intent.ID, rec.Outcome, rec.Hooks, rec.Due)
	})
	return rec
}

// told checks the environment that a hook has written into a file.
func told(t *testing.T, file string, rec *failover.Recovery, words ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	env := "\n" + string(text)
	words = append(words, "ORC_RECOVERY_UID="+rec.Intent.ID, "ORC_IS_SUCCESSFUL=true", "ORC_FAILURE_CLUSTER="+string(rec.Intent.From),
		fmt.Sprintf("ORC_SUCCESSOR_PORT=%d", rec.To.Port()), fmt.Sprintf("REMORA_EPOCH=%d", rec.Intent.Epoch))
	for _, w := range words {
		if !strings.Contains(env, "\n"+w+"\n") {
			t.Errorf("the environment lacks %s:%s", w, env)
		}
	}
	if strings.Contains(env, "PASSWORD") {
		t.Errorf("the environment holds a secret:%s", env)
	}
}
