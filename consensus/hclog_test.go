package consensus

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// What raft logs arrives in slog: level, words, keys and values.
func TestRaftLog(t *testing.T) {
	var w bytes.Buffer
	strip := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	log := hclogger(slog.New(slog.NewTextHandler(&w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: strip})))
	log.Trace("too much")
	log.Debug("detail", "term", 7)
	log.With("id", "3-9").Info("restored", "size", hclog.Fmt("%d / %d", 5, 9))
	log.Named("net").Warn("slow", "peer", "n2")
	log.Error("failed", "peer", "n2")
	log.Error("failed", "peer", "n2")
	log.Error("failed", "peer", "n3")
	want := `level=DEBUG msg="raft: detail" term=7
level=INFO msg="raft: restored" id=3-9 size="5 / 9"
level=WARN msg="raft: slow" peer=n2
level=ERROR msg="raft: failed" peer=n2
level=ERROR msg="raft: failed" peer=n3
`
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Error(diff)
	}
}

// A complaint that repeats is written now and then, with how often it was not.
func TestRepeatedComplaint(t *testing.T) {
	s := &slogSink{seen: map[string]*complaint{}}
	now := time.Now()
	for i, want := range []struct {
		after time.Duration
		held  int
		write bool
	}{{0, 0, true}, {time.Second, 0, false}, {quiet - 1, 0, false}, {quiet, 2, true}, {quiet + 1, 0, false}, {3 * quiet, 1, true}} {
		if held, write := s.admit("failed n2", now.Add(want.after)); held != want.held || write != want.write {
			t.Errorf("%d: %d %v, want %d %v", i, held, write, want.held, want.write)
		}
	}
}
