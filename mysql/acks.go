package mysql

import (
	"context"
	"strings"
)

// freeAcks ends a wait for an acknowledgement that holds up read_only: on MySQL a
// session that was ended waits on for it.
//
// Without semi-sync the transactions that wait are committed, as they are after a
// crash, and whoever waits for one is told so. So this is done only when each of
// those sessions was ended before, and with it its client.
//
// It is for a server that closes. One that does not is to wait again: see resumeAcks.
func (a *actor) freeAcks(ctx context.Context, s *session) error {
	r, err := s.read(ctx)
	if err != nil {
		return a.fail(plain("the state"), err)
	}
	off, on, ok := s.dialect.freeAcks(r)
	if !ok || r.state.SemiSync.Waiting == 0 {
		return nil
	}
	list, err := a.processes(ctx, s)
	if err != nil {
		return err
	}
	for _, line := range list {
		if strings.HasPrefix(line["State"], "Waiting for semi-sync ACK") && line["Command"] != "Killed" {
			return nil
		}
	}
	if err := a.allowed(ctx); err != nil {
		return a.fail(off, err)
	}
	a.acksOn = on // also where the answer does not come
	if err := s.exec(ctx, off.sql); err != nil {
		a.unanswered(s, off, err)
		return a.fail(off, err)
	}
	a.log.Warn("sessions that were ended waited on for an acknowledgement; turned semi-sync off to be able to set read_only", "sessions", r.state.SemiSync.Waiting)
	return nil
}

// resumeAcks switches semi-sync on again where freeAcks switched it off and the server
// could not be closed: it goes on as primary, and must not acknowledge what it alone
// has. The time of the act may be over, but not that of who leads: the next leader
// finds it off and decides.
func (a *actor) resumeAcks(ctx context.Context) {
	on := a.acksOn
	if on.sql == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawLimit)
	defer cancel()
	if err := a.switchOn(ctx, on); err != nil {
		a.log.Error("the server could not be closed, and semi-sync, which was switched off for that, not be switched on again: until it is, what it acknowledges may be lost with it",
			"statement", on.shown, "error", err)
		return
	}
	a.acksOn = statement{}
	a.log.Warn("the server could not be closed; switched semi-sync on again")
}

// switchOn does it over another connection, for the act's own waits, or is gone; and after
// the statement that switched it off has ended, where that was not answered.
func (a *actor) switchOn(ctx context.Context, on statement) error {
	other := &actor{op: a.op, addr: a.addr, cfg: a.cfg, confirm: a.confirm, strays: a.strays, log: a.log}
	if err := other.connect(ctx); err != nil {
		return err
	}
	defer func() { other.session.close() }()
	if err := other.endStrays(ctx); err != nil {
		return err
	}
	err := other.do(ctx, on)
	a.stray = a.stray || other.stray
	return err
}

// processes is the server's process list.
func (a *actor) processes(ctx context.Context, s *session) (result, error) {
	const list = "SHOW PROCESSLIST"
	results, err := s.query(ctx, list)
	if err != nil {
		return nil, a.fail(plain(list), err)
	}
	if len(results) != 1 {
		return nil, a.failed("%d results for %s", len(results), list)
	}
	return results[0], nil
}
