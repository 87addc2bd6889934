package standin

import (
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// conform brings a connection to the state that the session believes in.
func (s *session) conform(b *backend) error {
	if b.variables != s.variablesKey {
		if b.variables != "" && b.shareable() {
			if err := b.command(wire.ComResetConnection, ""); err != nil {
				return err
			}
			b.autocommit, b.statements = true, nil
		}
		for _, v := range s.variables {
			if err := b.command(wire.ComQuery, v.sql); err != nil {
				return err
			}
		}
		b.variables = s.variablesKey
	}
	if b.schema != s.schema && s.schema != "" {
		if err := b.command(wire.ComInitDB, s.schema); err != nil {
			return err
		}
		b.schema = s.schema
	}
	if b.autocommit != s.autocommit {
		value := "0"
		if s.autocommit {
			value = "1"
		}
		if err := b.command(wire.ComQuery, "SET autocommit="+value); err != nil {
			return err
		}
		b.autocommit = s.autocommit
	}
	return nil
}

// command sends one that is answered by OK or an error.
func (b *backend) command(code byte, argument string) error {
	if err := b.conn.Command(append([]byte{code}, argument...)); err != nil {
		return fmt.Errorf("%w: %w", errBackend, err)
	}
	p, err := b.conn.ReadFrame()
	if err != nil {
		return fmt.Errorf("%w: %w", errBackend, err)
	}
	if wire.IsErr(p) {
		return wire.ParseErr(p)
	}
	b.status = wire.ParseOK(p).Status
	return nil
}

// fly marks a connection as waited for, so that the maintenance and KILL can give it up. It refuses a killed session.
func (s *session) fly(b *backend) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.killed:
		return false
	default:
	}
	s.inflight = b
	return true
}

func (s *session) land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight = nil
}

func (s *session) isKilled() bool {
	select {
	case <-s.killed:
		return true
	default:
		return false
	}
}

// describe tells the process list what the session is about to do.
func (s *session) describe(r request) {
	const shown = 4096
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = r.route.group
	s.info = string(r.text[:min(len(r.text), shown)])
}

// maintain gives up a statement whose server has gone offline, and gives back the connections that were kept for
// generated keys long enough.
func (s *session) maintain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight != nil && s.inflight.server.offline.Load() {
		s.inflight.close()
	}
	if s.busy || s.until.IsZero() || time.Now().Before(s.until) {
		return
	}
	s.until = time.Time{}
	s.attached = slices.DeleteFunc(s.attached, func(b *backend) bool {
		if !b.shareable() {
			return false
		}
		s.router.groups.release(b)
		return true
	})
}
