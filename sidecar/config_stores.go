package sidecar

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/templates"
	"github.com/remora-ha/remora/topology"
)

// ConsulConfig is one Consul that routes are published to.
type ConsulConfig struct {
	Name string `yaml:"name"` // tells several apart; default: the first address
	// Addresses are agents of this Consul, tried in turn: one that is broken on
	// the leader's machine then harms nobody.
	Addresses  []string          `yaml:"addresses"`
	Prefix     string            `yaml:"prefix"` // the KV folder of all clusters
	Datacenter string            `yaml:"datacenter"`
	Namespace  string            `yaml:"namespace"`
	Partition  string            `yaml:"partition"`
	Token      Secret            `yaml:"token"`
	TLS        ConsulTLS         `yaml:"tls"`
	Timeout    topology.Duration `yaml:"timeout"` // of one call
	Wait       topology.Duration `yaml:"wait"`    // of one blocking query
	// Services says that instances are registered as services too.
	Services bool `yaml:"services"`
}

// ConsulTLS are the options of an https address.
type ConsulTLS struct {
	CA         string `yaml:"ca"` // PEM files
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"`
	Insecure   bool   `yaml:"insecure"`
}

// TemplateConfig is a file that this node renders from a Consul.
type TemplateConfig struct {
	Source        string            `yaml:"source"`      // a file, or the name of a shipped template
	Destination   string            `yaml:"destination"` // the file that is written
	Permissions   string            `yaml:"permissions"` // octal digits; default: as they are, else 0644
	Check         []string          `yaml:"check"`       // a command; {file} is the new file
	Reload        []string          `yaml:"reload"`
	CheckTimeout  topology.Duration `yaml:"check_timeout"`
	ReloadTimeout topology.Duration `yaml:"reload_timeout"`
	Env           map[string]string `yaml:"env"` // what the template sees besides the environment
	HAProxySocket string            `yaml:"haproxy_socket"`
	Consul        string            `yaml:"consul"` // the name of the Consul to read from; default: the first
}

// leastConsul is the shortest time in which a Consul can be expected to answer.
const leastConsul = topology.Duration(50 * time.Millisecond)

func orDefault(d *topology.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = topology.Duration(otherwise)
	}
}

func (c *Config) validateStores(bad complain) {
	names := map[string]string{}
	for i := range c.Consul {
		at := fmt.Sprintf("consul[%d]", i)
		s := &c.Consul[i]
		if len(s.Addresses) == 0 {
			bad(at+".addresses", "give at least one agent: host:port, http://…, https://… or unix:///socket")
			continue
		}
		if s.Name == "" {
			s.Name = s.Addresses[0]
		}
		if first, twice := names[s.Name]; twice {
			bad(at+".name", "%q is already the name of %s", s.Name, first)
		}
		names[s.Name] = at
		for j, a := range s.Addresses {
			if err := s.adapter(a, "").Validate(); err != nil {
				bad(fmt.Sprintf("%s.addresses[%d]", at, j), "%v", err)
			}
		}
		if _, err := s.Token.Read(); err != nil {
			bad(at+".token", "%v", err)
		}
		for key, file := range map[string]string{"ca": s.TLS.CA, "cert": s.TLS.Cert, "key": s.TLS.Key} {
			if _, err := os.Stat(file); file != "" && err != nil {
				bad(at+".tls."+key, "%v", err)
			}
		}
		if s.Prefix == "" {
			s.Prefix = consul.DefaultPrefix
		}
		orDefault(&s.Timeout, consul.DefaultTimeout)
		orDefault(&s.Wait, consul.DefaultWait)
		if s.Timeout < leastConsul {
			bad(at+".timeout", "%s is too short; want at least %s", s.Timeout, leastConsul)
		}
	}
	destinations := map[string]string{}
	for i := range c.Templates {
		c.validateTemplate(i, destinations, bad)
	}
}

