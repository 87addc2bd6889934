package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/topology"
)

// Config is how to log in and how replicas are to replicate. [DefaultConfig]
// fills what may be left out.
type Config struct {
	User     string `yaml:"user" json:"user"`
	Password string `yaml:"password" json:"-"`

	// ReplicationUser is the account that replicas use at their source. Empty
	// keeps the account that a replica has; a server that has none, such as an
	// old primary, can then not be made a replica.
	ReplicationUser     string `yaml:"replication_user" json:"replication_user"`
	ReplicationPassword string `yaml:"replication_password" json:"-"`

	TLS TLS `yaml:"tls" json:"tls"`
	// ReplicationTLS is how a server that has no TLS options for replication yet
	// shall connect to its source: "off" or "on". Options that a replica has are
	// kept when it is repointed.
	ReplicationTLS string `yaml:"replication_tls" json:"replication_tls"`

	// ProbeTimeout bounds a probe whose context has no deadline.
	ProbeTimeout topology.Duration `yaml:"-" json:"-"`
	// ActTimeout bounds a step that does not say how long it may take.
	ActTimeout topology.Duration `yaml:"-" json:"-"`
	// KillAfter is how long statements in progress may hold up read_only before
	// the sessions that run them are ended.
	KillAfter topology.Duration `yaml:"kill_after" json:"kill_after"`

	// Heartbeat and ConnectRetry are set on every repoint: how often an idle
	// source says that it is alive, and how often a replica tries to reach a lost
	// source (in whole seconds, at least one).
	Heartbeat    topology.Duration `yaml:"-" json:"-"`
	ConnectRetry topology.Duration `yaml:"connect_retry" json:"connect_retry"`

	// EnableEvents has a promotion enable all events that are disabled because the
	// server was a replica, also those that were disabled on the old primary: the
	// server does not tell them apart. It takes the privileges EVENT, SET USER and
	// BINLOG ADMIN (MySQL: EVENT, and SET_ANY_DEFINER, before 8.2 SET_USER_ID).
	EnableEvents bool `yaml:"enable_events" json:"enable_events"`

	// Keep names users whose sessions are never ended, besides User and
	// ReplicationUser: a monitor, a backup.
	Keep []string `yaml:"keep_sessions_of" json:"keep_sessions_of"`
}

// TLS is how connections to the servers are encrypted.
type TLS struct {
	// Mode is "off"; "preferred": encrypted where the server can, unverified;
	// "required": encrypted, the certificate unverified; "verify": the
	// certificate is verified against CA (or the system's roots) and the host.
	Mode string `yaml:"mode" json:"mode"`
	CA   string `yaml:"ca" json:"ca,omitempty"`     // a PEM file
	Cert string `yaml:"cert" json:"cert,omitempty"` // a PEM file, with Key: the client's certificate
	Key  string `yaml:"key" json:"key,omitempty"`
	// ServerName is verified in place of the host of the instance's address.
	ServerName string `yaml:"server_name" json:"server_name,omitempty"`
}

// The modes of TLS.
const (
	TLSOff       = "off"
	TLSPreferred = "preferred"
	TLSRequired  = "required"
	TLSVerify    = "verify"
)

// DefaultConfig is what holds where nothing else is said. It has no user.
func DefaultConfig() Config {
	d := func(d time.Duration) topology.Duration { return topology.Duration(d) }
	return Config{
		TLS: TLS{Mode: TLSOff}, ReplicationTLS: TLSOff,
		ProbeTimeout: d(500 * time.Millisecond), ActTimeout: d(10 * time.Second), KillAfter: d(100 * time.Millisecond),
		Heartbeat: d(500 * time.Millisecond), ConnectRetry: d(time.Second),
	}
}

// Check says what is wrong with the configuration: nil when it can be used. It
// reads the files that TLS names.
func (c Config) Check() error {
	if c.User == "" {
		return errors.New("user is empty: name the account that Remora logs in with")
	}
	switch c.ReplicationTLS {
	case "", TLSOff, "on":
	default:
		return fmt.Errorf("replication_tls is %q; it can be off or on", c.ReplicationTLS)
	}
	_, _, err := c.TLS.config()
	return err
}

// withDefaults fills the zero values.
func (c Config) withDefaults() Config {
	def := DefaultConfig()
	for _, v := range []struct{ have, want *topology.Duration }{
		{&c.ProbeTimeout, &def.ProbeTimeout}, {&c.ActTimeout, &def.ActTimeout}, {&c.KillAfter, &def.KillAfter},
		{&c.Heartbeat, &def.Heartbeat}, {&c.ConnectRetry, &def.ConnectRetry},
	} {
		if *v.have <= 0 {
			*v.have = *v.want
		}
	}
	return c
}

// config makes the TLS settings of a connection, nil for none. The files are read
// for each new connection, so that a renewed certificate is taken up.
func (t TLS) config() (conf *tls.Config, fallback bool, err error) {
	conf = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	switch t.Mode {
	case "", TLSOff:
		return nil, false, nil
	case TLSPreferred:
		conf.InsecureSkipVerify, fallback = true, true
	case TLSRequired:
		conf.InsecureSkipVerify = true
	case TLSVerify:
	default:
		return nil, false, fmt.Errorf("tls mode is %q; it can be off, preferred, required or verify", t.Mode)
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, false, fmt.Errorf("tls ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, false, fmt.Errorf("tls ca: %s holds no certificate in PEM form", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, false, fmt.Errorf("tls cert and key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, fallback, nil
}

// driver makes the driver's configuration: one that sends nothing after the log-in.
func (c Config) driver(addr topology.Addr) (*driver.Config, error) {
	d := driver.NewConfig()
	d.User, d.Passwd = c.User, c.Password
	d.Net, d.Addr = "tcp", string(addr)
	d.MultiStatements = true
	d.ConnectionAttributes = "program_name:remora"
	d.Logger = &driver.NopLogger{}
	var err error
	d.TLS, d.AllowFallbackToPlaintext, err = c.TLS.config()
	return d, err
}
