package world

import (
	"sync"

	"github.com/hashicorp/raft"

	"github.com/remora-ha/remora/consensus"
)

// disk is what a sidecar's raft keeps beyond its process. A process that was
// killed goes on writing to a disk that nobody reads any more: see fork. A disk
// that hangs answers nothing until it is released.
type disk struct {
	*raft.InmemStore
	stores consensus.Stores

	mu   sync.Mutex
	held chan struct{} // not nil: the disk hangs until it is closed
}

func newDisk() *disk {
	d := &disk{InmemStore: raft.NewInmemStore(), stores: *consensus.MemoryStores()}
	d.stores.Logs, d.stores.Stable = d, d
	return d
}

// hang makes every access wait until release.
func (d *disk) hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		d.held = make(chan struct{})
	}
}

func (d *disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}

func (d *disk) wait() {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if held != nil {
		<-held
	}
}

// StoreLog implements raft.LogStore.
func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (d *disk) StoreLogs(l []*raft.Log) error {
	d.wait()
	return d.InmemStore.StoreLogs(l)
}

// Set implements raft.StableStore.
func (d *disk) Set(key, value []byte) error {
	d.wait()
	return d.InmemStore.Set(key, value)
}

// SetUint64 implements raft.StableStore.
func (d *disk) SetUint64(key []byte, value uint64) error {
	d.wait()
	return d.InmemStore.SetUint64(key, value)
}

// stableKeys are all that raft keeps in its stable store.
var stableNumbers, stableTexts = []string{"CurrentTerm", "LastVoteTerm"}, []string{"LastVoteCand"}

// fork is the disk as it is now, for the next process: raft syncs each write, so
// nothing of it is lost. There are no snapshots in so short a life.
func (d *disk) fork() *disk {
	next := newDisk()
	first, _ := d.FirstIndex()
	last, _ := d.LastIndex()
	for i := first; i <= last && i > 0; i++ {
		var l raft.Log
		if d.GetLog(i, &l) == nil {
			_ = next.InmemStore.StoreLog(&l)
		}
	}
	for _, k := range stableNumbers {
		if v, err := d.GetUint64([]byte(k)); err == nil {
			_ = next.InmemStore.SetUint64([]byte(k), v)
		}
	}
	for _, k := range stableTexts {
		if v, err := d.Get([]byte(k)); err == nil && v != nil {
			_ = next.InmemStore.Set([]byte(k), v)
		}
	}
	return next
}
