package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestAWatchdogClosesTheProxyOfADeadSidecar kills, and then freezes, a sidecar beside a living proxy. The watchdog has
// an empty environment, as ProxySQL's scheduler gives it.
func TestAWatchdogClosesTheProxyOfADeadSidecar(t *testing.T) {
	told := systemd(t)
	ctx, f, _ := start(t, fleet.Options{}, lab.LoadOptions{Writers: 2, Pace: 20 * time.Millisecond})
	primary, err := f.Primary(ctx)
	must(t, err)
	eventually(t, ctx, "systemd to be told", func() (bool, string) {
		ready, _ := told.Load("READY=1")
		alive, _ := told.Load("WATCHDOG=1")
		return ready != nil && alive != nil, fmt.Sprintf("ready %v, alive %v", ready, alive)
	})
	args, dog := watchdog(t, ctx, f, 0)
	proxy, node := f.Proxies[0], f.Sidecars[0]

	// While the sidecar lives nothing is closed: longer than a lease, its grace and a second.
	hold(ctx, 5*time.Second)
	opens(t, ctx, proxy, primary.Addr)
	if log := grep(t, dog, "no lease"); len(log) > 0 {
		t.Fatalf("the watchdog closed the writer of a living sidecar: %v", log)
	}

	for _, fault := range []struct {
		name       string
		hurt, heal func() error
	}{
		{"killed", node.Kill, func() error { return node.Start(ctx) }},
		{"frozen", node.Freeze, node.Thaw},
	} {
		said := says(t, dog, "closed hostgroup 10")
		began := time.Now()
		must(t, fault.hurt())
		closes(t, ctx, proxy, began.Add(2*time.Second+500*time.Millisecond+time.Second))
		t.Logf("%s: closed after %s", fault.name, time.Since(began).Round(time.Millisecond))
		eventually(t, ctx, "the watchdog to say so", said)
		if out := bare(t, ctx, f, append(args, "--once")...); out.code != 0 {
			t.Errorf("one look at a closed writer: exit %d\n%s", out.code, out.stderr)
		}
		if out := bare(t, ctx, f, append(args, "--once", "--admin=127.0.0.1:1")...); out.code != 1 || !strings.Contains(out.stderr, "could not be closed") {
			t.Errorf("one look without a proxy: exit %d\n%s", out.code, out.stderr)
		}
		must(t, fault.heal())
		primary, err = f.Primary(ctx)
		must(t, err)
		opens(t, ctx, proxy, primary.Addr)
		must(t, f.Converged(ctx))
	}
}

// watchdog runs one for a node, from 0, and gives the arguments it has.
func watchdog(t *testing.T, ctx context.Context, f *fleet.Fleet, node int) (args []string, dog *lab.Process) {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(password, []byte(lab.AdminUser.Password+"\n"), 0o600))
	args = slices.Clip([]string{
		"watchdog", "--lease-file=" + f.LeaseFile(node), "--admin=" + f.Proxies[node].AdminAddr, "--user=" + lab.AdminUser.Name, "--password-file=" + password,
	})
	dog, err := f.Lab.Process(ctx, lab.ProcessOptions{Name: "watchdog", Path: "/usr/bin/env", Args: append([]string{"-i", f.Binary}, args...)})
	must(t, err)
	return args, dog
}

// systemd takes what started sidecars tell it.
func systemd(t *testing.T) *sync.Map {
	t.Helper()
	var told sync.Map
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Setenv("NOTIFY_SOCKET", path)
	var reading sync.WaitGroup
	reading.Go(func() {
		text := make([]byte, 256)
		for {
			n, err := conn.Read(text)
			if err != nil {
				return
			}
			told.Store(string(text[:n]), true)
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return &told
}

// bare runs a command line in an empty environment.
func bare(t *testing.T, ctx context.Context, f *fleet.Fleet, args ...string) output {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, f.Binary, args...)
	cmd.Env, cmd.Stderr = []string{}, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("remora %v: %v", args, err)
	}
	return output{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
}

// closes waits until a proxy sends writes nowhere, which must be so by an instant.
func closes(t *testing.T, ctx context.Context, p *lab.Proxy, by time.Time) {
	t.Helper()
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	must(t, lab.Eventually(ctx, p.Name+" to send writes nowhere", 10*time.Millisecond, func() (bool, string) {
		got, err := writers(ctx, p)
		return err == nil && len(got) == 0, fmt.Sprint(got, err)
	}))
}
