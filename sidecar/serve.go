package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/mysql"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// Serve runs a node on the real world until ctx ends: raft, the HTTP API, the
// adapters and all loops. What it began before an error it ends again. A test may
// change what the loops are connected to.
func Serve(ctx context.Context, cfg Config, log *slog.Logger, version string, change ...func(*Ports)) (err error) {
	token, err := cfg.API.Token.Read()
	if err != nil {
		return fmt.Errorf("api.token: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.API.Listen)
	if err != nil {
		return fmt.Errorf("listen for the API on %s: %w", cfg.API.Listen, err)
	}
	defer listener.Close()
	ports := Ports{Clock: systemClock}
	if err := openStores(&cfg, &ports, log); err != nil {
		return err
	}
	if cfg.Join.Service != "" {
		if cfg.Nodes, err = join(ctx, &cfg, ports.agents(cfg.Join.Consul), log); err != nil {
			return err
		}
	}
	acked, err := openAcknowledged(cfg.DataDir)
	if err != nil {
		return err
	}
	if err := openPorts(cfg, token, &ports, log); err != nil {
		return err
	}
	if cfg.Join.Service != "" {
		if err := remember(&cfg); err != nil {
			log.Warn("the fleet could not be remembered; Consul is asked again at the next start", "error", err)
		}
	}
	for _, c := range change {
		c(&ports)
	}
	s := New(cfg, ports, log, version)
	s.acked = acked
	if cfg.Lease.File != "" && ports.Proxy != nil {
		s.leaseFile = newLeaseFile(s, boot)
	}
	return runWithAPI(ctx, s, listener, api.NewHandler(s, token, log))
}

// runWithAPI runs a node beside its API until ctx ends or one of the two fails.
func runWithAPI(ctx context.Context, s *Sidecar, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.log.Info("remora runs", "node", s.cfg.Node, "version", s.version, "api", s.cfg.API.Listen, "raft", s.cfg.Raft.Listen)

	if err := notify("READY=1"); err != nil {
		s.log.Warn("systemd could not be told that the sidecar serves", "error", err)
	}

	run, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case err := <-served: // it never ends by itself but for an error
			served <- err
			cancel()
		case <-run.Done():
		}
	}()
	err := s.Run(run)
	_ = server.Close()
	if serving := <-served; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve the API on %s: %w", s.cfg.API.Listen, serving))
	}
	return err
}

// openPorts connects the loops with the real world.
func openPorts(cfg Config, token string, ports *Ports, log *slog.Logger) (err error) {
	adapters, confirm := map[string]mysql.Config{}, Confirmed(ports)
	ports.Servers, ports.Rescuers, ports.Locators, ports.Examiners = map[string]Servers{}, map[string]Rescuer{}, map[string]Locator{}, map[string]Examiner{}
	for name, c := range cfg.Clusters {
		a, err := cfg.MySQL.adapter(c.Policy.Detection)
		if err != nil {
			return err
		}
		adapters[name] = a
		servers := mysql.NewServers(a, log.With("cluster", name))
		servers.Confirm = confirm
		ports.Servers[name], ports.Rescuers[name], ports.Locators[name], ports.Examiners[name] = servers, servers, servers, servers
	}
	ports.Prober = func(cluster string, addr topology.Addr, onBreak func()) Prober {
		return mysql.NewProber(addr, adapters[cluster], cfg.Node, onBreak)
	}
	if !cfg.self().Witness {
		password, err := cfg.ProxySQL.Password.Read()
		if err != nil {
			return fmt.Errorf("proxysql.password: %w", err)
		}
		ports.Ladder, err = newLadder(cfg.ProxySQL.WhenHung, cfg.ProxySQL.Admin, log)
		if err != nil {
			return err
		}
		broke := make(chan struct{}, 1)
		ports.ProxyBroke = broke
		admin := proxysql.New(proxysql.Config{
			Addr: cfg.ProxySQL.Admin, User: cfg.ProxySQL.User, Password: password, Timeout: cfg.ProxySQL.Timeout.D(),
		}, log, func() {
			select {
			case broke <- struct{}{}:
			default:
			}
		})
		ports.Proxy, ports.ProxyExaminer = admin, admin
	}
	ports.Commands = hooks.Runner{}
	clients := peers(cfg, token)
	ports.Peer = func(name string) Peer { return clients[name] }
	ports.Colleague = func(name string) Colleague { return clients[name] }
	if cfg.DataDir != "" {
		ports.Disk = newDiskFile(cfg.DataDir)
	}
	ports.Consensus, err = consensus.Start(raftConfig(cfg, log))
	if err != nil && ports.Proxy != nil {
		ports.Proxy.Close()
	}
	return err
}

// openStores makes publishers and renderers; none of them connects yet.
func openStores(cfg *Config, ports *Ports, log *slog.Logger) error {
	for i := range cfg.Consul {
		store, err := cfg.Consul[i].open()
		if err != nil {
			return err
		}
		ports.Stores = append(ports.Stores, store)
	}
	for i := range cfg.Templates {
		r, err := cfg.Templates[i].open(cfg, log.With("part", "templates"))
		if err != nil {
			return fmt.Errorf("templates: %s: %w", cfg.Templates[i].Destination, err)
		}
		ports.Renderers = append(ports.Renderers, r)
	}
	return nil
}

func raftConfig(cfg Config, log *slog.Logger) consensus.Config {
	rc := consensus.Config{
		Name: cfg.Node, Bind: cfg.Raft.Listen, Advertise: cfg.self().Raft, Dir: cfg.DataDir, Log: log.With("part", "raft"),
		Heartbeat: cfg.Raft.Heartbeat.D(), Election: cfg.Raft.Election.D(), Lease: cfg.Raft.Lease.D(),
	}
	for _, n := range cfg.Nodes {
		rc.Peers = append(rc.Peers, consensus.Peer{Name: n.Name, Addr: n.Raft})
	}
	return rc.Defaults()
}

// peers makes a client for every other node; connections are kept.
func peers(cfg Config, token string) map[string]*api.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // sidecars speak to each other, not through a web proxy
	transport.MaxIdleConnsPerHost = maxAsking
	clients := map[string]*api.Client{}
	for _, n := range cfg.Nodes {
		clients[n.Name] = api.NewClient(n.API, token, transport)
	}
	return clients
}

// agents are those of the named store; without a name of the first.
func (p *Ports) agents(name string) []Publisher {
	for _, s := range p.Stores {
		if s.Name == name || name == "" {
			return s.Agents
		}
	}
	return nil
}
