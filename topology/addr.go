package topology

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// DefaultPort is assumed where an address names a host alone.
const DefaultPort = 3306

// Addr names an instance, `host:port`. It is a host name or an IP address that
// may be put into a statement without further quoting: [ParseAddr] accepts
// nothing else.
type Addr string

// alphanumeric are the characters that a host's name begins and ends with.
const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// isHost says whether a text is a host's name or an IP address. Thousands of them are read in a second.
func isHost(s string) bool {
	name := s != "" && strings.Trim(s, alphanumeric+"_.-") == ""
	return name && strings.Contains(alphanumeric, s[:1]) && strings.Contains(alphanumeric, s[len(s)-1:]) || net.ParseIP(s) != nil
}

// ParseAddr reads `host`, `host:port` or `[ipv6]:port`. The host is lowered, for
// servers and proxies may spell the same name differently.
func ParseAddr(s string) (Addr, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), strconv.Itoa(DefaultPort)
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("address %q: want host:port", s)
		}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("address %q: port %q is not a number from 1 to 65535", s, port)
	}
	if !isHost(host) {
		return "", fmt.Errorf("address %q: %q is not a host name or an IP address", s, host)
	}
	return Addr(net.JoinHostPort(strings.ToLower(host), port)), nil
}

// MustParseAddr is ParseAddr for literals; it panics on a bad one.
func MustParseAddr(s string) Addr {
	a, err := ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

// Host is the part before the port, without brackets.
func (a Addr) Host() string {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return string(a)
	}
	return host
}

// Port is the TCP port, 0 for the zero Addr.
func (a Addr) Port() int {
	_, port, _ := net.SplitHostPort(string(a))
	n, _ := strconv.Atoi(port)
	return n
}

// UnmarshalText lets an address be read from JSON and YAML, checked. Empty stays
// empty: "no instance".
func (a *Addr) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = ""
		return nil
	}
	parsed, err := ParseAddr(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// JoinAddrs lists addresses for a sentence: "a:1, b:2 and c:3".
func JoinAddrs(addrs []Addr) string {
	names := make([]string, len(addrs))
	for i, a := range addrs {
		names[i] = string(a)
	}
	switch n := len(names); n {
	case 0:
		return "none"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// SortAddrs sorts in place and removes doubles and empty ones.
func SortAddrs(addrs []Addr) []Addr {
	addrs = slices.DeleteFunc(addrs, func(a Addr) bool { return a == "" })
	slices.Sort(addrs)
	return slices.Compact(addrs)
}
