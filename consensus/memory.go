package consensus

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// memorySnapshots keeps the newest snapshot in memory. Raft's own store of the
// kind shows a snapshot before it is written, and so may send a torn one.
type memorySnapshots struct {
	mu      sync.Mutex
	made    int
	newest  *raft.SnapshotMeta // nil: none yet
	content []byte
}

// Create implements raft.SnapshotStore.
func (m *memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("snapshot of raft's format %d cannot be kept, only of format %d", version, raft.SnapshotVersionMax)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	return &memorySink{store: m, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, m.made), Index: index, Term: term,
		Configuration: conf, ConfigurationIndex: confIndex,
	}}, nil
}

// List implements raft.SnapshotStore.
func (m *memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == nil {
		return nil, nil
	}
	meta := *m.newest
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore.
func (m *memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == nil || m.newest.ID != id {
		return nil, nil, fmt.Errorf("snapshot %s is no longer kept", id)
	}
	meta := *m.newest
	return &meta, io.NopCloser(bytes.NewReader(m.content)), nil
}

// memorySink is a snapshot that is being written; it shows when it is closed.
type memorySink struct {
	store   *memorySnapshots
	meta    raft.SnapshotMeta
	content bytes.Buffer
	ended   bool
}

// ID implements raft.SnapshotSink.
func (s *memorySink) ID() string { return s.meta.ID }

// Write implements io.Writer.
func (s *memorySink) Write(p []byte) (int, error) { return s.content.Write(p) }

// Cancel implements raft.SnapshotSink: what was written is dropped.
func (s *memorySink) Cancel() error {
	s.ended = true
	return nil
}

// Close implements io.Closer: the snapshot is the newest from now on.
func (s *memorySink) Close() error {
	if s.ended {
		return nil
	}
	s.ended = true
	s.meta.Size = int64(s.content.Len())
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.newest, s.store.content = &s.meta, s.content.Bytes()
	return nil
}
