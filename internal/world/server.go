package world

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// txn is a transaction; all servers that have it share it.
type txn struct {
	origin uint32 // id of the server that wrote it
	seq    uint64
	write  int  // the client's, from 1; 0: an operator's own
	errant bool // written where nothing should have been written
}

func (t *txn) gtid() string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("0-%d-%d", t.origin, t.seq)
}

// server is a model of a MariaDB in GTID strict mode. What is guarded by the
// world's mutex, and waits for nothing while it holds it.
type server struct {
	w    *World
	addr topology.Addr
	host string
	id   uint32

	up       bool
	born     int // counts starts: connections to an earlier life are broken
	started  time.Time
	readOnly bool
	closed   bool   // by Remora, and nothing happened to it since
	log      []*txn // the binary log: everything executed, in order
	at       map[*txn]int
	got      map[*txn]time.Time // when each was written or received here
	synced   int                // how much of the log a crash of the machine leaves
	unsynced map[int]bool       // the writes that such crashes took
	fault    serverFault

	source     topology.Addr // empty: no replica
	io         topology.Thread
	ioError    string
	sql        bool
	sqlError   string
	untried    bool
	ioStop     context.CancelFunc
	relay      []*txn // received and not applied
	received   *txn   // newest that was received
	pulse      int    // changes with everything that comes from the source
	stalled    time.Time
	delay      time.Duration // what the SQL thread takes for a transaction
	waking     bool
	attached   map[topology.Addr]bool // replicas that read the log; true: as semi-sync replicas
	semiSource bool
	semiWait   int
	semiRepl   bool

	row     chan struct{} // the lock on the register's row
	commits map[*txn]*commit
	probers map[*prober]bool
	changed chan struct{} // closed and replaced when the log grew or roles changed

	executed gtid.Set // of the first `counted` entries
	heads    []string
	counted  int
}

// serverFault is how a server misbehaves beyond being down or frozen.
type serverFault string

const (
	answersNonsense serverFault = "nonsense"
	refusesLogins   serverFault = "too many connections"
	failsActs       serverFault = "fails acts"
)

// commit is a transaction that waits for acknowledgements.
type commit struct {
	acks   map[topology.Addr]bool
	done   chan struct{} // acknowledged
	killed chan struct{} // its session ended; the transaction stays
}

func newServer(w *World, host string, id uint32) *server {
	return &server{
		w: w, addr: topology.Addr(host + ":3306"), host: host, id: id, up: true, started: time.Now(), io: topology.ThreadNo,
		at: map[*txn]int{}, got: map[*txn]time.Time{}, attached: map[topology.Addr]bool{}, row: make(chan struct{}, 1), commits: map[*txn]*commit{},
		probers: map[*prober]bool{}, changed: make(chan struct{}), semiWait: 1, unsynced: map[int]bool{},
	}
}

func (s *server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) head() *txn {
	if len(s.log) == 0 {
		return nil
	}
	return s.log[len(s.log)-1]
}

func (s *server) append(t *txn) {
	s.at[t] = len(s.log)
	s.note(t)
	s.log = append(s.log, t)
	s.notify()
}

// note keeps when a transaction came here first.
func (s *server) note(t *txn) {
	if _, ok := s.got[t]; !ok {
		s.got[t] = time.Now()
	}
}

// nextSeq is what a new transaction gets: the domain's numbers go on.
func (s *server) nextSeq() uint64 {
	if h := s.head(); h != nil {
		return h.seq + 1
	}
	return 1
}

// Errors of a client's statement.
var (
	errReadOnly = errors.New("1290: the server is running with the --read-only option")
	errLost     = errors.New("2013: lost connection during the query")
	errRefused  = errors.New("2003: connection refused")
)

// write swaps the register for the client's write and says what it held. An
// errLost leaves open whether the transaction exists.
func (s *server) write(id int) (before int, err error) {
	s.w.mu.Lock()
	born := s.born
	up, ro := s.up, s.readOnly
	s.w.mu.Unlock()
	switch {
	case !up:
		return 0, errRefused
	case ro:
		return 0, errReadOnly
	}
	select {
	case s.row <- struct{}{}:
	case <-s.w.ctx.Done():
		return 0, errLost
	}
	defer func() { <-s.row }()
	if s.w.net.thawed(s.w.ctx, s.host, s.w.ctx.Done()) != nil {
		return 0, errLost
	}
	s.w.mu.Lock()
	switch {
	case !s.up || s.born != born:
		s.w.mu.Unlock()
		return 0, errLost
	case s.readOnly:
		s.w.mu.Unlock()
		return 0, errReadOnly
	}
	before = s.register()
	t := &txn{origin: s.id, seq: s.nextSeq(), write: id}
	c := &commit{acks: map[topology.Addr]bool{}, done: make(chan struct{}), killed: make(chan struct{})}
	waits := s.semiSource
	if waits {
		s.commits[t] = c
	} else {
		time.AfterFunc(syncDelay, func() { s.sync(born, t) })
	}
	s.append(t)
	s.w.mu.Unlock()
	if !waits {
		return before, nil
	}
	select {
	case <-c.done:
		return before, nil
	case <-c.killed:
		return 0, errLost
	case <-s.w.ctx.Done():
		return 0, errLost
	}
}

// syncDelay is how long after a commit the disk has it, where nobody waits for that.
const syncDelay = 20 * time.Millisecond

func (s *server) sync(born int, t *txn) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if i, ok := s.at[t]; ok && s.born == born {
		s.synced = max(s.synced, i+1)
	}
}

