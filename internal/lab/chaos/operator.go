package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
)

// patience is how long the operator watches a server that cannot come back by itself before it is made anew.
const patience = 3 * time.Second

// operate does what is left to people: it starts what has ended, as a service manager does, and makes servers anew that
// hold what the primary does not have.
func (c *run) operate(ctx context.Context) (did []string) {
	for _, p := range c.lab.Processes() {
		if p.Running() {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := p.Start(ctx); err != nil {
			c.say("          %v", err)
		} else {
			did = append(did, "started "+p.Name)
		}
		cancel()
	}
	primary, _, err := c.writer(ctx)
	if err != nil {
		return did
	}
	astray := c.astray(ctx)
	for _, s := range c.f.DB.Servers {
		why := astray[s.Addr]
		if why == "" {
			why = broken(ctx, s)
		}
		if s == primary || why == "" {
			delete(c.since, s)
			continue
		}
		if _, known := c.since[s]; !known {
			c.since[s] = time.Now()
		}
		if time.Since(c.since[s]) < patience {
			continue
		}
		delete(c.since, s)
		if err := c.rebuild(ctx, s, primary); err != nil {
			c.say("          making %s anew: %v", s.Name, err)
			continue
		}
		c.report.Rebuilt++
		did = append(did, fmt.Sprintf("made %s anew (%s)", s.Name, why))
	}
	return did
}

// astray are the servers that Remora keeps out, by address.
func (c *run) astray(ctx context.Context) map[string]string {
	for i := range c.f.Sidecars {
		s, err := c.status(ctx, i)
		if err != nil || s.Mode != "open" {
			continue
		}
		out := map[string]string{}
		for _, f := range s.Findings {
			if slices.Contains([]failover.Code{"OldPrimaryDiverged", "ErrantGTIDStructureWarning"}, f.Code) {
				out[string(f.Instance)] = string(f.Code)
			}
		}
		return out
	}
	return nil
}

// broken says which error stopped a server's replication for good; empty for none.
func broken(ctx context.Context, s *lab.Server) string {
	r, err := bounded(ctx, s.Replica)
	switch {
	case err != nil || r == nil:
		return ""
	case strings.Contains(r.IOError, "fatal error 1236"): // the source does not have what it asks for, or has something else in its place
		return "its source cannot serve it: " + r.IOError
	default:
		return r.SQLError
	}
}

// rebuild makes a server anew as a replica of the primary. Its binary logs are read before they go.
func (c *run) rebuild(ctx context.Context, s, primary *lab.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if s.Flavor() == lab.MySQL {
		return c.clone(ctx, s)
	}
	return c.copy(ctx, s, primary)
}

// clone has Remora make a server anew, with MySQL's own means. The server ends itself then, and is started as a service manager
// would.
func (c *run) clone(ctx context.Context, s *lab.Server) error {
	if err := c.logs.read(ctx, s); err != nil { // nobody writes to it any more
		return err
	}
	ended, cloned := s.Ended(), make(chan error, 1)
	go func() { cloned <- c.f.Clone(ctx, s) }()
	select {
	case err := <-cloned:
		return err
	case <-ended:
		return errors.Join(s.Start(ctx), <-cloned)
	}
}
