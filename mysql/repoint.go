package mysql

import (
	"context"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// settle bounds the wait for an IO thread that connects without an error.
const settle = 2 * time.Second

// repoint makes the server a replica of step.Source: read-only, with GTIDs, or by
// position where the step names one, and verified to receive.
func (a *actor) repoint(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	if r.state.MultiSource() {
		return a.failed("it replicates from several sources, and such a replica is left alone: point its channel to %s by hand", step.Source)
	}
	if r.state.Member != "" {
		return a.failed("it is managed by %s, and such a server is left alone: point its channel to %s with the tools of that cluster", r.state.Member, step.Source)
	}
	if !a.session.dialect.isReadOnly(r.state) {
		if err := a.closeWrites(ctx); err != nil {
			return err
		}
		if r, err = a.read(ctx); err != nil {
			return err
		}
	}
	if _, err := a.semiSync(r, step.SemiSync); err != nil {
		return err
	}
	c := r.channel()
	byPosition := !step.At.IsZero()
	if c != nil && c.Addr == step.Source && (c.GTID || byPosition) && !c.wanders && c.IOErrno == 0 && c.SQLErrno == 0 {
		return a.resume(ctx, r, c, step)
	}
	if byPosition {
		return a.pointAt(ctx, r, step)
	}
	if err := a.setSource(ctx, r, step); err != nil {
		return err
	}
	return a.receives(ctx, step)
}

// startReplica starts what is stopped of the replication from step.Source.
func (a *actor) startReplica(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	c := r.channelFrom(step.Source)
	if c == nil {
		return a.failed("it is to replicate from %s and does not: someone else repoints it", step.Source)
	}
	if _, err := a.semiSync(r, step.SemiSync); err != nil {
		return err
	}
	return a.resume(ctx, r, c, step)
}

// resume is for a server that has the right source: what is missing is added.
func (a *actor) resume(ctx context.Context, r *reading, c *channel, step failover.Step) error {
	semiSync := a.checkSemiSync(r, step.SemiSync) != nil
	running := c.IO != topology.ThreadNo && c.SQL != topology.ThreadNo
	if running && !semiSync {
		return a.receives(ctx, step)
	}
	if semiSync {
		if c.IO != topology.ThreadNo {
			// The IO thread takes up the setting when it starts.
			if err := a.stop(ctx, r, *c, a.session.dialect.stopReceiver(c.Channel)); err != nil {
				return err
			}
		}
		if err := a.setSemiSync(ctx, r, step.SemiSync); err != nil {
			return err
		}
	}
	if err := a.do(ctx, a.session.dialect.start(c.Channel)); err != nil {
		return err
	}
	return a.receives(ctx, step)
}

// setSource stops what must not run meanwhile, points replication to step.Source and
// starts it.
func (a *actor) setSource(ctx context.Context, r *reading, step failover.Step) error {
	d := a.session.dialect
	p := pointing{
		source: step.Source, at: step.At, user: a.cfg.ReplicationUser, password: a.cfg.ReplicationPassword,
		heartbeat: a.cfg.Heartbeat.D(), retry: a.cfg.ConnectRetry.D(),
	}
	c := r.channel()
	if p.user == "" && (c == nil || c.user == "") {
		return a.failed("it has no replication account to keep, and replication_user is not configured")
	}
	var before []statement
	switch {
	case c == nil:
		tls := a.cfg.ReplicationTLS == "on"
		p.tls, p.plain = &tls, !tls
		if !p.at.IsZero() {
			break // where it stands needs no GTID
		}
		adopt, err := d.adopt(r)
		if err != nil {
			return a.failed("cannot make it a replica: %w", err)
		}
		before = adopt
	case c.IO != topology.ThreadNo || c.SQL != topology.ThreadNo:
		p.channel, p.plain = c.Channel, !c.tls && c.keyFile == ""
		var err error
		if p.running, err = a.makeWay(ctx, r, *c, p.at); err != nil {
			return err
		}
	default:
		p.channel, p.plain = c.Channel, !c.tls && c.keyFile == ""
	}
	for _, st := range before {
		if err := a.do(ctx, st); err != nil {
			return err
		}
	}
	if err := a.setSemiSync(ctx, r, step.SemiSync); err != nil {
		return err
	}
	for _, st := range []statement{d.point(p), d.start(p.channel)} {
		if err := a.do(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// makeWay stops the threads of c for another source, and says whether the SQL thread
// runs on.
//
// It may where its source is changed without it, see [dialect.pointsRunning], and
// where nothing is left to apply: the relay log is kept then, and what the new source
// may lack must not be applied after all. What came last from a source that was alive
// until now is given a moment; to stop many parallel threads takes longer.
func (a *actor) makeWay(ctx context.Context, r *reading, c channel, at topology.Coordinates) (running bool, err error) {
	d := a.session.dialect
	if !d.pointsRunning() || !c.GTID || c.wanders || !at.IsZero() || c.SQL != topology.ThreadYes {
		return false, a.stopBoth(ctx, r, c)
	}
	alive := c.IO == topology.ThreadYes
	if !drained(r.state, &c) {
		if r, c, err = a.withoutReceiver(ctx, c); err != nil {
			return false, err
		}
	}
	if wake, ok := d.await(c.Received, waitSlice); ok && alive && !c.halfway && !r.state.HasApplied(c.Received) {
		if r, err = a.session.readAfter(ctx, wake); err != nil {
			return false, a.fail(plain("%s", wake), err)
		}
		if now := r.named(c.Channel); now != nil {
			c = *now
		}
	}
	if c.SQL == topology.ThreadYes && !c.halfway && drained(r.state, &c) && a.workersRest(ctx, r) {
		return true, nil
	}
	return false, a.stopBoth(ctx, r, c)
}

// receives waits until something has come from the source. An IO thread that still
// connects at the end of the wait is no failure unless it met an error.
func (a *actor) receives(ctx context.Context, step failover.Step) error {
	bounded, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	delay := pollFirst
	for {
		r, err := a.read(ctx)
		if err != nil {
			return err
		}
		c := r.channelFrom(step.Source)
		switch {
		case c == nil:
			return a.failed("it took %s as its source and then has another: someone else repoints it", step.Source)
		case c.SQLErrno != 0:
			return a.failed("its SQL thread stopped with error %d: %s", c.SQLErrno, c.SQLError)
		case c.IO == topology.ThreadNo && c.IOErrno != 0:
			return a.failed("its IO thread stopped with error %d: %s", c.IOErrno, c.IOError)
		case c.IO == topology.ThreadYes && c.SQL == topology.ThreadYes && c.logFile != "":
			return a.checkSemiSync(r, step.SemiSync)
		}
		if pause(bounded, delay) {
			delay = min(2*delay, pollMost)
			continue
		}
		switch {
		case c.IO == topology.ThreadNo || c.SQL == topology.ThreadNo:
			return a.failed("its threads do not run: IO %s, SQL %s", c.IO, c.SQL)
		case c.IOErrno != 0:
			return a.failed("its IO thread cannot connect, error %d: %s", c.IOErrno, c.IOError)
		}
		return a.checkSemiSync(r, step.SemiSync)
	}
}
