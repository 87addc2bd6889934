package sidecar

import (
	"slices"
	"sync"
)

// signal wakes all that watch it; wake-ups that nobody has taken yet merge.
type signal struct {
	mu       sync.Mutex
	watchers []chan struct{} // one or two, of thousands of signals
}

// watch returns a channel that gets a value after each notify, and its end.
func (s *signal) watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, ch)
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = slices.DeleteFunc(s.watchers, func(c chan struct{}) bool { return c == ch })
	}
}

func (s *signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ch := range s.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// news are signals by cluster: of thousands only those are woken that something
// happened to.
type news struct {
	mu sync.Mutex
	of map[string]*signal // "": of those who watch every cluster
}

// watch is woken by what happens to a cluster; to any cluster where it is "".
func (n *news) watch(cluster string) (<-chan struct{}, func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string]*signal{}
	}
	if n.of[cluster] == nil {
		n.of[cluster] = &signal{}
	}
	return n.of[cluster].watch()
}

// notify wakes who watches one of the clusters; without any, everybody.
func (n *news) notify(clusters ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(clusters) == 0 {
		for _, s := range n.of {
			s.notify()
		}
		return
	}
	for _, cluster := range append(clusters, "") {
		if s := n.of[cluster]; s != nil {
			s.notify()
		}
	}
}
