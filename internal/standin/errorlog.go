package standin

import (
	"net"
	"sync"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// errorLog is stats_mysql_errors.
type errorLog struct {
	mu      sync.Mutex
	entries map[errorKey]*errorEntry
}

type errorKey struct {
	serverID
	user   string
	schema string
	code   uint16
}

type errorEntry struct {
	client      string
	count       int
	first, last time.Time
	message     string
}

func (l *errorLog) add(s *session, srv *server, e *wire.Error) {
	client, _, _ := net.SplitHostPort(s.client.RemoteAddr().String())
	key := errorKey{srv.serverID, s.user.name, s.schema, e.Code}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = make(map[errorKey]*errorEntry)
	}
	entry := l.entries[key]
	if entry == nil {
		entry = &errorEntry{first: now}
		l.entries[key] = entry
	}
	entry.count++
	entry.last, entry.client, entry.message = now, client, e.Message
}

// each visits the entries, and forgets them if asked to.
func (l *errorLog) each(reset bool, visit func(errorKey, errorEntry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, entry := range l.entries {
		visit(key, *entry)
	}
	if reset {
		clear(l.entries)
	}
}
