package mysql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// dialect is how a kind of server is spoken to. It holds no state: statements
// come out of it, results go into it.
type dialect interface {
	// parts are the statements of a reading, in the order in which they are sent.
	parts() []part
	// parse makes a reading of the parts' results, by their names. A part that was
	// denied is absent.
	parse(results map[string]result) (*reading, error)

	readOnly(on bool) statement
	isReadOnly(*topology.State) bool
	// askReadOnly asks for that alone, as "closed": all of a reading takes longer, and clients
	// wait meanwhile.
	askReadOnly() string
	kill(id uint64) statement

	stop(channel string) statement         // both threads
	stopReceiver(channel string) statement // the IO thread
	start(channel string) statement
	startApplier(channel string) statement // the SQL thread
	// keepRelayLog is what comes before startApplier where both threads are stopped,
	// so that the start does not throw away what the relay log holds, and what comes
	// when all is applied; an error when it cannot be had.
	keepRelayLog(*reading, channel) (before, after []statement, err error)
	forget(channel string) statement // the source and its credentials

	// await is a query that returns when the server has executed set, or after
	// about `most`; ok is false when the server cannot be asked so.
	await(set gtid.Set, most time.Duration) (query string, ok bool)

	// hastenStop says that the stop of a receiver whose source is frozen would hang
	// unless its thread was killed before, see actor.stop.
	hastenStop(*reading) bool
	// semiSync sets semi-sync as planned, all in one statement; empty where there is
	// nothing to set, an error when the server cannot.
	semiSync(*reading, semiSyncPlan) (statement, error)
	// freeAcks turns off what makes a session wait for an acknowledgement, and on again;
	// ok is false where the end of a session ends its wait.
	freeAcks(*reading) (off, on statement, ok bool)
	// busyWorker says of a line of the process list that it is a parallel thread which
	// applies something now.
	busyWorker(line row) bool
	// firstFailure asks for the number and message of the error that the parallel threads
	// of a channel stopped with first; ok is false where SHOW SLAVE STATUS has it.
	firstFailure(channel string) (query string, ok bool)
	// adopt lets a server that wrote by itself replicate from where it stands.
	adopt(*reading) ([]statement, error)
	// undoSession prepares a session that puts rows back unlogged, also on a server
	// that is closed, and ends it.
	undoSession() undoing
	// restart drops the binary logs and makes the server stand at a position; an empty
	// one keeps what it received by replication.
	restart(position gtid.Set) []statement
	// pointsRunning says that the receiver alone has to be stopped for a source, see
	// pointing.running.
	pointsRunning() bool
	// point makes a source; replication is stopped.
	point(pointing) statement

	// logEnd asks where the own binary log ends: columns File, Position.
	logEnd() string

	// sleepingEvents lists events that are off because their server was a replica:
	// columns db, name, definer.
	sleepingEvents() string
	wakeEvent(db, name, definer string) statement
}

// part is one statement of a reading.
type part struct {
	name, sql string
	needs     string // the privilege, for the sentence that asks for it
	essential bool   // a reading without it is not believed
	rare      bool   // it hardly changes: only probers read it, and only now and then
}

// statement is SQL, and how it may be shown: without passwords.
type statement struct{ sql, shown string }

func plain(format string, args ...any) statement {
	s := fmt.Sprintf(format, args...)
	return statement{s, s}
}

// setGlobals sets variables in one statement, from the left to the right; empty for none.
func setGlobals(assignments ...string) statement {
	if len(assignments) == 0 {
		return statement{}
	}
	return plain("SET GLOBAL %s", strings.Join(assignments, ", GLOBAL "))
}

// undoing is what comes before and after rows are put back.
type undoing struct{ before, after []statement }

// semiSyncPlan is what is wanted of semi-sync.
type semiSyncPlan struct {
	source, replica bool
	waitCount       int
	timeout         string // in the server's unit; empty: leave it, and what goes with it
}

// endlessTimeout is a time-out in milliseconds that never comes, and small enough
// that no server overflows when it adds it to a time.
const endlessTimeout = "1000000000000000000"

