package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// HAProxyOptions describe an HAProxy.
type HAProxyOptions struct {
	// Name is unique in the lab.
	Name string
	// File is its configuration, which has to be there at the start; the caller writes it.
	File string
}

// HAProxy is a master with its workers, so that a reload keeps the connections that are open. The methods of Process
// end, freeze and start it.
type HAProxy struct {
	*Process
	// File is the configuration.
	File string
	// Socket is the master's: commands for a worker begin with @1.
	Socket string
	// PIDFile holds the master's id.
	PIDFile string
}

// HAProxy starts an HAProxy and waits until its master has a worker.
func (l *Lab) HAProxy(ctx context.Context, opts HAProxyOptions) (*HAProxy, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	defer leave()
	program, err := find("haproxy")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w (Debian package haproxy)", opts.Name, err)
	}
	dir, err := l.subdir(opts.Name)
	if err != nil {
		return nil, err
	}
	h := &HAProxy{File: opts.File, Socket: filepath.Join(dir, "master.sock"), PIDFile: filepath.Join(dir, "pid")}
	h.Process, err = l.Process(ctx, ProcessOptions{
		Name: opts.Name, Path: program, Args: []string{"-W", "-S", h.Socket, "-p", h.PIDFile, "-f", h.File}, Ready: h.ready, dir: dir,
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

var workerLine = regexp.MustCompile(`(?m)^([0-9]+) +worker `)

func (h *HAProxy) ready(ctx context.Context) (bool, string) {
	answer, err := h.Ask(ctx, "show proc")
	if err != nil {
		return false, err.Error()
	}
	return workerLine.MatchString(answer), answer
}

// Ask sends one command to the master's socket. It bounds itself.
func (h *HAProxy) Ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.Socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// Reload makes the master read its configuration again, and waits for the new worker. A configuration that it refuses
// ends the wait with ctx.
func (h *HAProxy) Reload(ctx context.Context) error {
	before, err := h.Ask(ctx, "show proc")
	if err != nil {
		return fmt.Errorf("reload %s: %w", h.Name, err)
	}
	worker := workerLine.FindString(before)
	if err := syscall.Kill(h.PID(), syscall.SIGUSR2); err != nil {
		return fmt.Errorf("reload %s: %w", h.Name, err)
	}
	return Eventually(ctx, h.Name+" to have a new worker", 10*time.Millisecond, func() (bool, string) {
		answer, err := h.Ask(ctx, "show proc")
		if err != nil {
			return false, err.Error()
		}
		now := workerLine.FindString(answer)
		return now != "" && now != worker, answer
	})
}

// ReloadCommand is what makes the master reload, for a program that runs commands; it does not wait for the new worker.
func (h *HAProxy) ReloadCommand() []string {
	return []string{"/bin/sh", "-c", "kill -USR2 $(cat " + h.PIDFile + ")"}
}
