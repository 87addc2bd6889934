package scale

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/endpoints"
)

// apiToken is what every sidecar demands; it guards nothing.
const apiToken = "scale-token"

// patience is how long a fleet of the greatest size may take to be routed.
const patience = 10 * time.Minute

// install is a running fleet.
type install struct {
	opts     Options
	lab      *lab.Lab
	db       *endpoints.Fleet
	proxies  []*lab.Proxy
	sidecars []*lab.Process
	apis     []string
	rafts    []string
	clients  []*api.Client

	stopWrites func()
	routedIn   time.Duration // from the first sidecar's start until all clusters were routed
}

// start starts everything and waits until every cluster has a route. The caller calls close.
func start(ctx context.Context, l *lab.Lab, opts Options, proxies bool) (*install, error) {
	sizes, err := opts.sizes()
	if err != nil {
		return nil, err
	}
	// Every instance is watched by one sidecar and each primary by three; some more are asked at times.
	if err := endpoints.RaiseFileLimit(uint64(opts.Instances + 2*opts.Clusters + 2_000)); err != nil {
		return nil, err
	}
	in := &install{opts: opts, lab: l, stopWrites: func() {}}
	if err := in.begin(ctx, sizes, proxies); err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

func (in *install) begin(ctx context.Context, sizes []int, proxies bool) error {
	var err error
	if in.opts.Binary == "" {
		in.opts.say("building remora")
		if in.opts.Binary, err = in.lab.BuildTool(ctx, "github.com/remora-ha/remora/cmd/remora"); err != nil {
			return err
		}
	}
	in.opts.say("%d instances in %d clusters begin to listen", in.opts.Instances, in.opts.Clusters)
	if in.db, err = endpoints.Start(sizes); err != nil {
		return err
	}
	if !in.opts.Idle {
		in.stopWrites = every(time.Second, func() { in.db.Write(3) })
	}
	for i := range in.opts.Sidecars {
		if !proxies {
			break
		}
		p, err := in.lab.Proxy(ctx, lab.ProxyOptions{
			Name: fmt.Sprintf("proxy%d", i+1), StandIn: in.opts.StandIn, WriterHostgroup: writerHostgroup(0),
			// Else each LOAD writes all rows of all hostgroups into the log, several times.
			Variables: map[string]string{"mysql-hostgroup_manager_verbose": "0"},
		})
		if err != nil {
			return err
		}
		in.proxies = append(in.proxies, p)
	}
	began := time.Now()
	if err := in.startSidecars(ctx); err != nil {
		return err
	}
	if err := in.awaitRoutes(ctx); err != nil {
		return err
	}
	in.routedIn = time.Since(began)
	in.opts.say("all clusters are routed, %s after the sidecars' start", in.routedIn.Round(100*time.Millisecond))
	return nil
}

func (in *install) startSidecars(ctx context.Context) error {
	var nodes, clusters strings.Builder
	for i := range in.opts.Sidecars {
		raft, err := in.lab.Addr()
		if err != nil {
			return err
		}
		addr, err := in.lab.Addr()
		if err != nil {
			return err
		}
		in.apis, in.rafts = append(in.apis, addr), append(in.rafts, raft)
		in.clients = append(in.clients, api.NewClient(addr, apiToken, http.DefaultTransport))
		fmt.Fprintf(&nodes, "  - {name: node%d, raft: %q, api: %q, witness: %t}\n", i+1, raft, addr, in.proxies == nil)
	}
	for i, c := range in.db.Clusters() {
		seeds := make([]string, len(c.Instances))
		for k, inst := range c.Instances {
			seeds[k] = fmt.Sprintf("%q", inst.Addr)
		}
		fmt.Fprintf(&clusters, "  %s: {seeds: [%s], hostgroups: {writer: %d, reader: %d}}\n",
			c.Name, strings.Join(seeds, ", "), writerHostgroup(i), writerHostgroup(i)+1)
	}
	in.opts.say("%d sidecars start", in.opts.Sidecars)
	for i := range in.opts.Sidecars {
		name := fmt.Sprintf("node%d", i+1)
		p, err := in.lab.Sidecar(ctx, lab.SidecarOptions{
			Name: name, Binary: in.opts.Binary, Config: in.config(i, nodes.String(), clusters.String()),
			Env: append([]string{"REMORA_PASSWORD=endpoint", "REMORA_API_TOKEN=" + apiToken, "REMORA_PROXYSQL_PASSWORD=" + lab.AdminUser.Password}, in.opts.Env...),
		})
		if err != nil {
			return fmt.Errorf("start sidecar %s: %w", name, err)
		}
		in.sidecars = append(in.sidecars, p)
	}
	return nil
}

// writerHostgroup is that of the ith cluster; its readers' is the next.
func writerHostgroup(i int) int { return 10 + 2*i }

func (in *install) config(i int, nodes, clusters string) string {
	proxy := ""
	if in.proxies != nil {
		proxy = fmt.Sprintf("proxysql: {admin: %q, user: %s, password: {env: REMORA_PROXYSQL_PASSWORD}}\n", in.proxies[i].AdminAddr, lab.AdminUser.Name)
	}
	// What is measured does not depend on them, and an election on a machine that is shared by so many would fall into the figures.
	const raft = "raft: {heartbeat: 2s, election: 2s, lease: 1s}\nlease: {heartbeat: 500ms, ttl: 10s}\n"
	policy := strings.ReplaceAll(strings.TrimSpace(in.opts.Policy), "\n", "\n  ")
	return fmt.Sprintf(`node: node%d
data_dir: %q
nodes:
%sapi: {token: {env: REMORA_API_TOKEN}}
mysql:
  user: remora
  password: {env: REMORA_PASSWORD}
  replication_user: repl
  replication_password: {env: REMORA_PASSWORD}
%s%slog: {level: info}
policy:
  detection: {interval: %s, timeout: %s, fresh: %s}
  %s
clusters:
%s`, i+1, in.dataDir(i), nodes, proxy, raft, in.opts.Interval, in.opts.Timeout, 4*in.opts.Interval, policy, clusters)
}

func (in *install) dataDir(i int) string {
	return filepath.Join(in.lab.Dir(), fmt.Sprintf("node%d", i+1), "data")
}

// awaitRoutes waits until every cluster has a route, and with proxies until each has applied it.
func (in *install) awaitRoutes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A status of thousands of clusters keeps the leader from what it is waited for.
	pause := max(time.Second, time.Duration(in.opts.Clusters)*2*time.Millisecond)
	before, then := in.db.Counts(), time.Now()
	err := lab.Eventually(ctx, "every cluster is routed", pause, func() (bool, string) {
		s, _, err := in.status(ctx)
		if err != nil {
			return false, err.Error()
		}
		routed := 0
		state := ""
		for _, c := range s.Clusters {
			if c.Epoch > 0 && in.applied(s, c) && len(c.Findings) == 0 {
				routed++
			} else {
				state = c.Name + ": " + c.Sentence
			}
		}
		now, span := in.db.Counts(), time.Since(then).Seconds()
		in.opts.say("%d of %d clusters are routed; %.0f log-ins, %.0f readings and %.0f pings a second", routed, in.opts.Clusters,
			float64(now.Logins-before.Logins)/span, float64(now.Readings-before.Readings)/span, float64(now.Pings-before.Pings)/span)
		before, then = now, time.Now()
		return routed == in.opts.Clusters, fmt.Sprintf("%d of %d clusters are routed; %s", routed, in.opts.Clusters, state)
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, in.sidecars[0].LogTail(20))
	}
	return nil
}

