package standin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// admin is the admin interface. Its mutex is held for one statement at a time: nothing holds between two.
type admin struct {
	log    *slog.Logger
	server *Server
	router *router

	mu      sync.Mutex
	store   *store
	started time.Time

	connMu sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	nextID uint32
	wg     sync.WaitGroup
	tick   scheduler
	// defaults tell the kind of each variable.
	defaults map[string]variable
	version  string
}

// adminSession is a client of the admin interface.
type adminSession struct {
	admin *admin
	conn  *wire.Conn
	user  string
	host  string
	// stats is set for those who may only read.
	stats bool
}

func (a *admin) serve(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			a.log.Warn("accept on the admin interface", "error", err)
			continue
		}
		id, ok := a.admit(nc)
		if !ok {
			_ = nc.Close()
			continue
		}
		a.wg.Go(func() {
			defer a.leave(nc)
			s := &adminSession{admin: a, conn: wire.NewConn(nc)}
			if err := s.login(id); err != nil {
				a.log.Debug("login to the admin interface", "client", nc.RemoteAddr(), "error", err)
				return
			}
			s.serve()
		})
	}
}

func (a *admin) admit(nc net.Conn) (uint32, bool) {
	a.connMu.Lock()
	defer a.connMu.Unlock()
	if a.closed {
		return 0, false
	}
	a.nextID++
	a.conns[nc] = struct{}{}
	return a.nextID, true
}

func (a *admin) leave(nc net.Conn) {
	_ = nc.Close()
	a.connMu.Lock()
	defer a.connMu.Unlock()
	delete(a.conns, nc)
}

// close ends all admin sessions and waits for them.
func (a *admin) close() error {
	a.connMu.Lock()
	a.closed = true
	for nc := range a.conns {
		_ = nc.Close()
	}
	a.connMu.Unlock()
	a.wg.Wait()
	a.tick.stop()
	return a.store.Close()
}

func (s *adminSession) login(id uint32) error {
	set := s.admin.router.settings()
	if err := s.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	login, err := s.conn.Accept(set.serverVersion, id)
	if err != nil {
		return err
	}
	refusal := s.authenticate(login, set)
	if refusal != nil {
		return errors.Join(refusal, s.conn.WriteErr(refusal), s.conn.Flush())
	}
	err = s.conn.WriteOK(wire.OK{Status: wire.StatusAutocommit})
	return errors.Join(err, s.conn.Flush(), s.conn.SetDeadline(time.Time{}))
}

func (s *adminSession) authenticate(login *wire.Login, set *settings) *wire.Error {
	s.user = login.User
	host, _, _ := net.SplitHostPort(s.conn.RemoteAddr().String())
	s.host = host
	password, ok := credential(set.adminCredentials, login.User)
	if !ok {
		password, ok = credential(set.statsCredentials, login.User)
		s.stats = true
	}
	_, right := login.Check(wire.NewSecret(password))
	if !ok || !right {
		using := "NO"
		if login.UsesPassword() {
			using = "YES"
		}
		return &wire.Error{Code: 1045, State: "28000", Message: fmt.Sprintf(
			"ProxySQL Error: Access denied for user '%s'@'%s' (using password: %s)", login.User, host, using)}
	}
	local := net.ParseIP(host).IsLoopback()
	switch login.User {
	case "admin", "stats", "monitor":
		if !local {
			return &wire.Error{Code: 1040, State: "42000", Message: fmt.Sprintf(
				"User '%s' can only connect locally", login.User)}
		}
	}
	return nil
}

// credential looks a user up in "user:password;user:password".
func credential(list, user string) (string, bool) {
	for entry := range strings.SplitSeq(list, ";") {
		if name, password, ok := strings.Cut(strings.TrimSpace(entry), ":"); ok && name == user {
			return password, true
		}
	}
	return "", false
}

func (s *adminSession) serve() {
	for {
		p, err := s.conn.ReadPacket()
		if err != nil || len(p) == 0 || p[0] == wire.ComQuit {
			return
		}
		switch p[0] {
		case wire.ComPing, wire.ComInitDB: // neither waits for the mutex: an answer proves nothing
			err = s.ok("", 0)
		case wire.ComQuery:
			err = s.query(string(p[1:]))
		case wire.ComStmtPrepare:
			err = s.conn.WriteErr(&wire.Error{Code: 1045, State: "28000", Message: "Command not supported"})
		case wire.ComStmtClose, wire.ComStmtSendLongData:
			continue
		case wire.ComSetOption:
			err = s.conn.WriteEOF(wire.StatusAutocommit)
		default:
			err = s.conn.WriteErr(&wire.Error{Code: 1047, State: "08S01", Message: "Unknown command"})
		}
		if err != nil || s.conn.Flush() != nil {
			return
		}
	}
}

// query runs one text under the mutex. It runs to its end even if the client no longer waits.
func (s *adminSession) query(text string) error {
	a := s.admin
	a.mu.Lock()
	result, err := s.execute(context.Background(), text)
	a.mu.Unlock()
	var refusal *wire.Error
	switch {
	case errors.As(err, &refusal):
		return s.conn.WriteErr(refusal)
	case err != nil:
		return s.conn.WriteErr(adminError(err))
	case result.columns != nil:
		return s.conn.WriteText(result.columns, result.rows, wire.StatusAutocommit)
	}
	return s.ok(result.info, uint64(max(0, result.affected)))
}

func (s *adminSession) ok(info string, affected uint64) error {
	return s.conn.WriteOK(wire.OK{Status: wire.StatusAutocommit, Info: info, AffectedRows: affected})
}

// adminError tells an SQL error as the admin interface does: with the number of a failed login.
func adminError(err error) *wire.Error {
	message := sqliteMessage(err)
	if message == "database is locked" {
		return &wire.Error{Code: 1205, State: "HY000", Message: "ProxySQL Admin Error: " + message}
	}
	return &wire.Error{Code: 1045, State: "28000", Message: "ProxySQL Admin Error: " + message}
}

// sqliteMessage takes off what the driver puts around SQLite's own words.
func sqliteMessage(err error) string {
	text := err.Error()
	if i := strings.Index(text, ": "); i >= 0 && strings.HasPrefix(text, "SQL logic error") || strings.HasPrefix(text, "constraint failed") {
		text = text[i+2:]
	}
	if i := strings.LastIndex(text, " ("); i > 0 && strings.HasSuffix(text, ")") {
		text = text[:i]
	}
	return text
}
