package templates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// defaultMode is that of a new file where Config gives none.
const defaultMode = 0o644

// mostBlind is the longest pause between two reloads of which nobody can tell
// whether they worked.
const mostBlind = 5 * time.Minute

// blind is about reloads after which HAProxy's socket did not answer.
type blind struct {
	delay time.Duration
	until time.Time // the next one
	err   error     // what the last one gave
}

// place checks new contents and puts them in place of the old ones.
func (r *Runner) place(ctx context.Context, contents []byte) error {
	dest := r.cfg.Destination
	old, err := os.ReadFile(dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &failure{state: NotWritten, err: fmt.Errorf("read the old file: %w", err)}
	}
	if err == nil && bytes.Equal(old, contents) && r.modeHolds() {
		return r.reloadIfDue(ctx, contents)
	}
	tmp, err := r.temporary(filepath.Dir(dest), contents)
	if err != nil {
		return &failure{state: NotWritten, err: fmt.Errorf("write beside %s: %w; the old file stays", dest, err)}
	}
	defer os.Remove(tmp)
	if err := r.check(ctx, tmp); err != nil {
		return err
	}
	r.switchAhead(ctx, Assignments(old), Assignments(contents))
	if err := os.WriteFile(r.marker(), nil, 0o600); err != nil {
		return &failure{state: NotWritten, err: fmt.Errorf("note that a reload is due: %w; the old file stays", err)}
	}
	if err := os.Rename(tmp, dest); err != nil {
		return &failure{state: NotWritten, err: fmt.Errorf("%w; the old file stays", err)}
	}
	if err := syncDir(filepath.Dir(dest)); err != nil {
		return &failure{state: NotWritten, err: err}
	}
	r.blind.until = time.Time{} // a new file has to be loaded
	return r.reloadIfDue(ctx, contents)
}

// temporary writes contents into a hidden file of a directory, as the file that
// it may become.
func (r *Runner) temporary(dir string, contents []byte) (string, error) {
	f, err := os.CreateTemp(dir, "."+filepath.Base(r.cfg.Destination)+".remora-*")
	if err != nil {
		return "", err
	}
	mode := r.mode()
	if info, err := os.Stat(r.cfg.Destination); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			_ = f.Chown(int(stat.Uid), int(stat.Gid)) // only root can; others own the file already
		}
	}
	_, err = f.Write(contents)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func (r *Runner) check(ctx context.Context, file string) error {
	if len(r.cfg.Check) == 0 {
		return nil
	}
	output, err := r.command(ctx, r.cfg.Check, file, r.cfg.CheckTimeout)
	if err != nil {
		return &failure{state: BadCheck, err: fmt.Errorf("the check of the new file failed: %w; the old file stays", err), output: output}
	}
	return nil
}

// reloadIfDue has the file's reader reload, once a file that was put in place. The
// marker lives until that has worked.
func (r *Runner) reloadIfDue(ctx context.Context, contents []byte) error {
	if _, err := os.Stat(r.marker()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.reload(ctx, contents); err != nil {
		return err
	}
	if err := os.Remove(r.marker()); err != nil {
		return &failure{state: NotReloaded, err: fmt.Errorf("note that the reload is done: %w", err)}
	}
	return nil
}

func (r *Runner) reload(ctx context.Context, contents []byte) error {
	if len(r.cfg.Reload) == 0 {
		return nil
	}
	before := ""
	if r.cfg.Socket != "" {
		var err error
		before, err = r.workers(ctx) // of an HAProxy that does not run any worker is new
		if err != nil && time.Now().Before(r.blind.until) {
			return r.blind.err
		}
	}
	output, err := r.command(ctx, r.cfg.Reload, r.cfg.Destination, r.cfg.ReloadTimeout)
	succeeded := err == nil
	if succeeded && r.cfg.Socket != "" {
		err = r.newWorkers(ctx, before)
	}
	if err != nil {
		err = &failure{state: NotReloaded, err: fmt.Errorf("the new file is in place, its reload failed: %w", err), output: output}
		if succeeded && errors.Is(err, ErrSocket) {
			delay := min(2*max(r.blind.delay, r.cfg.Retry), mostBlind)
			r.blind = blind{delay: delay, until: time.Now().Add(delay), err: err}
		}
		return err
	}
	r.blind = blind{}
	r.switchAgain(ctx, Assignments(contents))
	return nil
}

// marker is the file that says that a reload is due.
func (r *Runner) marker() string {
	return filepath.Join(filepath.Dir(r.cfg.Destination), "."+filepath.Base(r.cfg.Destination)+".reload-due")
}

func (r *Runner) mode() fs.FileMode {
	if r.cfg.Permissions != 0 {
		return r.cfg.Permissions
	}
	if info, err := os.Stat(r.cfg.Destination); err == nil {
		return info.Mode().Perm()
	}
	return defaultMode
}

func (r *Runner) modeHolds() bool {
	info, err := os.Stat(r.cfg.Destination)
	return err == nil && info.Mode().Perm() == r.mode()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