// pointing is what a replica is to be told of its source.
type pointing struct {
	channel        string
	source         topology.Addr
	user, password string               // user is empty: keep the account
	at             topology.Coordinates // where in the source's binary log; zero: by GTID
	heartbeat      time.Duration
	retry          time.Duration
	tls            *bool // nil: keep what is configured
	plain          bool  // the connection will not be encrypted
	running        bool  // the SQL thread runs, so only what the receiver needs may be said; it goes by GTID already, and does not wander
}

// reading is all that was read of a server in one round trip.
type reading struct {
	state    *topology.State
	channels []channel
	semiSync semiSyncWords
	applied  gtid.Set // gtid_slave_pos (MariaDB)
	workers  int      // parallel threads that apply, 0 for none (MariaDB)
}

// semiSyncWords are the words in the names of semi-sync's variables: "master" or
// "source", "slave" or "replica"; empty where the server has no such variable.
type semiSyncWords struct{ source, replica string }

// channel is a replication channel, with what only this package needs to know.
type channel struct {
	topology.Source
	pulse              string // changes with everything that arrives from the source
	sqlState           string // what the SQL thread says that it does
	logFile            string // the source's binary log being received; empty until something came
	received, executed string // positions in the source's binary logs
	relayFile          string // where in the relay logs the SQL thread stands
	relayPos           int
	user               string
	tls                bool
	keyFile            string // MySQL: the source's public key, for a password over a connection that is not encrypted
	halfway            bool   // MySQL's receiver is, or was stopped, in the middle of a transaction
	wanders            bool   // MySQL changes its source by itself when that is lost
	connectRetry       int    // seconds
	retries            *int   // until the receiver gives up, 0 for never; nil: not told (MariaDB)
}

// readAll says whether the SQL thread waits at the end of the relay log.
func (c *channel) readAll() bool { return strings.Contains(c.sqlState, "has read all relay log") }

// channel is the default channel, or the only one; nil when there is none.
func (r *reading) channel() *channel {
	if c := r.named(""); c != nil || len(r.channels) == 0 {
		return c
	}
	return &r.channels[0]
}

// named is a channel by its name; nil when there is none.
func (r *reading) named(name string) *channel {
	for i := range r.channels {
		if r.channels[i].Channel == name {
			return &r.channels[i]
		}
	}
	return nil
}

// channelFrom is the channel from a source; nil when there is none.
func (r *reading) channelFrom(source topology.Addr) *channel {
	for i := range r.channels {
		if r.channels[i].Addr == source {
			return &r.channels[i]
		}
	}
	return nil
}

// errTooOld is a server that answers in words of its own time.
var errTooOld = errors.New("the server is too old, version")

var versionPattern = regexp.MustCompile(`^(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)`)

// dialectOf chooses by the version of the greeting. MariaDB says "5.5.5-" before
// it in series that old replicas must understand.
func dialectOf(version string) (dialect, error) {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return nil, fmt.Errorf("%w: it calls itself version %q", errGarbled, version)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	switch {
	case strings.Contains(version, "MariaDB"):
		return mariadb{}, nil
	case major < 8:
		return nil, fmt.Errorf("%w %s: MySQL 8.0 is the oldest that Remora speaks to", errTooOld, version)
	case major > 8 || minor > 1:
		return mysql84{}, nil
	default:
		return mysql80{}, nil
	}
}

// release is the version of a server of MySQL's as one number: 80016 for 8.0.16.
func (r *reading) release() int {
	m := versionPattern.FindStringSubmatch(r.state.Version)
	if m == nil {
		return 0
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	patch, _ := strconv.Atoi(m[3])
	return major*10000 + minor*100 + patch
}

// read asks for all parts in one round trip. Parts that the account may not see
// are left out from then on; the error of such a part is in s.denied.
func (s *session) read(ctx context.Context) (*reading, error) {
	return s.readAfter(ctx, "")
}

// readAfter sends a query before the reading, in the same round trip.
func (s *session) readAfter(ctx context.Context, first string) (*reading, error) {
	q := s.question()
	text, want := q.text, len(q.parts)
	if first != "" {
		text, want = first+";"+text, want+1
	}
	results, free, err := s.ask(ctx, text)
	defer free()
	if lacksPrivilege(err) {
		return s.readOneByOne(ctx)
	}
	if err != nil {
		if s.heard && ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", errStalled, err)
		}
		return nil, err
	}
	if len(results) != want {
		return nil, fmt.Errorf("%w: %d results for %d statements", errGarbled, len(results), want)
	}
	if first != "" {
		results = results[1:]
	}
	byName := make(map[string]result, len(q.parts))
	for i, p := range q.parts {
		byName[p.name] = results[i]
	}
	r, err := s.dialect.parse(s.withRare(byName))
	if err != nil {
		return nil, err
	}
	r.own()
	return r, nil
}

