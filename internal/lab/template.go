package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

var templates = newGate() // one maker a process; between processes the rename decides

// templateDir gives a data directory, freshly initialised with the lab's accounts, that servers start from a copy of.
// It is made once for a version of the server and a set of accounts, and kept in the user's cache directory.
func (l *Lab) templateDir(ctx context.Context, e engine, program string) (string, error) {
	if err := templates.enter(ctx); err != nil {
		return "", fmt.Errorf("make the template of a data directory: %w", err)
	}
	defer templates.leave()
	version, err := exec.CommandContext(ctx, program, "--no-defaults", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = l.dir // no home: one template a lab
	}
	sum := sha256.Sum256([]byte(string(version) + e.recipe()))
	dir := filepath.Join(cache, "remora-lab", string(e.flavor())+"-"+hex.EncodeToString(sum[:8]))
	now := time.Now()
	if os.Chtimes(dir, now, now) == nil {
		return dir, nil // there, and marked as used
	}
	for _, pattern := range []string{string(e.flavor()) + "-*", "new-*"} {
		prune(filepath.Join(filepath.Dir(dir), pattern), now.Add(-unusedAge))
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make the template of a data directory: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "new-*")
	if err != nil {
		return "", fmt.Errorf("make the template of a data directory: %w", err)
	}
	defer os.RemoveAll(work)
	data := filepath.Join(work, "data")
	if err := e.initialise(ctx, program, data); err != nil {
		return "", fmt.Errorf("make the template of a data directory: %w", err)
	}
	if err := os.Rename(data, dir); err != nil {
		if _, stat := os.Stat(dir); stat != nil {
			return "", fmt.Errorf("make the template of a data directory: %w", err)
		} // else another process was faster, with the same result
	}
	l.opts.Logf("lab: made the template of a data directory, %s", dir)
	return dir, nil
}

// copyTemplate fills a server's data directory.
func (l *Lab) copyTemplate(ctx context.Context, e engine, program, data string) error {
	template, err := l.templateDir(ctx, e, program)
	if err != nil {
		return err
	}
	l.spawner.run(func() { // which sees the disk that may be mounted there
		err = errors.Join(os.CopyFS(data, os.DirFS(template)), os.Chmod(data, 0o700), l.account.own(filepath.Dir(data)))
	})
	if err != nil {
		return fmt.Errorf("copy the template of a data directory: %w", err)
	}
	return nil
}

// find looks for a program on PATH and where Debian keeps servers, which an ordinary user's PATH lacks.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/sbin"} {
		path := filepath.Join(dir, program)
		if info, stat := os.Stat(path); stat == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		} else if stat != nil && !errors.Is(stat, fs.ErrNotExist) {
			err = stat
		}
	}
	return "", fmt.Errorf("find %s: %w", program, err)
}
