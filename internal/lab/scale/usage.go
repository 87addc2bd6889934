package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used, or uses.
type usage struct {
	cpu      time.Duration // in all since its start
	resident int64         // bytes
	peak     int64         // bytes, the most so far
	files    int
}

// ticks is the unit of time in /proc/PID/stat: a hundredth of a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

func usageOf(pid int) (usage, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return usage{}, fmt.Errorf("what process %d uses: %w", pid, err)
	}
	var u usage
	// The name, in parentheses, may hold spaces; user and system time are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("what process %d uses: %w", pid, err)
		}
		u.cpu += time.Duration(n) * tick
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return usage{}, fmt.Errorf("what process %d uses: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.resident = kilobytes << 10
		case "VmHWM":
			u.peak = kilobytes << 10
		}
	}
	if open, err := os.ReadDir(dir + "/fd"); err == nil {
		u.files = len(open)
	}
	return u, nil
}

// sizeOf is the bytes of all files below a directory.
func sizeOf(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what vanishes meanwhile has no size
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// load is the machine's average of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
