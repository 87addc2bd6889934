package mysql

import (
	"context"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// killWait bounds the wait for an SQL thread that was killed: it rolls back.
const killWait = 5 * time.Second

// stopBoth stops both threads of c.
//
// MySQL's SQL thread that has got a part of a transaction waits a minute for the
// rest, whoever asks it to stop, and holds all other statements on its channel up.
// The rest does not come any more, as the receiver has stopped: so it is killed,
// before it is asked, and rolls the part back. Nothing is lost, for no part of a
// transaction counts as received.
func (a *actor) stopBoth(ctx context.Context, r *reading, c channel) error {
	if r.state.Flavor == string(gtid.MySQL) && c.SQL == topology.ThreadYes && (c.IO != topology.ThreadNo || c.halfway) {
		var err error
		if r, c, err = a.withoutReceiver(ctx, c); err != nil {
			return err
		}
		if c.halfway && c.SQL == topology.ThreadYes && c.readAll() {
			a.killApplier(ctx, c)
		}
	}
	return a.stop(ctx, r, c, a.session.dialect.stop(c.Channel))
}

// stopIdle stops both threads of c, whose source was closed before. Where all that came
// is applied nothing can come halfway any more, and one statement does: clients wait
// for the new primary meanwhile.
func (a *actor) stopIdle(ctx context.Context, r *reading, c channel) error {
	if c.IO == topology.ThreadYes && !c.halfway && c.readAll() && r.state.HasApplied(c.Received) {
		return a.stop(ctx, r, c, a.session.dialect.stop(c.Channel))
	}
	return a.stopBoth(ctx, r, c)
}

// withoutReceiver stops the IO thread of c where it runs, and reads what c is after that.
func (a *actor) withoutReceiver(ctx context.Context, c channel) (*reading, channel, error) {
	if c.IO != topology.ThreadNo {
		if err := a.do(ctx, a.session.dialect.stopReceiver(c.Channel)); err != nil {
			return nil, c, err
		}
	}
	r, err := a.read(ctx)
	if err != nil {
		return nil, c, err
	}
	if now := r.named(c.Channel); now != nil {
		return r, *now, nil
	}
	return nil, c, a.failed("it has no source any more: someone else made it forget %s", c.Addr)
}

// killApplier kills the SQL thread that has read all, where it is the only one, and
// waits until it has ended. It is an aid: what goes wrong here, STOP will meet again.
func (a *actor) killApplier(ctx context.Context, c channel) {
	list, err := a.processes(ctx, a.session)
	if err != nil {
		return
	}
	var appliers []int
	for _, line := range list {
		if line["User"] == "system user" && strings.Contains(line["State"], "has read all relay log") {
			appliers = append(appliers, line.integer("Id"))
		}
	}
	if len(appliers) != 1 {
		return
	}
	if err := a.do(ctx, a.session.dialect.kill(uint64(appliers[0]))); err != nil {
		a.log.Warn("the SQL thread waits up to a minute for the rest of a transaction, and may not be killed: grant SYSTEM_USER", "error", err)
		return
	}
	a.log.Info("killed the SQL thread, which waited for the rest of a transaction", "channel", c.Channel)
	for deadline := time.Now().Add(killWait); time.Now().Before(deadline); {
		r, err := a.read(ctx)
		if err != nil || !pause(ctx, pollFirst) {
			return
		}
		if now := r.named(c.Channel); now != nil && now.SQL != topology.ThreadYes {
			return
		}
	}
}
