package consensus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	logFile      = "raft.db"
	identityFile = "node.json"
	// lockWait is how long another process may hold the directory; one that is
	// just ending needs a moment.
	lockWait = 500 * time.Millisecond
	// keptSnapshots: the newest, and one to fall back on.
	keptSnapshots = 2
	cachedLogs    = 512
)

// Stores are where a node keeps what must outlive it.
type Stores struct {
	Logs      raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// MemoryStores are empty ones that last as long as the process.
func MemoryStores() *Stores {
	mem := raft.NewInmemStore()
	return &Stores{Logs: mem, Stable: mem, Snapshots: &memorySnapshots{}}
}

// openedStores are the stores of a running node.
type openedStores struct {
	Stores
	close func() error
}

func openStores(cfg Config) (*openedStores, error) {
	keep := func() error { return nil }
	switch {
	case cfg.Stores != nil:
		return &openedStores{*cfg.Stores, keep}, nil
	case cfg.Dir == "":
		return &openedStores{*MemoryStores(), keep}, nil
	}
	if err := claim(cfg.Dir, cfg.Name); err != nil {
		return nil, err
	}
	bolt, err := openBolt(cfg.Dir)
	if err != nil {
		return nil, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, keptSnapshots, hclogger(cfg.Log))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the snapshots in %s: %w", cfg.Dir, err), bolt.Close())
	}
	logs, err := raft.NewLogCache(cachedLogs, bolt)
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return &openedStores{Stores{Logs: logs, Stable: bolt, Snapshots: snapshots}, bolt.Close}, nil
}

// openBolt opens the log, which locks the directory.
func openBolt(dir string) (*raftboltdb.BoltStore, error) {
	path := filepath.Join(dir, logFile)
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: lockWait}})
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", dir, ErrDirInUse)
	case errors.Is(err, bbolt.ErrInvalid), errors.Is(err, bbolt.ErrVersionMismatch), errors.Is(err, bbolt.ErrChecksum):
		return nil, fmt.Errorf("open %s: %w: %w; move the directory away and the node comes back from the others", path, ErrDamagedDir, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return bolt, nil
}

// identity is what marks a directory as a node's.
type identity struct {
	Version int    `json:"version"`
	Node    string `json:"node"`
}

// claim makes the directory this node's, or says whose it is. A log under another
// name would let one node vote twice.
func claim(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the node's directory: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return claimEmpty(dir, path, name)
	case err != nil:
		return fmt.Errorf("read whose %s is: %w", dir, err)
	}
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return fmt.Errorf("read %s: %w: %w", path, ErrForeignDir, err)
	}
	if id.Version != 1 || id.Node != name {
		return fmt.Errorf("open %s: %w: it belongs to node %q (format %d), this is node %q", dir, ErrForeignDir, id.Node, id.Version, name)
	}
	return nil
}

// claimEmpty marks a new directory. The mark is written before anything else, so
// what lies in a directory without one is not a node's.
func claimEmpty(dir, path, name string) error {
	draft := path + ".new"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("claim %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(draft) && e.Name() != "lost+found" {
			return fmt.Errorf("claim %s: %w: it has no %s and holds %s", dir, ErrForeignDir, identityFile, e.Name())
		}
	}
	data, err := json.Marshal(identity{Version: 1, Node: name})
	if err == nil {
		err = os.WriteFile(draft, append(data, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		return fmt.Errorf("claim %s: %w", dir, err)
	}
	return nil
}
