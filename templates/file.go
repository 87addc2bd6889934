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
)

// defaultMode is that of a new file where Config gives none.
const defaultMode = 0o644

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
	return r.reloadIfDue(ctx, contents)
}

// emptied says why new contents that name no cluster must not replace the file: it
// names one that is committed. That is how a Consul that lost its store looks when
// somebody else has written below the prefix already.
func (r *Runner) emptied(contents []byte) string {
	if len(Assignments(contents)) > 0 {
		return ""
	}
	old, err := os.ReadFile(r.cfg.Destination)
	if err != nil {
		return "" // to place it will fail, or there is nothing to keep
	}
	for _, a := range Assignments(old) {
		if want, ok := r.known()[a.Cluster]; ok {
			return fmt.Sprintf("Consul has no cluster at all, the file has %s, and %s is committed (delete the file if its template names none)", a.Cluster, want)
		}
	}
	return ""
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
	output, err := command(ctx, r.cfg.Check, file, r.cfg.CheckTimeout, r.token())
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
		before, _ = r.workers(ctx) // of an HAProxy that does not run any worker is new
	}
	output, err := command(ctx, r.cfg.Reload, r.cfg.Destination, r.cfg.ReloadTimeout, r.token())
	if err == nil && r.cfg.Socket != "" {
		err = r.newWorkers(ctx, before)
	}
	if err != nil {
		return &failure{state: NotReloaded, err: fmt.Errorf("the new file is in place, its reload failed: %w", err), output: output}
	}
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
