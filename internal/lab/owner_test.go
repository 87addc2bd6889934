package lab_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

// TestOwner is a program of its own, which the other tests of this file start: it makes two labs with a process each,
// and then only waits.
func TestOwner(t *testing.T) {
	dir := os.Getenv("LAB_OWNER_DIR")
	if dir == "" {
		t.Skip("it is started by the tests beside it")
	}
	for range 2 {
		l, err := lab.New(t.Context(), lab.Options{Dir: dir})
		must(t, err)
		l.OnSignal()
		p, err := l.Process(t.Context(), lab.ProcessOptions{Name: "sleeper", Path: "/bin/sleep", Args: []string{"3600"}})
		must(t, err)
		_, err = os.Stdout.WriteString("CHILD " + strconv.Itoa(p.PID()) + "\n")
		must(t, err)
	}
	<-make(chan struct{})
}

// startOwner starts TestOwner and gives the process ids of its children.
func startOwner(t *testing.T, dir string) (*exec.Cmd, []int) {
	t.Helper()
	owner := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestOwner$", "-test.v")
	owner.Env = append(os.Environ(), "LAB_OWNER_DIR="+dir)
	out, err := owner.StdoutPipe()
	must(t, err)
	must(t, owner.Start())
	lines := bufio.NewScanner(out)
	var children []int
	for len(children) < 2 && lines.Scan() {
		if number, found := strings.CutPrefix(lines.Text(), "CHILD "); found {
			pid, err := strconv.Atoi(number)
			must(t, err)
			children = append(children, pid)
		}
	}
	if len(children) < 2 {
		t.Fatalf("the owner said no more: %v", lines.Err())
	}
	return owner, children
}

// gone waits for the end of processes that init has to reap.
func gone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		must(t, lab.Eventually(within(t), "the end of process "+strconv.Itoa(pid), 5*time.Millisecond, func() (bool, string) {
			b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
			return err != nil || strings.Contains(string(b), ") Z "), string(b)
		}))
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	return names
}

func TestKilledOwnerLeavesNoProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner, children := startOwner(t, dir)
	must(t, owner.Process.Kill())
	_ = owner.Wait()
	gone(t, children...)
	// It could not remove its directories; the next lab in the place does.
	l, err := lab.New(t.Context(), lab.Options{Dir: dir})
	must(t, err)
	defer l.Close()
	if left := entries(t, dir); len(left) != 1 || left[0] != l.Dir() {
		t.Errorf("the killed labs' directories are still there: %v", left)
	}
}

func TestInterruptedOwnerLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner, children := startOwner(t, dir)
	must(t, owner.Process.Signal(syscall.SIGINT))
	var exit *exec.ExitError
	if err := owner.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("the owner ended with %v", err)
	}
	gone(t, children...)
	if left := entries(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
