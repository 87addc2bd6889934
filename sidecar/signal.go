package sidecar

import "sync"

// signal wakes all that watch it; wake-ups that nobody has taken yet merge.
type signal struct {
	mu       sync.Mutex
	watchers map[chan struct{}]struct{}
}

// watch returns a channel that gets a value after each notify, and its end.
func (s *signal) watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = map[chan struct{}]struct{}{}
	}
	s.watchers[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, ch)
	}
}

func (s *signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
