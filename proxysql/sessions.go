package proxysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// sessionPoll is how often it is looked whether ended sessions are gone.
const sessionPoll = 5 * time.Millisecond

// EndSessions ends the client sessions that are attached to the server addr of the
// writer hostgroup, or to any of its servers when addr is empty, and returns how
// many there were when they are gone. Sessions that wait for a server, or that
// hold no connection to one, live on.
//
// A session whose last statement went to another hostgroup is not seen, though it
// may hold a connection to addr; its next statement there fails once the server
// is OFFLINE_HARD.
func (a *Admin) EndSessions(ctx context.Context, hg Hostgroups, addr topology.Addr) (n int, err error) {
	end, err := a.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	return a.endSessions(ctx, hg, addr)
}

func (a *Admin) endSessions(ctx context.Context, hg Hostgroups, addr topology.Addr) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	ended := map[string]bool{}
	tick := time.NewTicker(sessionPoll)
	defer tick.Stop()
	for {
		rows, err := a.query(ctx, statement{"read sessions", attachedSQL(hg, addr)})
		if err != nil || len(rows) == 0 {
			return len(ended), err
		}
		for _, r := range rows {
			if ended[r[0]] {
				continue
			}
			ended[r[0]] = true
			err := a.exec(ctx, statement{"end a session", "KILL CONNECTION " + r[0]})
			if err != nil && !errors.Is(err, ErrRefused) { // refused: gone already
				return len(ended), err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return len(ended), fmt.Errorf("proxysql %s: end sessions: %w: %d of %d are still attached to hostgroup %d", a.cfg.Addr,
				ErrNotReadBack, len(rows), len(ended), hg.Writer)
		}
	}
}

// attachedSQL selects the sessions that hold a connection to a server.
func attachedSQL(hg Hostgroups, addr topology.Addr) string {
	q := fmt.Sprintf("SELECT SessionID FROM stats_mysql_processlist WHERE hostgroup = %d AND srv_host <> ''", hg.Writer)
	if addr != "" {
		q += fmt.Sprintf(" AND lower(srv_host) = %s AND srv_port = %d", literal(addr.Host()), addr.Port())
	}
	return q
}
