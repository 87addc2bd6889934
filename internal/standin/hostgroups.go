package standin

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// hostgroups is the runtime of mysql_servers: the servers, their connections and who may have them.
type hostgroups struct {
	settings func() *settings
	now      func() time.Time

	mu      sync.Mutex
	groups  map[int]*hostgroup
	version uint64
	closed  bool
	// changed is closed when a waiting session should try again.
	changed chan struct{}
	waiting bool
}

type hostgroup struct {
	servers   []*server
	maxOnline int
}

const unlimitedOnline = 1_000_000

func newHostgroups(s func() *settings) *hostgroups {
	return &hostgroups{settings: s, now: time.Now, groups: map[int]*hostgroup{}, changed: make(chan struct{})}
}

// load swaps the whole set under one lock: to sessions the change is atomic.
func (h *hostgroups) load(rows []serverRow, maxOnline map[int]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.purge()
	wanted := make(map[*server]bool)
	for _, row := range rows {
		g := h.group(row.hostgroup)
		i := slices.IndexFunc(g.servers, func(s *server) bool { return s.serverID == row.serverID })
		if i < 0 {
			g.servers = append(g.servers, &server{serverRow: row, used: map[*backend]struct{}{}})
			i = len(g.servers) - 1
		}
		s := g.servers[i]
		if s.status != row.status {
			s.autoShunned = false
		}
		s.attributes = row.attributes
		wanted[s] = true
	}
	for id, g := range h.groups {
		g.maxOnline = unlimitedOnline
		if n, ok := maxOnline[id]; ok {
			g.maxOnline = n
		}
		for _, s := range g.servers {
			if !wanted[s] {
				s.status = offlineHard
			}
			if s.status != online {
				s.dropFree()
			}
		}
		g.refresh()
	}
	h.version++
	h.broadcast()
}

// purge forgets what is OFFLINE_HARD and has no connection left.
func (h *hostgroups) purge() {
	for _, g := range h.groups {
		g.servers = slices.DeleteFunc(g.servers, func(s *server) bool {
			return s.status == offlineHard && len(s.used) == 0 && len(s.free) == 0
		})
	}
}

func (h *hostgroups) group(id int) *hostgroup {
	g := h.groups[id]
	if g == nil {
		g = &hostgroup{maxOnline: unlimitedOnline}
		h.groups[id] = g
	}
	return g
}

// refresh says anew whose replies count; to be called when a status has changed.
func (g *hostgroup) refresh() {
	tooMany := g.online() > g.maxOnline
	for _, s := range g.servers {
		s.offline.Store(tooMany || s.status == offlineHard)
	}
}

func (g *hostgroup) online() int {
	n := 0
	for _, s := range g.servers {
		if s.status == online {
			n++
		}
	}
	return n
}

func (h *hostgroups) broadcast() {
	if h.waiting {
		close(h.changed)
		h.changed = make(chan struct{})
		h.waiting = false
	}
}

// acquire hands out a connection to some server of the group, perhaps one that is still to be dialled. If there is
// none, the channel says when to ask again.
func (h *hostgroups) acquire(group int, p profile) (*backend, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.groups[group]; g != nil && !h.closed {
		if s := h.pick(g); s != nil {
			b := s.take(p)
			s.used[b] = struct{}{}
			s.maxUsed = max(s.maxUsed, len(s.used))
			return b, nil
		}
	}
	h.waiting = true
	return nil, h.changed
}

// pick chooses by weight among the servers that may serve.
func (h *hostgroups) pick(g *hostgroup) *server {
	set := h.settings()
	h.unshun(g, set.unshunAfter())
	s := g.choose()
	if s == nil && h.unshun(g, set.unshunInNeed()) {
		s = g.choose()
	}
	return s
}

func (g *hostgroup) choose() *server {
	if g.online() > g.maxOnline {
		return nil
	}
	sum := 0
	for _, s := range g.servers {
		if s.available() {
			sum += s.weight
		}
	}
	if sum == 0 {
		return nil
	}
	k := rand.IntN(sum)
	for _, s := range g.servers {
		if s.available() {
			if k -= s.weight; k < 0 {
				return s
			}
		}
	}
	return nil
}

func (s *server) available() bool { return s.status == online && len(s.used) < s.maxConnections }

// take prefers the connection used last, and makes room for a new one by closing a free one of another profile.
func (s *server) take(p profile) *backend {
	for i := len(s.free) - 1; i >= 0; i-- {
		if b := s.free[i]; b.profile == p {
			s.free = slices.Delete(s.free, i, i+1)
			return b
		}
	}
	if len(s.free) > 0 && len(s.used)+len(s.free) >= s.maxConnections {
		s.free[0].close()
		s.free = slices.Delete(s.free, 0, 1)
	}
	return &backend{server: s, profile: p, autocommit: true}
}

func (s *server) dropFree() {
	for _, b := range s.free {
		b.close()
	}
	s.free = nil
}

// release gives a connection back; it is kept only for a server that is ONLINE.
func (h *hostgroups) release(b *backend) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.token = 0
	b.prepared = false
	delete(b.server.used, b)
	if b.server.status == online && !h.closed && len(b.statements) <= h.settings().maxStatements {
		b.server.free = append(b.server.free, b)
	} else {
		b.close()
	}
	h.broadcast()
}

// discard closes a connection that is of no more use.
func (h *hostgroups) discard(b *backend) {
	b.close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(b.server.used, b)
	h.broadcast()
}

// close drops the free connections; those in use are closed as they come back.
func (h *hostgroups) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, g := range h.groups {
		for _, s := range g.servers {
			s.dropFree()
		}
	}
	h.broadcast()
}
