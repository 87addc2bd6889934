package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// tryDisk is how often the disk is tried.
	tryDisk = time.Second
	// hungAfter is how long it may take to answer before it counts as hung.
	hungAfter = 2 * time.Second
)

// diskFile tries the disk under a directory with a small file of its own. Raft's
// log is left alone: it must not grow while nothing is decided.
type diskFile string

// Try implements Disk.
func (f diskFile) Try() error {
	file, err := os.OpenFile(string(f), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString("remora tries this disk once a second\n")
	return errors.Join(err, file.Sync(), file.Close())
}

// newDiskFile tries the disk that a node's directory lies on.
func newDiskFile(dir string) diskFile { return diskFile(filepath.Join(dir, "disk-test")) }

// diskHealth is how the last tries of the disk went.
type diskHealth struct {
	mu     sync.Mutex
	began  time.Time // of the try under way; zero when none is
	failed error     // of the last one that ended
}

func (h *diskHealth) begin(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began = now
}

func (h *diskHealth) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began, h.failed = time.Time{}, err
}

// trouble says what is wrong with the disk; empty when nothing is known to be.
func (h *diskHealth) trouble(now time.Time) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.began.IsZero() && now.Sub(h.began) >= hungAfter:
		return fmt.Sprintf("its disk hangs, for %s now", now.Sub(h.began).Round(100*time.Millisecond))
	case h.failed != nil:
		return fmt.Sprintf("its disk cannot be written: %v", h.failed)
	}
	return ""
}

// testDisk tries the disk until ctx ends. A try that hangs is left behind then.
func (s *Sidecar) testDisk(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		done := make(chan error, 1)
		s.disk.begin(time.Now())
		go func() { done <- s.ports.Disk.Try() }()
		slow := time.NewTimer(hungAfter)
		for trying := true; trying; {
			select {
			case <-ctx.Done():
				trying = false
			case err := <-done:
				s.disk.end(err)
				trying = false
			case <-slow.C:
			}
			if now := s.disk.trouble(time.Now()); ctx.Err() == nil && (now == "") != (said == "") {
				if said = now; now == "" {
					s.log.Info("the disk under data_dir answers again")
				} else {
					s.log.Error("the disk under data_dir is in trouble: this node can neither lead nor agree until it answers", "trouble", now)
				}
			}
		}
		slow.Stop()
		pause(ctx, tryDisk)
	}
}

// troubles are what this node has to say of itself: what keeps it from leading.
func (s *Sidecar) troubles() []string {
	if words := s.disk.trouble(time.Now()); words != "" {
		return []string{words}
	}
	return nil
}