func (c *Config) validateTemplate(i int, destinations map[string]string, bad complain) {
	at := fmt.Sprintf("templates[%d]", i)
	t := &c.Templates[i]
	destination := filepath.Clean(t.Destination)
	if first, twice := destinations[destination]; twice {
		bad(at+".destination", "%s is already written by %s", t.Destination, first)
	}
	destinations[destination] = at
	if len(c.Consul) == 0 {
		bad(at, "there is no Consul to render from: configure `consul` too")
		return
	}
	store, ok := c.consulNamed(t.Consul)
	switch {
	case !ok:
		bad(at+".consul", "%q is none of consul's names", t.Consul)
		return
	case len(store.Addresses) == 0:
		return // reported there
	case store.Datacenter != "" || store.Partition != "":
		bad(at+".consul", "%q has a datacenter or a partition, which consul-template cannot ask for; name a Consul without", store.Name)
		return
	}
	if t.Source != "" {
		if _, err := templates.Load(t.Source); err != nil {
			bad(at+".source", "%v", err)
		}
	}
	for key, path := range map[string]string{"destination": t.Destination, "haproxy_socket": t.HAProxySocket} {
		if path != "" && !filepath.IsAbs(path) {
			bad(at+"."+key, "%q is not an absolute path", path)
		}
	}
	orDefault(&t.CheckTimeout, templates.DefaultCommandTimeout)
	orDefault(&t.ReloadTimeout, templates.DefaultCommandTimeout)
	cfg, err := t.adapter(c, nil)
	if err != nil {
		bad(at+".permissions", "%v", err)
	} else if err := cfg.Validate(); err != nil {
		bad(at, "%v", err)
	}
}

// consulNamed finds a Consul by its name; without one it is the first.
func (c *Config) consulNamed(name string) (ConsulConfig, bool) {
	for _, s := range c.Consul {
		if s.Name == name || name == "" {
			return s, true
		}
	}
	return ConsulConfig{}, false
}

// adapter is the configuration of package consul for one agent.
func (s *ConsulConfig) adapter(address, token string) consul.Config {
	return consul.Config{
		Name: s.Name, Address: address, Prefix: s.Prefix, Datacenter: s.Datacenter, Namespace: s.Namespace, Partition: s.Partition,
		Token: token, Timeout: s.Timeout.D(), Wait: s.Wait.D(),
		TLS: consul.TLS{CAFile: s.TLS.CA, CertFile: s.TLS.Cert, KeyFile: s.TLS.Key, ServerName: s.TLS.ServerName, Insecure: s.TLS.Insecure},
	}
}

// open makes the publishers of one Consul.
func (s *ConsulConfig) open() (Store, error) {
	store := Store{Name: s.Name, Services: s.Services}
	token, err := s.Token.Read()
	if err != nil {
		return store, fmt.Errorf("consul %s: token: %w", s.Name, err)
	}
	for _, a := range s.Addresses {
		p, err := consul.New(s.adapter(a, token))
		if err != nil {
			return store, err
		}
		store.Agents = append(store.Agents, p)
	}
	return store, nil
}

// adapter is the configuration of package templates for one file.
func (t *TemplateConfig) adapter(c *Config, log *slog.Logger) (templates.Config, error) {
	s, _ := c.consulNamed(t.Consul)
	cfg := templates.Config{
		Source: t.Source, Destination: t.Destination, Check: t.Check, Reload: t.Reload,
		CheckTimeout: t.CheckTimeout.D(), ReloadTimeout: t.ReloadTimeout.D(), Prefix: s.Prefix, Env: t.Env, Socket: t.HAProxySocket,
		Consul: templates.Consul{Address: s.Addresses[0], TLS: templates.TLS{
			Enabled: s.TLS != ConsulTLS{}, CAFile: s.TLS.CA, CertFile: s.TLS.Cert, KeyFile: s.TLS.Key,
			ServerName: s.TLS.ServerName, Insecure: s.TLS.Insecure,
		}},
		Log: log,
	}
	if t.Permissions != "" {
		mode, err := strconv.ParseUint(t.Permissions, 8, 32)
		if err != nil {
			return cfg, fmt.Errorf("%q; give octal digits such as \"0640\"", t.Permissions)
		}
		cfg.Permissions = fs.FileMode(mode)
	}
	return cfg, nil
}

// open makes the renderer of one file.
func (t *TemplateConfig) open(c *Config, log *slog.Logger) (Renderer, error) {
	cfg, err := t.adapter(c, log)
	if err != nil {
		return nil, err
	}
	s, _ := c.consulNamed(t.Consul)
	if cfg.Consul.Token, err = s.Token.Read(); err != nil {
		return nil, fmt.Errorf("consul %s: token: %w", s.Name, err)
	}
	return templates.New(cfg)
}
