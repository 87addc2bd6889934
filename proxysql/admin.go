package proxysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Admin speaks to one ProxySQL's admin interface over one connection that it
// keeps open. Its methods may be called from any goroutine: what several ask for at one
// time is read and written together, see [Admin.work].
type Admin struct {
	cfg     Config
	log     *slog.Logger
	onBreak func()
	db      *sql.DB
	turn    chan struct{} // holds one token: whose turn it is
	id      string        // of this Admin, the first part of its tickets

	mu      sync.Mutex
	waiting []*task // for the next round
	working bool    // rounds are being done
	worker  sync.WaitGroup
	arrived chan struct{} // tells the rounds that somebody new waits

	// What follows belongs to whose turn it is.
	conn    *sql.Conn    // nil: to be made
	wire    *watchedConn // beneath conn
	tickets int
	version string
	tables  map[string]bool // that this ProxySQL has
	cluster clustering
	kills   bool              // see killsGone
	checked time.Time         // when cluster and kills were read
	warned  map[string]string // what was last logged of a cluster
	refused map[refusal]bool  // of which clusters something was refused
}

// New makes an Admin; it connects when first used. onBreak is called at once, from
// a goroutine of the connection, when an open connection breaks: ProxySQL was
// stopped, killed or restarted. It must not block; it may be nil.
func New(cfg Config, log *slog.Logger, onBreak func()) *Admin {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if onBreak == nil {
		onBreak = func() {}
	}
	a := &Admin{cfg: cfg, log: log.With("proxysql", cfg.Addr), onBreak: onBreak, turn: make(chan struct{}, 1), id: randomID(),
		arrived: make(chan struct{}, 1), warned: map[string]string{}, refused: map[refusal]bool{}}
	dsn := mysql.NewConfig()
	dsn.User, dsn.Passwd, dsn.Net, dsn.Addr = cfg.User, cfg.Password, "tcp", cfg.Addr
	dsn.Logger = &mysql.NopLogger{} // what it would print is in the errors too
	dsn.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) {
		wire, err := dial(ctx, addr, a.onBreak)
		if err != nil {
			return nil, err
		}
		a.wire = wire // during connect, in whose turn it is
		return wire, nil
	}
	connector, err := mysql.NewConnector(dsn)
	if err != nil { // a configuration that only code can make wrong
		panic(fmt.Sprintf("proxysql: %v", err))
	}
	a.db = sql.OpenDB(connector)
	a.db.SetMaxIdleConns(-1) // a connection given back is closed
	a.turn <- struct{}{}
	return a
}

func randomID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Close ends the connection, after the operation under way. The Admin is of no
// further use.
func (a *Admin) Close() {
	<-a.turn
	a.drop()
	_ = a.db.Close()
	a.turn <- struct{}{}
	a.worker.Wait()
}

// begin waits for the turn and for a connection.
func (a *Admin) begin(ctx context.Context) (end func(), err error) {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("proxysql %s: wait for another operation: %w: %w", a.cfg.Addr, ErrUnreachable, context.Cause(ctx))
	}
	if err := a.connect(ctx); err != nil {
		a.turn <- struct{}{}
		return nil, err
	}
	return func() { a.turn <- struct{}{} }, nil
}

// connect makes the connection where there is none that is whole, and learns
// whom it speaks to.
func (a *Admin) connect(ctx context.Context) error {
	if a.conn != nil && !a.wire.broken() {
		return nil
	}
	a.drop()
	dctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	conn, err := a.db.Conn(dctx)
	if err != nil {
		return a.explain("connect", err)
	}
	a.conn = conn
	if err := a.introduce(ctx); err != nil {
		a.drop()
		return err
	}
	return nil
}

// introduce learns ProxySQL's version, its tables and its clustering.
func (a *Admin) introduce(ctx context.Context) error {
	rows, err := a.query(ctx, statement{"read version", "SELECT version()"})
	if err != nil {
		return err
	}
	if len(rows) == 1 && len(rows[0]) == 1 {
		a.version = rows[0][0]
	}
	rows, err = a.query(ctx, statement{"read tables", "SELECT name FROM sqlite_master WHERE type = 'table'"})
	if err != nil {
		return err
	}
	a.tables = make(map[string]bool, len(rows))
	for _, r := range rows {
		a.tables[r[0]] = true
	}
	return a.readClustering(ctx)
}

