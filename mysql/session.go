package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/topology"
)

// session is one connection to a server, without a pool: what is kept, what is
// thrown away and when to connect again is decided by its owner. Its methods are
// not for concurrent use, but for close.
//
// Every call ends by its context's deadline: the end of the context closes the
// connection, after which the session is of no use.
type session struct {
	addr      topology.Addr
	conn      driver.Conn // nil after takeOver
	wire      *wire
	lent      *loan // the wire as the driver has it
	dialect   dialect
	id        uint32 // the connection's, for KILL
	opened    time.Time
	questions [2]*question      // of readings, without the rare parts and with them
	denied    map[string]error  // parts of a reading that this connection may not ask for
	rare      map[string]result // a prober's parts that are read now and then; nil in an act
	rareAt    time.Time
	heard     bool // an answer has come since ask was called last
	hailed    bool // a ping was sent whose answer is not taken yet
}

const (
	rowLimit     = 1 << 14                // rows of a result; more is no answer to our questions
	goodbyeLimit = 100 * time.Millisecond // for the farewell
)

// quit is the farewell as it travels.
var quit = []byte{1, 0, 0, 0, comQuit}

// dial logs in. It takes no round trip beyond the protocol's own.
func dial(ctx context.Context, addr topology.Addr, cfg Config) (s *session, err error) {
	conf, err := cfg.driver(addr)
	if err != nil {
		return nil, &configError{err}
	}
	s = &session{addr: addr}
	conf.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		socket, err := (&net.Dialer{KeepAlive: 5 * time.Second}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if s.wire, err = newWire(socket.(*net.TCPConn)); err != nil {
			_ = socket.Close()
			return nil, err
		}
		s.lent = &loan{wire: s.wire}
		return s.lent, nil
	}
	connector, err := mysqldriver.NewConnector(conf)
	if err != nil {
		return nil, &configError{err}
	}
	err = s.guard(ctx, func() error {
		s.conn, err = connector.Connect(ctx)
		return err
	})
	if err != nil {
		s.abandon()
		return nil, err
	}
	hello := s.wire.greeting()
	s.id = hello.id
	if s.dialect, err = dialectOf(hello.version); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// configError is an error of our own settings: it says nothing of the server.
type configError struct{ err error }

func (e *configError) Error() string { return "configuration: " + e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// guard runs a call of the driver. It turns the driver's panics on malformed
// packets into errGarbled, and its vague errors into what really happened.
func (s *session) guard(ctx context.Context, call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.abandon()
			err = fmt.Errorf("%w: %v", errGarbled, r)
		}
	}()
	err = call()
	if err == nil || !vague(err) {
		return err
	}
	if s.wire != nil {
		if cause := s.wire.cause(); cause != nil {
			return cause
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// result is one result set in the text protocol.
type result []row

// query sends a text that may hold several statements, and reads all results that
// have columns. When a statement fails, the results of those before it are returned
// with the error.
func (s *session) query(ctx context.Context, statements string) (results []result, err error) {
	if s.conn == nil {
		results, _, err = s.ask(ctx, statements) // not freed: what was answered lasts
		return results, err
	}
	s.heard = false
	err = s.guard(ctx, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, err := s.conn.(driver.QueryerContext).QueryContext(ctx, statements, nil)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for {
			res, err := s.readResult(rows)
			if err != nil {
				return err
			}
			results = append(results, res)
			s.heard = true
			if next := rows.(driver.RowsNextResultSet); !next.HasNextResultSet() {
				return nil
			} else if err := next.NextResultSet(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	return results, err
}

func (s *session) readResult(rows driver.Rows) (result, error) {
	columns := rows.Columns()
	values := make([]driver.Value, len(columns))
	res := result{}
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return res, nil
		case err != nil:
			return nil, err
		case len(res) == rowLimit:
			s.abandon()
			return nil, fmt.Errorf("%w: more than %d rows in an answer", errGarbled, rowLimit)
		}
		res = append(res, newRow(columns, values))
	}
}

// exec sends one statement that has no result.
func (s *session) exec(ctx context.Context, statement string) error {
	return s.guard(ctx, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := s.conn.(driver.ExecerContext).ExecContext(ctx, statement, nil)
		return err
	})
}

// loan is a wire that the driver has until it is taken back.
type loan struct {
	*wire
	over atomic.Bool // the driver's own goroutine may ask, when a context ends
}

// Write sends what the driver says while it has the wire.
func (l *loan) Write(b []byte) (int, error) {
	if l.over.Load() {
		return len(b), nil
	}
	return l.wire.Write(b)
}

// Close ends the connection while the driver has it.
func (l *loan) Close() error {
	if l.over.Load() {
		return nil
	}
	return l.wire.Close()
}

// takeOver has the session do without the driver once it has logged in, for one that only asks: of a connection that is kept
// the driver's buffer and the goroutine by which it watches over its questions are most of the memory, and thousands are kept. Over TLS the driver
// has the connection, and keeps it.
func (s *session) takeOver() {
	if !s.wire.plain() {
		return
	}
	s.lent.over.Store(true)
	_ = s.conn.Close()
	s.conn = nil
}

// broken says whether the connection has ended by itself.
func (s *session) broken() bool { return s.wire.cause() != nil }

// close takes leave of the server, as long as that takes no time.
func (s *session) close() {
	if s == nil {
		return
	}
	s.wire.disarm()
	_ = s.wire.SetWriteDeadline(time.Now().Add(goodbyeLimit))
	if s.conn == nil {
		_, _ = s.wire.Write(quit)
	}
	s.release()
}

// abandon closes the socket at once.
func (s *session) abandon() {
	if s == nil || s.wire == nil {
		return
	}
	_ = s.wire.Close()
	s.release()
}

// release ends the driver's connection, with its goroutine, and the socket.
func (s *session) release() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	_ = s.wire.Close()
}
