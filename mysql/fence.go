package mysql

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
)

func (a *actor) setReadOnly(ctx context.Context, _ failover.Step) error { return a.closeWrites(ctx) }

// closeWrites sets the server read-only, then ends its application sessions.
//
// The server grants read_only when the statements in progress have ended and holds
// new ones back meanwhile. Sessions that hold it up for longer than KillAfter are
// ended; so are all the others once it is set, for a pool that keeps them would
// keep using a server that is no primary any more.
//
// An act that fails leaves nothing behind that could take effect later, see
// [actor.unanswered].
func (a *actor) closeWrites(ctx context.Context) error {
	set := a.session.dialect.readOnly(true)
	// In whole seconds, and one at least; ctx ends the wait sooner.
	limit := plain("SET SESSION lock_wait_timeout=%d", wholeSeconds(timeLeft(ctx)))
	if err := a.do(ctx, limit); err != nil {
		return err
	}
	if err := a.allowed(ctx); err != nil {
		return a.fail(set, err)
	}
	done := make(chan error, 1)
	go func() { done <- a.session.exec(ctx, set.sql) }()
	if err := a.awaitReadOnly(ctx, done); err != nil {
		a.resumeAcks(ctx) // first: while read_only waits nobody commits
		a.unanswered(a.session, set, err)
		return a.fail(set, err)
	}
	if err := a.endAll(ctx, set); err != nil {
		a.resumeAcks(ctx)
		return err
	}
	return nil
}

// endAll makes sure that the server is read-only and ends its application sessions.
func (a *actor) endAll(ctx context.Context, set statement) error {
	ask := plain("%s", a.session.dialect.askReadOnly())
	answers, err := a.session.query(ctx, ask.sql)
	if err != nil {
		return a.fail(ask, err)
	}
	if len(answers) != 1 || !answers[0].first().on("closed") {
		return a.failed("the server took %q and is not read-only: someone else set it writable", set.shown)
	}
	// Twice: sessions may have come while the first ones were being ended.
	for range 2 {
		if n, err := a.endSessions(ctx, a.session); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// awaitReadOnly waits for the statement and ends the sessions that hold it up.
func (a *actor) awaitReadOnly(ctx context.Context, done <-chan error) error {
	tick := time.NewTicker(a.cfg.KillAfter.D())
	defer tick.Stop()
	var helper *session
	defer func() { helper.close() }()
	for looks := 0; ; looks++ {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		if helper == nil {
			var err error
			if helper, err = a.open(ctx); err != nil {
				a.log.Warn("cannot end the sessions that hold up read_only", "error", err)
				return <-done
			}
		}
		ended, err := a.endSessions(ctx, helper)
		// Clients that are back already are no reason to wait on: since read_only waits nobody begins to commit.
		if err == nil && (ended == 0 || looks > 0) {
			err = a.freeAcks(ctx, helper)
		}
		if err != nil {
			a.log.Warn("cannot end the sessions that hold up read_only", "error", err)
			return <-done
		}
	}
}

// endSessions ends all application sessions that it finds and says how many.
func (a *actor) endSessions(ctx context.Context, s *session) (int, error) {
	list, err := a.processes(ctx, s)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, p := range applicationSessions(list, a.keep()) {
		kill := s.dialect.kill(p.id)
		if err := a.allowed(ctx); err != nil {
			return ended, a.fail(kill, err)
		}
		switch err := s.exec(ctx, kill.sql); {
		case Number(err) == erNoSuchThread:
			continue
		case Number(err) == erNotOwner:
			// MySQL protects the sessions of accounts with SYSTEM_USER. What counts is done:
			// the server is read-only.
			a.log.Warn("may not end a session", "id", p.id, "user", p.user, "from", p.host, "error", err)
			continue
		case err != nil:
			return ended, a.fail(kill, err)
		}
		ended++
		a.log.Info("ended a session", "id", p.id, "user", p.user, "from", p.host, "command", p.command, "for", p.age)
	}
	return ended, nil
}

// keep names the users whose sessions are left alone.
func (a *actor) keep() []string {
	return append([]string{a.cfg.User, a.cfg.ReplicationUser}, a.cfg.Keep...)
}

// process is a session as the process list shows it.
type process struct {
	id                  uint64
	user, host, command string
	age                 time.Duration // in this command
	forAll              bool          // it waits for an acknowledgement, and a group of commits with it
}

// applicationSessions picks those that are neither the server's own threads, nor
// replication, nor of a user to be kept, nor being ended or logging in.
//
// Those that wait for a semi-sync acknowledgement come last. Sessions commit in
// groups, and one of each waits for all: when it is ended the wait is over, and the
// others tell their clients of commits that no replica has. So nobody of them may
// have a client by then.
func applicationSessions(list result, keep []string) []process {
	var sessions []process
	for _, line := range list {
		user, command := line["User"], line["Command"]
		switch {
		case slices.Contains(keep, user) && user != "",
			user == "system user", user == "event_scheduler", user == "unauthenticated user", user == "",
			command == "Daemon", command == "Killed", command == "Connect", command == "Register Slave", command == "Register Replica",
			strings.HasPrefix(command, "Binlog Dump"), strings.HasPrefix(command, "Slave_"):
			continue
		}
		age, _ := line.seconds("Time")
		sessions = append(sessions, process{
			id: uint64(line.integer("Id")), user: user, host: line["Host"], command: command, age: age.D(),
			forAll: strings.Contains(line["State"], "semi-sync ACK"),
		})
	}
	slices.SortStableFunc(sessions, func(a, b process) int { return number(a.forAll) - number(b.forAll) })
	return sessions
}

// timeLeft is what remains until ctx's deadline.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Minute
	}
	return time.Until(deadline)
}
