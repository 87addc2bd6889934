package lab

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ServerOptions describe a database server. The zero value but for a name is a small, durable, read-only one.
type ServerOptions struct {
	// Name is unique in the lab.
	Name string
	// Flavor is whose server it is; empty for DefaultFlavor.
	Flavor Flavor
	// ServerID is the replication id; 0 for the next free one.
	ServerID int
	// SemiSync turns the replica's side of semi-synchronous replication on and sets the primary's side up, to wait after
	// the sync of the binary log. The primary's side itself is off at boot, and Topology turns it on at the primary:
	// where it is on, a replica that has no replicas waits for the time-out before it applies its first transaction,
	// and one that has returned from the dead would, too.
	SemiSync bool
	// SemiSyncTimeout is how long a primary waits for a replica before it goes on without; 0 for 10 s.
	SemiSyncTimeout time.Duration
	// DropUnacked makes a server that recovers from a crash cut what no replica acknowledged off its binary log, so that
	// an old primary can rejoin. It is for SemiSync, and for servers that a crash costs the role of primary: one that kept
	// it could lose a transaction that a replica has. MySQL cannot, and ignores it.
	DropUnacked bool
	// Appliers is how many threads apply what a replica receives, in the groups in which the primary committed it; 0 for
	// one. One cannot keep up with a dozen writers, as it syncs its logs for every transaction.
	Appliers int
	// NoGTID makes the server's replication go by file and position. MySQL writes no GTIDs then; MariaDB does, and does not
	// use them.
	NoGTID bool
	// Resumes lets a server that is started again replicate again. By default it waits to be told.
	Resumes bool
	// Writable boots the server with read_only off. By default it boots read-only, so that one that returns from the
	// dead takes no writes.
	Writable bool
	// MaxConnections bounds the clients; 0 for 200.
	MaxConnections int
	// Host is where it runs; nil for the machine itself.
	Host *Host
	// Disk is the size in bytes of a disk of its own for its data, which can be filled; 0 for none. It needs root.
	Disk int64
	// ExtraArgs are added last, so they win over all others.
	ExtraArgs []string
}

// Server is a database server with a data directory of its own. The methods of Process end, freeze and start it; after a
// new start it has the same address and data, and is read-only again unless made Writable.
type Server struct {
	*Process
	// Addr is "host:port", also what the server reports to its source.
	Addr string
	// Host and Port are the parts of Addr.
	Host string
	Port int
	// ServerID is the replication id.
	ServerID int
	// Disk holds its data; nil without one of its own.
	Disk *Disk

	opts    ServerOptions
	engine  engine
	program string
	data    string // the data directory
	db      *sql.DB
	lab     *Lab
}

