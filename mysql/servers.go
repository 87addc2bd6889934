package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// Servers carries out the steps that concern database servers. It is safe for
// concurrent use, also on the same instance.
type Servers struct {
	// Confirm is asked before each statement that changes a server; its error keeps
	// the statement from being sent. An act takes several round trips, and whoever
	// was allowed to begin it need not be allowed to go on: a process may stand still
	// between two of them for as long as it likes. Nil for always; set it before the
	// first Do.
	Confirm func(ctx context.Context) error

	cfg Config
	log *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	acts   sync.WaitGroup
	strays strays
}

// NewServers makes the executor. It connects for each act anew. The log is told what
// an act did beyond its name: whose sessions were ended, which events were enabled;
// nil for silence.
func NewServers(cfg Config, log *slog.Logger) *Servers {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Servers{cfg: cfg.withDefaults(), log: log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends acts on their way, which then fail, and waits for them.
func (s *Servers) Close() {
	s.cancel()
	s.acts.Wait()
}

// ErrNotMine is what Do answers to an act that does not concern a server.
var ErrNotMine = errors.New("not an act on a database server")

// Do carries out SetReadOnly, StopReceiving, Drain, CatchUp, Promote, Repoint,
// SetWritable, SetSemiSync, StartReplica, Detach, Inject and Clone; any other act is ErrNotMine. It returns nil when what the step wants has been read
// back from the server, and does nothing where that was so before. It is bounded by
// ctx and by the step's Wait (by Config.ActTimeout when that is 0); a SetReadOnly
// that failed takes up to a second more to put semi-sync back and to withdraw what
// still waits on the server. An error is an [*Error].
func (s *Servers) Do(ctx context.Context, step failover.Step) error {
	var act func(*actor, context.Context, failover.Step) error
	switch step.Do {
	case failover.SetReadOnly:
		act = (*actor).setReadOnly
	case failover.Drain:
		act = (*actor).drain
	case failover.CatchUp:
		act = (*actor).catchUp
	case failover.StopReceiving:
		act = (*actor).stopReceiving
	case failover.SetSemiSync:
		act = (*actor).adjustSemiSync
	case failover.Promote:
		act = (*actor).promote
	case failover.Repoint:
		act = (*actor).repoint
	case failover.SetWritable:
		act = (*actor).setWritable
	case failover.StartReplica:
		act = (*actor).startReplica
	case failover.Detach:
		act = (*actor).detach
	case failover.Inject:
		act = (*actor).inject
	case failover.Clone:
		act = (*actor).clone
	default:
		return &Error{Op: string(step.Do), Addr: step.Target, Err: ErrNotMine}
	}
	ctx, cancel := context.WithTimeout(ctx, s.waitOf(step))
	defer cancel()
	return s.as(ctx, string(step.Do), step.Target, func(ctx context.Context, a *actor) error { return act(a, ctx, step) })
}

// waitOf is how long a step may take.
func (s *Servers) waitOf(step failover.Step) time.Duration {
	if step.Wait > 0 {
		return step.Wait.D()
	}
	return s.cfg.ActTimeout.D()
}

// as connects to an instance and has something done there. It ends with Close.
func (s *Servers) as(ctx context.Context, op string, addr topology.Addr, act func(context.Context, *actor) error) error {
	if s.ctx.Err() != nil {
		return &Error{Op: op, Addr: addr, Err: errors.New("the executor is closed")}
	}
	s.acts.Add(1)
	defer s.acts.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	a := &actor{op: op, addr: addr, cfg: s.cfg, confirm: s.Confirm, strays: &s.strays, log: s.log.With("act", op, "instance", string(addr))}
	if err := a.connect(ctx); err != nil {
		return a.fail(statement{}, err)
	}
	defer func() { a.session.close() }()
	if err := a.endStrays(ctx); err != nil {
		return err
	}
	defer a.withdraw(ctx)
	return act(ctx, a)
}

// actor is one act on one instance.
type actor struct {
	op      string
	addr    topology.Addr
	cfg     Config
	log     *slog.Logger
	confirm func(context.Context) error
	session *session
	strays  *strays
	stray   bool        // a statement of it was not answered
	after   []statement // what a drain has to put back
	acksOn  statement   // what a close that fails has to put back
}

// actSession makes literals mean what quote writes, whatever the server's sql_mode.
const actSession = "SET SESSION sql_mode=''"

// crowdedRetry is how often a server without a free connection is asked again.
const crowdedRetry = 20 * time.Millisecond

// connect logs in. A server whose connections are all taken is asked again until
// ctx ends: one that is to be fenced is often just so.
func (a *actor) connect(ctx context.Context) error {
	s, err := a.open(ctx)
	a.session = s
	return err
}

func (a *actor) open(ctx context.Context) (*session, error) {
	for {
		s, err := dial(ctx, a.addr, a.cfg)
		if err == nil {
			if err = s.exec(ctx, actSession); err == nil {
				return s, nil
			}
			s.close()
		}
		if n := Number(err); n != erTooManyConnections && n != erUserConnections {
			return nil, err
		}
		if !pause(ctx, crowdedRetry) {
			return nil, err
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do sends a statement, if that is still allowed, and names it when it fails.
func (a *actor) do(ctx context.Context, st statement) error {
	if err := a.allowed(ctx); err != nil {
		return a.fail(st, err)
	}
	err := a.session.exec(ctx, st.sql)
	a.unanswered(a.session, st, err)
	return a.fail(st, err)
}

// allowed asks whether the act may go on.
func (a *actor) allowed(ctx context.Context) error {
	if a.confirm == nil {
		return nil
	}
	if err := a.confirm(ctx); err != nil {
		return fmt.Errorf("not sent: %w", err)
	}
	return nil
}

// read reads the server's state.
func (a *actor) read(ctx context.Context) (*reading, error) {
	r, err := a.session.read(ctx)
	if err != nil {
		return nil, a.fail(plain("the state"), err)
	}
	return r, nil
}

// fail makes an Error of err, nil of nil.
func (a *actor) fail(st statement, err error) error {
	if err == nil {
		return nil
	}
	var refused *mysqldriver.MySQLError
	arrived := errors.As(err, &refused)
	if arrived && refused.Number == erParse && st.shown != st.sql {
		err = fmt.Errorf("error %d: a syntax error; its text is withheld, for it may quote a password", refused.Number)
	}
	return &Error{Op: a.op, Addr: a.addr, Statement: st.shown, Arrived: arrived, Err: err}
}

// failed is an Error over what the server answered.
func (a *actor) failed(format string, args ...any) error {
	return &Error{Op: a.op, Addr: a.addr, Arrived: true, Err: fmt.Errorf(format, args...)}
}
