package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/remora-ha/remora/api"
)

// lease is the holder's side: the permission to keep routing writes, counted
// from before it was asked for. When a clock jumps it is over, and so is
// everything that was asked for before: see [jumped].
type lease struct {
	clock Clock
	// changed is notified when the lease comes back, and when a jump ends it.
	changed signal
	// renewed is notified whenever `until` changes.
	renewed signal

	mu     sync.Mutex
	last   Instant // newest reading
	jumps  int     // of the clocks
	jump   string  // the last one that nobody was told of yet
	until  time.Duration
	ttl    time.Duration // of the last grant
	index  uint64        // the ledger must have reached it for its epochs to be current: the leader's when the lease began
	newest uint64        // the leader's now
	goal   uint64        // what the leader had at goalAt, and this node's ledger has not reached yet
	goalAt time.Duration
	since  bool // one was granted since the clocks jumped last
}

// newLease is one that has just run out: a sidecar starts fenced.
func newLease(clock Clock) *lease {
	now := clock()
	return &lease{clock: clock, last: now, until: now.Boot}
}

// asking is when a lease was asked for.
type asking struct {
	at    time.Duration
	jumps int
}

// ask is to be called before the question is sent.
func (l *lease) ask() asking {
	l.mu.Lock()
	defer l.mu.Unlock()
	return asking{l.look(), l.jumps}
}

// renew notes the answer to a question.
func (l *lease) renew(asked asking, reply api.HeartbeatReply) {
	ttl := reply.Lease.D()
	if ttl <= 0 {
		return
	}
	l.mu.Lock()
	now := l.look()
	if asked.jumps != l.jumps {
		l.mu.Unlock()
		return
	}
	back := l.until <= asked.at // it had run out, or is the first
	if l.until <= now {
		// Somebody may have counted on its end: what was agreed meanwhile must be known first.
		l.index = max(l.index, reply.Index)
	}
	l.newest = max(l.newest, reply.Index)
	if until := asked.at + ttl; until > l.until {
		l.until, l.ttl = until, ttl
	}
	l.since = true
	l.mu.Unlock()
	l.renewed.notify()
	if back {
		l.changed.notify()
	}
}

// prolong takes a lease that holds on for another ttl from when that was asked for. One
// that has run out, or ran out meanwhile, stays over: somebody may have counted on it.
func (l *lease) prolong(asked asking, ttl time.Duration) bool {
	l.mu.Lock()
	now := l.look()
	ok := asked.jumps == l.jumps && l.until > now
	if ok {
		l.until, l.ttl = max(l.until, asked.at+ttl), ttl
	}
	l.mu.Unlock()
	if ok {
		l.renewed.notify()
	}
	return ok
}

// left is how long the lease still holds, negative by how long it has been over.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until - l.look()
}

// knows says whether a ledger that has reached an index is the newest, by which alone anything is opened, and
// whether it will do for what is open: it knows what was agreed before the lease began, and is behind what is agreed
// since for no longer than a lease lasts. What is agreed during a lease waits for its holder, but not where the old
// primary can commit nothing without it.
func (l *lease) knows(has uint64) (newest, enough bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.look()
	if has >= l.goal {
		l.goal, l.goalAt = l.newest, now
	}
	return has >= l.newest, has >= l.index && (has >= l.goal || now-l.goalAt <= l.ttl)
}

// unbroken says that no clock jumped since the last lease was granted: a node that holds
// on without one knows then what was agreed before.
func (l *lease) unbroken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look()
	return l.since
}

// ended waits until the lease is over, or ctx.
func (l *lease) ended(ctx context.Context) {
	jumped, stop := l.changed.watch()
	defer stop()
	for {
		left := l.left()
		if left <= 0 || ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
		case <-timer.C: // unless it was renewed
		case <-jumped:
		}
		timer.Stop()
	}
}

// look reads the clocks, and ends the lease where one of them jumped.
func (l *lease) look() time.Duration {
	now := l.clock()
	if what := jumped(l.last, now); what != "" {
		l.jumps, l.jump = l.jumps+1, what
		l.until, l.since = min(l.until, now.Boot), false
		l.changed.notify()
		l.renewed.notify()
	}
	l.last = now
	return now.Boot
}

// takeJump is what happened to the clocks since it was last called.
func (l *lease) takeJump() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look()
	what := l.jump
	l.jump = ""
	return what
}

// promise is until when the lease holds, on the clock's Boot, and how long leases last.
func (l *lease) promise() (until, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until, l.ttl
}

// watchClocks looks at the clocks so often that a jump is found early in the fence
// time: the timers of everybody else slept through a suspend.
func (s *Sidecar) watchClocks(ctx context.Context) {
	tick := time.NewTicker(max(s.cfg.Lease.FenceTime.D()/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if what := s.lease.takeJump(); what != "" {
			s.log.Warn("the lease is over, for a clock jumped: writes wait for the next one", "what", what)
		}
	}
}
