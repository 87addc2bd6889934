package consul

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultPrefix  = "mysql/master" // orchestrator's
	DefaultTimeout = 2 * time.Second
	DefaultWait    = 10 * time.Second
)

// Config says where one Consul is and how to speak to it. Nothing is taken from
// the environment.
type Config struct {
	// Name tells several Consuls apart in errors; empty: the address.
	Name string
	// Address is host:port, http://host:port[/path], https://host:port[/path] or
	// unix:///path/of/socket.
	Address string
	// Prefix is the KV folder of all clusters; empty: DefaultPrefix.
	Prefix string
	// Datacenter is asked through the agent at Address; empty: the agent's own.
	Datacenter string
	// Token is the ACL token; empty: anonymous. It is never logged.
	Token string
	// Namespace and Partition exist in Consul Enterprise only.
	Namespace string
	Partition string
	TLS       TLS
	// Timeout bounds one call with all its tries; 0: DefaultTimeout.
	Timeout time.Duration
	// Wait is how long one blocking query of Watch waits at Consul, and with Timeout
	// the time after which a frozen Consul is noticed; 0: DefaultWait.
	Wait time.Duration
}

// TLS are the options of an https address. Any of them makes an address without a
// scheme an https one.
type TLS struct {
	CAFile     string // PEM; empty: the system's authorities
	CertFile   string // PEM, the client's certificate
	KeyFile    string // PEM, its key
	ServerName string // expected in Consul's certificate; empty: the address's host
	Insecure   bool   // accept any certificate
}

// What a Publisher's methods fail with; test with errors.Is.
var (
	// ErrStale: Consul holds a newer epoch. Nothing was changed.
	ErrStale = errors.New("consul holds a newer epoch")
	// ErrDenied: the ACL token, or the certificate of either side, was refused.
	// Nothing was changed.
	ErrDenied = errors.New("denied")
	// ErrUnreachable: Consul refused the connection, broke off, did not answer in
	// time or has no leader. A transaction that was under way may have been carried out.
	ErrUnreachable = errors.New("consul did not answer")
	// ErrRefused: Consul answered with an error, or with what is no answer of Consul's.
	ErrRefused = errors.New("no good answer")
	// ErrConflict: other hands wrote at each try. Nothing was changed.
	ErrConflict = errors.New("others keep writing the same keys")
)

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	scheme, rest := splitAddress(c.Address)
	switch {
	case c.Address == "":
		return errors.New("consul: no address")
	case scheme != "" && scheme != "http" && scheme != "https" && scheme != "unix":
		return fmt.Errorf("consul: address %q: want host:port, or http, https or unix before ://", c.Address)
	case rest == "":
		return fmt.Errorf("consul: address %q names no host", c.Address)
	case strings.Contains(rest, "@"):
		return errors.New("consul: the address holds a user or a password; use an ACL token")
	case scheme != "" && scheme != "https" && c.TLS != TLS{}:
		return fmt.Errorf("consul: TLS options with address %q, which is not https", c.Address)
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return errors.New("consul: a client certificate needs both its file and its key's file")
	case c.Timeout < 0 || c.Wait < 0:
		return errors.New("consul: a negative time")
	}
	for part := range strings.SplitSeq(c.prefix(), "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("consul: prefix %q: want names separated by single slashes", c.Prefix)
		}
	}
	return nil
}

// prefix is without slashes at its ends.
func (c Config) prefix() string {
	if c.Prefix == "" {
		return DefaultPrefix
	}
	return strings.Trim(c.Prefix, "/")
}

// where names the Consul in errors.
func (c Config) where() string {
	if c.Name == "" || c.Name == c.Address {
		return "consul " + c.Address
	}
	return fmt.Sprintf("consul %s (%s)", c.Name, c.Address)
}

func splitAddress(address string) (scheme, rest string) {
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		return scheme, rest
	}
	return "", address
}
