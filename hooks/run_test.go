package hooks_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/remora-ha/remora/hooks"
)

func run(t *testing.T, line string, timeout time.Duration) hooks.Result {
	t.Helper()
	return hooks.Runner{}.Run(t.Context(), hooks.Command{Args: hooks.Shell(line), Env: []string{"ORC_FAILED_HOST=db 1"}, Timeout: timeout})
}

func TestAnExitCodeCounts(t *testing.T) {
	for line, want := range map[string]struct {
		exit        int
		output, err string
	}{
		"echo up; echo down >&2":           {0, "up\ndown", ""},
		"echo why; exit 7":                 {7, "why", "it ended with exit code 7"},
		`printf '%s' "$ORC_FAILED_HOST"`:   {0, "db 1", ""},
		"kill -9 $$":                       {-1, "", "it was ended from outside: signal: killed"},
		"read x || echo nothing to read":   {0, "nothing to read", ""},
		"no-such-program 2>/dev/null":      {127, "", "it ended with exit code 127"},
		`printf 'a\377b\000c\303\251\n\n'`: {0, "a?b?cé", ""},
	} {
		r := run(t, line, time.Minute)
		err := ""
		if r.Err != nil {
			err = r.Err.Error()
		}
		if r.Exit != want.exit || r.Output != want.output || err != want.err {
			t.Errorf("%s: exit code %d, output %q, error %q; want %v", line, r.Exit, r.Output, err, want)
		}
	}
}

func TestWhatCannotRunSaysSo(t *testing.T) {
	for _, args := range [][]string{nil, {"/does/not/exist"}} {
		r := hooks.Runner{}.Run(t.Context(), hooks.Command{Args: args, Timeout: time.Minute})
		if r.Exit != -1 || r.Err == nil {
			t.Errorf("%q: exit code %d, error %v", args, r.Exit, r.Err)
		}
	}
}

// A hook that hangs is killed with all that it started.
func TestATimeoutKillsGrandchildrenToo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	line := "sh -c 'sleep 1000 & echo $! >>" + file + "; echo begun; wait' & echo $! >>" + file + "; wait"
	r := run(t, line, time.Second)
	if r.Exit != -1 || r.Err == nil || r.Err.Error() != "it took longer than 1s and was killed" || r.Output != "begun" {
		t.Errorf("exit code %d, output %q, error %v", r.Exit, r.Output, r.Err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(text))
	if len(pids) != 2 {
		t.Fatalf("the pids of child and grandchild are %q", pids)
	}
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		awaitEnd(t, pid)
	}
}

// awaitEnd waits until no process has the pid, or a dead one that nobody waits for.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d still runs", pid)
		}
	}
}

func TestTheEndOfItsContextKillsACommand(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if f, err := os.Open(fifo); err == nil { // opens when the command does
			f.Close()
		}
		cancel(errors.New("no longer leads"))
	}()
	r := hooks.Runner{}.Run(ctx, hooks.Command{Args: hooks.Shell("echo x >" + fifo + "; exec sleep 1000"), Timeout: time.Minute})
	if r.Err == nil || r.Err.Error() != "it was killed because Remora stopped it: no longer leads" {
		t.Errorf("error %v", r.Err)
	}
}

// What a command leaves behind in the background holds nobody up.
func TestABackgroundProcessIsNotWaitedFor(t *testing.T) {
	r := run(t, "sleep 1000 & echo $!", time.Minute)
	pid, err := strconv.Atoi(r.Output)
	if r.Exit != 0 || r.Err != nil || err != nil {
		t.Fatalf("exit code %d, output %q, error %v", r.Exit, r.Output, r.Err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the background process is gone: %v", err)
	}
}

func TestOfALongOutputBothEndsAreKept(t *testing.T) {
	r := run(t, "echo first; yes 'ä filler' | head -c 3000000; echo; echo last", time.Minute)
	if !utf8.ValidString(r.Output) || len(r.Output) > hooks.DefaultKeep+200 {
		t.Errorf("%d bytes are kept", len(r.Output))
	}
	if !strings.HasPrefix(r.Output, "first\n") || !strings.HasSuffix(r.Output, "\nlast") || !strings.Contains(r.Output, "bytes are left out)") {
		t.Errorf("kept: %.80q … %q", r.Output, r.Output[len(r.Output)-80:])
	}
	exact := strings.Repeat("x", hooks.DefaultKeep)
	if r := run(t, "printf "+exact, time.Minute); r.Output != exact {
		t.Errorf("what fits is not kept whole: %d bytes", len(r.Output))
	}
}

func TestRemorasEnvironmentIsNotInherited(t *testing.T) {
	t.Setenv("REMORA_MYSQL_PASSWORD", "hunter2")
	t.Setenv("CONSUL_HTTP_TOKEN", "hunter2")
	r := run(t, "env", time.Minute)
	if strings.Contains(r.Output, "hunter2") || !strings.Contains(r.Output, "PATH=") || !strings.Contains(r.Output, "ORC_FAILED_HOST=db 1") {
		t.Errorf("a command sees:\n%s", r.Output)
	}
}
