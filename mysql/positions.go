package mysql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// notePositions reads where a channel without GTID positioning stands in the binary
// log of its source.
func (c *channel) notePositions(line row, names channelNames) {
	if c.GTID {
		return
	}
	src := names.source
	c.ReadTo = coordinates(line[src+"_Log_File"], line["Read_"+src+"_Log_Pos"])
	c.AppliedTo = coordinates(line["Relay_"+src+"_Log_File"], line["Exec_"+src+"_Log_Pos"])
	if c.SourceID = line.get(src+"_UUID", src+"_Server_Id"); c.SourceID == "0" {
		c.SourceID = "" // not connected since the server started
	}
}

// coordinates are zero where one of the two is missing.
func coordinates(file, pos string) topology.Coordinates {
	n, err := strconv.ParseUint(pos, 10, 64)
	if err != nil || file == "" || n == 0 {
		return topology.Coordinates{}
	}
	return topology.Coordinates{File: file, Pos: n}
}

// An SQL thread that stands before the end of what was received must say for long, and
// often, that it has read all, before that is believed: the rest then is a part of a
// transaction. The time alone says nothing of a machine that stood still meanwhile.
const (
	calm         = 200 * time.Millisecond
	calmReadings = 5
)

// quiet counts the readings which say that all was read, at one place.
type quiet struct {
	since    time.Time
	at       topology.Coordinates
	readings int
}

// lasts takes one more such reading; it says whether they are to be believed.
func (q *quiet) lasts(at topology.Coordinates, now time.Time) bool {
	if q.readings == 0 || q.at != at {
		*q = quiet{since: now, at: at}
	}
	q.readings++
	return q.readings >= calmReadings && now.Sub(q.since) > calm
}

// Locate lets step.Target apply all that it received, or where step.Source is named all
// that this one, closed, has in its binary log. Then it stops the target's replication
// and says where the target stands: in the log of its source, and in its own. What it
// says holds as long as nobody writes there or starts replication. An error is an
// [*Error].
func (s *Servers) Locate(ctx context.Context, step failover.Step) (found failover.Anchor, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.waitOf(step))
	defer cancel()
	found.Target = step.Target
	err = s.as(ctx, string(step.Do), step.Target, func(ctx context.Context, a *actor) error {
		var rest restOf
		if step.Source != "" {
			rest = func(at topology.Coordinates) (string, bool, error) { return s.closedLogAfter(ctx, step, at) }
		}
		if found.Source, err = a.settleAt(ctx, rest); err != nil {
			return err
		}
		found.Whole = step.Source != ""
		found.At, err = a.logEnd(ctx)
		return err
	})
	return found, err
}

// restOf tells of a binary log that ends what comes after a place: the first event of a
// transaction, empty without one, and whether nothing at all comes.
type restOf func(topology.Coordinates) (missing string, end bool, err error)

// closedLogAfter names what comes after a place in the binary log of step.Source, which
// must not take writes.
func (s *Servers) closedLogAfter(ctx context.Context, step failover.Step, at topology.Coordinates) (missing string, end bool, err error) {
	err = s.as(ctx, string(step.Do), step.Source, func(ctx context.Context, a *actor) error {
		r, err := a.read(ctx)
		switch {
		case err != nil:
			return err
		case !a.session.dialect.isReadOnly(r.state):
			return a.failed("it still takes writes, so nobody can have all of its binary log")
		}
		if missing, err = a.logAfter(ctx, at); err != nil || missing != "" {
			return err
		}
		ends, err := a.logEnd(ctx)
		end = ends == at
		return err
	})
	return missing, end, err
}

// settleAt applies, stops replication and says up to where the source's binary log was
// executed. `rest` tells what of that log comes after a place, and all of it is waited
// for; nil for no more than what was received.
//
// Only a stopped SQL thread says exactly where it stands: one with parallel workers
// notes it a few times a second.
func (a *actor) settleAt(ctx context.Context, rest restOf) (topology.Coordinates, error) {
	var none topology.Coordinates
	r, c, err := a.byPosition(ctx)
	if err != nil {
		return none, err
	}
	if rest == nil && c.IO != topology.ThreadNo {
		if err := a.stop(ctx, r, *c, a.session.dialect.stopReceiver(c.Channel)); err != nil {
			return none, err
		}
	}
	if c, err = a.settle(ctx, rest); err != nil {
		return none, err
	}
	if rest == nil && c.AppliedTo != c.ReadTo {
		// What is not applied gets lost: an SQL thread that begins anew must agree.
		if c, err = a.settle(ctx, rest); err != nil {
			return none, err
		}
	}
	if rest != nil {
		if missing, _, err := rest(c.AppliedTo); err != nil {
			return none, err
		} else if missing != "" {
			return none, a.unsettled(c, missing, fmt.Errorf("it wrote that meanwhile"))
		}
	}
	return c.AppliedTo, nil
}

