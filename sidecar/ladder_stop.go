package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/remora-ha/remora/topology"
)

// stopPoll is how often it is looked whether a process has ended.
const stopPoll = 2 * time.Millisecond

// stopRung ends ProxySQL by SIGKILL, which ends a frozen process too, and one that
// would go on forwarding while it says good-bye; it has nothing to lose. The pid
// file names the angel, or in the foreground ProxySQL itself. The angel would start
// another ProxySQL, and a SIGTERM ends the angel alone: so it is frozen first, then
// what it started is killed, then the angel.
type stopRung struct{ pidFile string }

func (stopRung) how() Cut { return Cut{"stopped", false} }

func (stopRung) release(context.Context, string) error { return nil }

func (r stopRung) cut(ctx context.Context, _ string, _ []topology.Addr) error {
	raw, err := os.ReadFile(r.pidFile)
	if err != nil {
		return fmt.Errorf("stop ProxySQL: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("stop ProxySQL: %s holds %q, which is no process", r.pidFile, strings.TrimSpace(string(raw)))
	}
	p, err := readProcess(pid)
	switch {
	case err != nil || p.ended:
		// The angel dies of a SIGTERM and leaves its ProxySQL behind.
		return fmt.Errorf("stop ProxySQL: process %d of %s has ended; its ProxySQL, if one is left, is not known", pid, r.pidFile)
	case !strings.HasPrefix(p.name, "proxysql"):
		return fmt.Errorf("stop ProxySQL: process %d of %s is %q, and nothing was done to it", pid, r.pidFile, p.name)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop ProxySQL: signal process %d: %w", pid, err)
	}
	pids := append(childrenOf(pid, "proxysql"), pid)
	for _, p := range pids {
		if err := syscall.Kill(p, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop ProxySQL: kill process %d: %w", p, err)
		}
	}
	if err := awaitEnd(ctx, pids); err != nil {
		return fmt.Errorf("stop ProxySQL: %w", err)
	}
	return nil
}

// process is what the kernel says of one.
type process struct {
	name   string
	parent int
	ended  bool // and nobody has asked for its exit code yet
}

func readProcess(pid int) (process, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, err
	}
	// 4711 (a name, perhaps with ")") S 1 …
	text := string(raw)
	from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if from < 0 || to < from {
		return process{}, fmt.Errorf("process %d: its state is %q", pid, text)
	}
	fields := strings.Fields(text[to+1:])
	if len(fields) < 2 {
		return process{}, fmt.Errorf("process %d: its state is %q", pid, text)
	}
	parent, err := strconv.Atoi(fields[1])
	return process{name: text[from+1 : to], parent: parent, ended: fields[0] == "Z" || fields[0] == "X"}, err
}

// childrenOf are the processes of a name that another one started and that are
// there yet. A ProxySQL in the foreground has children of other names: what its
// scheduler runs.
func childrenOf(pid int, name string) []int {
	var list []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(child); err == nil && p.parent == pid && !p.ended && strings.HasPrefix(p.name, name) {
			list = append(list, child)
		}
	}
	return list
}

// awaitEnd waits until none of the processes runs.
func awaitEnd(ctx context.Context, pids []int) error {
	tick := time.NewTicker(stopPoll)
	defer tick.Stop()
	for _, pid := range pids {
		for {
			p, err := readProcess(pid)
			if err != nil && errors.Is(err, os.ErrNotExist) || err == nil && p.ended {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("process %d has not ended: %w", pid, ctx.Err())
			}
		}
	}
	return nil
}

// stopCommandRung ends ProxySQL by an operator's command, such as systemctl. Its
// word is not enough: nobody may listen on the admin port afterwards.
type stopCommandRung struct {
	command
	admin string
}

func (stopCommandRung) how() Cut { return Cut{"stopped", false} }

func (stopCommandRung) release(context.Context, string) error { return nil }

func (r stopCommandRung) cut(ctx context.Context, cluster string, servers []topology.Addr) error {
	if err := r.run(ctx, "fence", cluster, servers); err != nil {
		return fmt.Errorf("stop ProxySQL: %w", err)
	}
	tick := time.NewTicker(stopPoll)
	defer tick.Stop()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", r.admin)
		if gone(err) {
			return nil
		}
		if err == nil {
			_ = conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("stop ProxySQL: %s succeeded, and somebody listens on %s yet", strings.Join(r.args, " "), r.admin)
		}
	}
}
