package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"
)

// ErrNoGo tells that a tool cannot be built, as there is no Go toolchain.
var ErrNoGo = errors.New("no go command on PATH")

// unusedAge is how long what no one asked for stays in the cache.
const unusedAge = 24 * time.Hour

// tools are the programs built by this process, shared by its labs: linking takes seconds.
var tools = struct {
	gate
	built map[string]string
}{gate: newGate(), built: map[string]string{}}

// gate is a mutex whose wait ends with a context.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// BuildTool builds a command of this module, once for the life of the calling process, and gives its path. The working
// directory has to lie in the module. Programs are kept under the user's cache directory, named for their content.
func (l *Lab) BuildTool(ctx context.Context, pkg string, flags ...string) (string, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	defer leave()
	if err := tools.enter(ctx); err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	defer tools.leave()
	key := fmt.Sprint(pkg, flags)
	if file := tools.built[key]; file != "" {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	file, err := l.build(ctx, pkg, flags)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	tools.built[key] = file
	return file, nil
}

func (l *Lab) build(ctx context.Context, pkg string, flags []string) (string, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", ErrNoGo
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = l.dir
	}
	dir := filepath.Join(cache, "remora-lab", "tools")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(l.dir, "build-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	out := filepath.Join(work, path.Base(pkg))
	args := append(append([]string{"build", "-o", out}, flags...), pkg)
	begin := time.Now()
	cmd := exec.CommandContext(ctx, goTool, args...)
	cmd.Env = append(os.Environ(), "GOTMPDIR="+work) // an interrupted build leaves nothing elsewhere
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, text)
	}
	l.opts.Logf("lab: built %s in %v", pkg, time.Since(begin).Round(time.Millisecond))
	program, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(program)
	file := filepath.Join(dir, path.Base(pkg)+"-"+hex.EncodeToString(sum[:8]))
	if err := install(program, file, dir); err != nil {
		return "", err
	}
	prune(filepath.Join(dir, "*"), time.Now().Add(-unusedAge))
	return file, nil
}

// install puts a program in place at once, or marks the one that is there already as used.
func install(program []byte, file, dir string) error {
	now := time.Now()
	if os.Chtimes(file, now, now) == nil {
		return nil
	}
	tmp, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(program)
	if err = errors.Join(err, tmp.Chmod(0o755), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// prune removes the files and directories of the cache that match a pattern and were last used before an instant. What
// still runs is none the worse.
func prune(pattern string, before time.Time) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return
	}
	for _, name := range names {
		if info, err := os.Lstat(name); err == nil && info.ModTime().Before(before) {
			_ = os.RemoveAll(name)
		}
	}
}
