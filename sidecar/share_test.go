package sidecar

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// watchers are the nodes that watch an instance, where n are to.
func watchers(nodes []string, a topology.Addr, n int) (list []string) {
	for _, node := range nodes {
		s := share{node: node}
		s.among(nodes)
		if _, ok := s.place(a, n); ok {
			list = append(list, node)
		}
	}
	return list
}

// Of those who watch an instance exactly one reads it; the others are content with a sign of life.
func TestOneOfTheWatchersReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, n := manyNodes(t), rapid.IntRange(1, 4).Draw(t, "n")
		for _, a := range someAddrs(40) {
			var readers []string
			for _, node := range nodes {
				s := share{node: node}
				s.among(nodes)
				if place, ok := s.place(a, n); ok && place == 0 {
					readers = append(readers, node)
				}
			}
			if len(readers) != 1 || !slices.Contains(watchers(nodes, a, n), readers[0]) {
				t.Fatalf("%s is read by %v of %v", a, readers, nodes)
			}
		}
	})
}

// When a primary is being changed everybody reads every instance of the cluster, as closely as in a small fleet.
func TestEverybodyReadsWhileAPrimaryIsChanged(t *testing.T) {
	f := newFollower()
	f.cfg.Watch = WatchConfig{ShareAbove: 1, Primaries: 3, Others: 2, ReadEvery: topology.Duration(5 * time.Second)}
	f.routed(t)
	// It is watched by so many, and read by so many, of them so many at each interval.
	check := func(what string, a topology.Addr, watch, read, always int) {
		t.Helper()
		watched, reads, closely := 0, 0, 0
		for _, node := range f.cfg.observers() {
			if at := f.targets(&share{node: node})[a]; at.own {
				watched++
				if at.sparing < forever {
					reads++
				}
				if at.sparing == 0 {
					closely++
				}
			}
		}
		if watched != watch || reads != read || closely != always {
			t.Errorf("%s: %s is watched by %d, read by %d and by %d at each interval, want %d, %d and %d", what, a, watched, reads, closely, watch, read, always)
		}
	}
	check("at rest", dbA, 3, 1, 0)
	check("at rest", dbB, 2, 1, 0)
	f.begin(t, failover.KindFailover)
	check("in a failover", dbA, 3, 3, 3)
	check("in a failover", dbB, 3, 3, 3)
}

