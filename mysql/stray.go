package mysql

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/remora-ha/remora/topology"
)

const (
	// withdrawLimit bounds the clearing up after an act that failed.
	withdrawLimit = 500 * time.Millisecond
	// strayPoll is how soon a server is asked again whether a session has ended; it is
	// asked less and less often, for it may take hours to undo what it did.
	strayPoll = 5 * time.Millisecond
)

// strays are the sessions of acts that gave up on a statement and could not withdraw
// it: the server may execute it at any later time, be it because it waits for a lock, or
// because the server or the way to it stands still.
type strays struct {
	mu    sync.Mutex
	left  map[topology.Addr][]stray
	ended map[topology.Addr]time.Time // when the last one was
}

// stray is one such session.
type stray struct {
	id    uint32
	shown string // the statement
}

func (s *strays) at(a topology.Addr) []stray {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.left[a])
}

func (s *strays) add(a topology.Addr, one stray) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == nil {
		s.left = map[topology.Addr][]stray{}
	}
	for _, o := range s.left[a] {
		if o.id == one.id {
			return // nothing is sent over a session after what it did not answer
		}
	}
	s.left[a] = append(s.left[a], one)
}

func (s *strays) remove(a topology.Addr, one stray) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[a] = slices.DeleteFunc(s.left[a], func(o stray) bool { return o == one })
	if s.ended == nil {
		s.ended = map[topology.Addr]time.Time{}
	}
	s.ended[a] = time.Now()
}

// Settled says that nothing which an act had sent to a server, and which was given up,
// can be executed there any more, and since when: what was read of the server before
// may have changed. Zero: there never was anything.
func (s *Servers) Settled(a topology.Addr) (since time.Time, ok bool) {
	s.strays.mu.Lock()
	defer s.strays.mu.Unlock()
	return s.strays.ended[a], len(s.strays.left[a]) == 0
}

// unanswered notes a statement that was sent over a session and that the server has not
// answered: set late, it would undo what comes after this act, such as a roll-back.
func (a *actor) unanswered(s *session, st statement, err error) {
	if err == nil || Number(err) != 0 {
		return
	}
	a.stray = true
	a.strays.add(a.addr, stray{s.id, st.shown})
}

// withdraw ends what the act left behind on the server, also where its time is over.
func (a *actor) withdraw(ctx context.Context) {
	if !a.stray {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawLimit)
	defer cancel()
	other := &actor{op: a.op, addr: a.addr, cfg: a.cfg, strays: a.strays, log: a.log}
	err := other.connect(ctx)
	if err == nil {
		defer func() { other.session.close() }()
		err = other.endStrays(ctx)
	}
	if err != nil {
		a.log.Warn("cannot withdraw a statement that was not answered; the next act on this server does it first", "error", err)
	}
}

// endStrays ends the sessions that acts left behind on the server and waits until they
// are gone: a session that is not in the process list executes nothing any more.
func (a *actor) endStrays(ctx context.Context) error {
	for _, s := range a.strays.at(a.addr) {
		killed := false
		for delay := strayPoll; ; delay = min(2*delay, pollMost) {
			there, err := a.sessionOf(ctx, s)
			if err != nil {
				return err
			}
			if !there {
				break
			}
			if kill := a.session.dialect.kill(uint64(s.id)); !killed {
				killed = true
				if err := a.session.exec(ctx, kill.sql); err != nil && Number(err) != erNoSuchThread {
					return a.fail(kill, err)
				}
			}
			if !pause(ctx, delay) {
				return a.failed("nothing was sent: %q of an earlier act, which was given up, is still being executed there by session %d, and would come after this act; it was killed, and this act is tried again", s.shown, s.id)
			}
		}
		a.strays.remove(a.addr, s)
	}
	return nil
}

// sessionOf says whether a stray is still there. After a restart of the server its id
// may be another's: nobody but ourselves and those who ask the server as we do would be
// ended for it, and connect again.
func (a *actor) sessionOf(ctx context.Context, s stray) (bool, error) {
	list, err := a.processes(ctx, a.session)
	if err != nil {
		return false, err
	}
	return s.id != a.session.id && slices.ContainsFunc(list, func(line row) bool {
		switch line["Command"] {
		case "Query", "Sleep", "Killed", "Quit":
			return line["User"] == a.cfg.User && line["Id"] == strconv.FormatUint(uint64(s.id), 10)
		}
		return false
	}), nil
}
