package sidecar

import (
	"slices"
	"sync"
)

// signal wakes all that watch it; wake-ups that nobody has taken yet merge.
type signal struct {
	mu        sync.Mutex
	listeners []*listener // one or two, of thousands of signals
}

type listener struct{ wake func() }

// watch returns a channel that gets a value after each notify, and its end.
func (s *signal) watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	return ch, s.listen(func() {
		select {
		case ch <- struct{}{}:
		default:
		}
	})
}

// listen has a function called at each notify until the end, which it returns. The function must not wait.
func (s *signal) listen(wake func()) (end func()) {
	l := &listener{wake}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, l)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners = slices.DeleteFunc(s.listeners, func(x *listener) bool { return x == l })
	}
}

func (s *signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		l.wake()
	}
}

// news are signals by cluster: of thousands only those are woken that something
// happened to.
type news struct {
	mu sync.Mutex
	of map[string]*signal // "": of those who watch every cluster
}

// watch is woken by what happens to a cluster; to any cluster where it is "".
func (n *news) watch(cluster string) (<-chan struct{}, func()) { return n.signal(cluster).watch() }

// listen has a function called likewise, see [signal.listen].
func (n *news) listen(cluster string, wake func()) (end func()) {
	return n.signal(cluster).listen(wake)
}

func (n *news) signal(cluster string) *signal {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string]*signal{}
	}
	if n.of[cluster] == nil {
		n.of[cluster] = &signal{}
	}
	return n.of[cluster]
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
