package mysql

import (
	"fmt"
	"time"
)

// hail is a ping as it travels.
var hail = []byte{1, 0, 0, 0, comPing}

// Hail sends a ping over the kept connection and waits for nothing: Heard says whether it was answered. For thousands
// that costs a fraction of what it costs to have somebody wait for each. It is false where it cannot be done so: there is no
// connection or it is encrypted, another probe is under way, the last ping is not answered yet, or not all could be read. Then
// Ping is to be called.
func (p *Prober) Hail() bool {
	if !p.try() {
		return false
	}
	defer p.done()
	s := p.session
	if p.life.Err() != nil || s == nil || s.hailed || len(s.denied) > 0 || !s.wire.plain() || s.broken() {
		return false
	}
	p.hailedAt = p.now()
	if _, err := s.wire.Write(hail); err != nil {
		return false // the next probe finds what the matter is
	}
	s.hailed = true
	return true
}

// Heard says whether what Hail sent has been answered, and when it was sent. What is not answered is waited for by the
// next probe, of either kind.
func (p *Prober) Heard() (sent time.Time, ok bool) {
	if !p.try() {
		return time.Time{}, false
	}
	defer p.done()
	s := p.session
	if s == nil || !s.hailed || !s.wire.holdsPacket() {
		return time.Time{}, false
	}
	if err := s.answered(); err != nil {
		s.abandon() // as after any answer that is none
		return time.Time{}, false
	}
	p.failures = 0
	return p.hailedAt, true
}

// try takes the turn if it is free.
func (p *Prober) try() bool {
	select {
	case <-p.turn:
		return true
	default:
		return false
	}
}

// done gives the turn back.
func (p *Prober) done() { p.turn <- struct{}{} }

// answered takes the answer to a ping off the wire; it waits for one that has not come.
func (s *session) answered() error {
	a := s.newAnswer()
	defer a.free()
	p, err := a.packet(s.wire)
	if err == nil && p[0] != okHeader {
		err = fmt.Errorf("%w: a ping is answered with 0x%02x", errGarbled, p[0])
	}
	s.hailed = false
	return err
}

// holdsPacket says that a whole packet has come and is not taken yet.
func (w *wire) holdsPacket() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unread() < 4 {
		return false
	}
	head := w.data.b[w.data.from:]
	return len(head) >= 4+(int(head[0])|int(head[1])<<8|int(head[2])<<16)
}
