package lab_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, dir := within(t), t.TempDir()
	l, err := lab.New(context.Background(), lab.Options{Dir: dir, Logf: t.Logf})
	must(t, err)
	defer l.Close()
	if missing := lab.Missing(); len(missing) > 0 {
		t.Skipf("NOT RUN: it needs the Debian packages %v", missing)
	}
	top, err := l.Topology(ctx, lab.Spec{Servers: 2})
	must(t, err)
	// One that is frozen, and one that has started a process itself, leave nothing either.
	must(t, top.Servers[1].Freeze())
	shell, err := l.Process(ctx, lab.ProcessOptions{Name: "shell", Path: "/bin/sh", Args: []string{"-c", "sleep 3600 & echo $!; wait"}})
	must(t, err)
	var grandchild int
	must(t, lab.Eventually(ctx, "the shell's child", 5*time.Millisecond, func() (bool, string) {
		b, err := os.ReadFile(shell.LogFile())
		if err != nil {
			return false, err.Error()
		}
		grandchild, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil, string(b)
	}))

	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, p := range l.Processes() {
		if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s, pid %d, is still there: %v", p.Name, p.PID(), err)
		}
	}
	gone(t, grandchild)
	if left := entries(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := l.Process(ctx, lab.ProcessOptions{Name: "late", Path: "/bin/true"}); err == nil {
		t.Error("a closed lab started a process")
	}
}

func TestContextClosesTheLab(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := lab.New(ctx, lab.Options{Dir: t.TempDir()})
	must(t, err)
	p, err := l.Process(ctx, lab.ProcessOptions{Name: "sleeper", Path: "/bin/sleep", Args: []string{"3600"}})
	must(t, err)
	cancel()
	<-p.Ended()
	must(t, l.Close())
	if _, err := os.Stat(l.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestFailedStartQuotesTheLog(t *testing.T) {
	t.Parallel()
	l, err := lab.New(t.Context(), lab.Options{Dir: t.TempDir()})
	must(t, err)
	defer l.Close()
	never := func(context.Context) (bool, string) { return false, "not yet" }
	_, err = l.Process(within(t), lab.ProcessOptions{
		Name: "broken", Path: "/bin/sh", Args: []string{"-c", "echo cannot read the moon; exit 3"}, Ready: never,
	})
	for _, want := range []string{"broken", "exit status 3", "cannot read the moon"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestPortsAreReserved(t *testing.T) {
	t.Parallel()
	a, err := lab.New(t.Context(), lab.Options{Dir: t.TempDir()})
	must(t, err)
	defer a.Close()
	b, err := lab.New(t.Context(), lab.Options{Dir: t.TempDir()})
	must(t, err)
	defer b.Close()
	seen := map[int]bool{}
	for range 50 {
		for _, l := range []*lab.Lab{a, b} {
			port, err := l.Port()
			must(t, err)
			if seen[port] {
				t.Fatalf("port %d was given twice", port)
			}
			seen[port] = true
		}
	}
	addr, err := a.Addr()
	must(t, err)
	listener, err := net.Listen("tcp", addr)
	must(t, err)
	must(t, listener.Close())
}
