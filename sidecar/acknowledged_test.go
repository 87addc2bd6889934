package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func TestWhatWasAcknowledgedOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	a, err := openAcknowledged(dir)
	if err != nil || len(a.all()) != 0 {
		t.Fatalf("a new directory: %v, %v", a.all(), err)
	}
	for _, e := range []struct {
		cluster string
		epoch   uint64
	}{{"main", 7}, {"other", 9}, {"main", 12}, {"main", 11}} {
		a.note(e.cluster, e.epoch)
		if err := a.wait(t.Context(), e.cluster, e.epoch); err != nil {
			t.Fatal(err)
		}
		again, err := openAcknowledged(dir)
		if err != nil || again.epoch(e.cluster) < e.epoch {
			t.Errorf("acknowledged %+v, and after a restart it is %d, %v", e, again.epoch(e.cluster), err)
		}
	}
	again, err := openAcknowledged(dir)
	if err != nil || again.epoch("main") != 12 || again.epoch("other") != 9 {
		t.Errorf("%v, %v", again.kept, err)
	}
}

func TestAFileThatCannotBeReadIsNotIgnored(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, acknowledgedFile), []byte(`{"main":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openAcknowledged(dir); err == nil || !strings.Contains(err.Error(), acknowledgedFile) {
		t.Errorf("%v", err)
	}
}

func TestADiskThatFailsWithholdsTheAcknowledgement(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	a, err := openAcknowledged(dir)
	if err != nil {
		t.Fatal(err)
	}
	a.note("main", 7)
	if err := a.wait(t.Context(), "main", 7); err == nil || a.epoch("main") != 0 {
		t.Errorf("epoch %d, %v", a.epoch("main"), err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.wait(t.Context(), "main", 7); err != nil || a.epoch("main") != 7 {
		t.Errorf("when it works again: epoch %d, %v", a.epoch("main"), err)
	}
}

// A pipe that nobody reads is a disk that hangs: opening it does not return.
func TestADiskThatHangsHoldsUpNobody(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, acknowledgedFile+".new")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := openAcknowledged(dir)
	if err != nil {
		t.Fatal(err)
	}
	a.note("main", 7)
	bounded, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := a.wait(bounded, "main", 7); err == nil || !strings.Contains(err.Error(), "the disk does not answer") {
		t.Errorf("%v", err)
	}
	reader, err := os.Open(pipe) // the disk answers, and the write fails: a pipe cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	if err := a.wait(t.Context(), "main", 7); err != nil {
		t.Errorf("when it answers: %v", err)
	}
}

func TestAnEpochIsAcknowledgedOnlyWhenItIsOnDisk(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		after(time.Second)
		first := f.raft.State().Clusters["main"].Desired().Epoch
		hang := make(chan struct{})
		f.acked.mu.Lock()
		f.acked.path, f.acked.writing = "unused", hang // a writer that does not come back
		f.acked.mu.Unlock()
		f.begin(t, failover.KindFailover)
		after(2 * time.Second)
		told := f.proxies.all()["main"]
		if f.proxy.routes() != topology.Fenced {
			t.Errorf("the proxy is %s: a disk that hangs held up the fence", f.proxy.routes())
		}
		if told.Epoch != first || !strings.Contains(told.Error, "not acknowledged") {
			t.Errorf("the leader is told epoch %d, want %d: %q", told.Epoch, first, told.Error)
		}
		f.acked.mu.Lock()
		f.acked.path, f.acked.writing = "", nil
		close(hang)
		f.acked.mu.Unlock()
		f.acked.note("main", told.Told)
		after(time.Second)
		if told = f.proxies.all()["main"]; told.Epoch != f.raft.State().Clusters["main"].Intent.Epoch {
			t.Errorf("when the disk answers the leader is told epoch %d: %q", told.Epoch, told.Error)
		}
	})
}

func TestNothingOlderThanWhatWasAcknowledgedIsRouted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.acked.note("main", 50) // the process before, of a ledger that was lost
		f.start(t)
		f.routed(t)
		<-time.After(time.Second)
		synctest.Wait()
		if f.proxy.called("apply") || f.proxy.routes() != topology.Fenced {
			t.Errorf("an older epoch is routed: %v", f.proxy.calls)
		}
		f.peer.mu.Lock()
		if told := f.peer.beats[len(f.peer.beats)-1].Acknowledged; told["main"] != 50 {
			t.Errorf("the leader is told %v", told)
		}
		f.peer.mu.Unlock()
	})
}
