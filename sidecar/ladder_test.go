package sidecar

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

// angel starts a process of the given name that starts another one of that name,
// as ProxySQL's angel does, and again when it ends. It returns the pid file.
func angel(t *testing.T, name string) (pidFile string) {
	t.Helper()
	dir := t.TempDir()
	script, child := filepath.Join(dir, name), filepath.Join(dir, name+"-child")
	for file, text := range map[string]string{
		script: "#!/bin/sh\nwhile :; do " + child + " & echo $! >" + dir + "/child.new; mv " + dir + "/child.new " + dir + "/child; wait; done\n",
		child:  "#!/bin/sh\ntrap '' TERM\nread x <" + dir + "/never\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "never"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	pidFile = filepath.Join(dir, "pid")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the child", func() bool { return len(childrenOf(cmd.Process.Pid, name)) == 1 })
	return pidFile
}

// await waits for a condition; a healthy machine needs a small part of the time.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func readPID(t *testing.T, file string) int {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func climb(t *testing.T, rungs ...RungConfig) (Cut, error) {
	t.Helper()
	for i := range rungs {
		if rungs[i].Timeout == 0 {
			rungs[i].Timeout = topology.Duration(10 * time.Second)
		}
	}
	l, err := newLadder(rungs, "127.0.0.1:1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l.Cut(context.Background(), "main", []topology.Addr{dbA, dbB})
}

func TestStoppingEndsTheAngelAndWhatItStarted(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		file := angel(t, "proxysql")
		pid := readPID(t, file)
		child := childrenOf(pid, "proxysql")[0]
		if frozen {
			if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		cut, err := climb(t, RungConfig{Rung: rungStop, PIDFile: file})
		if err != nil || cut != (Cut{"stopped", false}) {
			t.Fatalf("frozen %t: %+v, %v", frozen, cut, err)
		}
		for _, p := range []int{pid, child} {
			if state, err := readProcess(p); err == nil && !state.ended {
				t.Errorf("frozen %t: process %d runs on: %+v", frozen, p, state)
			}
		}
	}
}

func TestAForeignProcessIsNotStopped(t *testing.T) {
	file := angel(t, "postgres")
	cut, err := climb(t, RungConfig{Rung: rungStop, PIDFile: file})
	if err == nil || cut.How != "" || !strings.Contains(err.Error(), `is "postgres", and nothing was done to it`) {
		t.Errorf("%+v, %v", cut, err)
	}
	if p, err := readProcess(readPID(t, file)); err != nil || p.ended {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWhatNamesNoProcessStopsNothing(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"": "which is no process", "1\n": "which is no process", "-5": "which is no process", "4194305": "has ended"} {
		file := filepath.Join(dir, "pid")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := climb(t, RungConfig{Rung: rungStop, PIDFile: file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := climb(t, RungConfig{Rung: rungStop, PIDFile: filepath.Join(dir, "none")}); err == nil {
		t.Error("without a file")
	}
}

func TestTheFirstRungThatHoldsIsTheLast(t *testing.T) {
	file := filepath.Join(t.TempDir(), "said")
	say := RungConfig{Rung: rungHook, Command: []string{"sh", "-c", `echo "$REMORA_DO $REMORA_CLUSTER $REMORA_SERVERS" >>` + file}}
	fail := RungConfig{Rung: rungHook, Command: []string{"sh", "-c", "echo out of order; exit 3"}}
	hang := RungConfig{Rung: rungHook, Command: []string{"sleep", "1000"}, Timeout: topology.Duration(50 * time.Millisecond)}
	none := RungConfig{Rung: rungStop, PIDFile: filepath.Join(t.TempDir(), "none")}
	if cut, err := climb(t, none, fail, hang, say, say); err != nil || cut != (Cut{"hook", true}) {
		t.Errorf("%+v, %v", cut, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil || string(raw) != "fence main a:3306 b:3306\n" {
		t.Errorf("%q, %v", raw, err)
	}
	cut, err := climb(t, none, fail, hang)
	if cut != (Cut{}) || err == nil || !strings.Contains(err.Error(), "exit code 3: out of order") || !strings.Contains(err.Error(), "sleep 1000: it was killed") {
		t.Errorf("%+v, %v", cut, err)
	}
}

func TestACommandThatStopsNothingIsNotBelieved(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rungs := []RungConfig{{Rung: rungStop, Command: []string{"true"}, Timeout: topology.Duration(time.Second)}}
	l, err := newLadder(rungs, listener.Addr().String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if cut, err := l.Cut(t.Context(), "main", nil); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("%+v, %v", cut, err)
	}
	_ = listener.Close()
	if cut, err := l.Cut(t.Context(), "main", nil); err != nil || cut.How != "stopped" {
		t.Errorf("%+v, %v", cut, err)
	}
}

func TestALadderIsCheckedBeforeItIsNeeded(t *testing.T) {
	for want, rung := range map[string]RungConfig{
		"no rung":            {Rung: "pray"},
		"unknown user":       {Rung: rungFilter, User: "no-such-user"},
		"the sidecar's user": {Rung: rungFilter, User: "root"},
	} {
		if want == "the sidecar's user" && os.Getuid() != 0 {
			continue
		}
		if l, err := newLadder([]RungConfig{rung}, "", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: %v", want, l)
		}
	}
	if l, err := newLadder(nil, "", nil); l != nil || err != nil {
		t.Errorf("none: %v, %v", l, err)
	}
}

// asNobody talks to addr as another user, a line at a time.
func asNobody(t *testing.T, addr string) (say func(line string) error) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("bash", "-c", `exec 3<>/dev/tcp/`+host+`/`+port+` || exit 1
echo connected; while read -r line; do echo "$line" >&3 && read -r -t 10 back <&3 && echo "$back" || exit 1; done`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	answers := bufio.NewReader(out)
	return func(line string) error {
		if line != "" {
			if _, err := fmt.Fprintln(in, line); err != nil {
				return err
			}
		}
		_, err := answers.ReadString('\n')
		return err
	}
}

func TestAPacketFilterCutsOneUserOff(t *testing.T) {
	if os.Getuid() != 0 || exec.Command("nft", "list", "tables").Run() != nil {
		t.Skip("needs root, CAP_NET_ADMIN and nft")
	}
	if _, err := lookUpUser("nobody"); err != nil {
		t.Skip(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	server := topology.MustParseAddr(listener.Addr().String())
	cluster := fmt.Sprintf("test-%d", server.Port())
	l, err := newLadder([]RungConfig{{Rung: rungFilter, User: "nobody", Timeout: topology.Duration(10 * time.Second)}}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), cluster); err != nil {
		t.Fatalf("nothing to release: %v", err)
	}
	t.Cleanup(func() { _ = l.Release(context.Background(), cluster) })
	before := asNobody(t, listener.Addr().String())
	for _, line := range []string{"", "hello"} {
		if err := before(line); err != nil {
			t.Fatalf("before: %v", err)
		}
	}
	for range 2 { // again is harmless
		if cut, err := l.Cut(t.Context(), cluster, []topology.Addr{server, "127.0.0.9:1"}); err != nil || cut != (Cut{"packet filter", true}) {
			t.Fatalf("%+v, %v", cut, err)
		}
	}
	if before("are you there?") == nil {
		t.Error("a connection goes on")
	}
	if asNobody(t, listener.Addr().String())("") == nil {
		t.Error("a new connection is made")
	}
	own, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatalf("others are cut off too: %v", err)
	}
	_ = own.Close()
	if err := l.Release(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	if err := asNobody(t, listener.Addr().String())(""); err != nil {
		t.Errorf("after the release: %v", err)
	}
}
