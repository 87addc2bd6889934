package proxysql

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Fence closes the cluster's writer hostgroup without a new epoch: no lease, an
// unknown epoch, a restarted ProxySQL. A soft fence (OFFLINE_SOFT) lets transactions
// in progress end, a hard one (OFFLINE_HARD) ends them: statements under way are
// abandoned within seconds, though the server may still commit them; follow it with
// [Admin.EndSessions] to be rid of idle transactions as well. Neither opens what is
// closed harder already.
//
// It is carried out whatever conflicts exist and whatever memory held, and voids
// the applied epoch: only Apply opens the writer again. It returns when runtime
// shows that the fence stands; with an error all the same when the epoch could not
// be voided.
func (a *Admin) Fence(ctx context.Context, cluster string, hg Hostgroups, hard bool) error {
	if err := hg.Validate(); err != nil {
		return fmt.Errorf("proxysql %s: %w", a.cfg.Addr, err)
	}
	t := newTask(fencing, "fence "+cluster, subject{cluster, hg})
	t.hard = hard
	if !a.ask(ctx, t) {
		return a.left(ctx, t)
	}
	if t.err == nil {
		a.log.Info("writer fenced", "cluster", cluster, "hostgroup", hg.Writer, "hard", hard)
	}
	return t.err
}

// fence closes the writer hostgroups of tasks, and tries again what can be.
func (a *Admin) fence(ctx context.Context, tasks []*task) {
	start := time.Now()
	var err error
	for range attempts {
		if err = a.connect(ctx); err == nil {
			err = a.fenceOnce(ctx, tasks)
		}
		tasks = going(tasks)
		again := err == nil || errors.Is(err, ErrUnreachable) && time.Since(start) < a.cfg.Timeout
		if len(tasks) == 0 || !again || ctx.Err() != nil {
			break
		}
	}
	for _, t := range tasks {
		if err == nil {
			t.finish(t.err) // what runtime still showed
		}
	}
	a.fail(tasks, err)
}

// fenceOnce closes writer hostgroups and answers for those that runtime shows closed. The
// others get to know why they are not; an error is all the tasks'.
func (a *Admin) fenceOnce(ctx context.Context, tasks []*task) error {
	var gs guards
	var soft, hard, all []subject
	ticket := a.ticket()
	for _, t := range tasks {
		gs, all = append(gs, guard{subject: t.subject, ticket: ticket}), append(all, t.subject)
		if t.hard {
			hard = append(hard, t.subject)
		} else {
			soft = append(soft, t.subject)
		}
	}
	// First the tickets, so that no late statement opens memory again. If our table
	// fails us, the fence goes on all the same.
	voided := a.exec(ctx, gs.seize())
	if errors.Is(voided, ErrRefused) {
		if voided = a.exec(ctx, statement{"create remora_epoch", createTable}); voided == nil {
			voided = a.exec(ctx, gs.seize())
		}
	}
	var list []statement
	if len(hard) > 0 {
		list = append(list, fence(writersOf(hard), true))
	}
	if len(soft) > 0 {
		list = append(list, fence(writersOf(soft), false))
	}
	for _, st := range append(list, statement{"load servers", loadServers}) {
		if err := a.exec(ctx, st); err != nil {
			return err
		}
	}
	states, err := a.read(ctx, reading{of: all, brief: true, blind: true})
	if err != nil {
		return err
	}
	for i, t := range tasks {
		switch open := t.open(states[i]); {
		case open != nil:
			t.err = fmt.Errorf("proxysql %s: fence %s: %w: %s in hostgroup %d is %s", a.cfg.Addr, t.cluster, ErrNotReadBack,
				open.addr(), open.Hostgroup, open.Status)
		case voided != nil:
			t.finish(fmt.Errorf("fenced, but a late statement could still undo it: %w", voided))
		default:
			t.finish(nil)
		}
	}
	return nil
}

// open is a row of the writer hostgroup that a fence should have closed; nil: there is none.
func (t *task) open(s *state) *row {
	for i := range s.runtime {
		r := &s.runtime[i]
		if r.Hostgroup == t.hg.Writer && r.Status != offlineHard && (t.hard || r.Status != offlineSoft) {
			return r
		}
	}
	return nil
}
