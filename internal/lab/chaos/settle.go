package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// settle waits until all is well, with an operator at hand, and tells what that one did.
func (c *run) settle(ctx context.Context) (operator []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	began := time.Now()
	clear(c.since)
	next, last := began, ""
	return operator, lab.Eventually(ctx, "all to be well", 50*time.Millisecond, func() (bool, string) {
		state := c.unwell(ctx, began)
		if ctx.Err() != nil { // what is asked at the end fails for that alone
			return false, last
		}
		last = state
		if state != "" && time.Now().After(next) {
			next = time.Now().Add(time.Second)
			operator = append(operator, c.operate(ctx)...)
		}
		return state == "", state
	})
}

// unwell says what is not as it should be: first what the servers say, then the proxies, then the clients, and Remora last.
func (c *run) unwell(ctx context.Context, since time.Time) string {
	primary, position, err := c.writer(ctx)
	if err != nil {
		return err.Error()
	}
	for _, s := range c.f.DB.Servers {
		if s == primary {
			continue
		}
		if state := follows(ctx, s, primary, position); state != "" {
			return state
		}
	}
	for _, p := range c.f.Proxies {
		if state := routes(ctx, p, primary); state != "" {
			return state
		}
	}
	for i, back := range c.load.Backs(since) {
		if back.IsZero() {
			return fmt.Sprintf("client %d, on node%d, does not write yet", i+1, i%len(c.f.Nodes)+1)
		}
	}
	for i := range c.f.Sidecars {
		if state := c.admits(ctx, i, primary); state != "" {
			return state
		}
	}
	return ""
}

// answer is how long a server may take to answer a question.
const answer = 2 * time.Second

// writer is the one server that takes writes, with its position.
func (c *run) writer(ctx context.Context) (writer *lab.Server, position string, err error) {
	for _, s := range c.f.DB.Servers {
		closed, err := bounded(ctx, s.Closed)
		switch {
		case err != nil:
			return nil, "", err
		case closed:
		case writer != nil:
			return nil, "", fmt.Errorf("%s and %s both take writes", writer.Name, s.Name)
		default:
			writer = s
		}
	}
	if writer == nil {
		return nil, "", fmt.Errorf("no server takes writes")
	}
	position, err = bounded(ctx, writer.Position)
	return writer, position, err
}

// bounded asks a server something.
func bounded[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	return question(ctx)
}

// follows says why a server does not follow the primary; empty when it does, and has what the primary had.
func follows(ctx context.Context, s, primary *lab.Server, position string) string {
	r, err := bounded(ctx, s.Replica)
	switch {
	case err != nil:
		return err.Error()
	case r == nil:
		return s.Name + " replicates from nobody"
	case r.SourcePort != primary.Port: // no two servers of a lab have the same
		return fmt.Sprintf("%s replicates from port %d, not from %s", s.Name, r.SourcePort, primary.Name)
	case r.IO != "Yes" || r.SQL != "Yes":
		return fmt.Sprintf("%s: IO %s (%s), SQL %s (%s)", s.Name, r.IO, r.IOError, r.SQL, r.SQLError)
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := s.Applied(ctx, position); err != nil {
		return err.Error()
	}
	return ""
}

// routes says why a proxy does not send writes to the primary alone; empty when it does.
func routes(ctx context.Context, p *lab.Proxy, primary *lab.Server) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	rows, err := p.Admin().QueryContext(ctx, fmt.Sprintf(
		"SELECT hostname, port, status FROM runtime_mysql_servers WHERE hostgroup_id=%d AND status <> 'OFFLINE_HARD'", fleet.WriterHostgroup))
	if err != nil {
		return fmt.Sprintf("%s: %v", p.Name, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var host, port, status string
		if err := rows.Scan(&host, &port, &status); err != nil {
			return fmt.Sprintf("%s: %v", p.Name, err)
		}
		all = append(all, host+":"+port+" "+status)
	}
	if err := rows.Err(); err != nil {
		return fmt.Sprintf("%s: %v", p.Name, err)
	}
	if got := strings.Join(all, ", "); got != primary.Addr+" ONLINE" {
		return fmt.Sprintf("%s sends writes to %q, not to %s", p.Name, got, primary.Name)
	}
	return ""
}

// admits says what a sidecar finds wrong; empty when it is content with the same primary.
func (c *run) admits(ctx context.Context, i int, primary *lab.Server) string {
	s, err := c.status(ctx, i)
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %v", c.f.Sidecars[i].Name, err)
	case s.Mode != "open" || s.Recovery != nil || string(s.Primary) != primary.Addr:
		return fmt.Sprintf("%s: the route to %s is %q; %s", c.f.Sidecars[i].Name, s.Primary, s.Mode, s.Sentence)
	case len(s.Findings) > 0:
		return fmt.Sprintf("%s finds %s: %s", c.f.Sidecars[i].Name, s.Findings[0].Code, s.Findings[0].Sentence)
	}
	return ""
}

// status is what a sidecar says of the cluster.
func (c *run) status(ctx context.Context, i int) (api.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	all, err := c.f.Client(i).Status(ctx)
	if err != nil {
		return api.ClusterStatus{}, err
	}
	for _, s := range all.Clusters {
		if s.Name == fleet.Cluster {
			return s, nil
		}
	}
	return api.ClusterStatus{}, fmt.Errorf("it knows no cluster %s", fleet.Cluster)
}
