package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// ProcessOptions describe a process for Lab.Process.
type ProcessOptions struct {
	// Name is unique in the lab: it names the process's folder and its log.
	Name string
	// Path and Args are what is run.
	Path string
	Args []string
	// Env is added to the caller's environment.
	Env []string
	// Ready tells whether a started process serves, and if not, what is missing; nil for as soon as it is started. It
	// is asked every 10 ms, so it bounds itself.
	Ready func(ctx context.Context) (done bool, state string)

	// Host is where it runs; nil for the machine itself.
	Host *Host

	dir  string   // its folder when that exists already
	once []string // arguments of the first start only
	as   *account
	disk *Disk
}

// Process is one process of a lab. It can be ended and started again any number of times, with the same arguments,
// folder and ports. Its methods may be called from several goroutines; the commands run one after the other.
type Process struct {
	// Name is the one given to it, unique in its lab.
	Name string

	lab  *Lab
	opts ProcessOptions
	dir  string

	commands sync.Mutex // held through a start or an end

	mu     sync.Mutex
	run    *run
	starts int
}

// run is one life of a process.
type run struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed once it is reaped
	err    error         // how it ended; read after ended
	frozen bool
}

func (r *run) running() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// Process starts a process and waits until it is ready. When that fails the process is ended, and the error quotes its
// log.
func (l *Lab) Process(ctx context.Context, opts ProcessOptions) (*Process, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	defer leave()
	p, err := l.newProcess(opts)
	if err != nil {
		return nil, err
	}
	return p, p.Start(ctx)
}

func (l *Lab) newProcess(opts ProcessOptions) (*Process, error) {
	dir := opts.dir
	if dir == "" {
		var err error
		if dir, err = l.subdir(opts.Name); err != nil {
			return nil, err
		}
	}
	p := &Process{Name: opts.Name, lab: l, opts: opts, dir: dir}
	if err := l.onClose(p.Kill); err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	l.mu.Lock()
	l.processes = append(l.processes, p)
	l.mu.Unlock()
	return p, nil
}

// Start starts the process, for the first time or again, and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	p.commands.Lock()
	defer p.commands.Unlock()
	ctx, leave, err := p.lab.enter(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer leave()
	begin := time.Now()
	r, err := p.launch()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	if p.opts.Ready == nil {
		return nil
	}
	// A process that ends instead of serving ends the wait.
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-r.ended:
			cancel(fmt.Errorf("it ended: %w", r.err))
		case <-wait.Done():
		}
	}()
	err = Eventually(wait, p.Name+" to serve", 10*time.Millisecond, func() (bool, string) {
		if wait.Err() != nil {
			return false, "gone"
		}
		return p.opts.Ready(wait)
	})
	if err != nil {
		_ = p.end(r, syscall.SIGKILL)
		return fmt.Errorf("start %s: %w\n%s", p.Name, err, p.LogTail(20))
	}
	p.lab.opts.Logf("lab: %s serves after %v, pid %d", p.Name, time.Since(begin).Round(time.Millisecond), r.cmd.Process.Pid)
	return nil
}

// launch makes the child and the goroutine that reaps it.
func (p *Process) launch() (*run, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run.running() {
		return nil, errors.New("it runs already")
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := p.opts.Args
	if p.starts == 0 {
		args = append(append([]string(nil), args...), p.opts.once...)
	}
	cmd := exec.Command(p.opts.Path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.Env = append(os.Environ(), p.opts.Env...)
	// A group of its own: the terminal's Ctrl-C reaches the lab's owner only, which then ends things in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: p.opts.as.credential()}
	r := &run{cmd: cmd, ended: make(chan struct{})}

	// Under the lab's lock, so that Close either prevents the start or finds the process.
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	if p.lab.closed {
		return nil, ErrClosed
	}
	p.lab.spawner.run(func() { err = p.opts.Host.start(cmd) })
	if err != nil {
		return nil, err
	}
	p.run, p.starts = r, p.starts+1
	go r.reap()
	return r, nil
}

func (r *run) reap() {
	err := r.cmd.Wait()
	// What it started itself is in its group, and ends with it.
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	if err == nil {
		err = errors.New("exit status 0")
	}
	r.err = err
	close(r.ended)
}

// Kill ends the process with SIGKILL and returns when it is reaped. Ending what has ended already is no error.
func (p *Process) Kill() error {
	// Not behind a Start that waits: its end has to be able to interrupt it.
	return p.end(p.current(), syscall.SIGKILL)
}

// Stop asks the process to end with SIGTERM and waits; when ctx ends first, it is killed and that is an error.
func (p *Process) Stop(ctx context.Context) error {
	p.commands.Lock()
	defer p.commands.Unlock()
	r := p.current()
	if !r.running() {
		return nil
	}
	if err := p.Thaw(); err != nil {
		return err
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-r.ended:
		p.lab.opts.Logf("lab: %s stopped", p.Name)
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("stop %s: it had to be killed: %w\n%s", p.Name, context.Cause(ctx), p.LogTail(10)), p.Kill())
	}
}

// Restart stops the process and starts it again.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	return p.Start(ctx)
}

func (p *Process) end(r *run, sig syscall.Signal) error {
	if !r.running() {
		return nil
	}
	if err := r.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.Name, err)
	}
	<-r.ended
	p.lab.opts.Logf("lab: %s killed", p.Name)
	return nil
}

// Freeze stops the process with SIGSTOP: it keeps its connections and answers nothing. It returns once the kernel says
// that the process is stopped.
func (p *Process) Freeze() error {
	r := p.current()
	if !r.running() {
		return fmt.Errorf("freeze %s: it does not run", p.Name)
	}
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze %s: %w", p.Name, err)
	}
	ctx, cancel := context.WithTimeout(p.lab.ctx, 5*time.Second)
	defer cancel()
	err := Eventually(ctx, p.Name+" to be stopped by the kernel", time.Millisecond, func() (bool, string) {
		state := kernelState(r.cmd.Process.Pid)
		return state == "T" || !r.running(), state
	})
	if err != nil {
		return fmt.Errorf("freeze %s: %w", p.Name, err)
	}
	p.setFrozen(r, true)
	p.lab.opts.Logf("lab: %s frozen", p.Name)
	return nil
}

// Thaw lets a frozen process go on. Thawing one that is not frozen is no error.
func (p *Process) Thaw() error {
	r := p.current()
	if !r.running() {
		return nil
	}
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("thaw %s: %w", p.Name, err)
	}
	if p.setFrozen(r, false) {
		p.lab.opts.Logf("lab: %s thawed", p.Name)
	}
	return nil
}

func (p *Process) setFrozen(r *run, frozen bool) (was bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, r.frozen = r.frozen, frozen
	return was
}

// Running tells whether the process exists; a frozen one does.
func (p *Process) Running() bool { return p.current().running() }

// Frozen tells whether the process was frozen and not thawed since.
func (p *Process) Frozen() bool {
	r := p.current()
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.running() && r.frozen
}

// PID is that of the last start, or 0 before the first.
func (p *Process) PID() int {
	if r := p.current(); r != nil {
		return r.cmd.Process.Pid
	}
	return 0
}

// Ended is closed when the process of the last start is reaped; it is nil before the first start.
func (p *Process) Ended() <-chan struct{} {
	if r := p.current(); r != nil {
		return r.ended
	}
	return nil
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}
