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
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// redoLogSize is that of the template and of every boot: a server that finds another one would resize it first.
const redoLogSize = "--innodb-log-file-size=4M"

var templates = newGate() // one maker a process; between processes the rename decides

// templateDir gives a data directory, freshly initialised with the lab's accounts, that servers start from a copy of.
// It is made once for a version of the server and a set of accounts, and kept in the user's cache directory.
func (l *Lab) templateDir(ctx context.Context, mariadbd string) (string, error) {
	if err := templates.enter(ctx); err != nil {
		return "", fmt.Errorf("make the template of a data directory: %w", err)
	}
	defer templates.leave()
	version, err := exec.CommandContext(ctx, mariadbd, "--no-defaults", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", mariadbd, err)
	}
	statements := strings.Join(createUsers(Users()), "\n") + "\n"
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = l.dir // no home: one template a lab
	}
	sum := sha256.Sum256([]byte(string(version) + redoLogSize + statements))
	dir := filepath.Join(cache, "remora-lab", "mariadb-"+hex.EncodeToString(sum[:8]))
	now := time.Now()
	if os.Chtimes(dir, now, now) == nil {
		return dir, nil // there, and marked as used
	}
	for _, pattern := range []string{"mariadb-*", "new-*"} {
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
	if err := initialise(ctx, mariadbd, data, statements); err != nil {
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

func initialise(ctx context.Context, mariadbd, data, statements string) error {
	install, err := find("mariadb-install-db")
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	common := []string{"--no-defaults", "--user=" + me.Username, "--datadir=" + data, redoLogSize}
	args := append(append([]string(nil), common...), "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--force")
	if out, err := exec.CommandContext(ctx, install, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", install, err, out)
	}
	boot := exec.CommandContext(ctx, mariadbd, append(common, "--bootstrap")...)
	boot.Stdin = strings.NewReader(statements)
	if out, err := boot.CombinedOutput(); err != nil {
		return fmt.Errorf("create the accounts: %w\n%s", err, out)
	} else if strings.Contains(string(out), "ERROR") { // bootstrap goes on after a statement that failed
		return fmt.Errorf("create the accounts:\n%s", out)
	}
	return nil
}

// copyTemplate fills a server's data directory.
func (l *Lab) copyTemplate(ctx context.Context, mariadbd, data string) error {
	template, err := l.templateDir(ctx, mariadbd)
	if err != nil {
		return err
	}
	if err := os.CopyFS(data, os.DirFS(template)); err != nil {
		return fmt.Errorf("copy the template of a data directory: %w", err)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		return fmt.Errorf("copy the template of a data directory: %w", err)
	}
	return l.account.own(filepath.Dir(data))
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
