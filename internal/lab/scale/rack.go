package scale

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/endpoints"
)

// lookEvery is how often each proxy is asked what it routes. Each time costs a ProxySQL of 600 rows some 5 ms of CPU, and all of
// them share the machine with those who are measured.
const lookEvery = 200 * time.Millisecond

// Rack kills the primaries of all clusters in one instant and times until every proxy routes each cluster's writes to a
// server that takes them.
func Rack(ctx context.Context, l *lab.Lab, opts Options) (r *Report, err error) {
	opts = opts.withDefaults(100, 0)
	in, err := start(ctx, l, opts, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	r = newReport("rack", opts)
	r.Proxies = in.proxies[0].Kind()
	if err := pause(ctx, settling); err != nil {
		return nil, err
	}
	before, err := in.mark(ctx)
	if err != nil {
		return nil, err
	}
	in.opts.say("the primaries of all %d clusters are killed", opts.Clusters)
	struck := time.Now()
	var kills sync.WaitGroup
	for _, c := range in.db.Clusters() {
		kills.Go(c.Instances[0].Kill)
	}
	kills.Wait()
	r.add("rack", "until all primaries were dead", time.Since(struck).Seconds(), "s")
	back, err := in.routedAgain(ctx, struck)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, in.sidecars[0].LogTail(20))
	}
	r.addTimes("rack", "a cluster routed again by every proxy", back)
	after, err := in.mark(ctx)
	if err != nil {
		return nil, err
	}
	cpu := time.Duration(0)
	for i := range before.each {
		cpu += after.each[i].cpu - before.each[i].cpu
	}
	r.add("rack", "CPU of all sidecars per failover", cpu.Seconds()*1000/float64(opts.Clusters), "ms")
	r.add("rack", "raft entries per failover", float64(after.index-before.index)/float64(opts.Clusters), "")
	r.Unknown = in.db.Unknown()
	return r, nil
}

// routedAgain asks all proxies until each routes each cluster's writes to a server that takes them.
func (in *install) routedAgain(ctx context.Context, struck time.Time) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	last := make([]time.Duration, in.opts.Clusters) // by cluster, at the slowest proxy
	var mu sync.Mutex
	var looks sync.WaitGroup
	errs := make([]error, len(in.proxies))
	for i, p := range in.proxies {
		looks.Go(func() {
			errs[i] = in.look(ctx, p, func(cluster int) {
				mu.Lock()
				defer mu.Unlock()
				last[cluster] = max(last[cluster], time.Since(struck))
			})
		})
	}
	looks.Wait()
	return last, errors.Join(errs...)
}

// look asks one proxy until it has told of each cluster once that its writer is alive.
func (in *install) look(ctx context.Context, p *lab.Proxy, routed func(cluster int)) error {
	done := make([]bool, in.opts.Clusters)
	left := len(done)
	return lab.Eventually(ctx, p.Name+" routes all clusters", lookEvery, func() (bool, string) {
		writers, err := writersOf(ctx, p.Admin())
		if err != nil {
			return false, err.Error()
		}
		for i, c := range in.db.Clusters() {
			if !done[i] && writable(c, writers[writerHostgroup(i)]) {
				done[i] = true
				left--
				routed(i)
			}
		}
		return left == 0, fmt.Sprintf("%d of %d clusters have no writer that is alive", left, in.opts.Clusters)
	})
}

func writable(c *endpoints.Cluster, writer string) bool {
	for _, inst := range c.Instances {
		if inst.Addr == writer {
			return inst.Writable()
		}
	}
	return false
}

// writersOf are the servers that are online in each hostgroup.
func writersOf(ctx context.Context, admin *sql.DB) (map[int]string, error) {
	rows, err := admin.QueryContext(ctx, "SELECT hostgroup_id, hostname, port FROM runtime_mysql_servers WHERE status='ONLINE'")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	writers := map[int]string{}
	for rows.Next() {
		var hostgroup, port int
		var host string
		if err := rows.Scan(&hostgroup, &host, &port); err != nil {
			return nil, err
		}
		writers[hostgroup] = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return writers, rows.Err()
}