func (a *Admin) readClustering(ctx context.Context) error {
	a.cluster, a.kills, a.checked = clustering{}, false, time.Now()
	if !a.tables["runtime_proxysql_servers"] {
		return nil
	}
	rows, err := a.query(ctx, statement{"read clustering", readPeers})
	if err != nil {
		return err
	}
	if len(rows) == 1 && len(rows[0]) == 1 {
		a.cluster.peers, _ = strconv.Atoi(rows[0][0])
	}
	if rows, err = a.query(ctx, statement{"read settings", readSetUp}); err != nil {
		return err
	}
	for _, r := range rows { // a stand-in may know no such variable
		switch {
		case len(r) != 2:
		case r[0] == syncLimit:
			a.cluster.diffs, _ = strconv.Atoi(r[1])
		case r[0] == killsGone:
			a.kills = r[1] == "true"
		}
	}
	return nil
}

// drop throws the connection away.
func (a *Admin) drop() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
	if a.wire != nil {
		_ = a.wire.Close()
		<-a.wire.pumped
		a.wire = nil
	}
}

// query runs a SELECT and returns its rows as text, NULL as "".
func (a *Admin) query(ctx context.Context, st statement) ([][]string, error) {
	if a.conn == nil {
		return nil, a.explain(st.name, errNoConnection)
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	rows, err := a.conn.QueryContext(ctx, st.text)
	if err != nil {
		return nil, a.explain(st.name, err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, a.explain(st.name, err)
	}
	var table [][]string
	cells := make([]sql.NullString, len(names))
	into := make([]any, len(names))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, a.explain(st.name, err)
		}
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = c.String
		}
		table = append(table, line)
	}
	if err := rows.Err(); err != nil {
		return nil, a.explain(st.name, err)
	}
	return table, nil
}

// exec runs a statement that returns no rows. How many it changed is not to be
// known: ProxySQL counts on a handle that all sessions share.
func (a *Admin) exec(ctx context.Context, st statement) error {
	if a.conn == nil {
		return a.explain(st.name, errNoConnection)
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	start := time.Now()
	if _, err := a.conn.ExecContext(ctx, st.text); err != nil {
		return a.explain(st.name, err)
	}
	a.log.Debug("admin statement", "statement", st.name, "took", time.Since(start))
	return nil
}

var errNoConnection = errors.New("the connection was lost before")

// explain names the statement that failed. Unless the admin interface itself
// answered with an error, the connection is thrown away: nothing is known of what
// is still under way on it.
func (a *Admin) explain(name string, err error) error {
	var refusal *mysql.MySQLError
	if errors.As(err, &refusal) {
		return fmt.Errorf("proxysql %s: %s: %w: %s", a.cfg.Addr, name, ErrRefused, refusal.Message)
	}
	a.drop()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("proxysql %s: %s: %w within %s: %w", a.cfg.Addr, name, ErrUnreachable, a.cfg.Timeout, err)
	}
	return fmt.Errorf("proxysql %s: %s: %w: %w", a.cfg.Addr, name, ErrUnreachable, err)
}

// ticket is one that was never used before.
func (a *Admin) ticket() string {
	a.tickets++
	return fmt.Sprintf("%s-%d", a.id, a.tickets)
}

// read takes the states of clusters as q says, which need not name the tables.
func (a *Admin) read(ctx context.Context, q reading) ([]*state, error) {
	q.tables, q.epoch = a.tables, a.tables["remora_epoch"] && !q.blind
	states, err := a.readOnce(ctx, q)
	switch {
	case q.blind, err != nil && !(q.epoch && errors.Is(err, ErrRefused)), err == nil && states[0].hasTable == q.epoch:
		return states, err
	}
	// The table came or went since we looked last; a table that is there and still
	// cannot be read is none of ours.
	q.epoch = !q.epoch
	a.tables["remora_epoch"] = q.epoch
	again, failure := a.readOnce(ctx, q)
	if failure == nil && again[0].hasTable && !q.epoch {
		return nil, err
	}
	return again, failure
}

func (a *Admin) readOnce(ctx context.Context, q reading) ([]*state, error) {
	rows, err := a.query(ctx, statement{"read servers", q.sql()})
	if err != nil {
		return nil, err
	}
	states, err := q.parse(rows)
	if err != nil {
		return nil, fmt.Errorf("proxysql %s: read servers: %w", a.cfg.Addr, err)
	}
	return states, nil
}
