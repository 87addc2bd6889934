package sidecar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// patients are the servers, the proxies and the nodes that the doctor sees.
type patients struct {
	mu     sync.Mutex
	sync   map[topology.Addr]string // sync_binlog
	hold   map[string]string        // of a node's proxy
	mended []string
	fails  error
	gone   string // a node that does not answer
}

func (p *patients) Examine(_ context.Context, a topology.Addr) doctor.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return doctor.Server{Addr: a, Variables: map[string]string{"sync_binlog": p.sync[a]},
		State: &topology.State{Flavor: "mariadb", ReportedAs: a, ServerID: uint32(a[0]), LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDStrict: true}}
}

func (p *patients) Mend(_ context.Context, fix doctor.Fix) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails == nil {
		p.mended = append(p.mended, fix.Where()+" "+fix.Settings[0].Name)
		p.sync[fix.Server] = "1"
	}
	return p.fails
}

// proxyOf is the proxy of a node.
type proxyOf struct {
	*patients
	node string
}

func (p proxyOf) Examine(context.Context) doctor.Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := map[string]string{"mysql-connect_timeout_server_max": p.hold[p.node]}
	return doctor.Proxy{Version: "2.7.1", Runtime: v, Memory: v, Disk: v, Groups: map[int]int{10: 2}, Online: map[int]int{10: 1}}
}

func (p proxyOf) Mend(_ context.Context, fix doctor.Fix) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mended = append(p.mended, fix.Where()+" "+fix.Settings[0].Name)
	p.hold[p.node] = fix.Settings[0].Value
	return p.fails
}

func (p proxyOf) ExamineNode(ctx context.Context) (doctor.Node, error) {
	if p.gone == p.node {
		return doctor.Node{}, errors.New("no answer")
	}
	v := p.Examine(ctx)
	return doctor.Node{Version: "test", Now: time.Now(), Raft: doctor.Raft{Leader: "n1"}, Proxy: &v, Disk: &doctor.Disk{}}, nil
}

func (p proxyOf) MendProxy(ctx context.Context, fix doctor.Fix) error { return p.Mend(ctx, fix) }

// surgery is a leader n1 with patients: a's sync_binlog is 0, and n2's proxy holds for
// 10 s only.
func surgery(t *testing.T) (follower, *patients) {
	f := newFollower()
	cfg := f.cfg.Clusters["main"]
	cfg.Policy.Durability = failover.SemiSync
	f.cfg.Clusters["main"] = cfg
	p := &patients{sync: map[topology.Addr]string{dbA: "0", dbB: "1"}, hold: map[string]string{"n1": "20000", "n2": "10000", "n3": "20000"}}
	f.ports.Examiners = map[string]Examiner{"main": p}
	f.ports.ProxyExaminer = proxyOf{p, "n1"}
	f.ports.Colleague = func(name string) Colleague { return proxyOf{p, name} }
	f.ports.Disk = &hungDisk{}
	f.raft.leaderIs("n1")
	f.routed(t)
	f.setTerm(newTerm(f.Sidecar, 1))
	return f, p
}

// fixesOf are the places of a report's fixes.
func fixesOf(r doctor.Report) []string {
	var list []string
	for _, f := range r.Fixes() {
		list = append(list, f.Where())
	}
	return list
}

func TestExaminingAndMending(t *testing.T) {
	f, p := surgery(t)
	r, err := f.Examine(t.Context(), "")
	if err != nil || r.Servers != 2 || r.Sidecars != 3 || !slices.Equal(fixesOf(r), []string{"a:3306", "n2's proxy"}) {
		t.Fatalf("%v: %+v", err, r)
	}
	if _, err := f.Examine(t.Context(), "none"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("an unknown cluster: %v", err)
	}
	other := doctor.Fix{Cluster: "main", Server: dbB, Settings: []doctor.Setting{{How: doctor.Global, Name: "sync_binlog", Value: "1"}}}
	reply, err := f.Mend(t.Context(), api.MendRequest{Fixes: append(r.Fixes(), other), By: "ana"})
	if err != nil || len(reply.Results) != 3 || reply.Results[0].Error != "" || reply.Results[1].Error != "" {
		t.Fatalf("%v: %+v", err, reply)
	}
	if why := reply.Results[2].Error; !strings.Contains(why, "does not find it any more") {
		t.Errorf("what no examination found was mended: %q", why)
	}
	if want := []string{"a:3306 sync_binlog", "n2's proxy mysql-connect_timeout_server_max"}; !slices.Equal(p.mended, want) {
		t.Errorf("mended %v, want %v", p.mended, want)
	}
	if r, err := f.Examine(t.Context(), "main"); err != nil || len(r.Fixes()) > 0 {
		t.Errorf("afterwards %v: %+v", err, r)
	}
}

