package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// acknowledgedFile is its name in data_dir.
const acknowledgedFile = "acknowledged.json"

// acknowledged are the epochs that this node's proxy has acknowledged, by cluster.
// They are on disk before the leader is told, apart from the ledger and from
// ProxySQL's memory: a node that lost both routes nothing older.
//
// A disk that hangs holds up nobody: the epoch is not acknowledged until it answers.
type acknowledged struct {
	path string // "": nothing is written, and a restart forgets

	mu      sync.Mutex
	want    map[string]uint64
	kept    map[string]uint64 // on disk
	writing chan struct{}     // closed when the writer ends; nil: none writes
	err     error             // of the last writer
}

func newAcknowledged() *acknowledged {
	return &acknowledged{want: map[string]uint64{}, kept: map[string]uint64{}}
}

// openAcknowledged reads what was written to a directory; "" is none.
func openAcknowledged(dir string) (*acknowledged, error) {
	a := newAcknowledged()
	if dir == "" {
		return a, nil
	}
	a.path = filepath.Join(dir, acknowledgedFile)
	raw, err := os.ReadFile(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &a.kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read the epochs that were acknowledged: %s: %w; remove it if this node's ledger is whole", a.path, err)
	}
	if a.kept == nil {
		a.kept = map[string]uint64{}
	}
	a.want = maps.Clone(a.kept)
	return a, nil
}

// note begins to write an epoch, unless it is there already.
func (a *acknowledged) note(cluster string, epoch uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want[cluster] = max(a.want[cluster], epoch)
	if a.path == "" {
		a.kept[cluster] = a.want[cluster]
		return
	}
	a.begin()
}

// begin starts a writer where one is needed. a.mu is held.
func (a *acknowledged) begin() {
	if a.writing != nil || maps.Equal(a.want, a.kept) {
		return
	}
	done := make(chan struct{})
	a.writing = done
	now := maps.Clone(a.want)
	go func() {
		err := writeDurably(a.path, now)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.err = err; err == nil {
			a.kept = now
		}
		a.writing = nil
		close(done)
	}()
}

// wait returns when an epoch that was noted is on disk, or says why it is not.
func (a *acknowledged) wait(ctx context.Context, cluster string, epoch uint64) error {
	for tried := false; ; {
		a.mu.Lock()
		if a.kept[cluster] >= epoch {
			a.mu.Unlock()
			return nil
		}
		if a.writing == nil && tried {
			defer a.mu.Unlock()
			return fmt.Errorf("write %s: %w", a.path, a.err)
		}
		tried = tried || a.writing == nil // one that began before may fail for what was mended since
		a.begin()
		done := a.writing
		a.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("write %s: the disk does not answer: %w", a.path, ctx.Err())
		}
	}
}

// epoch is the newest of a cluster that is on disk.
func (a *acknowledged) epoch(cluster string) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kept[cluster]
}

// all are the newest of every cluster that are on disk.
func (a *acknowledged) all() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.kept)
}

// writeDurably puts a file in place that outlives a crash of the machine, or
// leaves the old one.
func writeDurably(path string, content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	file, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(raw, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
