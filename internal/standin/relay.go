package standin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// outcome is what the router learns from an answer while it passes it on.
type outcome struct {
	ok       bool
	affected uint64
	insertID uint64
	warnings uint16
	status   uint16
	known    bool // status was told
	// started says that the client has seen a part of the answer.
	started bool
	// failure is the server's error, passed on or not.
	failure *wire.Error
}

var (
	// errBackend is a connection to a server that broke, or was given up.
	errBackend = errors.New("lost connection to the server")
	// errClient is a client that went away.
	errClient = errors.New("lost connection to the client")
	// errRefused is a server that is about to go: its error is not passed on before a retry was considered.
	errRefused = errors.New("the server is shutting down")
)

const (
	wsrepNotReady  = 1047
	shutdownNotice = 1053
)

// relay passes the answer to a statement on. If the server has gone offline meanwhile the answer is thrown away, and
// the statement counts as failed although it may have been committed: so does ProxySQL.
func (s *session) relay(b *backend) (outcome, error) {
	var o outcome
	for {
		p, err := s.receive(b)
		if err != nil {
			return o, err
		}
		if !o.started && b.server.offline.Load() {
			return o, fmt.Errorf("%w: gone offline", errBackend)
		}
		switch {
		case wire.IsErr(p):
			o.failure = wire.ParseErr(p)
			if !o.started && (o.failure.Code == wsrepNotReady || o.failure.Code == shutdownNotice) {
				return o, errRefused
			}
			return o, s.forward(b, p, &o)
		case wire.IsLocalInfile(p):
			return o, fmt.Errorf("%w: LOCAL INFILE", errBackend)
		case wire.IsOK(p):
			ok := wire.ParseOK(p)
			o.ok, o.known = true, true
			o.status, o.warnings = ok.Status, ok.Warnings
			o.affected, o.insertID = ok.AffectedRows, ok.LastInsertID
			if err := s.forward(b, p, &o); err != nil {
				return o, err
			}
		default:
			if err := s.relayRows(b, p, &o); err != nil || o.failure != nil {
				return o, err
			}
		}
		if o.status&wire.StatusMoreResults == 0 {
			return o, nil
		}
	}
}

// relayRows passes a result set on, from the count of its columns to the end of its rows.
func (s *session) relayRows(b *backend, p []byte, o *outcome) error {
	columns := wire.ColumnCount(p)
	if err := s.forward(b, p, o); err != nil {
		return err
	}
	if err := s.relayPackets(b, columns+1, o); err != nil {
		return err
	}
	for {
		p, err := s.receive(b)
		if err != nil {
			return err
		}
		end := wire.IsEOF(p)
		if end {
			o.ok, o.known = true, true
			o.warnings, o.status = wire.ParseEOF(p)
		} else if wire.IsErr(p) {
			o.failure = wire.ParseErr(p)
			end = true
		}
		if err := s.forward(b, p, o); err != nil || end {
			return err
		}
	}
}

func (s *session) relayPackets(b *backend, n int, o *outcome) error {
	for range n {
		p, err := s.receive(b)
		if err != nil {
			return err
		}
		if err := s.forward(b, p, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) receive(b *backend) ([]byte, error) {
	p, err := b.conn.ReadFrame()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	if len(p) == 0 {
		return nil, fmt.Errorf("%w: %w", errBackend, io.ErrUnexpectedEOF)
	}
	b.server.received.Add(uint64(len(p)))
	return p, nil
}

// forward passes one packet on with all its frames.
func (s *session) forward(b *backend, p []byte, o *outcome) error {
	const full = 1<<24 - 1
	o.started = true
	for {
		n := len(p)
		if err := s.client.WriteFrame(p); err != nil {
			return fmt.Errorf("%w: %w", errClient, err)
		}
		if n < full {
			return nil
		}
		var err error
		if p, err = b.conn.ReadFrame(); err != nil {
			return fmt.Errorf("%w: %w", errBackend, err)
		}
	}
}

// relayPrepared passes the answer to COM_STMT_PREPARE on, under the session's own number for the statement.
func (s *session) relayPrepared(b *backend, st *prepared) (outcome, error) {
	var o outcome
	p, err := s.receive(b)
	if err != nil {
		return o, err
	}
	if b.server.offline.Load() {
		return o, fmt.Errorf("%w: gone offline", errBackend)
	}
	if wire.IsErr(p) {
		o.failure = wire.ParseErr(p)
		return o, s.forward(b, p, &o)
	}
	columns, params, id, err := parsePrepared(p)
	if err != nil {
		return o, err
	}
	b.remember(st.text, id)
	st.params = params
	o.ok = true
	binary.LittleEndian.PutUint32(p[1:], st.id)
	if err := s.forward(b, p, &o); err != nil {
		return o, err
	}
	return o, s.relayPackets(b, definitions(params)+definitions(columns), &o)
}

// definitions is the number of packets that describe n parameters or columns.
func definitions(n int) int {
	if n == 0 {
		return 0
	}
	return n + 1
}

func parsePrepared(p []byte) (columns, params int, id uint32, err error) {
	if len(p) < 9 || !wire.IsOK(p) {
		return 0, 0, 0, fmt.Errorf("%w: %w", errBackend, wire.ErrProtocol)
	}
	id = binary.LittleEndian.Uint32(p[1:])
	columns = int(binary.LittleEndian.Uint16(p[5:]))
	params = int(binary.LittleEndian.Uint16(p[7:]))
	return columns, params, id, nil
}
