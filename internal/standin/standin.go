package standin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// Config says where a stand-in listens and keeps its disk layer.
type Config struct {
	// Admin and Listen are addresses; port 0 takes any.
	Admin  string
	Listen string
	// Data is a folder, made if it is missing.
	Data string
	// AdminCredentials is "user:password;…"; admin:admin by default. Saved credentials go first.
	AdminCredentials string
	// NoStart leaves the client side closed until PROXYSQL START.
	NoStart bool
	Log     *slog.Logger
}

// Server is a running stand-in.
type Server struct {
	config   Config
	admin    *admin
	router   *router
	adminLis net.Listener
	done     chan struct{}
	doneOnce sync.Once

	closeOnce sync.Once
	closeErr  error

	stopTick context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	address  net.Addr
}

// Version is the ProxySQL that is stood in for.
const Version = "2.7.1"

// maintenance is how often ProxySQL's threads look after their sessions.
const maintenance = time.Second

// Start serves until Close.
func Start(c Config) (_ *Server, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	s := &Server{config: c, done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.adminLis, err = net.Listen("tcp", c.Admin); err != nil {
		return nil, fmt.Errorf("admin interface: %w", err)
	}
	if s.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return nil, fmt.Errorf("client interface: %w", err)
	}
	s.address = s.listener.Addr()
	if err := s.compose(context.Background()); err != nil {
		return nil, err
	}
	if c.NoStart {
		s.pause()
	} else {
		s.accept(s.listener)
	}
	s.wg.Go(func() { s.admin.serve(s.adminLis) })
	ctx, cancel := context.WithCancel(context.Background())
	s.stopTick = cancel
	s.wg.Go(func() { s.maintain(ctx) })
	return s, nil
}

// compose opens the store and brings its disk layer to the runtime.
func (s *Server) compose(ctx context.Context) error {
	store, err := openStore(ctx, s.config.Data)
	if err != nil {
		return err
	}
	defaults, err := defaultVariables()
	if err != nil {
		return errors.Join(err, store.Close())
	}
	own := map[string]string{"mysql-interfaces": s.address.String(), "admin-mysql_ifaces": s.adminLis.Addr().String()}
	if s.config.AdminCredentials != "" {
		own["admin-admin_credentials"] = s.config.AdminCredentials
	}
	for name, value := range own {
		defaults[name] = variable{value: value}
		if err := store.insert(ctx, "main.global_variables", name, value); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	raw := make(map[string]string, len(defaults))
	for name, v := range defaults {
		raw[name] = v.value
	}
	s.router = newRouter(s.config.Log, newSettings(raw))
	s.admin = &admin{
		log: s.config.Log, server: s, router: s.router, store: store, started: time.Now(), version: Version,
		defaults: defaults, conns: make(map[net.Conn]struct{}),
	}
	s.admin.tick.start(s.config.Log)
	return s.admin.restore(ctx)
}

func (s *Server) accept(l net.Listener) { s.wg.Go(func() { s.router.serve(l) }) }

func (s *Server) maintain(ctx context.Context) {
	ticker := time.NewTicker(maintenance)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.router.maintain()
		}
	}
}

// Admin is the address of the admin interface.
func (s *Server) Admin() string { return s.adminLis.Addr().String() }

// Listen is the address for clients.
func (s *Server) Listen() string { return s.address.String() }

// Done is closed when a client of the admin interface asked for a shutdown.
func (s *Server) Done() <-chan struct{} { return s.done }

func (s *Server) finish() { s.doneOnce.Do(func() { close(s.done) }) }

// pause stops listening; sessions go on.
func (s *Server) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
}

func (s *Server) resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.address.String())
	if err != nil {
		return fmt.Errorf("client interface: %w", err)
	}
	s.listener = l
	s.accept(l)
	return nil
}

func (s *Server) startRouting() error { return s.resume() }

// stopRouting ends the client side and all its sessions; the admin interface stays.
func (s *Server) stopRouting() {
	s.pause()
	for _, session := range s.router.list() {
		session.kill()
	}
}

// Close ends everything and waits for it. The first call does the work, all return its error.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.shut() })
	return s.closeErr
}

func (s *Server) shut() error {
	if s.stopTick != nil {
		s.stopTick()
	}
	s.pause()
	if s.adminLis != nil {
		_ = s.adminLis.Close()
	}
	var err error
	if s.admin != nil {
		err = s.admin.close()
	}
	if s.router != nil {
		s.router.close()
	}
	s.wg.Wait()
	return err
}
