package failover

import (
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// The builder makes topologies readable: primary("a").replica("b", lag(3*time.Second)).
// Servers are named by letters; "a" is a:3306 with server id 1. All run MariaDB
// in strict mode; the history is 0-1-100, written by a. Three sidecars s1 to s3 observe
// all of them, and their proxies are in line with the route at epoch 12.

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const routeEpoch = 12

type build struct{ c Case }

type option func(*build, *topology.Instance)

func at(name string) topology.Addr { return topology.Addr(name + ":3306") }

func primary(name string, opts ...option) *build {
	b := &build{c: Case{Version: CaseVersion, Policy: DefaultPolicy()}}
	b.c.Snapshot = topology.Snapshot{Cluster: "main", Taken: noon, Observers: []string{"s1", "s2", "s3"}}
	b.c.Snapshot.Route = topology.Route{Cluster: "main", Epoch: routeEpoch, Writer: at(name), Mode: topology.Open, At: noon.Add(-time.Hour)}
	for _, node := range b.c.Snapshot.Observers {
		b.c.Snapshot.Proxies = append(b.c.Snapshot.Proxies, topology.Proxy{Node: node, Seen: noon, Epoch: routeEpoch, Writer: at(name), Mode: topology.Open})
	}
	st := server(name)
	st.Executed = gtid.MustParse("0-1-100")
	st.ReadOnly = false
	return b.add(name, st, opts)
}

func server(name string) *topology.State {
	return &topology.State{
		Flavor: "mariadb", Version: "10.11.6-MariaDB", ServerID: uint32(name[0]-'a') + 1, ReadOnly: true,
		LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDMode: "ON", GTIDStrict: true,
		Uptime: topology.Duration(time.Hour),
	}
}

// replica adds a replica of the primary.
func (b *build) replica(name string, opts ...option) *build {
	writer := b.c.Snapshot.Route.Writer
	st := server(name)
	all := b.c.Snapshot.State(writer).Executed
	zero := topology.Duration(0)
	st.Executed = all
	st.Sources = []topology.Source{{
		Addr: writer, IO: topology.ThreadYes, SQL: topology.ThreadYes, Received: all, Lag: &zero, GTID: true,
		Heartbeat: b.c.Policy.Detection.Heartbeat, Silence: &zero,
	}}
	return b.add(name, st, opts)
}

// orphan adds an instance without a source.
func (b *build) orphan(name string, opts ...option) *build {
	st := server(name)
	st.Executed = b.c.Snapshot.State(b.c.Snapshot.Route.Writer).Executed
	return b.add(name, st, opts)
}

func (b *build) add(name string, st *topology.State, opts []option) *build {
	i := topology.Instance{Addr: at(name), State: st, ReadAt: noon, Reach: topology.Up}
	for _, o := range b.c.Snapshot.Observers {
		i.Views = append(i.Views, topology.View{Observer: o, Instance: i.Addr, At: noon, Reach: topology.Answered})
	}
	for _, opt := range opts {
		opt(b, &i)
	}
	b.c.Snapshot.Instances = append(b.c.Snapshot.Instances, i)
	slices.SortFunc(b.c.Snapshot.Instances, func(x, y topology.Instance) int { return strings.Compare(string(x.Addr), string(y.Addr)) })
	return b
}

func (b *build) inst(name string) *topology.Instance { return b.c.Snapshot.Instance(at(name)) }

// kill refuses connections to a server everywhere; its replicas lose it. How its
// last reading was, stays.
func (b *build) kill(names ...string) *build {
	for _, name := range names {
		b.unreachable(name, "s1", "s2", "s3")
		for n := range b.c.Snapshot.Instances {
			st := b.c.Snapshot.Instances[n].State
			if st == nil {
				continue
			}
			for k := range st.Sources {
				if src := &st.Sources[k]; src.Addr == at(name) && src.IO == topology.ThreadYes {
					src.IO, src.Silence, src.IOError = topology.ThreadConnecting, nil, "error connecting to source"
					if src.Lag != nil && *src.Lag == 0 {
						src.Lag = nil
					}
				}
			}
		}
	}
	return b
}

// freeze makes a server silent: time-outs, IO threads connected, no heartbeat for d.
func (b *build) freeze(name string, d time.Duration) *build {
	b.unreachable(name, "s1", "s2", "s3")
	for n := range b.c.Snapshot.Instances {
		for k := range b.c.Snapshot.Instances[n].State.Sources {
			if src := &b.c.Snapshot.Instances[n].State.Sources[k]; src.Addr == at(name) {
				src.Silence = ptr(topology.Duration(d))
			}
		}
	}
	return b
}

// unreachable makes some sidecars see a refused connection.
func (b *build) unreachable(name string, observers ...string) *build {
	i := b.inst(name)
	i.ReadAt = noon.Add(-300 * time.Millisecond)
	for n := range i.Views {
		v := &i.Views[n]
		if slices.Contains(observers, v.Observer) {
			v.Reach, v.Failures, v.Error, v.At = topology.Refused, 1, "connection refused", noon.Add(-100*time.Millisecond)
		}
	}
	merged := topology.Merge(noon, []topology.Addr{i.Addr}, b.c.Snapshot.Observers, i.Views, topology.MergeOptions{Fresh: b.c.Policy.Detection.Fresh, Timeouts: 2})
	i.Reach = merged[0].Reach
	return b
}

// leads makes a sidecar the leader, with what it says of itself.
func (b *build) leads(node string, trouble ...string) *build {
	b.c.Snapshot.Sidecars = []topology.Sidecar{{Node: node, Leads: true, Trouble: trouble}}
	return b
}

func (b *build) policy(change func(*Policy)) *build { change(&b.c.Policy); return b }

func (b *build) rule(name string, r ServerRule) *build {
	r.Match = string(at(name))
	b.c.Policy.Servers = append(b.c.Policy.Servers, r)
	return b
}

// semiSync turns it on, in the policy and on all servers.
func (b *build) semiSync(count int) *build {
	b.c.Policy.Durability, b.c.Policy.WaitCount = SemiSync, count
	replicas, f := len(b.c.Snapshot.Instances)-1, facts{p: &b.c.Policy}
	for n := range b.c.Snapshot.Instances {
		st := b.c.Snapshot.Instances[n].State
		if st.IsReplica() {
			st.SemiSync = topology.SemiSync{ReplicaEnabled: true, ReplicaActive: true}
		} else {
			st.SemiSync = topology.SemiSync{
				SourceEnabled: true, SourceActive: true, WaitCount: f.waitCount(&b.c.Snapshot.Instances[n]), Clients: replicas,
				Timeout: topology.Forever, WaitPoint: afterSync, WaitsAlone: true,
			}
		}
	}
	return b
}

func (b *build) ask(r Request) *build { b.c.Request = &r; return b }

// begin commits an intent: that of the decision, which must be there.
func (b *build) begin() *build {
	d := Decide(&b.c, Analyze(&b.c))
	if d.Intent == nil {
		panic("nothing is begun: " + d.Sentence)
	}
	in := *d.Intent
	in.Epoch = routeEpoch + 1
	b.c.Intent, b.c.Request = &in, nil
	return b
}

// pass lets time go by; who was read goes on being read.
func (b *build) pass(d time.Duration) *build {
	s := &b.c.Snapshot
	s.Taken = s.Taken.Add(d)
	for n := range s.Instances {
		i := &s.Instances[n]
		if i.Reach == topology.Up {
			i.ReadAt = i.ReadAt.Add(d)
		}
		for k := range i.Views {
			i.Views[k].At = i.Views[k].At.Add(d)
		}
	}
	return b
}

func ptr[T any](v T) *T { return &v }

func source(i *topology.Instance) *topology.Source { return &i.State.Sources[0] }

func lag(d time.Duration) option {
	return func(_ *build, i *topology.Instance) { source(i).Lag = ptr(topology.Duration(d)) }
}

func delay(d time.Duration) option {
	return func(_ *build, i *topology.Instance) { source(i).Delay = topology.Duration(d) }
}

func threads(io, sql topology.Thread) option {
	return func(_ *build, i *topology.Instance) { source(i).IO, source(i).SQL = io, sql }
}

func untried() option {
	return func(_ *build, i *topology.Instance) { source(i).Untried = true }
}

func sqlError(text string) option {
	return func(_ *build, i *topology.Instance) {
		source(i).SQL, source(i).SQLError, source(i).Lag = topology.ThreadNo, text, nil
	}
}

// has sets what a replica received and executed.
func has(received, executed string) option {
	return func(_ *build, i *topology.Instance) {
		i.State.Executed = gtid.MustParse(executed)
		if len(i.State.Sources) > 0 {
			source(i).Received = gtid.MustParse(received)
		}
	}
}

func under(name string) option {
	return func(_ *build, i *topology.Instance) { source(i).Addr = at(name) }
}

func with(change func(*topology.State)) option {
	return func(_ *build, i *topology.Instance) { change(i.State) }
}

func version(v string) option { return with(func(st *topology.State) { st.Version = v }) }

func writable() option { return with(func(st *topology.State) { st.ReadOnly = false }) }

func silent(d time.Duration) option {
	return func(_ *build, i *topology.Instance) { source(i).Silence = ptr(topology.Duration(d)) }
}

// gone is an instance that cannot be read any more, without being called dead.
func gone() option {
	return func(_ *build, i *topology.Instance) { i.Reach, i.ReadAt = topology.Unclear, noon.Add(-time.Minute) }
}

// onMySQL makes all servers MySQL's, which waits for more than one replica.
func (b *build) onMySQL() *build {
	for n := range b.c.Snapshot.Instances {
		st := b.c.Snapshot.Instances[n].State
		st.Flavor, st.SuperReadOnly = "mysql", st.ReadOnly
	}
	return b
}
