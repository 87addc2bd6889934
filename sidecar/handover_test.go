package sidecar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func TestTheLeadershipGoesOnlyToANodeThatIsBetterPlaced(t *testing.T) {
	hung, a, ab := []string{"its disk hangs"}, []topology.Addr{dbA}, []topology.Addr{dbA, dbB}
	for name, tc := range map[string]struct {
		self   fitness
		others []fitness
		want   string
	}{
		"all is well":                           {fitness{}, []fitness{{node: "n2", heard: true}}, ""},
		"another sees more":                     {fitness{blind: a}, []fitness{{node: "n2", heard: true}}, "n2"},
		"the one that sees most":                {fitness{blind: ab}, []fitness{{node: "n2", heard: true, blind: a}, {node: "n3", heard: true}}, "n3"},
		"another sees as little":                {fitness{blind: a}, []fitness{{node: "n2", heard: true, blind: []topology.Addr{dbB}}}, ""},
		"another is not heard":                  {fitness{blind: a}, []fitness{{node: "n2"}}, ""},
		"another's disk hangs":                  {fitness{blind: a}, []fitness{{node: "n2", heard: true, trouble: hung}}, ""},
		"the disk hangs":                        {fitness{trouble: hung}, []fitness{{node: "n2", heard: true}}, "n2"},
		"the disk hangs, the others are blind":  {fitness{trouble: hung}, []fitness{{node: "n2", heard: true, blind: ab}, {node: "n3", heard: true, blind: a}}, "n3"},
		"the disk hangs, and so do the others'": {fitness{trouble: hung}, []fitness{{node: "n2", heard: true, trouble: hung}}, ""},
	} {
		to := ""
		if next := successor(tc.self, tc.others); next != nil {
			to = next.node
		}
		if to != tc.want {
			t.Errorf("%s: to %q, want %q", name, to, tc.want)
		}
	}
}

// Only what is missed at each look for long enough speaks against a leader: of thousands it misses one or the other all the time.
func TestWhatIsMissedNowAndThenSpeaksAgainstNobody(t *testing.T) {
	missed, began := map[topology.Addr]time.Time{}, time.Now()
	for n, look := range []struct{ blind, want []topology.Addr }{
		{[]topology.Addr{dbA, dbB}, nil},
		{[]topology.Addr{dbA}, nil},
		{[]topology.Addr{dbA, dbB}, []topology.Addr{dbA}},
		{[]topology.Addr{dbB}, nil},
		{[]topology.Addr{dbA, dbB}, []topology.Addr{dbB}},
	} {
		got := stillMissed(look.blind, missed, began.Add(time.Duration(n)*time.Second), 2*time.Second)
		if !slices.Equal(got, look.want) {
			t.Errorf("after %d s, of %v: %v, want %v", n, look.blind, got, look.want)
		}
	}
}

// hungDisk is a disk that answers until it is hung, and again when it is freed.
type hungDisk struct {
	free atomic.Pointer[chan struct{}]
}

func (d *hungDisk) Try() error {
	if free := d.free.Load(); free != nil {
		<-*free
	}
	return nil
}

func (d *hungDisk) hang() (free func()) {
	ch := make(chan struct{})
	d.free.Store(&ch)
	return func() { d.free.Store(nil); close(ch) }
}

// led is a sidecar n1 that leads n2 and n3, which report what they see.
type led struct {
	follower
	disk *hungDisk
	ran  chan error
	seen atomic.Pointer[map[string]topology.Reach] // by the node: how it reaches a
}

// lead runs n1 as leader in a synctest bubble; views says how each node, n1 too,
// reaches a.
func lead(t *testing.T, views map[string]topology.Reach) (*led, func()) {
	return leadWith(t, views, func(*Config) {})
}

