// Package fleet starts a whole Remora installation in a lab: database servers
// that replicate, a ProxySQL (or its stand-in) and a sidecar for each node. It
// also plays the scenarios that the demo shows and the acceptance tests and
// benchmarks measure, seen from clients that know nothing of Remora.
package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
)

// Cluster is the alias of the fleet's replication cluster.
const Cluster = "main"

// The hostgroups of the cluster in every proxy.
const (
	WriterHostgroup = 10
	ReaderHostgroup = 20
)

// Options describe a fleet. The zero value has three servers and three nodes.
type Options struct {
	Topology lab.Spec
	Nodes    int  // sidecars, each with a proxy; 0 for 3
	StandIn  bool // take the stand-in also where a ProxySQL is found
	// Policy is YAML that is put under the cluster's `policy:`, such as
	// "anti_flap: 0s". Semi-sync topologies get durability: semi_sync by itself.
	Policy string
	// Binary is the remora program; built when empty.
	Binary string
	// Env is added to the sidecars' environment.
	Env []string
	// HAProxy adds a Consul and, on each node, an HAProxy whose configuration the
	// sidecar renders from it.
	HAProxy bool
	// Hosts puts each node (a sidecar and its proxy) and each server on a host of its own, of one network that can be cut.
	Hosts bool
	// Disk is the size in bytes of the disk that each sidecar has its data on; 0 for none of its own.
	Disk int64
	// Join has the sidecars find each other through that Consul, in place of a list.
	Join bool
}

// Fleet is a running installation.
type Fleet struct {
	Lab      *lab.Lab
	DB       *lab.Topology
	Proxies  []*lab.Proxy
	Sidecars []*lab.Process
	APIs     []string // of the sidecars, host:port
	Binary   string
	Consul   *lab.Consul    // nil without HAProxy
	HAProxys []*lab.HAProxy // one a node
	Network  *lab.Network   // nil without hosts
	Nodes    []*lab.Host    // of the sidecars, nil where they run on the machine itself

	clients []*api.Client
	nodes   []outsideNode
	rafts   []string // host:port, one a sidecar
}