// applied says whether every proxy applied the cluster's epoch.
func (in *install) applied(s api.Status, c api.ClusterStatus) bool {
	if in.proxies == nil {
		return true
	}
	for _, n := range s.Nodes {
		if n.Applied[c.Name] < c.Epoch {
			return false
		}
	}
	return true
}

// status asks until a sidecar knows a leader; it says which sidecar, from 0, leads.
func (in *install) status(ctx context.Context) (s api.Status, leader int, err error) {
	for _, c := range in.clients {
		bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
		s, err = c.Status(bounded)
		cancel()
		if err != nil {
			continue
		}
		for i, p := range in.sidecars {
			if p.Name == s.Leader {
				return s, i, nil
			}
		}
		err = fmt.Errorf("%s knows no leader", s.Node)
	}
	return s, 0, err
}

// settledStatus waits until there is a leader.
func (in *install) settledStatus(ctx context.Context) (s api.Status, leader int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = lab.Eventually(ctx, "a leader", 100*time.Millisecond, func() (bool, string) {
		var failure error
		if s, leader, failure = in.status(ctx); failure != nil {
			return false, failure.Error()
		}
		return true, ""
	})
	return s, leader, err
}

// close ends the endpoints; the processes end with the lab.
func (in *install) close() error {
	in.stopWrites()
	for _, p := range in.sidecars {
		_ = p.Kill()
	}
	if in.db == nil {
		return nil
	}
	return in.db.Close()
}

// every does something again and again until it is stopped, which waits for its end.
func every(d time.Duration, do func()) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				do()
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
