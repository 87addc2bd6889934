package world

import (
	"context"
	"time"

	"github.com/remora-ha/remora/topology"
)

// connectRetry is how often a replica tries to reach a lost source, connectLimit
// how long it waits for one that does not answer.
const (
	connectRetry = time.Second
	connectLimit = 10 * time.Second
)

// startIO starts the IO thread; the caller holds the mutex.
func (s *server) startIO() {
	if s.ioStop != nil || s.source == "" {
		return
	}
	var ctx context.Context
	ctx, s.ioStop = context.WithCancel(s.w.ctx)
	s.io, s.ioError = topology.ThreadConnecting, ""
	s.w.running.Go(func() { s.receive(ctx, s.w.server(s.source)) })
}

// stopIO stops it; the source notices at once.
func (s *server) stopIO() {
	if s.ioStop != nil {
		s.ioStop()
		s.ioStop = nil
	}
	s.io = topology.ThreadNo
	if src := s.w.server(s.source); src != nil {
		delete(src.attached, s.addr)
	}
}

// failIO stops the IO thread with an error.
func (s *server) failIO(why string) {
	s.stopIO()
	s.ioError = why
}

func (s *server) startSQL() {
	s.sql, s.sqlError = true, ""
	s.apply()
}

// receive is the IO thread: it connects and reads until ctx ends.
func (s *server) receive(ctx context.Context, src *server) {
	for ctx.Err() == nil {
		if at, born, ok := s.attach(ctx, src); ok {
			s.follow(ctx, src, at, born)
		}
		sleep(ctx, connectRetry)
	}
}

// attach connects to the source and asks for what comes after what it has.
func (s *server) attach(ctx context.Context, src *server) (at, born int, ok bool) {
	bounded, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	there := s.w.net.pass(bounded, s.host, src.host, SQLPort)
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return 0, 0, false
	case there != nil || !src.up:
		s.io, s.ioError = topology.ThreadConnecting, "2003: cannot connect to "+string(src.addr)
		return 0, 0, false
	}
	head := s.received
	if len(s.relay) == 0 {
		head = s.head()
	}
	if head != nil {
		i, known := src.at[head]
		if !known {
			s.failIO("1236: the binlog on the source is missing the GTID " + head.gtid() + " requested by the replica")
			return 0, 0, false
		}
		at = i + 1
	}
	s.io, s.ioError, s.untried, s.received = topology.ThreadYes, "", false, head
	s.pulse++
	src.attached[s.addr] = s.semiRepl
	return at, src.born, true
}

// follow receives what the source logs, and its heartbeats while it logs nothing.
func (s *server) follow(ctx context.Context, src *server, at, born int) {
	beat := time.NewTicker(s.w.timing.Beat)
	defer beat.Stop()
	for ctx.Err() == nil {
		s.w.mu.Lock()
		var next *txn
		if at < len(src.log) {
			next = src.log[at]
		}
		broken, changed := !src.up || src.born != born, src.changed
		s.w.mu.Unlock()
		switch {
		case broken:
			if s.w.net.pass(ctx, src.host, s.host, SQLPort) != nil { // its reset
				return
			}
			s.w.mu.Lock()
			if ctx.Err() == nil {
				s.io, s.ioError = topology.ThreadConnecting, "2013: lost connection to "+string(src.addr)
			}
			s.w.mu.Unlock()
			return
		case next != nil:
			if !s.fetch(ctx, src, born, next) {
				return
			}
			at++
		default:
			select {
			case <-changed:
			case <-beat.C:
				if s.w.net.up(src.host, s.host, SQLPort) {
					s.w.mu.Lock()
					s.pulse++
					s.w.mu.Unlock()
				}
			case <-ctx.Done():
			}
		}
	}
}

// fetch moves one transaction into the relay log, and acknowledges it.
func (s *server) fetch(ctx context.Context, src *server, born int, t *txn) bool {
	if s.w.net.pass(ctx, src.host, s.host, SQLPort) != nil {
		return false
	}
	s.w.mu.Lock()
	if ctx.Err() != nil {
		s.w.mu.Unlock()
		return false
	}
	s.relay = append(s.relay, t)
	s.note(t)
	s.received = t
	s.pulse++
	s.apply()
	semi := src.attached[s.addr]
	s.w.mu.Unlock()
	if !semi {
		return true
	}
	if s.w.net.pass(ctx, s.host, src.host, SQLPort) != nil {
		return false
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if src.up && src.born == born && ctx.Err() == nil {
		src.acknowledge(t, s.addr)
	}
	return true
}

// apply is the SQL thread: it executes what the relay log holds; the caller
// holds the mutex.
func (s *server) apply() {
	if !s.up || !s.sql || time.Now().Before(s.stalled) {
		return
	}
	for len(s.relay) > 0 {
		t := s.relay[0]
		if early := s.delay - time.Since(s.got[t]); early > 0 {
			s.wakeAfter(early)
			return
		}
		if _, known := s.at[t]; !known {
			if h := s.head(); h != nil && t.seq <= h.seq {
				s.sql, s.sqlError = false, "1950: an attempt was made to binlog GTID "+t.gtid()+", which would create an out-of-order sequence number with "+h.gtid()
				return
			}
			s.append(t)
			s.synced = len(s.log)
		}
		s.relay = s.relay[1:]
	}
	s.notify()
}

// wakeAfter lets the SQL thread go on later; the caller holds the mutex.
func (s *server) wakeAfter(d time.Duration) {
	if s.waking {
		return
	}
	s.waking = true
	time.AfterFunc(d, func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.waking = false
		s.apply()
	})
}

// stall holds the SQL thread up for a while.
func (s *server) stall(d time.Duration) {
	s.w.mu.Lock()
	s.stalled = time.Now().Add(d)
	s.w.mu.Unlock()
	time.AfterFunc(d, func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.apply()
	})
}
