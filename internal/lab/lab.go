package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

// Options say where a lab lives and how much it tells.
type Options struct {
	// Dir is the directory under which the lab makes its own; empty for the system's directory of temporary files.
	Dir string
	// Keep leaves the lab's directory behind for inspection; so does a non-empty REMORA_LAB_KEEP in the environment.
	Keep bool
	// Logf receives a line for every process that is started or ended; nil for silence.
	Logf func(format string, args ...any)
	// User is the account that the database servers run as when the caller is root; empty to run them as root too.
	// It is ignored for other callers. It has to be able to reach Dir, which it cannot under a test's t.TempDir.
	User string
}

// Lab owns a directory, the processes started in it and the ports they use.
type Lab struct {
	opts    Options
	dir     string
	lock    *os.File
	account *account
	spawner *spawner
	ports   *ports

	ctx     context.Context // ends when Close begins
	cancel  context.CancelFunc
	unwatch func() bool

	mu        sync.Mutex
	closed    bool
	busy      sync.WaitGroup // what writes into the directory; joined only before closed
	closers   []func() error // run in reverse order
	processes []*Process
	writers   atomic.Int64 // the last writer number given to a Load
	serverIDs atomic.Int64 // the last replication id given to a server

	closing  sync.Once
	closeErr error
}

// ErrClosed is returned by whatever is asked of a lab after its Close.
var ErrClosed = errors.New("the lab is closed")

// New makes an empty lab. It closes itself when ctx ends; the caller still calls Close, which then waits for that.
func New(ctx context.Context, opts Options) (*Lab, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("make a lab: %w", err)
	}
	if opts.Logf == nil {
		opts.Logf = func(string, ...any) {}
	}
	who, err := lookupAccount(opts.User)
	if err != nil {
		return nil, err
	}
	dir, lock, err := makeDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	l := &Lab{opts: opts, dir: dir, lock: lock, account: who, spawner: newSpawner(), ports: newPorts()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.unwatch = context.AfterFunc(ctx, func() { _ = l.Close() })
	return l, nil
}

// Dir is the lab's own directory: a folder for each process, with its data and its log.
func (l *Lab) Dir() string { return l.dir }

// Processes lists all that was started, in the order of the first start.
func (l *Lab) Processes() []*Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Process(nil), l.processes...)
}

// Close ends every process with SIGKILL, last started first, waits until each is reaped, and removes the directory.
// The first call does the work, the others wait for it; all return its error.
func (l *Lab) Close() error {
	l.closing.Do(func() {
		l.unwatch()
		l.cancel()
		l.mu.Lock()
		l.closed = true
		closers := l.closers
		l.closers = nil
		l.mu.Unlock()
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		l.busy.Wait()
		l.spawner.close()
		l.ports.release()
		if !l.opts.Keep && os.Getenv("REMORA_LAB_KEEP") == "" {
			errs = append(errs, removeDir(l.dir))
		} else {
			// Without its lock the directory is no longer a lab's that the next one may sweep away.
			errs = append(errs, os.Remove(filepath.Join(l.dir, lockName)))
			l.opts.Logf("lab: kept %s", l.dir)
		}
		errs = append(errs, l.lock.Close())
		l.closeErr = errors.Join(errs...)
	})
	return l.closeErr
}

// enter begins something that writes into the lab's directory: Close interrupts it by its context, and waits for it.
func (l *Lab) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	l.busy.Add(1)
	inner, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(l.ctx, func() { cancel(ErrClosed) })
	return inner, func() {
		unlink()
		cancel(nil)
		l.busy.Done()
	}, nil
}

// onClose registers what Close has to undo. When the lab is closed already it is undone at once.
func (l *Lab) onClose(f func() error) error {
	l.mu.Lock()
	if !l.closed {
		l.closers = append(l.closers, f)
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	return errors.Join(ErrClosed, f())
}

// subdir makes the folder of one process. Names are unique in a lab, as they name folders and logs.
func (l *Lab) subdir(name string) (string, error) {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return "", fmt.Errorf("lab: %q cannot name a process: it becomes a folder", name)
	}
	dir := filepath.Join(l.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", name, err)
	}
	return dir, nil
}

// Port gives a free TCP port on 127.0.0.1 that stays reserved until Close, whether or not something listens on it.
func (l *Lab) Port() (int, error) { return l.ports.claim() }

// Addr is Port as "127.0.0.1:port".
func (l *Lab) Addr() (string, error) {
	port, err := l.Port()
	return loopback(port), err
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
