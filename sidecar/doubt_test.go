package sidecar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// few is a leader n1 that watches nothing itself, and is told by n2 and n3, which watch a share each:
// a is the primary, b and c replicate from it.
type few struct {
	follower
	*decider
	t   *testing.T
	seq uint64

	mu     sync.Mutex
	asked  []topology.Addr
	answer map[topology.Addr]bool // what n3 reads when it is asked
	dead   bool                   // the primary is
	cutOff string                 // the node that cannot be dialled
}

func newFew(t *testing.T, change func(*failover.Policy)) *few {
	t.Helper()
	f := &few{follower: newFollower(), t: t, answer: map[topology.Addr]bool{}}
	f.raft.leader = "n1"
	f.cfg.Nodes = []NodeConfig{{Name: "n1", API: "n1:1", Witness: true}, {Name: "n2", API: "n2:1", Witness: true}, {Name: "n3", API: "n3:1", Witness: true}}
	f.cfg.Watch = WatchConfig{ShareAbove: 1, Primaries: 2, Others: 1}
	c := f.cfg.Clusters["main"]
	change(&c.Policy)
	f.cfg.Clusters["main"] = c
	f.ports.Peer = func(name string) Peer { return fewPeer{f, name} }
	f.ports.Commands = fewHooks{f}
	f.ports.Servers = map[string]Servers{"main": &stage{idle: map[topology.Addr]bool{}, of: map[topology.Addr]topology.Addr{}, wr: map[topology.Addr]bool{}}}
	f.raft.must(t, ledger.Command{Discover: &ledger.Discover{Cluster: "main", Addrs: []topology.Addr{dbA, dbB, dbC}}})
	f.raft.must(t, ledger.Command{SetRoute: &ledger.SetRoute{Cluster: "main", Writer: dbA, Readers: []topology.Reader{{Addr: dbB, Weight: 1}, {Addr: dbC, Weight: 1}}}})
	f.sharing.Store(true)
	term := newTerm(f.Sidecar, 1)
	f.setTerm(term)
	f.decider = term.deciders["main"]
	return f
}

// view is what a node sees: c alone has a transaction that b lacks.
func (f *few) view(node string, a topology.Addr) topology.View {
	v := wellView(node, a, dbA, time.Now())
	switch {
	case f.dead && a == dbA:
		return topology.View{Observer: node, Instance: a, At: v.At, Reach: topology.Refused, Failures: 3}
	case f.dead:
		s := &v.State.Sources[0]
		s.IO, s.Lag, s.Silence = topology.ThreadConnecting, nil, nil
	}
	v.State.ServerUUID = fmt.Sprintf("8c2c7a2e-3e1c-11ef-9d3b-0242ac12000%c", a[0])
	if a == dbC {
		v.State.Executed = gtid.MustParse("8c2c7a2e-3e1c-11ef-9d3b-0242ac120002:1-1000001")
		v.State.Sources[0].Received = v.State.Executed
	}
	return v
}

// beat has both tell what they watch.
func (f *few) beat(seen ...topology.Addr) {
	f.t.Helper()
	f.seq++
	for _, node := range []string{"n2", "n3"} {
		h := api.Heartbeat{Node: node, Seq: f.seq, Started: f.started, Shares: "all"}
		for _, a := range seen {
			h.Views = append(h.Views, api.Age(f.view(node, a), time.Now()))
		}
		if !f.evidence.take(h, time.Now()) {
			f.t.Fatal("a heartbeat was not taken")
		}
	}
}

func (f *few) dies() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

// cycles looks at the cluster for so long, with heartbeats meanwhile.
func (f *few) cycles(d time.Duration, seen ...topology.Addr) *failover.Intent {
	for end := time.Now().Add(d); time.Now().Before(end); pass(idleCycle) {
		f.beat(seen...)
		f.cycle(context.Background())
		if in := f.raft.State().Clusters["main"].Intent; in != nil {
			return in
		}
	}
	return nil
}

func (f *few) wasAsked(a topology.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.asked, a)
}

type fewPeer struct {
	f    *few
	name string
}

func (fewPeer) Heartbeat(context.Context, api.Heartbeat) (api.HeartbeatReply, error) {
	return api.HeartbeatReply{}, errors.New("it does not lead")
}

