package proxysql

import (
	"errors"
	"fmt"
	"time"
)

// DefaultTimeout bounds one admin statement where Config does not.
const DefaultTimeout = time.Second

// Config says where the local ProxySQL's admin interface is.
type Config struct {
	Addr     string // host:port of the admin interface; "admin" may log in from the same host only
	User     string
	Password string
	// Timeout bounds one statement, and making a connection; 0: DefaultTimeout.
	Timeout time.Duration
}

// Hostgroups are the pair of hostgroups that ProxySQL has for one cluster.
type Hostgroups struct {
	Writer int `json:"writer" yaml:"writer"`
	Reader int `json:"reader" yaml:"reader"`
	// TakeOver lets Remora remove what would fight over the hostgroups: rows of
	// mysql_replication_hostgroups and its kin, the servers' sync of ProxySQL
	// Cluster. Without it such a proxy is refused.
	TakeOver bool `json:"take_over,omitempty" yaml:"take_over"`
}

// Validate says what is wrong with the pair.
func (h Hostgroups) Validate() error {
	switch {
	case h.Writer < 0 || h.Reader < 0:
		return fmt.Errorf("hostgroups %d (writer) and %d (reader): want numbers from 0", h.Writer, h.Reader)
	case h.Writer == h.Reader:
		return fmt.Errorf("writer and reader hostgroup are both %d: want two different ones", h.Writer)
	}
	return nil
}

// What an Admin's methods fail with; test with errors.Is.
var (
	// ErrStaleEpoch: the proxy already holds a newer epoch. Nothing was changed.
	ErrStaleEpoch = errors.New("the proxy holds a newer epoch")
	// ErrConflict: something else would move servers between the hostgroups, and
	// Hostgroups.TakeOver is not set. Nothing was changed.
	ErrConflict = errors.New("the hostgroups are managed by another hand")
	// ErrUnreachable: the admin interface refused, broke off or did not answer in
	// time. A statement that was under way may have been carried out.
	ErrUnreachable = errors.New("the admin interface did not answer")
	// ErrNotReadBack: all statements were answered, but runtime does not show
	// what was wanted.
	ErrNotReadBack = errors.New("not read back")
	// ErrRefused: the admin interface answered a statement with an error.
	ErrRefused = errors.New("the admin interface refused")
)