// register is the newest client's write in the log.
func (s *server) register() int {
	for i := len(s.log) - 1; i >= 0; i-- {
		if s.log[i].write != 0 {
			return s.log[i].write
		}
	}
	return 0
}

// acknowledge notes that a semi-sync replica has a transaction.
func (s *server) acknowledge(t *txn, by topology.Addr) {
	c := s.commits[t]
	if c == nil {
		return
	}
	c.acks[by] = true
	if len(c.acks) >= s.semiWait {
		s.w.vouchers[t.write] = c.acks
		delete(s.commits, t)
		close(c.done)
	}
}

// endSessions breaks every commit that waits; the caller holds the mutex.
func (s *server) endSessions() {
	for t, c := range s.commits {
		delete(s.commits, t)
		close(c.killed)
	}
}

// crash ends the server; `lose` says that the machine went down with it, so that
// what was not synced is gone.
func (s *server) crash(lose bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if !s.up {
		return
	}
	s.up, s.closed = false, false
	s.born++
	s.stopIO()
	s.endSessions()
	s.attached = map[topology.Addr]bool{}
	if lose && !s.semiSource && s.synced < len(s.log) && s.source == "" {
		for _, t := range s.log[s.synced:] {
			delete(s.at, t)
			s.unsynced[t.write] = true
		}
		s.log = s.log[:s.synced]
		s.counted, s.heads = 0, nil
	}
	s.notify()
	for p := range s.probers {
		p.broke()
	}
	s.probers = map[*prober]bool{}
}

// restart starts a server that is down: read-only, and replicating again where it
// did. With its disk lost it is empty.
func (s *server) restart(diskLost bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.up {
		return
	}
	s.up, s.readOnly, s.started = true, true, time.Now()
	s.born++
	if diskLost {
		for _, acks := range s.w.vouchers {
			delete(acks, s.addr)
		}
		s.log, s.at, s.relay, s.received, s.source, s.synced = nil, map[*txn]int{}, nil, nil, "", 0
		s.counted, s.heads = 0, nil
		s.semiSource, s.semiRepl = false, false
	}
	if s.source != "" {
		s.startSQL()
		s.startIO()
	}
	s.notify()
}

// state is what a probe reads; the caller holds the mutex.
func (s *server) state() *topology.State {
	st := &topology.State{
		Flavor: "mariadb", Version: "10.11.6-MariaDB", ServerID: s.id, ReportedAs: s.addr,
		ReadOnly: s.readOnly, LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDMode: "ON", GTIDStrict: true,
		Executed: s.set(), Uptime: topology.Duration(time.Since(s.started)), MaxConnections: 100,
		SemiSync: topology.SemiSync{
			SourceEnabled: s.semiSource, SourceActive: s.semiSource, WaitCount: s.semiWait, Waiting: len(s.commits),
			ReplicaEnabled: s.semiRepl, ReplicaActive: s.acknowledges(),
			Timeout: topology.Forever, WaitPoint: "AFTER_SYNC", WaitsAlone: true,
		},
	}
	for a, semi := range s.attached {
		st.Replicas = append(st.Replicas, a)
		if semi {
			st.SemiSync.Clients++
		}
	}
	st.Replicas = topology.SortAddrs(st.Replicas)
	if s.source == "" {
		return st
	}
	src := topology.Source{
		Addr: s.source, IO: s.io, SQL: topology.ThreadNo, Untried: s.untried, GTID: true,
		IOError: s.ioError, IOErrno: errno(s.ioError), SQLError: s.sqlError, SQLErrno: errno(s.sqlError),
		Heartbeat: topology.Duration(s.w.timing.Beat),
	}
	if s.sql {
		src.SQL = topology.ThreadYes
		lag := topology.Duration(0)
		if len(s.relay) > 0 {
			lag = topology.Duration(time.Second)
		}
		if s.io == topology.ThreadYes {
			src.Lag = &lag
		}
	}
	if s.received != nil {
		src.Received = gtid.MustParse(s.received.gtid())
	}
	st.Sources = []topology.Source{src}
	return st
}

// acknowledges says whether this replica's connection is a semi-sync one.
func (s *server) acknowledges() bool {
	src := s.w.server(s.source)
	return src != nil && src.attached[s.addr]
}

// errno is the number at the beginning of an error's text.
func errno(text string) int {
	number, _, _ := strings.Cut(text, ":")
	n, _ := strconv.Atoi(number)
	return n
}

// set is gtid_binlog_state: of each origin the newest number.
func (s *server) set() gtid.Set {
	if s.counted == len(s.log) && s.heads != nil {
		return s.executed
	}
	newest := map[uint32]uint64{}
	var order []uint32
	for _, t := range s.log {
		if newest[t.origin] == 0 {
			order = append(order, t.origin)
		}
		newest[t.origin] = t.seq
	}
	s.heads = []string{}
	for _, o := range order {
		s.heads = append(s.heads, "0-"+strconv.Itoa(int(o))+"-"+strconv.FormatUint(newest[o], 10))
	}
	s.counted = len(s.log)
	s.executed = gtid.MustParse(strings.Join(s.heads, ","))
	return s.executed
}

// has says whether every transaction of another's log is in this one's, applied
// or waiting in the relay log.
func (s *server) has(o *server) bool { return len(s.lacks(o)) == 0 }

// lacks are the other's transactions that this one has not even received.
func (s *server) lacks(o *server) []*txn {
	relay := map[*txn]bool{}
	for _, t := range s.relay {
		relay[t] = true
	}
	var missing []*txn
	for _, t := range o.log {
		if _, ok := s.at[t]; !ok && !relay[t] {
			missing = append(missing, t)
		}
	}
	return missing
}
