package consensus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// quiet is how long a repeated complaint of raft about the same peer is held
// back: a dead peer is worth a line now and then, not six a second.
const quiet = 5 * time.Second

// hclogger gives raft a logger that writes to slog.
func hclogger(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Trace, Output: io.Discard})
	l.RegisterSink(&slogSink{to: to, seen: map[string]*complaint{}})
	return l
}

// slogSink implements hclog.SinkAdapter.
type slogSink struct {
	to   *slog.Logger
	mu   sync.Mutex
	seen map[string]*complaint
}

type complaint struct {
	at   time.Time // of the last line written
	held int       // lines since then
}

// Accept implements hclog.SinkAdapter: the level is mapped, keys and values kept.
func (s *slogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	ctx, lvl := context.Background(), slogLevel(level)
	if !s.to.Enabled(ctx, lvl) {
		return
	}
	attrs := make([]any, 0, len(args)+2)
	key := msg
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		if i%2 == 1 && args[i-1] == "peer" {
			key += fmt.Sprint(" ", a)
		}
		attrs = append(attrs, a)
	}
	if lvl >= slog.LevelWarn {
		held, write := s.admit(key, time.Now())
		if !write {
			return
		}
		if held > 0 {
			attrs = append(attrs, "repeated", held)
		}
	}
	s.to.Log(ctx, lvl, "raft: "+msg, attrs...)
}

// admit says whether a complaint is written, and how many like it were not.
func (s *slogSink) admit(key string, now time.Time) (held int, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.seen[key]
	if !ok {
		s.seen[key] = &complaint{at: now}
		return 0, true
	}
	if now.Sub(c.at) < quiet {
		c.held++
		return 0, false
	}
	held, c.held, c.at = c.held, 0, now
	return held, true
}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	case hclog.Debug:
		return slog.LevelDebug
	default:
		return slog.LevelDebug - 4
	}
}
