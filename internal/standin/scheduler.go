package standin

import (
	"context"
	"log/slog"
	"os/exec"
	"sync"
	"time"
)

// job is a row of the scheduler.
type job struct {
	id       int
	interval time.Duration
	file     string
	args     []string
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// scheduler runs programs at intervals: with an empty environment, heedless of their exit codes and of whether the one
// before has ended.
type scheduler struct {
	log *slog.Logger

	mu   sync.Mutex
	jobs map[int]job
	next map[int]time.Time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// granularity is how often ProxySQL looks whether something is due.
const granularity = 500 * time.Millisecond

func (s *scheduler) start(log *slog.Logger) {
	s.log = log
	s.jobs, s.next = map[int]job{}, map[int]time.Time{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(func() {
		ticker := time.NewTicker(granularity)
		defer ticker.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case now := <-ticker.C:
				s.due(now)
			}
		}
	})
}

func (s *scheduler) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.wg.Wait()
}

func (s *scheduler) load(jobs []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.jobs)
	for _, j := range jobs {
		s.jobs[j.id] = j
		if _, ok := s.next[j.id]; !ok {
			s.next[j.id] = time.Now().Add(j.interval)
		}
	}
}

func (s *scheduler) due(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, j := range s.jobs {
		if now.Before(s.next[id]) {
			continue
		}
		s.next[id] = now.Add(j.interval)
		s.wg.Go(func() { s.run(j) })
	}
}

func (s *scheduler) run(j job) {
	cmd := exec.CommandContext(s.ctx, j.file, j.args...)
	cmd.Env = []string{}
	if err := cmd.Run(); err != nil {
		s.log.Debug("scheduler", "id", j.id, "file", j.file, "error", err)
	}
}
