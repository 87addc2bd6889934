package standin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// request is a statement on its way to a server.
type request struct {
	text  []byte
	route target
	// build makes the commands for a connection, of which the last is answered.
	build func(*backend) ([][]byte, error)
	relay func(*backend) (outcome, error)
	// after, if set, is called when the server has accepted the statement.
	after func(*backend)
}

// target says where a statement goes.
type target struct {
	group   int
	retries int // -1: as the settings say
	// multiplex is 0 to keep the connection from now on, -1 if no rule speaks of it.
	multiplex int
}

// run sends a statement and passes the answer on, holding it while there is no server and repeating it as far as that
// is allowed. An error ends the session.
func (s *session) run(r request) (outcome, error) {
	set := s.router.settings()
	retries := set.queryRetries
	if r.route.retries >= 0 {
		retries = r.route.retries
	}
	s.describe(r)
	for {
		b, err := s.connection(r.route.group, set)
		if err != nil {
			return outcome{}, s.explain(err)
		}
		o, err := s.once(b, r)
		var refusal *wire.Error
		switch {
		case err == nil:
			s.finish(b, r, o, set)
			return o, nil
		case errors.As(err, &refusal):
			s.settle(b, false, set)
			return o, s.fail(refusal)
		case errors.Is(err, errClient):
			s.drop(b)
			return o, err
		}
		again := retries > 0 && b.shareable() && b.token == 0 && !o.started
		retries--
		s.lost(b, o)
		s.drop(b)
		switch {
		case s.isKilled():
			return o, errDrop
		case again:
			continue
		case errors.Is(err, errRefused):
			return o, s.fail(o.failure)
		}
		return o, fmt.Errorf("%w: %w", errDrop, err)
	}
}

// once tries one connection. A *wire.Error is what the server says of the preparations.
func (s *session) once(b *backend, r request) (outcome, error) {
	if b.server.offline.Load() {
		return outcome{}, fmt.Errorf("%w: offline", errBackend)
	}
	if !s.fly(b) {
		return outcome{}, errDrop
	}
	defer s.land()
	if err := s.conform(b); err != nil {
		return outcome{}, err
	}
	commands, err := r.build(b)
	if err != nil {
		return outcome{}, err
	}
	for _, p := range commands {
		b.server.sent.Add(uint64(len(p)))
		if err := b.conn.Command(p); err != nil {
			return outcome{}, fmt.Errorf("%w: %w", errBackend, err)
		}
	}
	b.server.queries.Add(1)
	return r.relay(b)
}

func (s *session) lost(b *backend, o outcome) {
	switch {
	case o.failure != nil:
		s.router.groups.failed(b.server, o.failure.Code)
	case !b.server.offline.Load() && !s.isKilled():
		const lostConnection = 2013
		s.router.groups.failed(b.server, lostConnection)
	}
}

// finish notes what the statement left behind and decides whether the connection can go back.
func (s *session) finish(b *backend, r request, o outcome, set *settings) {
	if o.known {
		b.status = o.status
	}
	if o.failure != nil {
		s.router.errors.add(s, b.server, o.failure)
	}
	if r.after != nil && o.ok {
		r.after(b)
	}
	if p := pins(r.text); p != 0 {
		b.pinned |= p
	}
	if b.pinned&pinSavepoint != 0 && !b.inTransaction() {
		b.pinned &^= pinSavepoint
	}
	if b.pinned&pinTables != 0 && hasWords(skipBlank(r.text), "UNLOCK", "TABLES") {
		b.pinned &^= pinTables
	}
	switch r.route.multiplex {
	case 0:
		b.pinned |= pinRule
	case 1:
		b.pinned &^= pinRule
	}
	if set.handleWarnings && !hasWords(skipBlank(r.text), "SHOW", "WARNINGS") {
		b.warnings = o.warnings > 0
	}
	if o.insertID != 0 && o.affected != 0 && set.stickyInserts > 0 {
		b.token = set.stickyInserts + 1
	}
	s.settle(b, b.prepared, set)
}

// settle gives the connection back, or keeps it with the session.
func (s *session) settle(b *backend, keep bool, set *settings) {
	b.prepared = false
	b.token = max(0, b.token-1)
	if keep || b.token > 0 || !b.shareable() || !set.multiplexing {
		s.keep(b, set)
		return
	}
	s.detach(b)
	s.router.groups.release(b)
}

func (s *session) keep(b *backend, set *settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.attached, b) {
		s.attached = append(s.attached, b)
	}
	s.until = time.Time{}
	if b.token > 0 && set.stickyInsertsFor > 0 {
		s.until = time.Now().Add(set.stickyInsertsFor)
	}
}

func (s *session) detach(b *backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.attached, b); i >= 0 {
		s.attached = slices.Delete(s.attached, i, i+1)
	}
}

func (s *session) drop(b *backend) {
	s.detach(b)
	s.router.groups.discard(b)
}

// connection is the one that the session holds in a hostgroup, or another one, waited for as long as is allowed.
func (s *session) connection(group int, set *settings) (*backend, error) {
	for _, b := range s.attached {
		if b.server.hostgroup == group {
			return b, nil
		}
	}
	start := time.Now()
	timeout := &wire.Error{Code: 9001, State: "HY000"}
	retries := set.connectRetries
	for {
		b, again := s.router.groups.acquire(group, s.profile)
		wait := set.pollOnFailure
		if b != nil {
			err := s.dial(b, set)
			if err == nil {
				return b, nil
			}
			s.router.groups.failed(b.server, code(err))
			s.router.groups.discard(b)
			if retries--; retries < 0 {
				return nil, connectFailure(b.server, err)
			}
			wait = set.connectRetriesWait
		}
		waited := time.Since(start)
		if set.connectTimeoutMax > 0 && waited >= set.connectTimeoutMax {
			timeout.Message = fmt.Sprintf("Max connect timeout reached while reaching hostgroup %d after %dms",
				group, waited.Milliseconds())
			return nil, timeout
		}
		if set.connectTimeoutMax > 0 {
			wait = min(wait, set.connectTimeoutMax-waited)
		}
		timer := time.NewTimer(wait)
		select {
		case <-again:
		case <-timer.C:
		case <-s.killed:
			timer.Stop()
			return nil, errDrop
		}
		timer.Stop()
	}
}

func (s *session) dial(b *backend, set *settings) error {
	if b.conn != nil {
		return nil
	}
	conn, err := wire.Dial(context.Background(), wire.Target{
		Address: b.server.address(), User: s.user.name, Secret: s.user.secret, Collation: s.profile.collation,
		Capabilities: s.profile.capabilities, Timeout: set.connectTimeout,
	})
	if err != nil {
		return err
	}
	b.conn = conn
	s.router.groups.connected(b.server)
	return nil
}

func code(err error) uint16 {
	var refusal *wire.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	const cannotConnect = 2002
	return cannotConnect
}

func connectFailure(s *server, err error) error {
	var refusal *wire.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	return &wire.Error{Code: code(err), State: "HY000", Message: fmt.Sprintf("Can't connect to server on '%s' (115)", s.host)}
}

// explain tells the client why there was no connection; an error that is none of the server's ends the session.
func (s *session) explain(err error) error {
	var refusal *wire.Error
	if errors.As(err, &refusal) {
		return s.fail(refusal)
	}
	return err
}
