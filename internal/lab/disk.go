package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Disk is a small disk in memory below a process's folder, which can be filled. Only what the lab starts sees it: it is
// mounted in a mount namespace of the spawner's thread, and goes with that and the processes.
type Disk struct {
	root *os.Root

	mu      sync.Mutex
	ballast *os.File
}

const ballastName = ".ballast"

// private gives the spawner's thread a mount namespace of its own, once.
func (s *spawner) private() error {
	if s.mounts {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	s.mounts = true
	// What is mounted from now on is seen by nobody else.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	return nil
}

// disk mounts one of some bytes at a directory, which belongs to the account that servers run as.
func (l *Lab) disk(dir string, size int64) (d *Disk, err error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("mount a disk at %s: it needs root", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l.spawner.run(func() {
		if err = l.spawner.private(); err != nil {
			return
		}
		if err = unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size="+strconv.FormatInt(size, 10)); err != nil {
			return
		}
		if err = l.account.own(dir); err != nil {
			return
		}
		var root *os.Root
		if root, err = os.OpenRoot(dir); err == nil {
			d = &Disk{root: root}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("mount a disk at %s: %w", dir, err)
	}
	return d, l.onClose(func() error { _ = d.Free(); return d.root.Close() })
}

// Fill takes all that is free.
func (d *Disk) Fill() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ballast == nil {
		f, err := d.root.Create(ballastName)
		if err != nil {
			return fmt.Errorf("fill a disk: %w", err)
		}
		d.ballast = f
	}
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		switch _, err := d.ballast.Write(block); {
		case err == nil:
		case errors.Is(err, unix.ENOSPC): // down to the last byte
			block = block[:len(block)/2]
		default:
			return fmt.Errorf("fill a disk: %w", err)
		}
	}
	return nil
}

// Free gives back what Fill took.
func (d *Disk) Free() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ballast == nil {
		return nil
	}
	err := errors.Join(d.ballast.Close(), d.root.Remove(ballastName))
	d.ballast = nil
	if err != nil {
		return fmt.Errorf("free a disk: %w", err)
	}
	return nil
}

// clear removes all that is on it.
func (d *Disk) clear() error {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	for _, e := range entries {
		err = errors.Join(err, d.root.RemoveAll(e.Name()))
	}
	return err
}
