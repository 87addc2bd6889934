package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// leaseNote is what the lease file says: until when this node may route writes,
// and what is to be closed afterwards. It holds no secret.
type leaseNote struct {
	Node    string         `json:"node"`
	Writers map[string]int `json:"writer_hostgroups"` // by cluster
	// Servers are the clusters' own, for a watchdog that has to keep the proxy from them.
	Servers map[string][]topology.Addr `json:"servers,omitempty"`
	Boot    string                     `json:"boot_id"`           // of the kernel whose clock Until is on
	Until   time.Duration              `json:"until_boottime_ns"` // since that boot, suspends included
	TTL     time.Duration              `json:"ttl_ns"`            // no lease is longer
}

// bootID is that of the running kernel.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// What is wrong with a lease file; test with errors.Is.
var (
	errLeaseOver    = errors.New("the lease has run out")
	errLeaseUnknown = errors.New("the lease file tells nothing")
)

// parseLease reads a lease file's text, which may be anything.
func parseLease(raw []byte) (leaseNote, error) {
	var n leaseNote
	if err := json.Unmarshal(raw, &n); err != nil {
		return leaseNote{}, fmt.Errorf("%w: %w", errLeaseUnknown, err)
	}
	for cluster, hg := range n.Writers {
		if hg < 0 {
			return leaseNote{}, fmt.Errorf("%w: hostgroup %d of %s", errLeaseUnknown, hg, cluster)
		}
	}
	return n, nil
}

// check is nil while the lease holds. Where the file is of another boot, or names
// an instant that no lease can have, there is none.
func (n *leaseNote) check(boot string, now time.Duration) error {
	switch {
	case n.Boot == "" || n.Boot != boot:
		return fmt.Errorf("%w: it was written before the machine started", errLeaseUnknown)
	case n.Until > now && n.Until-now > n.TTL:
		return fmt.Errorf("%w: it names an instant that lies further away than a lease lasts", errLeaseUnknown)
	case n.Until <= now:
		return errLeaseOver
	}
	return nil
}

// leaseFile tells a watchdog of this node's lease. Writing is a loop of its own:
// a disk that hangs must not cost the lease.
type leaseFile struct {
	path    string
	lease   *lease
	servers func(cluster string) []topology.Addr
	note    leaseNote // but for Until, TTL and Servers
}

func newLeaseFile(s *Sidecar, boot string) *leaseFile {
	cfg := &s.cfg
	f := &leaseFile{path: cfg.Lease.File, lease: s.lease, servers: s.known, note: leaseNote{Node: cfg.Node, Boot: boot, Writers: map[string]int{}}}
	for name, c := range cfg.Clusters {
		if s.holds(name) {
			continue // the watchdog is to hold it too
		}
		f.note.Writers[name] = c.Hostgroups.Writer
	}
	return f
}

// keepLeaseFile writes the file after renewals, at most once a heartbeat.
func (s *Sidecar) keepLeaseFile(ctx context.Context) {
	renewed, stop := s.lease.renewed.watch()
	defer stop()
	tick := time.NewTicker(s.cfg.Lease.Heartbeat.D())
	defer tick.Stop()
	var failed string
	for {
		select {
		case <-ctx.Done():
			return
		case <-renewed:
		}
		var now string
		if err := s.leaseFile.write(); err != nil {
			now = err.Error()
		}
		if now != failed && now != "" {
			s.log.Warn("the lease file could not be written: a watchdog will close the writer", "error", now)
		} else if now != failed {
			s.log.Info("the lease file is written again")
		}
		failed = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// write puts the file in place at once, or leaves the old one.
func (f *leaseFile) write() error {
	note := f.note
	note.Until, note.TTL = f.lease.promise()
	note.Servers = map[string][]topology.Addr{}
	for cluster := range note.Writers {
		note.Servers[cluster] = f.servers(cluster)
	}
	raw, err := json.Marshal(note)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+".new")
	file, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = file.Write(append(raw, '\n'))
	// Whatever the umask: the watchdog may be another user.
	if err := errors.Join(err, file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, f.path)
}
