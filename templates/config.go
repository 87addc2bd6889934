package templates

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultPrefix         = "mysql/master" // orchestrator's
	DefaultAddress        = "127.0.0.1:8500"
	DefaultCommandTimeout = 10 * time.Second
	DefaultSocketTimeout  = 2 * time.Second
	DefaultRetry          = 5 * time.Second
)

// Config describes one file that is kept up to date.
type Config struct {
	// Source is a file, or the name of a shipped template: HAProxy, ProxySQL.
	Source string
	// Destination is the file that is written; its directory has to exist.
	Destination string
	// Permissions of the file; 0: those of the file that is there, else 0644.
	Permissions fs.FileMode
	// Check is run on the new file before it replaces the old one; {file} in an
	// argument, and REMORA_FILE in the environment, are its path. Empty: no check.
	Check []string
	// Reload is run when the file was replaced; empty: nothing is.
	Reload []string
	// CheckTimeout and ReloadTimeout are how long the commands may take; 0:
	// DefaultCommandTimeout.
	CheckTimeout  time.Duration
	ReloadTimeout time.Duration
	// Prefix is the KV folder of all clusters; empty: DefaultPrefix. The shipped
	// templates see it as REMORA_CONSUL_PREFIX.
	Prefix string
	// Env is what the template's `env` functions and the commands see besides the
	// environment. From that the commands get no variable CONSUL_*, nor one
	// REMORA_* that ends in _PASSWORD or _TOKEN.
	Env map[string]string
	// Socket is HAProxy's: its master's CLI (haproxy -S), where a switch reaches
	// also the sessions that workers from before a reload still hold, or the stats
	// socket of one HAProxy. Empty: all is done by the file.
	Socket string
	// SocketTimeout bounds one switch by the socket; 0: DefaultSocketTimeout.
	SocketTimeout time.Duration
	// Retry is how long after a failure the next try comes; 0: DefaultRetry. A
	// change in Consul is another try, at once.
	Retry time.Duration

	Consul Consul
	Log    *slog.Logger // nil: silence
}

// Consul says where the KV is. No address and no credential is taken from the
// environment.
type Consul struct {
	// Address is host:port, http://…, https://… or unix:///path; empty:
	// DefaultAddress.
	Address string
	// Token is the ACL token; it is never logged. Empty: what TokenFile holds;
	// without one this is anonymous.
	Token     string
	TokenFile string
	TLS       TLS
}

// TLS are the options of the connection to Consul.
type TLS struct {
	Enabled    bool
	CAFile     string // PEM; empty: the system's authorities
	CertFile   string // PEM, the client's certificate
	KeyFile    string // PEM, its key
	ServerName string // expected in Consul's certificate; empty: the address's host
	Insecure   bool   // accept any certificate
}

// secret is the token in use.
func (c Consul) secret() (string, error) {
	switch {
	case c.Token != "":
		return c.Token, nil
	case c.TokenFile != "":
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return "", fmt.Errorf("read Consul's token: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	default:
		return "", nil
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("templates: "+format, args...))
		}
	}
	say(c.Source == "", "no source: a file, or %s", HAProxy)
	say(c.Destination == "", "no destination")
	say(c.Destination != "" && filepath.Base(c.Destination) != c.Destination && !filepath.IsAbs(c.Destination),
		"destination %q: want an absolute path", c.Destination)
	say(c.Permissions&^fs.ModePerm != 0, "permissions %#o: want at most 0777", uint32(c.Permissions))
	say(len(c.Check) > 0 && c.Check[0] == "", "the check command names no program")
	say(len(c.Reload) > 0 && c.Reload[0] == "", "the reload command names no program")
	say(min(c.CheckTimeout, c.ReloadTimeout, c.SocketTimeout, c.Retry) < 0, "a negative time")
	return errors.Join(errs...)
}

// withDefaults fills in what is not given.
func (c Config) withDefaults() Config {
	c.CheckTimeout = orDefault(c.CheckTimeout, DefaultCommandTimeout)
	c.ReloadTimeout = orDefault(c.ReloadTimeout, DefaultCommandTimeout)
	c.SocketTimeout = orDefault(c.SocketTimeout, DefaultSocketTimeout)
	c.Retry = orDefault(c.Retry, DefaultRetry)
	c.Prefix = orDefault(c.Prefix, DefaultPrefix)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