// Nothing is sent by who may not lead, while a recovery goes on, or where another node
// has the proxy.
func TestMendingKeepsToItsGuards(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(f follower, p *patients)
		says   string // of the first result: the server's
		proxy  string // of the second one
	}{
		"a recovery is open": {func(f follower, _ *patients) { f.begin(t, failover.KindSwitchover) }, "a recovery goes first", ""},
		"the server refuses": {func(_ follower, p *patients) { p.fails = errors.New("SUPER is needed") }, "SUPER is needed", "SUPER is needed"},
		"it leads no more":   {func(f follower, _ *patients) { f.raft.deposed = errors.New("deposed") }, "", "may not lead any more"},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := surgery(t)
			r, err := f.Examine(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			tc.before(f, p)
			reply, err := f.Mend(t.Context(), api.MendRequest{Fixes: r.Fixes()})
			if err != nil || len(reply.Results) != 2 {
				t.Fatalf("%v: %+v", err, reply)
			}
			for i, want := range []string{tc.says, tc.proxy} {
				if got := reply.Results[i].Error; !strings.Contains(got, want) || (want == "") != (got == "") {
					t.Errorf("%s: %q, want %q", reply.Results[i].Fix, got, want)
				}
			}
		})
	}
	f := newFollower()
	if _, err := f.Mend(t.Context(), api.MendRequest{}); !errors.Is(err, api.ErrNotLeader) {
		t.Errorf("a follower: %v", err)
	}
	g, p := surgery(t)
	old := &doctor.Facts{Clusters: []doctor.Cluster{{Name: "main", Writer: dbB}}}
	fix := doctor.Fix{Cluster: "main", Server: dbA, Settings: []doctor.Setting{{How: doctor.Global, Name: "sync_binlog", Value: "1"}}}
	if err := g.leading().mend(t.Context(), fix, old); err == nil || !strings.Contains(err.Error(), "the primary of main has changed") || len(p.mended) > 0 {
		t.Errorf("after a switchover: %v, %v", err, p.mended)
	}
	hold := []doctor.Setting{{Name: "mysql-connect_timeout_server_max", Value: "20000"}}
	for _, fix := range []doctor.Fix{{Proxy: "n2", Settings: hold}, {Proxy: "n1", Settings: []doctor.Setting{{Name: "mysql-threads", Value: "1"}}}} {
		if err := g.MendProxy(t.Context(), fix); !errors.Is(err, api.ErrBadInput) || len(p.mended) > 0 {
			t.Errorf("%s: %v, %v", fix, err, p.mended)
		}
	}
}

// Who cannot be asked is a line, and a node without a leader examines all the same.
func TestWhoCannotBeAskedIsALine(t *testing.T) {
	f, p := surgery(t)
	p.gone = "n3"
	f.setTerm(nil)
	f.raft.leaderIs("")
	free := f.ports.Disk.(*hungDisk).hang()
	defer free()
	f.ports.Stores = []Store{{Name: "east", Agents: []Publisher{&fakeStore{denies: true}}}}
	r, err := f.Examine(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"unknown n3 node_unreachable", "error fleet leader", "error n1 raft_disk", "error n1's consul east consul_access", "warning a:3306 durability"} {
		if !slices.ContainsFunc(r.Findings, func(x doctor.Finding) bool { return string(x.Severity)+" "+x.Where+" "+x.Check == want }) {
			t.Errorf("no %q in %+v", want, r.Findings)
		}
	}
}

// Digests tell files apart, and no secret nor what belongs to one machine is in them.
func TestSettingsOfNodesAreCompared(t *testing.T) {
	f := newFollower()
	before := f.settings()
	f.cfg.MySQL.Password = Secret{Env: "OTHER"}
	f.cfg.Node, f.cfg.DataDir, f.cfg.ProxySQL.Admin, f.cfg.API.Listen, f.cfg.Lease.File = "n2", "/x", "127.0.0.1:1", ":1", "/y"
	slices.Reverse(f.cfg.Nodes)
	for part, digest := range f.settings() {
		if before[part] != digest {
			t.Errorf("%s differs", part)
		}
	}
	cfg := f.cfg.Clusters["main"]
	cfg.Policy.WaitCount = 2
	f.cfg.Clusters["main"] = cfg
	f.cfg.Lease.TTL++
	var differ []string
	for part, digest := range f.settings() {
		if before[part] != digest {
			differ = append(differ, part)
		}
	}
	if slices.Sort(differ); !slices.Equal(differ, []string{"clusters.main.policy", "lease"}) {
		t.Errorf("%v differ", differ)
	}
}
