package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the process's folder.
func (p *Process) Dir() string { return p.dir }

// LogFile holds all that the process ever printed, over all its starts.
func (p *Process) LogFile() string { return filepath.Join(p.dir, "log") }

// LogTail gives the last lines of the log, each indented, under a heading that names the process.
func (p *Process) LogTail(lines int) string {
	b, err := os.ReadFile(p.LogFile())
	if err != nil {
		return fmt.Sprintf("no log of %s: %v", p.Name, err)
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return fmt.Sprintf("last lines of the log of %s:\n    %s", p.Name, strings.Join(all, "\n    "))
}

// kernelState is the letter that the kernel gives for a process: R, S, D, T, Z; empty when there is none.
func kernelState(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name of the command stands in parentheses and may hold spaces: the state follows the last of them.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}