// Start starts everything and waits until the cluster is routed by every proxy.
// What it started is ended with the lab.
func Start(ctx context.Context, l *lab.Lab, opts Options) (*Fleet, error) {
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	f := &Fleet{Lab: l, Binary: opts.Binary, Nodes: make([]*lab.Host, opts.Nodes)}
	var err error
	if opts.Hosts {
		if err := f.startNetwork(ctx, &opts); err != nil {
			return nil, err
		}
	}
	if f.Binary == "" {
		if f.Binary, err = l.BuildTool(ctx, "github.com/remora-ha/remora/cmd/remora"); err != nil {
			return nil, fmt.Errorf("build remora: %w", err)
		}
	}
	if f.DB, err = l.Topology(ctx, opts.Topology); err != nil {
		return nil, fmt.Errorf("start the database servers: %w", err)
	}
	for i := range opts.Nodes {
		p, err := l.Proxy(ctx, lab.ProxyOptions{
			Name: fmt.Sprintf("proxy%d", i+1), WriterHostgroup: WriterHostgroup, StandIn: opts.StandIn, Host: f.Nodes[i],
			// As docs/proxysql.md advises, or sessions that insert into tables with AUTO_INCREMENT write on through a pause.
			Variables: map[string]string{"mysql-auto_increment_delay_multiplex": "0"},
		})
		if err != nil {
			return nil, fmt.Errorf("start proxy %d: %w", i+1, err)
		}
		f.Proxies = append(f.Proxies, p)
	}
	if opts.HAProxy {
		if err := f.startConsul(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.startSidecars(ctx, opts); err != nil {
		return nil, err
	}
	if opts.HAProxy {
		if err := f.startHAProxys(ctx); err != nil {
			return nil, err
		}
	}
	return f, f.Converged(ctx)
}

func (f *Fleet) startSidecars(ctx context.Context, opts Options) error {
	var nodes strings.Builder
	for i := range opts.Nodes {
		apiPort, err := f.Lab.Port()
		if err != nil {
			return err
		}
		raftPort, err := f.Lab.Port()
		if err != nil {
			return err
		}
		apiAddr, raftAddr := f.Nodes[i].Addr(apiPort), f.Nodes[i].Addr(raftPort)
		f.APIs, f.rafts = append(f.APIs, apiAddr), append(f.rafts, raftAddr)
		f.clients = append(f.clients, f.client(i, apiAddr))
		fmt.Fprintf(&nodes, "  - {name: node%d, raft: %q, api: %q}\n", i+1, raftAddr, apiAddr)
	}
	for i := range opts.Nodes {
		name := fmt.Sprintf("node%d", i+1)
		p, err := f.Lab.Sidecar(ctx, lab.SidecarOptions{
			Name: name, Binary: f.Binary, Host: f.Nodes[i], Disk: opts.Disk,
			Config: f.config(i, nodes.String(), f.DataDir(i), opts),
			Env: append([]string{
				"REMORA_MYSQL_PASSWORD=" + lab.RemoraUser.Password,
				"REMORA_REPLICATION_PASSWORD=" + lab.ReplUser.Password,
				"REMORA_PROXYSQL_PASSWORD=" + lab.AdminUser.Password,
				"REMORA_API_TOKEN=" + apiToken,
			}, opts.Env...),
		})
		if err != nil {
			return fmt.Errorf("start sidecar %s: %w", name, err)
		}
		f.Sidecars = append(f.Sidecars, p)
	}
	return nil
}

func (f *Fleet) config(i int, nodes, dataDir string, opts Options) string {
	members := "nodes:\n" + nodes
	if opts.Join {
		members = f.join(i)
	}
	policy := strings.TrimRight(opts.Policy, "\n")
	if opts.Topology.Server.SemiSync {
		policy += "\ndurability: semi_sync"
	}
	policy = strings.ReplaceAll(strings.TrimSpace(policy), "\n", "\n      ")
	if policy == "" {
		policy = "{}"
	}
	return fmt.Sprintf(`node: node%d
data_dir: %q
%smysql:
  user: %s
  password: {env: REMORA_MYSQL_PASSWORD}
  replication_user: %s
  replication_password: {env: REMORA_REPLICATION_PASSWORD}
proxysql:
  admin: %q
  user: %s
  password: {env: REMORA_PROXYSQL_PASSWORD}
lease: {file: %q}
log: {level: %s}
%s%sclusters:
  %s:
    seeds: [%q]
    hostgroups: {writer: %d, reader: %d}
    policy:
      %s
`, i+1, dataDir, members, lab.RemoraUser.Name, lab.ReplUser.Name, f.Proxies[i].AdminAddr, lab.AdminUser.Name, f.LeaseFile(i), logLevel(), f.outside(i),
		f.listen(i), Cluster, f.DB.Servers[0].Addr, WriterHostgroup, ReaderHostgroup, policy)
}

// DataDir is where sidecar i, from 0, keeps its log.
func (f *Fleet) DataDir(i int) string {
	return filepath.Join(f.Lab.Dir(), fmt.Sprintf("node%d", i+1), "data", "raft")
}

// LeaseFile is where sidecar i, from 0, writes its lease.
func (f *Fleet) LeaseFile(i int) string {
	return filepath.Join(f.Lab.Dir(), fmt.Sprintf("node%d", i+1), "lease")
}

func logLevel() string {
	if level := os.Getenv("REMORA_LOG_LEVEL"); level != "" {
		return level
	}
	return "info"
}

// ProxyKind says what the proxies are: a version of ProxySQL, or the stand-in.
func (f *Fleet) ProxyKind() string { return f.Proxies[0].Kind() }

// ClientAddrs are where clients connect to the proxies.
func (f *Fleet) ClientAddrs() []string {
	addrs := make([]string, len(f.Proxies))
	for i, p := range f.Proxies {
		addrs[i] = p.ClientAddr
	}
	return addrs
}

// Status asks the sidecars in turn until one that knows a leader answers.
func (f *Fleet) Status(ctx context.Context) (api.Status, error) {
	err := fmt.Errorf("no sidecar runs")
	for i, c := range f.clients {
		if !f.Sidecars[i].Running() || f.Sidecars[i].Frozen() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		var s api.Status
		s, err = c.Status(bounded)
		cancel()
		if err == nil && s.Leader != "" {
			return s, nil
		}
		if err == nil {
			err = fmt.Errorf("%s knows no leader", s.Node)
		}
	}
	return api.Status{}, err
}

// Leader is the sidecar that leads.
func (f *Fleet) Leader(ctx context.Context) (*lab.Process, error) {
	s, err := f.Status(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.Sidecars, func(p *lab.Process) bool { return p.Name == s.Leader })
	if i < 0 {
		return nil, fmt.Errorf("the leader is %q, which is not of this fleet", s.Leader)
	}
	return f.Sidecars[i], nil
}

// Primary is the server that is routed as writer now.
func (f *Fleet) Primary(ctx context.Context) (*lab.Server, error) {
	s, err := f.Status(ctx)
	if err != nil {
		return nil, err
	}
	p := f.DB.ByAddr(string(cluster(s).Primary))
	if p == nil {
		return nil, fmt.Errorf("the primary is %q, which is not of this fleet", cluster(s).Primary)
	}
	return p, nil
}

func cluster(s api.Status) api.ClusterStatus {
	for _, c := range s.Clusters {
		if c.Name == Cluster {
			return c
		}
	}
	return api.ClusterStatus{}
}

// patience is how long a fleet may take to be well, also on a busy machine.
const patience = 2 * time.Minute

// recently is how long ago a running sidecar was heard at most: a few heartbeats.
const recently = time.Second

// Converged waits until the fleet is well: a leader, an open writer, every
// running server a replica of it with both threads, no recovery open, and every
// proxy of a running sidecar at the newest epoch.
func (f *Fleet) Converged(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := lab.Eventually(ctx, "the fleet is well", 20*time.Millisecond, func() (bool, string) {
		s, err := f.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		state := f.unwell(s)
		return state == "", state
	})
	if err != nil {
		var logs strings.Builder
		for _, p := range f.Sidecars {
			logs.WriteString("\n" + p.LogTail(15))
		}
		return fmt.Errorf("%w%s", err, logs.String())
	}
	return nil
}

// unwell says what is not as it should be; empty when all is.
func (f *Fleet) unwell(s api.Status) string {
	c := cluster(s)
	if c.Epoch == 0 || c.Mode != "open" || c.Recovery != nil {
		return fmt.Sprintf("%s at epoch %d is %q; %s", c.Name, c.Epoch, c.Mode, c.Sentence)
	}
	if state := f.unwellServer(c); state != "" {
		return state
	}
	if len(c.Instances) < len(f.DB.Servers) {
		return fmt.Sprintf("%d of %d servers are known", len(c.Instances), len(f.DB.Servers))
	}
	for i, n := range s.Nodes {
		// What the leader was told by a process that has ended since proves nothing.
		if f.Sidecars[i].Running() && !f.Sidecars[i].Frozen() && (n.Heard == nil || n.Heard.D() > recently) {
			return n.Name + " is not heard"
		}
		if f.Sidecars[i].Running() && !f.Sidecars[i].Frozen() && f.Proxies[i].Running() && n.Applied[Cluster] < c.Epoch {
			return fmt.Sprintf("%s's proxy applied epoch %d of %d: %s", n.Name, n.Applied[Cluster], c.Epoch, strings.Join(n.Trouble, "; "))
		}
	}
	return ""
}

// unwellServer is unwell for the database servers that run.
func (f *Fleet) unwellServer(c api.ClusterStatus) string {
	for _, inst := range c.Instances {
		srv := f.DB.ByAddr(string(inst.Addr))
		if srv == nil || !srv.Running() || srv.Frozen() {
			continue
		}
		healthy := inst.Reach == "up" && (inst.Addr == c.Primary && !inst.ReadOnly ||
			inst.Addr != c.Primary && inst.ReadOnly && inst.IO == "yes" && inst.SQL == "yes")
		if !healthy {
			return fmt.Sprintf("%s is %s and %s, IO %q, SQL %q; %s", inst.Addr, inst.Role, inst.Reach, inst.IO, inst.SQL, c.Sentence)
		}
	}
	return ""
}
