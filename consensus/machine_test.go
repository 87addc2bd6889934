package consensus

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/remora-ha/remora/ledger"
)

// An entry of a newer version is not skipped: the node halts before it, and keeps
// the log for a version that understands it.
func TestUnknownEntryHalts(t *testing.T) {
	c := newCluster(t, 1, small).onDisk().start()
	n, _ := c.leader()
	c.apply(discover(1))
	entry := []byte(`{"id":"future","at":"2026-03-01T12:00:00Z","conquer":{"galaxy":"all"}}`)
	future := n.raft.Apply(entry, patience)
	if err := future.Error(); err != nil {
		t.Fatal(err)
	}
	if err, ok := future.Response().(error); !ok || !errors.Is(err, ErrHalted) {
		t.Errorf("answered %v", future.Response())
	}
	if _, err := n.Apply(bounded(t), discover(2)); !errors.Is(err, ErrHalted) {
		t.Errorf("the next command: %v", err)
	}
	if known := n.State().Clusters["main"].Known; len(known) != 1 {
		t.Errorf("applied beyond the halt: %v", known)
	}
	if err := n.Halted(); !errors.Is(err, ErrHalted) || !strings.Contains(err.Error(), "conquer") || n.Stats().Halted != err.Error() {
		t.Errorf("halted: %v", err)
	}
	if err := n.raft.Snapshot().Error(); err == nil || !strings.Contains(err.Error(), ErrHalted.Error()) {
		t.Errorf("a halted node made a snapshot: %v", err)
	}
	c.stop("n1")
	c.start("n1")
	n = c.nodes["n1"]
	eventually(t, "it halts at the same entry", func() bool { return n.Halted() != nil })
	if known := n.State().Clusters["main"].Known; len(known) != 1 {
		t.Errorf("after the restart it knows %v", known)
	}
}

// A document that is not understood changes nothing; one that is, heals.
func TestRestore(t *testing.T) {
	m := newMachine()
	restore := func(document string) error { return m.Restore(io.NopCloser(strings.NewReader(document))) }
	if err := restore(`{"version":1,"index":7,"nodes":{"n1":{"name":"n1","proxy":false,"since":"2026-03-01T12:00:00Z"}},"clusters":{}}`); err != nil {
		t.Fatal(err)
	}
	if err := restore(`{"version":2}`); !errors.Is(err, ledger.ErrNewerVersion) {
		t.Errorf("got %v", err)
	}
	if m.current.Load().state.Nodes["n1"].Name != "n1" {
		t.Error("a refused snapshot replaced the state")
	}
	if err, ok := m.Apply(&raft.Log{Index: 8}).(error); !ok || !errors.Is(err, ErrHalted) {
		t.Error("it goes on after a snapshot that it did not understand")
	}
	if err := restore(`{"version":1,"index":9,"nodes":{},"clusters":{}}`); err != nil || m.halted() != nil || m.current.Load().state.Index != 9 {
		t.Errorf("got %v, halted %v", err, m.halted())
	}
}

// What is committed together is one new state; each command has its own answer, and none is applied beyond a halt.
func TestABatchIsOneState(t *testing.T) {
	m := newMachine()
	entry := func(index uint64, data string) *raft.Log { return &raft.Log{Index: index, Data: []byte(data)} }
	seed := func(id, addr string) string {
		return `{"id":"` + id + `","at":"2026-03-01T12:00:00Z","discover":{"cluster":"main","addrs":["` + addr + `"]}}`
	}
	before, superseded := m.current.Load().state, m.current.Load().superseded
	answers := m.ApplyBatch([]*raft.Log{
		entry(1, seed("a", "db1:3306")), {Index: 2, Type: raft.LogConfiguration}, entry(3, seed("b", "db2:3306")),
		entry(4, `{"id":"future","at":"2026-03-01T12:00:00Z","conquer":{}}`), entry(5, seed("c", "db3:3306")),
	})
	for i, want := range []string{"ledger.Result", "<nil>", "ledger.Result", "error", "error"} {
		got := fmt.Sprintf("%T", answers[i])
		if err, ok := answers[i].(error); ok && errors.Is(err, ErrHalted) {
			got = "error"
		}
		if got != want {
			t.Errorf("entry %d is answered with %s, want %s", i+1, got, want)
		}
	}
	select {
	case <-superseded:
	default:
		t.Error("nobody is told of the new state")
	}
	after := m.current.Load().state
	if known := after.Clusters["main"].Known; len(known) != 2 || after.Index != 3 || len(before.Clusters) != 0 {
		t.Errorf("known are %v at index %d; the state before has %v", known, after.Index, before.Clusters)
	}
	if nothing := m.ApplyBatch([]*raft.Log{{Index: 6, Type: raft.LogConfiguration}}); nothing[0] != nil || m.current.Load().state != after {
		t.Error("a configuration alone made a new state")
	}
}

// A leader that has halted delivers no term: it could not act on the state.
func TestHaltedLeaderIsNotUsable(t *testing.T) {
	c := newCluster(t, 1, nil).onDisk().start()
	n, _ := c.leader()
	_ = n.raft.Apply([]byte("{}"), patience).Error()
	c.stop("n1")
	c.start("n1")
	n = c.nodes["n1"]
	eventually(t, "it leads and has halted", func() bool { return n.IsLeader() && n.Halted() != nil })
	if err := n.Barrier(bounded(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case term := <-n.Terms():
		t.Errorf("term %d was delivered", term.Number)
	default:
	}
}

// The snapshot that shows is always a whole one.
func TestMemorySnapshots(t *testing.T) {
	m := &memorySnapshots{}
	write := func(text string) raft.SnapshotSink {
		sink, err := m.Create(raft.SnapshotVersionMax, 3, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(sink, text); err != nil {
			t.Fatal(err)
		}
		return sink
	}
	read := func() string {
		list, err := m.List()
		if err != nil || len(list) == 0 {
			return ""
		}
		meta, r, err := m.Open(list[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || int64(len(data)) != meta.Size {
			t.Fatalf("read %d bytes of %d: %v", len(data), meta.Size, err)
		}
		return string(data)
	}
	first := write("first")
	if got := read(); got != "" {
		t.Errorf("a snapshot that is being written shows: %q", got)
	}
	second := write("second, cancelled")
	if err := errors.Join(first.Close(), second.Cancel(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "first" {
		t.Errorf("got %q", got)
	}
	if _, _, err := m.Open("another"); err == nil {
		t.Error("a snapshot that is not kept was opened")
	}
}