func leadWith(t *testing.T, views map[string]topology.Reach, change func(*Config)) (*led, func()) {
	l := &led{follower: newFollower(), disk: &hungDisk{}, ran: make(chan error, 1)}
	l.seen.Store(&views)
	l.raft.leader = "n1"
	change(&l.cfg)
	l.ports.Disk = l.disk
	l.ports.Prober = func(_ string, addr topology.Addr, _ func()) Prober {
		return probeFunc(func(context.Context) topology.View { return l.view("n1", addr) })
	}
	l.ports.Servers = map[string]Servers{"main": slowServers(time.Millisecond)}
	l.observer.ports = l.ports
	l.routed(t)
	ctx, cancel := context.WithCancel(context.Background())
	term, endTerm := context.WithCancel(ctx)
	l.raft.endTerm = endTerm
	go func() { l.ran <- l.Run(ctx) }()
	l.raft.terms <- consensus.Term{Ctx: term, Number: 1}
	go func() {
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			for _, node := range []string{"n2", "n3"} {
				now := time.Now()
				h := api.Heartbeat{Node: node, Seq: seq}
				for _, a := range []topology.Addr{dbA, dbB} {
					h.Views = append(h.Views, api.Age(l.view(node, a), now))
				}
				_, _ = l.Heartbeat(ctx, h) // refused where n1 leads no more
			}
			pause(ctx, 200*time.Millisecond)
		}
	}()
	return l, cancel
}

func (l *led) view(node string, a topology.Addr) topology.View {
	now := time.Now()
	if reach := (*l.seen.Load())[node]; a == dbA && reach != "" {
		return topology.View{Observer: node, Instance: a, At: now, Reach: reach, Failures: 9}
	}
	state := &topology.State{Flavor: "mariadb", Version: "10.11.1", LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW"}
	if a == dbB {
		state.ReadOnly = true
		state.Sources = []topology.Source{{Addr: dbA, IO: topology.ThreadConnecting, SQL: topology.ThreadYes, GTID: true}}
	}
	return topology.View{Observer: node, Instance: a, At: now, Reach: topology.Answered, State: state, StateAt: now}
}

func (l *led) handed() []string {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return slices.Clone(l.raft.transfers)
}

func TestALeaderThatCannotReachWhatOthersReachHandsOver(t *testing.T) {
	for name, tc := range map[string]struct {
		seen map[string]topology.Reach
		want []string
	}{
		"it alone":             {map[string]topology.Reach{"n1": topology.Refused}, []string{"n2", "n2"}},
		"another one as well":  {map[string]topology.Reach{"n1": topology.Refused, "n2": topology.TimedOut}, []string{"n3", "n3"}},
		"all, so it is down":   {map[string]topology.Reach{"n1": topology.Refused, "n2": topology.Refused, "n3": topology.Refused}, nil},
		"another one, not it":  {map[string]topology.Reach{"n2": topology.Refused}, nil},
		"all reach everything": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, end := lead(t, tc.seen)
				l.raft.stays = errors.New("it does not answer")
				<-time.After(unfitFor / 2)
				if got := l.handed(); len(got) > 0 {
					t.Errorf("it was handed over after half of the time, to %v", got)
				}
				// It fails, and is tried again after a while and not before.
				<-time.After(handoverRetry)
				if got := l.handed(); len(got) > 1 {
					t.Errorf("at first it was tried %d times", len(got))
				}
				<-time.After(2 * unfitFor)
				if got := l.handed(); !slices.Equal(got, tc.want) {
					t.Errorf("handed to %v, want %v", got, tc.want)
				}
				found := l.Status().Clusters[0].Findings
				says := slices.ContainsFunc(found, func(f failover.Finding) bool { return f.Code == "LeaderCannotSee" })
				if says != (tc.want != nil) {
					t.Errorf("the findings are %v", found)
				}
				end()
				if err := <-l.ran; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Of a server that died the leader knows first: while what the others saw of it last
// still counts, it is not blind.
func TestALeaderIsNotBlindBeforeTheOthersHaveLookedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fresh = 4 * time.Second
		l, end := leadWith(t, map[string]topology.Reach{"n1": topology.Refused}, func(cfg *Config) {
			main := cfg.Clusters["main"]
			main.Policy.Detection.Fresh = failover.Duration(fresh)
			cfg.Clusters["main"] = main
		})
		<-time.After(fresh)
		if got := l.handed(); len(got) > 0 {
			t.Errorf("it was handed over to %v before a view of the others was stale", got)
		}
		<-time.After(2 * unfitFor)
		if got := l.handed(); !slices.Equal(got, []string{"n2"}) {
			t.Errorf("then it was handed to %v", got)
		}
		end()
		<-l.ran
	})
}

