package standin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// session is one client connection, served by one goroutine.
type session struct {
	router  *router
	id      uint32
	client  *wire.Conn
	user    user
	profile profile

	schema     string
	autocommit bool
	variables  []assignment
	// variablesKey is their text, to compare with what a connection was given.
	variablesKey string
	// locked is the hostgroup that a SET of unknown effect has bound the session to, or -1.
	locked        int
	statements    map[uint32]*prepared
	lastStatement uint32

	// mu guards what others look at: the maintenance, KILL and the process list.
	mu       sync.Mutex
	attached []*backend
	busy     bool
	inflight *backend
	killed   chan struct{}
	since    time.Time
	until    time.Time // when the connections kept for generated keys go back
	command  string
	info     string
	group    int
}

// errDrop ends a session without a word, as ProxySQL does when it has nothing left to say.
var errDrop = errors.New("session dropped")

func (s *session) serve() {
	for {
		p, err := s.client.ReadPacket()
		if err != nil || len(p) == 0 {
			return
		}
		s.begin()
		err = s.dispatch(p)
		if errors.Is(err, errDrop) || errors.Is(err, errClient) {
			return
		}
		if err == nil {
			err = s.client.Flush()
		}
		s.end()
		if err != nil {
			return
		}
	}
}

func (s *session) begin() {
	s.mu.Lock()
	s.busy, s.since, s.command = true, time.Now(), "Query"
	s.mu.Unlock()
}

func (s *session) end() {
	s.mu.Lock()
	s.busy, s.since, s.command, s.info = false, time.Now(), "Sleep", ""
	s.mu.Unlock()
}

func (s *session) dispatch(p []byte) error {
	switch body := p[1:]; p[0] {
	case wire.ComQuery:
		return s.query(p)
	case wire.ComQuit:
		return errDrop
	case wire.ComPing:
		return s.ok()
	case wire.ComInitDB:
		s.schema = string(body)
		return s.ok()
	case wire.ComStmtPrepare:
		return s.prepare(body)
	case wire.ComStmtExecute:
		return s.execute(p)
	case wire.ComStmtSendLongData:
		s.longData(p)
		return nil
	case wire.ComStmtClose:
		if st := s.statement(p); st != nil {
			delete(s.statements, st.id)
		}
		return nil
	case wire.ComStmtReset:
		if st := s.statement(p); st != nil {
			st.long = nil
		}
		return s.ok()
	case wire.ComSetOption:
		return s.client.WriteEOF(s.status())
	case wire.ComResetConnection:
		s.reset()
		return s.ok()
	}
	return s.fail(&wire.Error{Code: 1047, State: "08S01", Message: "Unknown command"})
}

func (s *session) query(p []byte) error {
	text := p[1:]
	st := parse(text)
	switch st.kind {
	case useSchema:
		s.schema = st.schema
		return s.ok()
	case setVariables:
		if s.locked < 0 && !(s.inTransaction() != nil && assigns(st.assignments, "autocommit")) {
			s.assign(st.assignments)
			return s.ok()
		}
	case endTransaction:
		if s.inTransaction() == nil && len(s.attached) == 0 {
			return s.ok()
		}
	}
	target := s.route(text)
	_, err := s.run(request{
		text: text, route: target,
		build: func(*backend) ([][]byte, error) { return [][]byte{p}, nil },
		relay: s.relay,
		after: func(b *backend) {
			if st.kind == setOpaque {
				s.locked = target.group
				b.pinned |= pinUserVariable
			}
			if st.kind == setVariables {
				s.assign(st.assignments)
				b.autocommit, b.variables = s.autocommit, s.variablesKey
			}
		},
	})
	return err
}

// assign keeps variables to repeat them on whatever connection comes next.
func (s *session) assign(list []assignment) {
	for _, a := range list {
		if a.name == "autocommit" {
			s.autocommit = a.isTrue()
			continue
		}
		s.variables = append(slices.DeleteFunc(s.variables, func(v assignment) bool { return v.name == a.name }), a)
	}
	var key strings.Builder
	for _, v := range s.variables {
		key.WriteString(v.sql)
		key.WriteByte(';')
	}
	s.variablesKey = key.String()
}

func assigns(list []assignment, name string) bool {
	return slices.ContainsFunc(list, func(a assignment) bool { return a.name == name })
}

// inTransaction is the connection on which a transaction is open.
func (s *session) inTransaction() *backend {
	for _, b := range s.attached {
		if b.inTransaction() {
			return b
		}
	}
	return nil
}

func (s *session) route(text []byte) target {
	t := s.router.rules.Load().match(s, text)
	if s.locked >= 0 {
		t.group = s.locked
	} else if b := s.inTransaction(); b != nil && s.user.persistent {
		t.group = b.server.hostgroup
	}
	return t
}

func (s *session) status() uint16 {
	var flags uint16
	if s.autocommit {
		flags |= wire.StatusAutocommit
	}
	if s.inTransaction() != nil {
		flags |= wire.StatusInTrans
	}
	return flags
}

func (s *session) ok() error {
	return wrapClient(s.client.WriteOK(wire.OK{Status: s.status()}))
}

func (s *session) fail(e *wire.Error) error { return wrapClient(s.client.WriteErr(e)) }

func wrapClient(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	return nil
}

// reset gives up all connections and forgets the session's state.
func (s *session) reset() {
	for _, b := range slices.Clone(s.attached) {
		s.detach(b)
		if b.shareable() {
			s.router.groups.release(b)
		} else {
			s.router.groups.discard(b)
		}
	}
	s.variables, s.variablesKey = nil, ""
	s.autocommit, s.locked = true, -1
	clear(s.statements)
}

// kill ends the session from outside, whatever it is doing.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.killed:
		return
	default:
	}
	close(s.killed)
	_ = s.client.Close()
	if s.inflight != nil {
		s.inflight.close()
	}
}