func (fewPeer) Confirm(context.Context, api.ConfirmRequest) (api.ConfirmReply, error) {
	return api.ConfirmReply{}, errors.New("cut off")
}

func (p fewPeer) Probe(_ context.Context, r api.ProbeRequest) (api.ProbeReply, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if p.name == p.f.cutOff {
		return api.ProbeReply{}, errors.New("cut off")
	}
	p.f.asked = append(p.f.asked, r.Instances...)
	reply := api.ProbeReply{Node: p.name}
	for _, a := range r.Instances {
		if p.name == "n3" && p.f.answer[a] {
			reply.Views = append(reply.Views, api.Age(p.f.view(p.name, a), time.Now()))
		}
	}
	return reply, nil
}

// fewHooks takes seconds for a hook, in which nobody hears of c.
type fewHooks struct{ f *few }

func (h fewHooks) Run(context.Context, hooks.Command) hooks.Result {
	pass(3 * time.Second)
	h.f.beat(dbA, dbB)
	return hooks.Result{}
}

func unchanged(*failover.Policy) {}

// Who watched c is gone when the primary dies. What c alone has must not be lost because nobody
// had looked at it yet.
func TestAFailoverBeginsWhenAllWasLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		f.answer[dbC] = true
		f.dies()
		in := f.cycles(5*time.Second, dbA, dbB)
		if in == nil || in.To != dbC {
			t.Fatalf("c was asked for: %t; the intent is %+v; %s", f.wasAsked(dbC), in, f.lastVerdict().Decision.Sentence)
		}
	})
}

// Whom nobody can read is not waited for longer than the policy's times.
func TestAFailoverWaitsForNobodyForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		f.dies()
		bound := f.cfg.Clusters["main"].Policy.Detection.Fresh.D() + f.cfg.Clusters["main"].Policy.Detection.Timeout.D()
		if in := f.cycles(bound, dbA, dbB); in != nil {
			t.Errorf("c may yet be read, and %s was begun to %s", in.Kind, in.To)
		}
		in := f.cycles(2*time.Second, dbA, dbB)
		if in == nil || in.To != dbB {
			t.Errorf("c cannot be read, and the intent is %+v: %s", in, f.lastVerdict().Decision.Sentence)
		}
	})
}

func TestAnOperatorsRequestWaitsUntilAllWasLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		f.beat(dbA, dbB)
		_, err := f.recover(context.Background(), switchover("s1"))
		var refused *api.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "c:3306 has not been read yet") {
			t.Errorf("nobody has read c, and the answer is %v", err)
		}
		f.answer[dbC] = true
		f.beat(dbA, dbB)
		if _, err := f.recover(context.Background(), switchover("s2")); err != nil {
			t.Errorf("c is read when it is asked for: %v", err)
		}
		if in := f.raft.State().Clusters["main"].Intent; in == nil || in.ID != "s2" {
			t.Errorf("the intent is %+v", in)
		}
	})
}

// A leader that watches neither the instance nor the primary goes by what those read who do, and by nothing that was
// only confirmed.
func TestARejoinGoesByWhatOthersRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		f.beat(dbA, dbB, dbC)
		pass(2 * time.Second)
		answers := func(addrs ...topology.Addr) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.answer = map[topology.Addr]bool{}
			for _, a := range addrs {
				f.answer[a] = true
			}
		}
		refused := func(rule string) {
			t.Helper()
			_, err := f.rejoin(context.Background(), rejoin(false, false, false))
			var no *api.RefusedError
			if !errors.As(err, &no) || no.Refusals[0].Rule != rule {
				t.Errorf("the answer is %v, want the refusal %q", err, rule)
			}
		}
		f.beat()
		refused("primary")
		answers(dbA)
		f.beat()
		refused("stale")
		answers(dbA, dbB, dbC)
		f.beat()
		if _, err := f.rejoin(context.Background(), rejoin(false, false, false)); err != nil {
			t.Errorf("b and its primary were read when they were asked for: %v", err)
		}

		answers()
		pass(2 * time.Second)
		f.seq++
		again := []api.Again{{Instance: dbA}, {Instance: dbB}, {Instance: dbC}}
		f.evidence.take(api.Heartbeat{Node: "n3", Seq: f.seq, Since: f.seq - 1, Started: f.started, Shares: "all", Again: again}, time.Now())
		refused("unread")
	})
}

