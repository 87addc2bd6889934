package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/topology"
)

// RungConfig is one way to keep a ProxySQL from its servers when its admin
// interface does not do what a fence needs.
type RungConfig struct {
	Rung    string            `yaml:"rung"`               // stop, filter or hook
	PIDFile string            `yaml:"pid_file,omitempty"` // stop: of ProxySQL
	Command []string          `yaml:"command,omitempty"`  // stop: in place of PIDFile; hook: required
	User    string            `yaml:"user,omitempty"`     // filter: that ProxySQL runs as
	Timeout topology.Duration `yaml:"timeout"`
}

// The rungs.
const (
	rungStop   = "stop"
	rungFilter = "filter"
	rungHook   = "hook"
)

// defaultRungTimeout is what one rung may take where the configuration does not say.
const defaultRungTimeout = topology.Duration(200 * time.Millisecond)

// Cut says how a proxy was kept from its servers.
type Cut struct {
	How string // in a word, for people; "": it was not
	// Lasting says that it stays so, whatever the proxy does, until it is released.
	// Else it lasts until the process comes back.
	Lasting bool
}

// Ladder keeps the node's ProxySQL from its servers where the admin interface
// does not.
type Ladder interface {
	// Cut climbs until a rung holds. It returns within the rungs' times.
	Cut(ctx context.Context, cluster string, servers []topology.Addr) (Cut, error)
	// Release undoes what Cut did to a cluster and is undone by nobody else. Doing
	// it without need is harmless.
	Release(ctx context.Context, cluster string) error
}

// rung is one of a ladder.
type rung interface {
	cut(ctx context.Context, cluster string, servers []topology.Addr) error
	release(ctx context.Context, cluster string) error
	how() Cut
}

// ladder is what the configuration lists, tried from the first on.
type ladder struct {
	rungs    []rung
	timeouts []time.Duration
	log      *slog.Logger
}

// newLadder is nil where nothing is configured.
func newLadder(rungs []RungConfig, admin string, log *slog.Logger) (Ladder, error) {
	if len(rungs) == 0 {
		return nil, nil //nolint:nilnil // no ladder is no error
	}
	l := &ladder{log: log}
	for _, c := range rungs {
		if c.Timeout <= 0 {
			c.Timeout = defaultRungTimeout
		}
		l.timeouts = append(l.timeouts, c.Timeout.D())
		switch {
		case c.Rung == rungStop && c.PIDFile != "":
			l.rungs = append(l.rungs, stopRung{c.PIDFile})
		case c.Rung == rungStop:
			l.rungs = append(l.rungs, stopCommandRung{command{c.Command, c.Timeout.D()}, admin})
		case c.Rung == rungFilter:
			uid, err := lookUpUser(c.User)
			if err != nil {
				return nil, fmt.Errorf("proxysql.when_hung: filter: %w; name the user that ProxySQL runs as", err)
			}
			if uid == os.Getuid() {
				return nil, fmt.Errorf("proxysql.when_hung: filter: %s is Remora's own user, which would be cut off as well; let ProxySQL run as another one", c.User)
			}
			l.rungs = append(l.rungs, filterRung{uid, c.Timeout.D()})
		case c.Rung != rungHook:
			return nil, fmt.Errorf("proxysql.when_hung: %q is no rung; there are stop, filter and hook", c.Rung)
		default:
			l.rungs = append(l.rungs, hookRung{command{c.Command, c.Timeout.D()}})
		}
	}
	return l, nil
}

func (l *ladder) Cut(ctx context.Context, cluster string, servers []topology.Addr) (Cut, error) {
	var failed []error
	for i, r := range l.rungs {
		bounded, cancel := context.WithTimeout(ctx, l.timeouts[i])
		err := r.cut(bounded, cluster, servers)
		cancel()
		if err == nil {
			l.log.Warn("cut the proxy off", "cluster", cluster, "how", r.how().How)
			return r.how(), nil
		}
		failed = append(failed, err)
	}
	return Cut{}, errors.Join(failed...)
}

func (l *ladder) Release(ctx context.Context, cluster string) error {
	var failed []error
	for i, r := range l.rungs {
		bounded, cancel := context.WithTimeout(ctx, l.timeouts[i])
		failed = append(failed, r.release(bounded, cluster))
		cancel()
	}
	return errors.Join(failed...)
}

// command is an operator's, told by its environment what it is for.
type command struct {
	args    []string
	timeout time.Duration
}

func (c command) run(ctx context.Context, do, cluster string, servers []topology.Addr) error {
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = string(s)
	}
	r := hooks.Runner{}.Run(ctx, hooks.Command{Args: c.args, Timeout: c.timeout, Env: []string{
		"REMORA_DO=" + do, "REMORA_CLUSTER=" + cluster, "REMORA_SERVERS=" + strings.Join(names, " "),
	}})
	if r.Err == nil {
		return nil
	}
	if r.Output != "" {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), r.Err, r.Output)
	}
	return fmt.Errorf("%s: %w", strings.Join(c.args, " "), r.Err)
}

// hookRung is a command whose word counts, such as one that turns a power switch.
type hookRung struct{ command }

func (h hookRung) how() Cut { return Cut{"hook", true} }

func (h hookRung) cut(ctx context.Context, cluster string, servers []topology.Addr) error {
	return h.run(ctx, "fence", cluster, servers)
}

func (h hookRung) release(ctx context.Context, cluster string) error {
	return h.run(ctx, "release", cluster, nil)
}

// lookUpUser finds a user's number.
func lookUpUser(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}
