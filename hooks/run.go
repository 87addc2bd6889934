package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// DefaultKeep is how many bytes of a command's output are kept.
const DefaultKeep = 4 << 10

// outputDelay is how long output is awaited after a command's end: what it left
// running may hold the pipe.
const outputDelay = 200 * time.Millisecond

// inherited are the variables of Remora's own environment that a command sees.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"}

// Command is one program to run.
type Command struct {
	Args    []string      // the program and its arguments, see [Shell]
	Env     []string      // NAME=value, beside what is inherited
	Timeout time.Duration // then it is killed; it has to be more than 0
	Keep    int           // bytes of output, half of them from its end; 0: DefaultKeep
}

// Shell is a line for /bin/sh as the arguments of a command.
func Shell(line string) []string { return []string{"/bin/sh", "-c", line} }

// Result is what became of a command.
type Result struct {
	Exit   int // its exit code; -1 when it did not start, or was ended by a signal
	Took   time.Duration
	Output string // stdout and stderr together; valid UTF-8, without space around it
	Err    error  // nil when it exited with 0; else it says what happened, without the output
}

// Runner runs commands as children of this process.
type Runner struct{}

// Run runs a command and waits for its end, for its time-out, or until ctx ends:
// then it is killed.
func (Runner) Run(ctx context.Context, c Command) Result {
	began := time.Now()
	timeout := fmt.Errorf("it took longer than %s and was killed", c.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, timeout)
	defer cancel()
	keep := c.Keep
	if keep == 0 {
		keep = DefaultKeep
	}
	out := output{limit: keep / 2}
	if len(c.Args) == 0 {
		return Result{Exit: -1, Err: errors.New("no program is named")}
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) //nolint:gosec // it is the configuration's to name a command
	cmd.Env = append(environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
	r := Result{Exit: -1, Took: time.Since(began), Output: out.String()}
	if cmd.ProcessState != nil {
		r.Exit = cmd.ProcessState.ExitCode()
	}
	r.Err = outcome(ctx, err, timeout)
	return r
}

// outcome says what happened in words that need no knowledge of Go.
func outcome(ctx context.Context, err, timeout error) error {
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // it ended, and something goes on in the background
		return nil
	case errors.Is(context.Cause(ctx), timeout):
		return timeout
	case ctx.Err() != nil:
		return fmt.Errorf("it was killed because Remora stopped it: %w", context.Cause(ctx))
	case errors.As(err, &exit) && exit.Exited():
		return fmt.Errorf("it ended with exit code %d", exit.ExitCode())
	case errors.As(err, &exit):
		return fmt.Errorf("it was ended from outside: %w", err)
	default:
		return fmt.Errorf("it could not be run: %w", err)
	}
}

// environ is the part of the environment that commands inherit.
func environ() []string {
	var env []string
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// output keeps the first and the last `limit` bytes that are written to it. All
// writes come from one goroutine, as exec promises for one writer in both places.
type output struct {
	limit      int
	head, tail []byte
	cut        int // bytes between them
}

func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	room := min(n, o.limit-len(o.head))
	o.head = append(o.head, p[:room]...)
	p = p[room:]
	if drop := len(p) - o.limit; drop > 0 { // it would be pushed out at once
		o.cut += drop
		p = p[drop:]
	}
	o.tail = append(o.tail, p...)
	if drop := len(o.tail) - o.limit; drop > 0 {
		o.cut += drop
		o.tail = append(o.tail[:0], o.tail[drop:]...)
	}
	return n, nil
}

func (o *output) String() string {
	head, tail := string(o.head), string(o.tail)
	if o.cut > 0 {
		head += fmt.Sprintf("\n(%d bytes are left out)\n", o.cut)
	}
	text := strings.ToValidUTF8(head+tail, "?")
	return strings.TrimSpace(strings.ReplaceAll(text, "\x00", "?"))
}
