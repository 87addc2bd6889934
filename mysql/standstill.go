package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// standStill stops all replication. It says which channels stood still through it,
// with the threads that they had before, also where it failed halfway.
func (a *actor) standStill(ctx context.Context, r *reading) (stood []channel, err error) {
	for _, c := range r.channels {
		if c.IO == topology.ThreadNo && c.SQL == topology.ThreadNo {
			continue
		}
		stood = append(stood, c)
		if err := a.stopBoth(ctx, r, c); err != nil {
			return stood, err
		}
	}
	return stood, nil
}

// goOn starts the channels again that stood still for an act which did not begin,
// and says so beside why. One of which a single thread ran is left to people.
func (a *actor) goOn(ctx context.Context, stood []channel, why error) error {
	if len(stood) == 0 {
		return why
	}
	var starts []statement
	var words []string
	for _, c := range stood {
		if c.IO == topology.ThreadNo || c.SQL == topology.ThreadNo {
			words = append(words, fmt.Sprintf("replication from %s, of which one thread alone ran, was stopped for it: start it as it shall be", c.Addr))
			continue
		}
		starts = append(starts, a.session.dialect.start(c.Channel))
		words = append(words, fmt.Sprintf("replication from %s was stopped for it and started again", c.Addr))
	}
	if err := a.anyway(ctx, starts...); err != nil {
		return fmt.Errorf("%w; replication was stopped for it and could not be started again: %w", why, err)
	}
	return fmt.Errorf("%w; %s", why, strings.Join(words, "; "))
}

// anyway sends what has to be sent also where ctx has ended, and the session with it:
// over a connection of its own, for a while of its own.
func (a *actor) anyway(ctx context.Context, statements ...statement) error {
	if len(statements) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ActTimeout.D())
	defer cancel()
	other := &actor{op: a.op, addr: a.addr, cfg: a.cfg, confirm: a.confirm, strays: a.strays, log: a.log}
	if err := other.connect(ctx); err != nil {
		return other.fail(statement{}, err)
	}
	defer func() { other.session.close() }()
	defer other.withdraw(ctx)
	var all error
	for _, st := range statements {
		all = errors.Join(all, other.do(ctx, st))
	}
	return all
}