// settle waits until all is applied, stops both threads and reads where they stand.
func (a *actor) settle(ctx context.Context, rest restOf) (*channel, error) {
	r, c, err := a.allApplied(ctx, rest)
	if err != nil {
		return nil, err
	}
	if err := a.stopBoth(ctx, r, *c); err != nil {
		return nil, err
	}
	_, c, err = a.byPosition(ctx)
	return c, err
}

// allApplied waits until a running SQL thread has applied all, see settleAt.
func (a *actor) allApplied(ctx context.Context, rest restOf) (*reading, *channel, error) {
	var still quiet
	for delay := pollFirst; ; delay = min(2*delay, pollMost) {
		r, c, err := a.byPosition(ctx)
		if err == nil {
			err = a.applies(ctx, c)
		}
		if err != nil {
			return nil, nil, err
		}
		missing := ""
		switch {
		case !c.readAll() || !r.state.HasApplied(c.Received) || !a.workersRest(ctx, r):
			still = quiet{}
		case rest != nil:
			// Events of no transaction, as at the beginning of a file, are awaited for a
			// while: the other replicas apply them too, and are compared with this one.
			var end bool
			if missing, end, err = rest(c.AppliedTo); err != nil || missing == "" && (end || still.lasts(c.AppliedTo, time.Now())) {
				return r, c, err
			}
		case c.AppliedTo == c.ReadTo, still.lasts(c.AppliedTo, time.Now()):
			return r, c, nil
		}
		if !pause(ctx, delay) {
			return nil, nil, a.unsettled(c, missing, ctx.Err())
		}
	}
}

func (a *actor) unsettled(c *channel, missing string, err error) error {
	what := "apply all that it received"
	if missing != "" {
		what = "have all of " + string(c.Addr) + ", which wrote " + missing
	}
	return &Error{Op: a.op, Addr: a.addr, Err: fmt.Errorf("did not %s in time: it received up to %s and executed up to %s; SQL thread: %s: %w", what, c.ReadTo, c.AppliedTo, c.sqlState, err)}
}

// byPosition reads the server, whose default channel must not position by GTID and
// must say where it stands.
func (a *actor) byPosition(ctx context.Context) (*reading, *channel, error) {
	r, err := a.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	switch c := r.channel(); {
	case c == nil:
		return nil, nil, a.failed("it has no source, so nothing says what it has executed of anybody's binary log")
	case c.GTID:
		return nil, nil, a.failed("it positions by GTID by now")
	case c.AppliedTo.IsZero():
		return nil, nil, a.failed("it does not say up to where it has executed the binary log of %s", c.Addr)
	default:
		return r, c, nil
	}
}

// errWorkersStopped is how an SQL thread of MySQL with parallel workers says that it was
// killed, see stopBoth: where it stands is sound, and a start goes on from there.
const errWorkersStopped = 1756

// applies starts an SQL thread that was stopped by someone; without GTID that leaves
// the relay log alone. One that stopped at an error is an error.
func (a *actor) applies(ctx context.Context, c *channel) error {
	switch {
	case c.SQL == topology.ThreadYes:
		return nil
	case c.SQLErrno != 0 && c.SQLErrno != errWorkersStopped:
		return a.stoppedAtError(*c)
	}
	return a.do(ctx, a.session.dialect.startApplier(c.Channel))
}

// comesTo waits until the server has executed its source's binary log up to a place.
func (a *actor) comesTo(ctx context.Context, at topology.Coordinates) error {
	var last *channel
	for delay := pollFirst; ; delay = min(2*delay, pollMost) {
		_, c, err := a.byPosition(ctx)
		switch {
		case err != nil && last != nil && ctx.Err() != nil:
			return a.notAt(last, at, ctx.Err()) // the time was up in the middle of a reading
		case err != nil:
			return err
		case c.AppliedTo == at:
			return nil
		}
		last = c
		if err := a.applies(ctx, c); err != nil {
			return err
		}
		if !pause(ctx, delay) {
			return a.notAt(c, at, ctx.Err())
		}
	}
}

func (a *actor) notAt(c *channel, at topology.Coordinates, err error) error {
	return &Error{Op: a.op, Addr: a.addr, Err: fmt.Errorf("it received up to %s of the binary log of %s and executed up to %s, and not exactly up to %s: %w", c.ReadTo, c.Addr, c.AppliedTo, at, err)}
}

