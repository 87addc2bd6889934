package standin

import (
	"cmp"
	"slices"
)

// serverView is what the statistics tell of a server.
type serverView struct {
	serverRow
	connUsed, connFree             int
	connectOK, connectErr, maxUsed int
	queries, sent, received        uint64
}

// snapshot lists the servers. What is OFFLINE_HARD and has no connection left is forgotten by being looked at.
func (h *hostgroups) snapshot(reset bool) []serverView {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.purge()
	var list []serverView
	for _, g := range h.groups {
		for _, s := range g.servers {
			list = append(list, serverView{
				serverRow: s.serverRow, connUsed: len(s.used), connFree: len(s.free), connectOK: s.connectOK,
				connectErr: s.connectErr, maxUsed: s.maxUsed, queries: s.queries.Load(), sent: s.sent.Load(),
				received: s.received.Load(),
			})
			if reset {
				s.connectOK, s.connectErr, s.maxUsed = 0, 0, 0
				s.queries.Store(0)
				s.sent.Store(0)
				s.received.Store(0)
			}
		}
	}
	slices.SortFunc(list, func(a, b serverView) int {
		return cmp.Or(cmp.Compare(a.hostgroup, b.hostgroup), cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port))
	})
	return list
}

func (h *hostgroups) tableVersion() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version
}

func (r *router) createdCount() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.created
}