// own makes the texts that outlast the answer copies: each is a part of a row, which is long where a replica lists
// GTID sets, and stays in memory as long as any part of it does.
func (r *reading) own() {
	st := r.state
	for _, text := range []*string{&st.Version, &st.ServerUUID, &st.BinlogFormat, &st.GTIDMode, &st.SemiSync.WaitPoint} {
		*text = strings.Clone(*text)
	}
	for i := range st.Sources {
		ownSource(&st.Sources[i])
	}
	for i := range r.channels {
		ownSource(&r.channels[i].Source)
	}
}

func ownSource(s *topology.Source) {
	for _, text := range []*string{&s.Channel, &s.IOError, &s.SQLError, &s.SourceID, &s.ReadTo.File, &s.AppliedTo.File} {
		*text = strings.Clone(*text)
	}
}

// rareEvery is how old what hardly changes may get.
const rareEvery = time.Minute

// withRare keeps the parts that are read now and then, and adds them to a reading
// without.
func (s *session) withRare(results map[string]result) map[string]result {
	for _, p := range s.dialect.parts() {
		if !p.rare {
			continue
		}
		if res, read := results[p.name]; read {
			s.rare[p.name], s.rareAt = res.clone(), time.Now()
		} else if res, kept := s.rare[p.name]; kept {
			results[p.name] = res
		}
	}
	return results
}

// question is parts that are asked for together, and their text.
type question struct {
	parts []part
	text  string
}

// question is of the parts that are due and not known to be denied.
func (s *session) question() *question {
	which := 0
	if s.rare != nil && time.Since(s.rareAt) >= rareEvery {
		which = 1
	}
	if s.questions[which] == nil {
		s.questions[which] = s.common(which == 1)
	}
	return s.questions[which]
}

// questions are those of which nothing is denied, by what they depend on: thousands of sessions ask the same.
var questions sync.Map

// common is the question that all sessions of the dialect ask, or this one's own where something is denied.
func (s *session) common(rare bool) *question {
	if len(s.denied) > 0 {
		return s.compose(rare)
	}
	of := struct {
		dialect
		rare bool
	}{s.dialect, rare}
	if q, ok := questions.Load(of); ok {
		return q.(*question)
	}
	q, _ := questions.LoadOrStore(of, s.compose(rare))
	return q.(*question)
}

func (s *session) compose(rare bool) *question {
	q := &question{}
	var texts []string
	for _, p := range s.dialect.parts() {
		if (!p.rare || rare) && s.denied[p.name] == nil {
			q.parts, texts = append(q.parts, p), append(texts, p.sql)
		}
	}
	q.text = strings.Join(texts, ";")
	return q
}

// readOneByOne finds out which parts are denied.
func (s *session) readOneByOne(ctx context.Context) (*reading, error) {
	byName := map[string]result{}
	var essential error
	defer func() { s.questions = [2]*question{} }()
	for _, p := range s.question().parts {
		results, err := s.query(ctx, p.sql)
		switch {
		case lacksPrivilege(err):
			if s.denied == nil {
				s.denied = map[string]error{}
			}
			s.denied[p.name] = fmt.Errorf("cannot read the %s, grant %s: %w", p.name, p.needs, err)
			if p.essential {
				essential = s.denied[p.name]
			}
			continue
		case err != nil:
			return nil, err
		case len(results) != 1:
			return nil, fmt.Errorf("%w: %d results for one statement", errGarbled, len(results))
		}
		byName[p.name] = results[0]
	}
	if essential != nil {
		return nil, essential
	}
	return s.dialect.parse(s.withRare(byName))
}
