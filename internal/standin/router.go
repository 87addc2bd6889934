package standin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// router is the client side: it accepts connections and serves each in a session.
type router struct {
	log    *slog.Logger
	groups *hostgroups
	set    atomic.Pointer[settings]
	users  atomic.Pointer[users]
	rules  atomic.Pointer[rules]
	errors errorLog

	mu       sync.Mutex
	sessions map[uint32]*session
	nextID   uint32
	created  uint64
	closed   bool
	wg       sync.WaitGroup
}

func newRouter(log *slog.Logger, set *settings) *router {
	r := &router{log: log, sessions: make(map[uint32]*session)}
	r.set.Store(set)
	r.users.Store(newUsers(nil))
	r.rules.Store(&rules{})
	r.groups = newHostgroups(r.settings)
	return r
}

func (r *router) settings() *settings { return r.set.Load() }

// serve accepts clients until the listener is closed.
func (r *router) serve(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("accept", "error", err)
			continue
		}
		s := r.admit(nc)
		if s == nil {
			_ = nc.Close()
			continue
		}
		r.wg.Go(func() {
			defer r.leave(s)
			if err := s.login(); err != nil {
				r.log.Debug("login", "client", nc.RemoteAddr(), "error", err)
				return
			}
			s.serve()
		})
	}
}

func (r *router) admit(nc net.Conn) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.nextID++
	r.created++
	s := &session{
		router: r, id: r.nextID, client: wire.NewConn(nc), autocommit: true, locked: -1, group: -1,
		statements: make(map[uint32]*prepared), killed: make(chan struct{}), since: time.Now(), command: "Connect",
	}
	r.sessions[s.id] = s
	return s
}

func (r *router) leave(s *session) {
	_ = s.client.Close()
	s.mu.Lock()
	s.busy = true // keeps the maintenance off what is given back below
	s.mu.Unlock()
	s.reset()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s.id)
}

// login reads who the client is. What is wrong is told to the client here.
func (s *session) login() error {
	set := s.router.settings()
	deadline := time.Now().Add(10 * time.Second)
	if err := s.client.SetDeadline(deadline); err != nil {
		return err
	}
	login, err := s.client.Accept(set.serverVersion, s.id)
	if err != nil {
		return err
	}
	refusal := s.authenticate(login, set)
	if refusal != nil {
		return errors.Join(refusal, s.client.WriteErr(refusal), s.client.Flush())
	}
	if err := s.client.WriteOK(wire.OK{Status: wire.StatusAutocommit}); err != nil {
		return err
	}
	s.end()
	return errors.Join(s.client.Flush(), s.client.SetDeadline(time.Time{}))
}

func (s *session) authenticate(login *wire.Login, set *settings) *wire.Error {
	u, known := s.router.users.Load().frontends[login.User]
	secret, right := login.Check(u.secret)
	if !known || !right {
		host, _, _ := net.SplitHostPort(s.client.RemoteAddr().String())
		using := "NO"
		if login.UsesPassword() {
			using = "YES"
		}
		return &wire.Error{Code: 1045, State: "28000", Message: fmt.Sprintf(
			"ProxySQL Error: Access denied for user '%s'@'%s' (using password: %s)", login.User, host, using)}
	}
	if s.router.count() > set.maxConnections {
		return &wire.Error{Code: 1040, State: "08004", Message: "Too many connections"}
	}
	u.secret = secret
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = u
	s.profile = profile{user: u.name, collation: login.Collation, capabilities: login.Capabilities}
	switch {
	case login.Schema != "":
		s.schema = login.Schema
	case u.schema != "":
		s.schema = u.schema
	default:
		s.schema = set.defaultSchema
	}
	return nil
}

func (r *router) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

func (r *router) list() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*session, 0, len(r.sessions))
	for _, s := range r.sessions {
		list = append(list, s)
	}
	return list
}

// kill ends a session by its number.
func (r *router) kill(id uint32) bool {
	r.mu.Lock()
	s := r.sessions[id]
	r.mu.Unlock()
	if s == nil {
		return false
	}
	s.kill()
	return true
}

// maintain is what ProxySQL's threads do once a second.
func (r *router) maintain() {
	for _, s := range r.list() {
		s.maintain()
	}
}

// close ends all sessions and waits for them.
func (r *router) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.groups.close()
	for _, s := range r.list() {
		s.kill()
	}
	r.wg.Wait()
}