// pointAt makes the server a replica of step.Source from step.At on, where it stands at
// step.Stands: a replica in the log of the source that it has now, another at the end
// of its own log. Where it stands elsewhere it is left as it was.
func (a *actor) pointAt(ctx context.Context, r *reading, step failover.Step) error {
	c := r.channel()
	if c == nil {
		rest, err := a.logAfter(ctx, step.Stands)
		if err != nil {
			return err
		}
		if rest != "" {
			return a.failed("its binary log goes on after %s, with %s: %s has nothing of that, and without GTID it cannot follow", step.Stands, rest, step.Source)
		}
	} else {
		stood, err := a.standStill(ctx, r)
		if err == nil {
			if _, c, err = a.byPosition(ctx); err == nil && c.AppliedTo != step.Stands {
				err = a.failed("it stands at %s of the binary log of %s and not at %s: without GTID it cannot follow %s", c.AppliedTo, c.Addr, step.Stands, step.Source)
			}
		}
		if err != nil {
			return a.goOn(ctx, stood, err)
		}
		if r, err = a.read(ctx); err != nil {
			return err
		}
	}
	if err := a.setSource(ctx, r, step); err != nil {
		return err
	}
	return a.receives(ctx, step)
}

// logEnd is where the server's own binary log ends.
func (a *actor) logEnd(ctx context.Context) (topology.Coordinates, error) {
	query := a.session.dialect.logEnd()
	res, err := a.ask(ctx, query)
	if err != nil {
		return topology.Coordinates{}, err
	}
	at := coordinates(res.first()["File"], res.first()["Position"])
	if at.IsZero() {
		return at, a.failed("it does not say where its binary log ends (%s): is log_bin on?", query)
	}
	return at, nil
}

// idleEvents are those of a binary log that no transaction makes.
var idleEvents = []string{"Format_desc", "Previous_gtids", "Gtid_list", "Binlog_checkpoint", "Rotate", "Stop", "Heartbeat", "Start_encryption"}

// logPage is how many events of a binary log are read at once.
const logPage = 16

// logAfter names the first event of a transaction after a place in the server's own
// binary log; empty when there is none. That the log ends before the place, or does not
// reach back to it, is an error.
func (a *actor) logAfter(ctx context.Context, at topology.Coordinates) (string, error) {
	files, err := a.ask(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return "", err
	}
	first := slices.IndexFunc(files, func(f row) bool { return f["Log_name"] == at.File })
	switch {
	case first < 0:
		return "", a.failed("it has no binary log %s any more, so it cannot be known whether it ends at %s", at.File, at)
	case uint64(files[first].integer("File_size")) < at.Pos:
		return "", a.failed("its binary log %s is %s bytes long and ends before %s: it has lost what came there", at.File, files[first]["File_size"], at)
	}
	for n, file := range files[first:] {
		from := uint64(4) // after the magic number
		if n == 0 {
			from = at.Pos
		}
		if event, err := a.eventAfter(ctx, topology.Coordinates{File: file["Log_name"], Pos: from}, uint64(file.integer("File_size"))); event != "" || err != nil {
			return event, err
		}
	}
	return "", nil
}

// eventAfter is logAfter within one file of a size.
func (a *actor) eventAfter(ctx context.Context, at topology.Coordinates, size uint64) (string, error) {
	for at.Pos < size {
		events, err := a.ask(ctx, fmt.Sprintf("SHOW BINLOG EVENTS IN %s FROM %d LIMIT %d", quote(at.File), at.Pos, logPage))
		if err != nil {
			return "", err
		}
		for _, event := range events {
			if kind := event["Event_type"]; !slices.Contains(idleEvents, kind) {
				return fmt.Sprintf("%s at %s:%s", kind, at.File, event["Pos"]), nil
			}
			at.Pos = uint64(event.integer("End_log_pos"))
		}
		if len(events) < logPage {
			return "", nil
		}
	}
	return "", nil
}

// ask sends one query.
func (a *actor) ask(ctx context.Context, query string) (result, error) {
	results, err := a.session.query(ctx, query)
	switch {
	case lacksPrivilege(err):
		return nil, a.fail(plain("%s", query), fmt.Errorf("grant what PositionGrants lists: %w", err))
	case err != nil:
		return nil, a.fail(plain("%s", query), err)
	case len(results) != 1:
		return nil, a.fail(plain("%s", query), fmt.Errorf("%w: %d results for one statement", errGarbled, len(results)))
	}
	return results[0], nil
}
