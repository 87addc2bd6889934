package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Spec describes a replication topology. Its servers are numbered from 0, which is the primary.
type Spec struct {
	// Name precedes the number in the servers' names; empty for "db", so that they are db0, db1, ….
	Name string
	// Servers is how many there are; 0 for 3.
	Servers int
	// Chain names the source of a replica; the others replicate from the primary. A source has a lower number than its
	// replica.
	Chain map[int]int
	// Delayed makes a replica apply what it receives only after so many seconds.
	Delayed map[int]int
	// Server holds for all servers; names and ids are given to each.
	Server ServerOptions
	// ServerArgs are added to one server's Server.ExtraArgs.
	ServerArgs map[int][]string
	// Hosts are where the servers run, in their order; none for the machine itself.
	Hosts []*Host
}

// Topology is a set of servers that replicate.
type Topology struct {
	Servers []*Server
	spec    Spec
}

// Primary is the server that was started as the primary; what became of it since is not tracked.
func (t *Topology) Primary() *Server { return t.Servers[0] }

// Replicas are the others.
func (t *Topology) Replicas() []*Server { return t.Servers[1:] }

// ByAddr finds a server by its "host:port"; nil when there is none.
func (t *Topology) ByAddr(addr string) *Server {
	for _, s := range t.Servers {
		if s.Addr == addr {
			return s
		}
	}
	return nil
}

// CreateWrites makes the table that a Load writes to.
var CreateWrites = []string{
	"CREATE DATABASE IF NOT EXISTS lab",
	"CREATE TABLE IF NOT EXISTS lab.writes (writer INT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (writer, seq)) ENGINE=InnoDB",
}

// Topology starts servers, points the replicas at their sources, waits until all of them replicate, makes the primary
// writable, creates the table for a Load and waits until every replica that is not delayed has it.
func (l *Lab) Topology(ctx context.Context, spec Spec) (*Topology, error) {
	spec.Name, spec.Servers = orDefault(spec.Name, "db"), orDefault(spec.Servers, 3)
	for replica, source := range spec.Chain {
		if replica <= source || replica >= spec.Servers || source < 0 {
			return nil, fmt.Errorf("build a topology of %d: server %d cannot replicate from %d", spec.Servers, replica, source)
		}
	}
	t := &Topology{Servers: make([]*Server, spec.Servers), spec: spec}
	start, startCtx := errgroup.WithContext(ctx)
	for i := range t.Servers {
		opts := spec.Server
		opts.Name, opts.ServerID = spec.Name+strconv.Itoa(i), int(l.serverIDs.Add(1))
		if i < len(spec.Hosts) {
			opts.Host = spec.Hosts[i]
		}
		opts.ExtraArgs = append(append([]string(nil), opts.ExtraArgs...), spec.ServerArgs[i]...)
		start.Go(func() (err error) {
			t.Servers[i], err = l.Server(startCtx, opts)
			return err
		})
	}
	if err := start.Wait(); err != nil {
		return nil, err
	}
	follow, followCtx := errgroup.WithContext(ctx)
	for i, s := range t.Servers[1:] {
		source := t.Servers[spec.Chain[i+1]]
		follow.Go(func() error { return s.Replicate(followCtx, source, spec.Delayed[i+1]) })
	}
	if err := follow.Wait(); err != nil {
		return nil, err
	}
	if err := t.startSemiSync(ctx); err != nil {
		return nil, err
	}
	if err := t.Primary().SetWritable(ctx, true); err != nil {
		return nil, err
	}
	if err := t.Primary().Exec(ctx, CreateWrites...); err != nil {
		return nil, err
	}
	return t, t.CaughtUp(ctx)
}

// Replicate makes the server a replica of source from its own position on, delayed by some seconds or not, and waits
// until both replication threads run.
func (s *Server) Replicate(ctx context.Context, source *Server, delay int) error {
	if err := s.Follow(ctx, source, delay); err != nil {
		return err
	}
	return s.Replicating(ctx)
}

// Follow is Replicate without the wait.
func (s *Server) Follow(ctx context.Context, source *Server, delay int) error {
	w := s.engine.words()
	return s.Exec(ctx, w.stop, s.engine.follow(source, delay), w.start)
}

// Replicating waits until both replication threads run.
func (s *Server) Replicating(ctx context.Context) error {
	return Eventually(ctx, s.Name+" to replicate", 20*time.Millisecond, func() (bool, string) {
		r, err := s.Replica(ctx)
		switch {
		case err != nil:
			return false, err.Error()
		case r == nil:
			return false, "it is no replica"
		}
		return r.IO == "Yes" && r.SQL == "Yes", fmt.Sprintf("IO %s (%s), SQL %s (%s)", r.IO, r.IOError, r.SQL, r.SQLError)
	})
}

// CaughtUp waits until every replica that is not delayed has all that the primary has now.
func (t *Topology) CaughtUp(ctx context.Context) error {
	pos, err := t.Primary().Position(ctx)
	if err != nil {
		return err
	}
	wait, waitCtx := errgroup.WithContext(ctx)
	for i, s := range t.Servers {
		if i == 0 || t.delayed(i) {
			continue
		}
		wait.Go(func() error { return s.Applied(waitCtx, pos) })
	}
	return wait.Wait()
}

// delayed tells whether a server, or one that it replicates through, is.
func (t *Topology) delayed(i int) bool {
	for ; i != 0; i = t.spec.Chain[i] {
		if t.spec.Delayed[i] > 0 {
			return true
		}
	}
	return false
}

// Applied waits until the server, a replica, has applied a position of the primary; without GTIDs, of its source.
func (s *Server) Applied(ctx context.Context, pos string) error {
	w := s.engine.words()
	query := fmt.Sprintf(w.applied, pos)
	if s.opts.NoGTID {
		file, offset, _ := strings.Cut(pos, ":")
		query = fmt.Sprintf("SELECT IF(%s('%s', %s, 0.02) >= 0, 0, 1) AS waited, 'behind' AS pos", w.awaitLog, file, offset)
	}
	return Eventually(ctx, s.Name+" to apply "+pos, 20*time.Millisecond, func() (bool, string) {
		row, err := s.Row(ctx, query)
		if err != nil {
			return false, err.Error()
		}
		return row["waited"] == "0", "at " + row["pos"]
	})
}

// startSemiSync turns the primary's side on and waits until it counts each of its replicas as one that acknowledges.
func (t *Topology) startSemiSync(ctx context.Context) error {
	if !t.spec.Server.SemiSync {
		return nil
	}
	if err := t.Primary().SetSemiSync(ctx, true); err != nil {
		return err
	}
	want := 0
	for i := range t.Replicas() {
		if t.spec.Chain[i+1] == 0 {
			want++
		}
	}
	return Eventually(ctx, fmt.Sprintf("%d semi-sync replicas at %s", want, t.Primary().Name), 20*time.Millisecond, func() (bool, string) {
		have, err := t.Primary().SemiSyncClients(ctx)
		return err == nil && have == want, fmt.Sprint(have, " of them, ", err)
	})
}