// An instance that each of its watchers leaves to another to read is read all the same.
func TestAnInstanceThatNobodyReadsIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		tell := func(h api.Heartbeat) (asked bool) {
			f.seq++
			h.Node, h.Seq, h.Since, h.Started, h.Shares = "n2", f.seq, f.seq-1, f.started, "all"
			f.evidence.take(h, time.Now())
			h.Node = "n3"
			f.evidence.take(h, time.Now())
			f.cycle(context.Background())
			synctest.Wait()
			return f.wasAsked(dbA)
		}
		var whole, confirmed api.Heartbeat
		for _, a := range []topology.Addr{dbA, dbB, dbC} {
			v := f.view("n2", a)
			v.State.Executed = gtid.Set{} // as in a cluster that is well
			if a != dbA {
				v.State.Sources[0].Received = gtid.Set{}
			}
			whole.Views, confirmed.Again = append(whole.Views, api.Age(v, time.Now())), append(confirmed.Again, api.Again{Instance: a})
		}
		asked := tell(whole)
		for read := time.Now(); time.Since(read) < f.unreadMost() && !asked; pass(time.Second) {
			if asked = tell(confirmed); asked {
				t.Errorf("it was asked for after %s: %s", time.Since(read), f.lastVerdict().Decision.Sentence)
			}
		}
		pass(time.Second)
		if !tell(confirmed) {
			t.Errorf("in %s nobody was asked for it", f.unreadMost())
		}
	})
}

func TestAfterItsHooksAFailoverWaitsUntilAllWasLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, func(p *failover.Policy) { p.Hooks.BeforeFailover = one("slow") })
		f.beat(dbA, dbB, dbC)
		f.dies()
		for range 10 {
			f.cycles(100*time.Millisecond, dbA, dbB, dbC)
			if len(f.raft.State().Clusters["main"].Recoveries) > 0 {
				break
			}
		}
		list := f.raft.State().Clusters["main"].Recoveries
		if len(list) != 1 || !strings.Contains(list[0].Error, "c:3306 has not been read yet") || f.raft.State().Clusters["main"].Intent != nil {
			t.Errorf("history %+v, sentence %s", list, f.lastVerdict().Decision.Sentence)
		}
	})
}

// Of a large fleet only those clusters are looked at that a heartbeat is news of.
func TestAHeartbeatWakesThoseOnlyThatItIsNewsOf(t *testing.T) {
	e := newEvidence(DefaultConfig().Lease, 0)
	e.clusterOf = func(a topology.Addr) string { return strings.TrimSuffix(string(a), ":3306") }
	woken := map[string]<-chan struct{}{}
	for _, cluster := range []string{"a", "b", "x"} {
		ch, stop := e.changed.watch(cluster)
		defer stop()
		woken[cluster] = ch
	}
	now := time.Now()
	beat := api.Heartbeat{
		Node: "n2", Started: now, Shares: "all", Proxies: map[string]topology.Proxy{"a": {Epoch: 1}, "x": {Epoch: 1}},
		Views: []api.AgedView{api.Age(wellView("n2", dbA, dbA, now), now), api.Age(wellView("n2", dbB, dbA, now), now)},
	}
	check := func(what string, want ...string) {
		t.Helper()
		beat.Seq++
		e.take(beat, now)
		var got []string
		for _, cluster := range []string{"a", "b", "x"} {
			select {
			case <-woken[cluster]:
				got = append(got, cluster)
			default:
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: woken are %v, want %v", what, got, want)
		}
	}
	check("the first one", "a", "b", "x")
	check("the same once more")
	beat.Views[1].Reach = topology.Refused
	check("a view that moved", "b")
	beat.Proxies = map[string]topology.Proxy{"a": {Epoch: 2}, "x": {Epoch: 1}}
	check("a proxy that moved", "a")
	beat.Proxies = map[string]topology.Proxy{"a": {Epoch: 2}}
	check("a proxy that is gone", "x")
	beat.Shares = ""
	check("of a small fleet", "a", "b", "x")
}