// A node that handed over and was elected again stays the leader for a while, even
// if another one is better placed again.
func TestTheLeadershipDoesNotWander(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := lead(t, map[string]topology.Reach{"n1": topology.Refused})
		<-time.After(3 * unfitFor)
		again, endAgain := context.WithCancel(context.Background())
		defer endAgain()
		l.raft.mu.Lock()
		l.raft.endTerm = endAgain
		l.raft.mu.Unlock()
		l.raft.terms <- consensus.Term{Ctx: again, Number: 2}
		<-time.After(handoverPause - 4*unfitFor)
		if got := l.handed(); !slices.Equal(got, []string{"n2"}) {
			t.Errorf("within the pause it was handed to %v", got)
		}
		<-time.After(4 * unfitFor)
		if got := l.handed(); !slices.Equal(got, []string{"n2", "n2"}) {
			t.Errorf("after the pause it was handed to %v", got)
		}
		end()
		<-l.ran
	})
}

func TestALeaderWhoseDiskHangsHandsOverOrLeaves(t *testing.T) {
	for name, stays := range map[string]error{"it hands over": nil, "raft hangs too": errors.New("timeout")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, end := lead(t, nil)
				defer end()
				l.raft.stays = stays
				<-time.After(3 * time.Second)
				free := l.disk.hang()
				<-time.After(hungAfter + tryDisk + unfitFor + 2*fitEvery)
				if got := l.handed(); !slices.Equal(got, []string{"n2"}) {
					t.Errorf("handed to %v", got)
				}
				if words := l.Status().Nodes[0].Trouble; len(words) != 1 || !strings.Contains(words[0], "its disk hangs") {
					t.Errorf("the status says %q", words)
				}
				if left := l.raft.left(); left != (stays != nil) {
					t.Errorf("it left the fleet: %v", left)
				}
				<-time.After(time.Minute)
				free()
				<-time.After(2 * tryDisk)
				end()
				if err := <-l.ran; errors.Is(err, ErrLeft) != (stays != nil) {
					t.Errorf("the sidecar ended with %v", err)
				}
			})
		})
	}
}

func TestNothingIsBegunWhileTheLeadershipIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := lead(t, nil)
		<-time.After(time.Second)
		term := l.leading()
		why := "n1 hands the leadership to n2: its disk hangs"
		term.handing.Store(&why)
		l.seen.Store(&map[string]topology.Reach{"n1": topology.Refused, "n2": topology.Refused, "n3": topology.Refused})
		<-time.After(time.Second)
		sentence := term.deciders["main"].lastVerdict().Decision.Sentence
		if !strings.Contains(sentence, "failing over to b:3306") || !strings.HasSuffix(sentence, why) || l.raft.State().Clusters["main"].Intent != nil {
			t.Errorf("with %q the ledger has the intent %+v", sentence, l.raft.State().Clusters["main"].Intent)
		}
		term.handing.Store(nil)
		<-time.After(time.Second)
		if l.raft.State().Clusters["main"].Intent == nil {
			t.Errorf("nothing is begun when the leadership stays: %s", term.deciders["main"].lastVerdict().Decision.Sentence)
		}
		end()
		<-l.ran
	})
}

func TestAnOperatorHandsTheLeadershipOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := lead(t, map[string]topology.Reach{"n2": topology.Refused})
		defer func() { end(); <-l.ran }()
		<-time.After(time.Second)
		l.raft.endTerm = func() {} // it stays, to be asked again
		var refused *api.RefusedError
		ask := func(to string) (api.LeaderReply, error) {
			return l.TransferLeadership(context.Background(), api.LeaderRequest{To: to, By: "ana"})
		}
		if r, err := ask(""); err != nil || r.From != "n1" || r.To != "n3" {
			t.Errorf("to the best: %+v, %v", r, err)
		}
		if r, err := ask("n1"); err != nil || r.To != "n1" || len(l.handed()) != 1 {
			t.Errorf("to itself: %+v, %v, %v", r, err, l.handed())
		}
		if _, err := ask("n2"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "cannot reach a:3306") {
			t.Errorf("to a blind one: %v", err)
		}
		if _, err := ask("n9"); !errors.Is(err, api.ErrNotFound) || !strings.Contains(err.Error(), "n1, n2, n3") {
			t.Errorf("to nobody: %v", err)
		}
		l.seen.Store(&map[string]topology.Reach{"n2": topology.Refused, "n3": topology.Refused})
		<-time.After(time.Second)
		if r, err := ask(""); !errors.As(err, &refused) || !strings.Contains(err.Error(), "n2: it cannot reach a:3306, which others reach; n3: it cannot reach a:3306") {
			t.Errorf("to the best of two blind ones: %+v, %v", r, err)
		}
		l.begin(t, "switchover")
		if _, err := ask("n3"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "is under way") {
			t.Errorf("during a recovery: %v", err)
		}
	})
}
