package templates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	outputLimit = 4 << 10 // of what a command says, in bytes
	// pipeDelay is how long a command's output is awaited after its end: a program
	// that it left running may hold the pipe.
	pipeDelay = 200 * time.Millisecond
)

// command runs args with {file} replaced, for at most limit, and gives what it
// said. A time-out kills it with its process group; what it left running after a
// success is left alone.
func (r *Runner) command(ctx context.Context, args []string, file string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v and was killed", limit))
	defer cancel()
	args = slices.Clone(args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{file}", file)
	}
	var out bounded
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // it is the configuration's to name a command
	cmd.Env = append(environ(r.cfg.Env, r.token()), "REMORA_FILE="+file)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeDelay
	err := cmd.Run()
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	text := strings.TrimSpace(redact(out.String(), r.token()))
	if err != nil {
		return text, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return text, nil
}

// environ is the environment without what may hold a secret of Consul's or
// Remora's, and with what the configuration gives on purpose.
func environ(given map[string]string, secret string) []string {
	list := os.Environ()
	list = slices.DeleteFunc(list, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		remoras := strings.HasPrefix(name, "REMORA_") && (strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_TOKEN"))
		return remoras || strings.HasPrefix(name, "CONSUL_")
	})
	for name, value := range given {
		list = append(list, name+"="+value)
	}
	return slices.DeleteFunc(list, func(entry string) bool { return secret != "" && strings.Contains(entry, secret) })
}

// bounded keeps the beginning of what is written to it: the first complaint is the
// one that matters. All writes come from one goroutine, as exec promises for one
// writer in both places.
type bounded struct {
	b   bytes.Buffer
	cut bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := outputLimit - w.b.Len(); n > room {
		p, w.cut = p[:room], true
	}
	w.b.Write(p)
	return n, nil
}

func (w *bounded) String() string {
	text := strings.ToValidUTF8(w.b.String(), "?")
	if w.cut {
		text += "\n(cut)"
	}
	return text
}

// redact takes a secret out of a text.
func redact(text, secret string) string {
	if secret == "" {
		return text
	}
	return strings.ReplaceAll(text, secret, "***")
}
