package standin

import (
	"encoding/binary"
	"fmt"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// prepared is a statement that a client prepared. The session numbers it; each connection that runs it has a number
// of its own, and prepares it when it meets it first.
type prepared struct {
	id     uint32
	text   string
	params int
	// types are those of the parameters, which a client sends only once.
	types []byte
	// long holds COM_STMT_SEND_LONG_DATA until the statement is executed.
	long [][]byte
}

const (
	executeHeader = 10
	unknownStmt   = 1243
)

func (b *backend) remember(text string, id uint32) {
	if b.statements == nil {
		b.statements = make(map[string]uint32)
	}
	b.statements[text] = id
}

func (s *session) prepare(text []byte) error {
	s.lastStatement++
	st := &prepared{id: s.lastStatement, text: string(text)}
	payload := append([]byte{wire.ComStmtPrepare}, text...)
	o, err := s.run(request{
		text: text, route: s.route(text),
		build: func(*backend) ([][]byte, error) { return [][]byte{payload}, nil },
		relay: func(b *backend) (outcome, error) { return s.relayPrepared(b, st) },
		after: func(b *backend) { b.prepared = st.params == 0 },
	})
	if err == nil && o.ok {
		s.statements[st.id] = st
	}
	return err
}

func (s *session) execute(p []byte) error {
	st := s.statement(p)
	if st == nil || len(p) < executeHeader {
		return s.fail(&wire.Error{Code: unknownStmt, State: "HY000", Message: "Unknown prepared statement handler"})
	}
	defer func() { st.long = nil }()
	text := []byte(st.text)
	_, err := s.run(request{
		text: text, route: s.route(text),
		build: func(b *backend) ([][]byte, error) {
			id, err := b.ensure(st.text)
			if err != nil {
				return nil, err
			}
			return st.commands(p, id), nil
		},
		relay: s.relay,
	})
	return err
}

func (s *session) longData(p []byte) {
	if st := s.statement(p); st != nil {
		st.long = append(st.long, append([]byte(nil), p...))
	}
}

func (s *session) statement(p []byte) *prepared {
	if len(p) < 5 {
		return nil
	}
	return s.statements[binary.LittleEndian.Uint32(p[1:])]
}

// commands addresses an execution to a connection's own number, always with the types of the parameters and without
// a cursor.
func (st *prepared) commands(p []byte, id uint32) [][]byte {
	var list [][]byte
	for _, long := range st.long {
		binary.LittleEndian.PutUint32(long[1:], id)
		list = append(list, long)
	}
	q := append([]byte(nil), p[:executeHeader]...)
	binary.LittleEndian.PutUint32(q[1:], id)
	q[5] = 0
	nulls := (st.params + 7) / 8
	rest := p[executeHeader:]
	if st.params == 0 || len(rest) < nulls+1 {
		return append(list, append(q, rest...))
	}
	q = append(q, rest[:nulls]...)
	bound, values := rest[nulls], rest[nulls+1:]
	if bound == 1 && len(values) >= 2*st.params {
		st.types = append(st.types[:0], values[:2*st.params]...)
		values = values[2*st.params:]
	}
	q = append(q, 1)
	q = append(q, st.types...)
	return append(list, append(q, values...))
}

// ensure prepares a statement on a connection that has not met it.
func (b *backend) ensure(text string) (uint32, error) {
	if id, ok := b.statements[text]; ok {
		return id, nil
	}
	if err := b.conn.Command(append([]byte{wire.ComStmtPrepare}, text...)); err != nil {
		return 0, fmt.Errorf("%w: %w", errBackend, err)
	}
	p, err := b.conn.ReadFrame()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errBackend, err)
	}
	if wire.IsErr(p) {
		return 0, wire.ParseErr(p)
	}
	columns, params, id, err := parsePrepared(p)
	if err != nil {
		return 0, err
	}
	for range definitions(params) + definitions(columns) {
		if _, err := b.conn.ReadFrame(); err != nil {
			return 0, fmt.Errorf("%w: %w", errBackend, err)
		}
	}
	b.remember(text, id)
	return id, nil
}