// Server starts a server that replicates from no one, with the accounts of Users, and waits until it serves.
func (l *Lab) Server(ctx context.Context, opts ServerOptions) (*Server, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	defer leave()
	engine, err := engineOf(opts.Flavor)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	program, err := engine.program()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	dir, err := l.subdir(opts.Name)
	if err != nil {
		return nil, err
	}
	port, err := l.Port()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	if opts.ServerID == 0 {
		opts.ServerID = int(l.serverIDs.Add(1))
	}
	s := &Server{
		Addr: opts.Host.Addr(port), Host: opts.Host.ip(), Port: port, ServerID: opts.ServerID,
		opts: opts, engine: engine, program: program, data: filepath.Join(dir, "data"), lab: l,
	}
	if opts.Disk > 0 {
		if s.Disk, err = l.disk(s.data, opts.Disk); err != nil {
			return nil, fmt.Errorf("start %s: %w", opts.Name, err)
		}
	}
	if err := l.copyTemplate(ctx, engine, program, s.data); err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	if s.db, err = openDB(opts.Host.dsn(s.Addr, RootUser, "")); err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	// A connection that somebody ended on the server says so when it is closed, and that is no failure.
	if err := l.onClose(func() error { _ = s.db.Close(); return nil }); err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	s.Process, err = l.Process(ctx, ProcessOptions{
		Name: opts.Name, Path: program, Args: s.args(l, s.data), Ready: s.ready, Host: opts.Host, dir: dir, as: l.account,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Renew starts the server anew on a data directory that is as fresh as at its first start: it has executed nothing, and
// replicates from no one. It has another replication id, for a replica leaves out what a server of its own id wrote.
func (s *Server) Renew(ctx context.Context) error {
	ctx, leave, err := s.lab.enter(ctx)
	if err != nil {
		return fmt.Errorf("renew %s: %w", s.Name, err)
	}
	defer leave()
	if err := s.Kill(); err != nil {
		return fmt.Errorf("renew %s: %w", s.Name, err)
	}
	old, err := os.ReadDir(s.data) // the directory itself may be a mount
	if err != nil {
		return fmt.Errorf("renew %s: %w", s.Name, err)
	}
	for _, entry := range old {
		if err := os.RemoveAll(filepath.Join(s.data, entry.Name())); err != nil {
			return fmt.Errorf("renew %s: %w", s.Name, err)
		}
	}
	if err := s.lab.copyTemplate(ctx, s.engine, s.program, s.data); err != nil {
		return fmt.Errorf("renew %s: %w", s.Name, err)
	}
	s.ServerID = int(s.lab.serverIDs.Add(1))
	s.Process.opts.Args = s.args(s.lab, s.data)
	return s.Start(ctx)
}

// args are those of the engine, then what the options add.
func (s *Server) args(l *Lab, data string) []string {
	args := s.engine.args(s, data)
	if l.account == nil {
		args = append(args, "--user=root") // what it would refuse without being told; others' it ignores
	}
	return append(args, s.opts.ExtraArgs...)
}

// Flavor is whose server it is.
func (s *Server) Flavor() Flavor { return s.engine.flavor() }

func (s *Server) ready(ctx context.Context) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.db.PingContext(ctx); err != nil {
		return false, err.Error()
	}
	return true, "serves"
}

// DB is a pool of connections as root, closed with the lab.
func (s *Server) DB() *sql.DB { return s.db }

// DSN is the data source name of a user for go-sql-driver, without a database.
func (s *Server) DSN(u User) string { return dsn(s.Addr, u, "").FormatDSN() }

// dsn is for connections from the host.
func (h *Host) dsn(addr string, u User, database string) *mysql.Config {
	cfg := dsn(addr, u, database)
	if h != nil {
		cfg.DialFunc = h.Dial
	}
	return cfg
}

// dsn has no parameter that makes the driver send a SET.
func dsn(addr string, u User, database string) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", addr, u.Name, u.Password, database
	cfg.Timeout = 5 * time.Second
	cfg.Logger = &mysql.NopLogger{} // servers that die are what a lab is for
	return cfg
}

// openDB keeps the configuration's logger, which a data source name cannot hold.
func openDB(cfg *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// The following act as root, in the words of the server's flavor.

// SetWritable lets applications write, or forbids it.
func (s *Server) SetWritable(ctx context.Context, on bool) error {
	if on {
		return s.Exec(ctx, s.engine.words().open)
	}
	return s.Exec(ctx, s.engine.words().close)
}

// Closed tells whether applications may not write.
func (s *Server) Closed(ctx context.Context) (bool, error) {
	row, err := s.Row(ctx, s.engine.words().closed)
	return row["closed"] == "1", err
}

// StartReplication starts both threads of a replica.
func (s *Server) StartReplication(ctx context.Context) error {
	return s.Exec(ctx, s.engine.words().start)
}

// StopReplication stops both.
func (s *Server) StopReplication(ctx context.Context) error {
	return s.Exec(ctx, s.engine.words().stop)
}

// StartReceiver starts the thread that receives from the source.
func (s *Server) StartReceiver(ctx context.Context) error {
	return s.Exec(ctx, s.engine.words().startReceiver)
}

// StopReceiver stops it.
func (s *Server) StopReceiver(ctx context.Context) error {
	return s.Exec(ctx, s.engine.words().stopReceiver)
}

// StartApplier starts the thread that applies what was received.
func (s *Server) StartApplier(ctx context.Context) error {
	return s.Exec(ctx, s.engine.words().startApplier)
}

// StopApplier stops it.
func (s *Server) StopApplier(ctx context.Context) error {
	return s.Exec(ctx, s.engine.words().stopApplier)
}

// SetSemiSync turns the primary's side of semi-sync on or off.
func (s *Server) SetSemiSync(ctx context.Context, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return s.Exec(ctx, fmt.Sprintf("SET GLOBAL %s=%d", s.engine.words().semiSync, value))
}

// SemiSyncClients is how many replicas acknowledge to the primary.
func (s *Server) SemiSyncClients(ctx context.Context) (int, error) {
	return s.counter(ctx, s.engine.words().clients)
}

// AwaitingAcks is how many sessions wait for an acknowledgement.
func (s *Server) AwaitingAcks(ctx context.Context) (int, error) {
	return s.counter(ctx, s.engine.words().waiting)
}

func (s *Server) counter(ctx context.Context, name string) (int, error) {
	row, err := s.Row(ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(row["Value"])
}

// Position is all that the server has executed, as its flavor writes GTIDs; without them it is where its own binary log
// ends, "file:position".
func (s *Server) Position(ctx context.Context) (string, error) {
	w := s.engine.words()
	if s.opts.NoGTID {
		row, err := s.Row(ctx, w.logEnd)
		return row["File"] + ":" + row["Position"], err
	}
	row, err := s.Row(ctx, w.position)
	return row["pos"], err
}

// Replica is what a replica says of its replication.
type Replica struct {
	IO, SQL           string // "Yes", "No", "Connecting", …
	IOError, SQLError string
	SourcePort        int
	Received          string // the GTIDs, as its flavor tells of them
	Delay             int    // seconds
}

// Replica reads the state of replication; nil on a server that has no source.
func (s *Server) Replica(ctx context.Context) (*Replica, error) {
	w := s.engine.words()
	row, err := s.Row(ctx, w.status)
	if err != nil || row == nil {
		return nil, err
	}
	r := &Replica{IO: row[w.io], SQL: row[w.sql], IOError: row[w.ioError], SQLError: row[w.sqlError], Received: row[w.received]}
	r.SourcePort, _ = strconv.Atoi(row[w.sourcePort]) // the server's own numbers
	r.Delay, _ = strconv.Atoi(row[w.delay])
	return r, nil
}

// Exec runs statements as root, one after the other, on one connection.
func (s *Server) Exec(ctx context.Context, statements ...string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.Name, err)
	}
	defer conn.Close()
	for _, st := range statements {
		if _, err := conn.ExecContext(ctx, st); err != nil {
			return fmt.Errorf("%s: %s: %w", s.Name, st, err)
		}
	}
	return nil
}

// Row runs a query as root and gives its first row by column name, NULL as the empty string; nil when there is none.
func (s *Server) Row(ctx context.Context, query string) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.Name, query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		return nil, firstError(err, rows.Err())
	}
	values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.Name, query, err)
	}
	row := make(map[string]string, len(names))
	for i, name := range names {
		row[name] = values[i].String
	}
	return row, rows.Close()
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