func manyNodes(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}[0-9]{1,2}`), 2, 9, rapid.ID).Draw(t, "nodes")
}

func someAddrs(n int) []topology.Addr {
	addrs := make([]topology.Addr, n)
	for i := range addrs {
		addrs[i] = topology.Addr(fmt.Sprintf("10.1.%d.%d:3306", i/250, i%250))
	}
	return addrs
}

// Every instance has as many watchers as are wanted, or all nodes; whoever asks gets the same
// answer; and when a node goes only what it watched is handed on.
func TestAShareMovesOnlyWithItsNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := manyNodes(t)
		n := rapid.IntRange(1, 4).Draw(t, "n")
		gone := rapid.SampledFrom(nodes).Draw(t, "gone")
		left := slices.DeleteFunc(slices.Clone(nodes), func(x string) bool { return x == gone })
		for _, a := range someAddrs(40) {
			before, after := watchers(nodes, a, n), watchers(left, a, n)
			if len(before) != min(n, len(nodes)) || len(after) != min(n, len(left)) {
				t.Fatalf("%s is watched by %v of %v, and without %s by %v; want %d", a, before, nodes, gone, after, n)
			}
			for _, x := range before {
				if x != gone && !slices.Contains(after, x) {
					t.Fatalf("%s was watched by %v and without %s by %v: %s lost it for nothing", a, before, gone, after, x)
				}
			}
			if !slices.Contains(before, gone) && !slices.Equal(before, after) {
				t.Fatalf("%s was watched by %v and is by %v, though %s did not watch it", a, before, after, gone)
			}
		}
	})
}

func TestSharesAreBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := manyNodes(t)
		addrs := someAddrs(2000)
		fair := len(addrs) / len(nodes)
		for _, node := range nodes {
			s, own := share{node: node}, 0
			s.among(nodes)
			for _, a := range addrs {
				if _, ok := s.place(a, 1); ok {
					own++
				}
			}
			if own < fair*3/5 || own > fair*7/5 {
				t.Errorf("%s of %v watches %d of %d instances, a fair share is %d", node, nodes, own, len(addrs), fair)
			}
		}
	})
}

// large is a follower of three nodes that share the watching of three instances.
func large() follower {
	f := newFollower()
	f.cfg.Watch = WatchConfig{ShareAbove: 2, Primaries: 2, Others: 1}
	c := f.cfg.Clusters["main"]
	c.Seeds = []topology.Addr{dbA, dbB, "c:3306"}
	f.cfg.Clusters["main"] = c
	return f
}

func (f follower) watched() (list []topology.Addr) {
	for _, r := range f.observer.all(nil) {
		list = append(list, r.Instance)
	}
	return topology.SortAddrs(list)
}

// ownOf is what a node has to watch, with no primary known yet.
func ownOf(nodes ...string) (list []topology.Addr) {
	for _, a := range []topology.Addr{dbA, dbB, "c:3306"} {
		if slices.Equal(watchers(nodes, a, 1), []string{"n1"}) {
			list = append(list, a)
		}
	}
	return list
}

func TestASmallFleetIsWatchedAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := large()
		f.cfg.Watch.ShareAbove = 3
		after := f.start(t)
		after(time.Second)
		if got := f.watched(); len(got) != 3 {
			t.Errorf("of 3 instances, which is not above 3, it watches %v", got)
		}
	})
}

// A node that goes hands its share to the others at once, and what a node hands to another it
// goes on watching until that one has read it.
func TestASidecarWatchesItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := large()
		f.peer.fellows = []string{"n1", "n2", "n3"}
		after := f.start(t)
		after(time.Second)
		all := ownOf("n1", "n2", "n3")
		if got := f.watched(); !slices.Equal(got, all) || len(all) == 3 {
			t.Fatalf("it watches %v, want %v", got, all)
		}
		f.peer.tell("n1")
		after(time.Second)
		if got := f.watched(); len(got) != 3 {
			t.Errorf("alone it watches %v", got)
		}
		f.peer.tell("n1", "n2", "n3")
		after(guestTime - time.Second)
		if got := f.watched(); len(got) != 3 {
			t.Errorf("just after the others came it watches %v", got)
		}
		after(3 * time.Second)
		if got := f.watched(); !slices.Equal(got, all) {
			t.Errorf("when the others have taken over it watches %v, want %v", got, all)
		}
	})
}

// Who is asked for an instance that others watch reads it at once, and watches it for a while.
func TestAnInstanceIsAGuestWhileItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := large()
		f.peer.fellows = []string{"n1", "n2", "n3"}
		after := f.start(t)
		after(time.Second)
		own := f.watched()
		reply, err := f.Probe(context.Background(), api.ProbeRequest{Instances: []topology.Addr{dbA, dbB, "c:3306", "unknown:1"}})
		if err != nil || len(reply.Views) != 3 {
			t.Errorf("asked for all it says %v, %v", reply.Views, err)
		}
		after(guestTime / 2)
		if got := f.watched(); len(got) != 3 {
			t.Errorf("after a question it watches %v", got)
		}
		after(guestTime)
		if got := f.watched(); !slices.Equal(got, own) {
			t.Errorf("long after the question it watches %v, want its own share %v", got, own)
		}
	})
}

// A sidecar that the leader cannot dial hears by its own heartbeats what it is asked for.
func TestAnInstanceIsLookedAtThatAHeartbeatsAnswerAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := large()
		f.peer.fellows = []string{"n1", "n2", "n3"}
		after := f.start(t)
		after(time.Second)
		own := f.watched()
		f.peer.asks(dbA, dbB, "c:3306", "unknown:1")
		after(time.Second)
		if got := f.watched(); len(got) != 3 || len(own) == 3 {
			t.Errorf("asked for all it watches %v, and %v before", got, own)
		}
		f.observer.mu.Lock()
		if want := 3 - len(own); f.observer.guests != want {
			t.Errorf("it counts %d guests, %d are", f.observer.guests, want)
		}
		f.observer.mu.Unlock()
		f.peer.asks()
		after(2 * guestTime)
		f.observer.mu.Lock()
		defer f.observer.mu.Unlock()
		if f.observer.guests != 0 {
			t.Errorf("when all guests are gone it counts %d", f.observer.guests)
		}
	})
}

func TestWhoDoesNotAnswerIsAskedByItsHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFew(t, unchanged)
		f.cutOff = "n3"
		f.ask(context.Background(), "main", []topology.Addr{dbA, dbC}, time.Second)
		pass(time.Second)
		for _, x := range []struct {
			node string
			want []topology.Addr
		}{{"n2", nil}, {"n3", []topology.Addr{dbA, dbC}}, {"n3", nil}} {
			f.seq++
			reply, err := f.Heartbeat(context.Background(), api.Heartbeat{Node: x.node, Seq: f.seq, Started: f.started, Shares: "all"})
			if err != nil || !slices.Equal(reply.Ask, x.want) {
				t.Errorf("%s is asked for %v, %v; want %v", x.node, reply.Ask, err, x.want)
			}
		}
		f.ask(context.Background(), "main", []topology.Addr{dbA}, time.Second)
		pass(askAgain)
		f.seq++
		if reply, err := f.Heartbeat(context.Background(), api.Heartbeat{Node: "n3", Seq: f.seq, Started: f.started, Shares: "all"}); err != nil || len(reply.Ask) > 0 {
			t.Errorf("long after the question it is asked for %v, %v", reply.Ask, err)
		}
	})
}

func TestADoubtIsAskedForNowAndThenHoweverManyThereAre(t *testing.T) {
	f := newFollower()
	term := newTerm(f.Sidecar, 1)
	term.doubting.Store(100_000)
	if got := term.askPause(); got > askAgain {
		t.Errorf("of 100,000 clusters in doubt each is asked every %s", got)
	}
}

// Of nodes that are configured differently none is counted on by the others, nor one that is silent.
// Who just began to lead does not know yet who is.
func TestFellowsAreThoseThatAreHeardAndWatchTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := DefaultConfig().Lease
		e := newEvidence(lease, 0)
		nodes := []string{"n1", "n2", "n3", "n4"}
		beat := func(node, word string, seq uint64) {
			e.take(api.Heartbeat{Node: node, Seq: seq, Shares: word}, time.Now())
		}
		beat("n1", "x", 1)
		beat("n2", "y", 1)
		beat("n3", "x", 1)
		if got := e.fellows("x", nodes, time.Now()); !slices.Equal(got, []string{"n1", "n3", "n4"}) {
			t.Errorf("in a term that just began they are %v", got)
		}
		<-time.After((fellowBeats - 1) * lease.Heartbeat.D())
		beat("n1", "x", 2)
		if got := e.fellows("x", nodes, time.Now()); !slices.Equal(got, []string{"n1", "n3", "n4"}) {
			t.Errorf("before anybody is silent they are %v", got)
		}
		<-time.After(2 * lease.Heartbeat.D())
		if got := e.fellows("x", nodes, time.Now()); !slices.Equal(got, []string{"n1"}) {
			t.Errorf("when n3 and n4 are silent they are %v", got)
		}
	})
}
