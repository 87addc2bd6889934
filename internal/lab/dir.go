package lab

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	dirPattern = "remora-lab-*"
	lockName   = ".lock"
)

// makeDir makes a directory with a lock in it that is held while its owner lives. A lab that was killed cannot remove
// its directory: the next one in the same place does, as it finds the lock free.
func makeDir(parent string) (string, *os.File, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", nil, fmt.Errorf("make the lab's directory: %w", err)
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", nil, fmt.Errorf("make the lab's directory: %w", err)
	}
	sweep(parent)
	for range 100 {
		dir, err := os.MkdirTemp(parent, dirPattern)
		if err != nil {
			return "", nil, fmt.Errorf("make the lab's directory: %w", err)
		}
		lock, err := lockDir(dir, os.O_CREATE)
		if err == nil {
			// The account that the servers run as has to pass through, to the folders that are its own.
			return dir, lock, os.Chmod(dir, 0o711)
		}
		// Another lab's sweep came before the lock.
		_ = os.RemoveAll(dir)
	}
	return "", nil, fmt.Errorf("make the lab's directory under %s: its lock was taken a hundred times", parent)
}

// sweep removes what labs that were killed left under parent.
func sweep(parent string) {
	dirs, err := filepath.Glob(filepath.Join(parent, dirPattern))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			continue
		}
		switch lock, err := lockDir(dir, 0); {
		case err == nil:
			_ = removeDir(dir)
			_ = lock.Close()
		case errors.Is(err, os.ErrNotExist):
			// Cut short at its beginning or at its end, and empty then; one that was kept is not.
			_ = os.Remove(dir)
		}
	}
}

// removeDir removes a lab's directory, the lock last: an attempt that is cut short can be finished by another.
func removeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func lockDir(dir string, flags int) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = inPlace(f, path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// inPlace makes sure that a file that was locked is still the one at the path: a sweep may have locked and removed it
// between our opening and our locking it.
func inPlace(f *os.File, path string) error {
	own, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err == nil && !os.SameFile(own, there) {
		err = fmt.Errorf("%s was replaced", path)
	}
	return err
}

// account is whom the database servers run as; nil for the caller.
type account struct {
	name     string
	uid, gid uint32
}

func lookupAccount(name string) (*account, error) {
	if name == "" || name == "root" || os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("look up the account to run servers as: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("look up the account to run servers as: %w", err)
	}
	return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
}

// own gives a path, with all below it, to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(a.uid), int(a.gid))
	})
}

// credential lets the kernel start a process as the account. A server that changed its user by itself would lose the
// signal that ends it with its parent.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}
