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

// writer is the one server that takes writes, with its position.
func (c *run) writer(ctx context.Context) (writer *lab.Server, position string, err error) {
	for _, s := range c.f.DB.Servers {
		row, err := ask(ctx, s, "SELECT @@read_only AS read_only, @@gtid_current_pos AS position")
		switch {
		case err != nil:
			return nil, "", err
		case row["read_only"] != "0":
		case writer != nil:
			return nil, "", fmt.Errorf("%s and %s both take writes", writer.Name, s.Name)
		default:
			writer, position = s, row["position"]
		}
	}
	if writer == nil {
		return nil, "", fmt.Errorf("no server takes writes")
	}
	return writer, position, nil
}

func ask(ctx context.Context, s *lab.Server, query string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return s.Row(ctx, query)
}

// follows says why a server does not follow the primary; empty when it does, and has what the primary had.
func follows(ctx context.Context, s, primary *lab.Server, position string) string {
	row, err := ask(ctx, s, "SHOW SLAVE STATUS")
	switch {
	case err != nil:
		return err.Error()
	case row == nil:
		return s.Name + " replicates from nobody"
	case row["Master_Host"] != primary.Host:
		return fmt.Sprintf("%s replicates from %s, not from %s", s.Name, row["Master_Host"], primary.Name)
	case row["Slave_IO_Running"] != "Yes" || row["Slave_SQL_Running"] != "Yes":
		return fmt.Sprintf("%s: IO %s (%s), SQL %s (%s)", s.Name, row["Slave_IO_Running"], row["Last_IO_Error"], row["Slave_SQL_Running"], row["Last_SQL_Error"])
	}
	waited, err := ask(ctx, s, "SELECT MASTER_GTID_WAIT('"+position+"', 0.5) AS waited")
	if err != nil {
		return err.Error()
	}
	if waited["waited"] != "0" {
		return fmt.Sprintf("%s has not applied %s yet", s.Name, position)
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
