package proxysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

// sessionPoll is how often it is looked whether ended sessions are gone.
const sessionPoll = 5 * time.Millisecond

// endFor is how long sessions are ended at one go: each takes a statement, and who fences or asks meanwhile must not wait
// for those of a hundred clusters.
const endFor = 100 * time.Millisecond

// EndSessions ends the client sessions that are attached to the server addr of the
// writer hostgroup, or to any of its servers when addr is empty, and returns how
// many there were when they are gone. Sessions that wait for a server, or that
// hold no connection to one, live on.
//
// A session whose last statement went to another hostgroup is not seen, though it
// may hold a connection to addr; its next statement there fails once the server
// is OFFLINE_HARD.
func (a *Admin) EndSessions(ctx context.Context, hg Hostgroups, addr topology.Addr) (n int, err error) {
	t := newTask(ending, "end sessions", subject{hg: hg})
	t.addrs = []topology.Addr{addr}
	if !a.ask(ctx, t) {
		return 0, a.left(ctx, t)
	}
	return t.n, t.err
}

// end ends the sessions that tasks name and that were not ended before. A task is over
// when none of its sessions is listed any more.
func (a *Admin) end(ctx context.Context, tasks []*task) {
	attached, err := a.attached(ctx, tasks)
	if err != nil {
		a.fail(tasks, err)
		return
	}
	began := time.Now()
	for _, t := range tasks {
		if t.since.IsZero() {
			t.since = time.Now()
		}
		left := 0
		for _, x := range attached[t.hg.Writer] {
			if !slices.Contains(t.addrs, x.server) && !slices.Contains(t.addrs, "") {
				continue
			}
			left++
			if t.ended[x.id] || time.Since(began) > endFor {
				continue
			}
			t.ended[x.id] = true
			err := a.exec(ctx, statement{"end a session", "KILL CONNECTION " + x.id})
			if err != nil && !errors.Is(err, ErrRefused) { // refused: gone already
				a.fail(tasks, err)
				return
			}
		}
		t.n = len(t.ended)
		switch {
		case left == 0:
			a.sessionsGone(t)
		case time.Since(t.since) >= a.cfg.Timeout:
			t.finish(fmt.Errorf("proxysql %s: end sessions: %w: %d of %d are still attached to hostgroup %d", a.cfg.Addr,
				ErrNotReadBack, left, t.n, t.hg.Writer))
		}
	}
}

// sessionsGone answers; for a route that was applied it is the last that was to be done.
func (a *Admin) sessionsGone(t *task) {
	if t.apply {
		t.status = a.describe(t.state, t.route, t.hg, t.drift)
		if t.n > 0 {
			a.log.Info("sessions ended", "cluster", t.cluster, "hostgroup", t.hg.Writer, "servers", topology.JoinAddrs(t.addrs), "sessions", t.n)
		}
	}
	t.finish(nil)
}

// session is one of a client that holds a connection to a server.
type session struct {
	id     string
	server topology.Addr
}

// attached reads the sessions of the tasks' writer hostgroups, by hostgroup.
func (a *Admin) attached(ctx context.Context, tasks []*task) (map[int][]session, error) {
	subjects := make([]subject, len(tasks))
	for i, t := range tasks {
		subjects[i] = t.subject
	}
	rows, err := a.query(ctx, statement{"read sessions", "SELECT SessionID, hostgroup, srv_host, srv_port FROM stats_mysql_processlist " +
		"WHERE srv_host <> '' AND hostgroup IN (" + writersOf(subjects) + ")"})
	if err != nil {
		return nil, err
	}
	list := map[int][]session{}
	for _, r := range rows {
		p := &fields{values: r}
		at := row{Hostgroup: p.int(1), Host: r[2], Port: p.int(3)}
		if p.err != nil {
			return nil, fmt.Errorf("proxysql %s: read sessions: %w", a.cfg.Addr, p.err)
		}
		list[at.Hostgroup] = append(list[at.Hostgroup], session{r[0], at.addr()})
	}
	return list, nil
}
