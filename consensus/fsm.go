package consensus

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/remora-ha/remora/ledger"
)

// machine is raft's finite state machine: the ledger, and nothing else. Raft
// calls its methods one at a time; the state is read from anywhere.
type machine struct {
	current atomic.Pointer[version]
	// fault is why the machine has halted, nil while it runs.
	fault atomic.Pointer[error]
}

// version is the state after some entry. superseded is closed when it no longer
// is the newest.
type version struct {
	state      *ledger.State
	superseded chan struct{}
}

func newMachine() *machine {
	m := &machine{}
	m.current.Store(&version{state: ledger.NewState(), superseded: make(chan struct{})})
	return m
}

func (m *machine) publish(s *ledger.State) {
	old := m.current.Swap(&version{state: s, superseded: make(chan struct{})})
	close(old.superseded)
}

// halted is nil while the machine runs.
func (m *machine) halted() error {
	if p := m.fault.Load(); p != nil {
		return *p
	}
	return nil
}

func (m *machine) halt(err error) error {
	err = fmt.Errorf("%w: %w", ErrHalted, err)
	m.fault.Store(&err)
	return err
}

// Apply implements raft.FSM, see [machine.ApplyBatch].
func (m *machine) Apply(log *raft.Log) any { return m.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch implements raft.BatchingFSM: what is committed together becomes one new state, for thousands of clusters
// cost something to copy. It answers each command with a ledger.Result, or with an error
// when the machine has halted: an entry that this version cannot read must not be
// skipped, and neither may any after it.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	var next *ledger.State
	for i, log := range logs {
		if log.Type != raft.LogCommand {
			continue // a configuration is raft's own
		}
		if err := m.halted(); err != nil {
			answers[i] = err
			continue
		}
		cmd, err := ledger.DecodeCommand(log.Data)
		if err != nil {
			answers[i] = m.halt(fmt.Errorf("log entry %d: %w", log.Index, err))
			continue
		}
		if next == nil {
			next = m.current.Load().state.Clone()
		}
		answers[i] = next.Apply(log.Index, cmd)
	}
	if next != nil {
		m.publish(next)
	}
	return answers
}

// Snapshot implements raft.FSM. A halted machine gives none, so that the log
// which it did not understand is kept.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.halted(); err != nil {
		return nil, err
	}
	return document{m.current.Load().state}, nil
}

// Restore implements raft.FSM. The state is replaced only when the whole document
// was understood.
func (m *machine) Restore(r io.ReadCloser) error {
	s, err := ledger.Decode(r)
	if err != nil {
		return m.halt(err)
	}
	m.fault.Store(nil)
	m.publish(s)
	return nil
}

// document is a state on its way into a snapshot. States never change, so it may
// take its time.
type document struct{ state *ledger.State }

// Persist implements raft.FSMSnapshot.
func (d document) Persist(sink raft.SnapshotSink) error {
	if err := d.state.Encode(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish snapshot %s: %w", sink.ID(), err)
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (document) Release() {}
