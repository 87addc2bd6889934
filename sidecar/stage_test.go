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

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

// stage is a whole cluster in virtual time: a and its replica b, one sidecar
// that leads, and the commands that it runs.
type stage struct {
	follower
	t *testing.T

	mu     sync.Mutex
	down   map[topology.Addr]bool
	idle   map[topology.Addr]bool          // it does not receive
	of     map[topology.Addr]topology.Addr // who replicates from whom
	wr     map[topology.Addr]bool          // who takes writes
	has    map[topology.Addr]string        // who executed something else than all others
	born   time.Time                       // when all servers started; zero: just now
	purged bool                            // a part of what shall be saved is in no binary log any more
	acts   []string
	also   func(failover.Step)                             // what else comes of an act; nil: nothing
	ran    []string                                        // command lines, in the order of their begin
	env    map[string][]string                             // of each command line
	reply  func(line string) (hooks.Result, time.Duration) // what a command says, and how long it takes
}

// newStage opens a stage with hooks; inside a bubble.
func newStage(t *testing.T, h failover.Hooks) *stage {
	t.Helper()
	s := &stage{
		t: t, follower: newFollower(), down: map[topology.Addr]bool{}, idle: map[topology.Addr]bool{}, env: map[string][]string{},
		of: map[topology.Addr]topology.Addr{dbB: dbA}, wr: map[topology.Addr]bool{dbA: true},
		reply: func(string) (hooks.Result, time.Duration) { return hooks.Result{}, 100 * time.Millisecond },
	}
	s.cfg.Nodes = []NodeConfig{{Name: "n1", API: "n1:1", Witness: true}}
	c := s.cfg.Clusters["main"]
	h.Timeout, h.Retry = c.Policy.Hooks.Timeout, c.Policy.Hooks.Retry
	c.Policy.Hooks = h
	s.cfg.Clusters["main"] = c
	s.ports.Prober = func(_ string, a topology.Addr, _ func()) Prober {
		return probeFunc(func(context.Context) topology.View { return s.probe(a) })
	}
	s.observer = newObserver(s.ports)
	s.ports.Servers = map[string]Servers{"main": s}
	s.ports.Commands = s
	s.routed(t)
	return s
}

func (s *stage) probe(a topology.Addr) topology.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := topology.View{Observer: "n1", Instance: a, At: time.Now(), Reach: topology.Answered}
	if s.down[a] {
		v.Reach, v.Failures, v.Error = topology.Refused, 1, "connection refused"
		return v
	}
	zero := topology.Duration(0)
	st := &topology.State{
		Flavor: "mariadb", Version: "10.11.6-MariaDB", ServerID: uint32(a[0]), ReadOnly: !s.wr[a], LogBin: true, LogReplicaUpdates: true,
		BinlogFormat: "ROW", GTIDMode: "ON", GTIDStrict: true, Executed: gtid.MustParse("0-1-100"),
	}
	if !s.born.IsZero() {
		st.Uptime = topology.Duration(time.Since(s.born))
	}
	if own := s.has[a]; own != "" {
		st.Executed = gtid.MustParse(own)
	}
	if src := s.of[a]; src != "" {
		one := topology.Source{Addr: src, IO: topology.ThreadYes, SQL: topology.ThreadYes, GTID: true, Received: st.Executed, Heartbeat: topology.Duration(time.Second), Lag: &zero, Silence: &zero}
		switch {
		case s.idle[a]:
			one.IO, one.Silence = topology.ThreadNo, nil
		case s.down[src]:
			one.IO, one.Silence, one.Lag = topology.ThreadConnecting, nil, nil
		}
		st.Sources = []topology.Source{one}
	}
	v.State, v.StateAt = st, v.At
	return v
}

// Do is what a server does with a step.
func (s *stage) Do(ctx context.Context, step failover.Step) error {
	pause(ctx, time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, step.String())
	if s.also != nil {
		s.also(step)
	}
	switch step.Do {
	case failover.SetReadOnly:
		s.wr[step.Target] = false
	case failover.Drain:
		s.idle[step.Target] = true
	case failover.SetWritable:
		s.wr[step.Target] = true
	case failover.Promote:
		s.wr[step.Target], s.of[step.Target] = true, ""
	case failover.Repoint:
		s.wr[step.Target], s.of[step.Target], s.idle[step.Target] = false, step.Source, false
	}
	return nil
}

// Settled: what was sent is executed, or never will be.
func (*stage) Settled(topology.Addr) (since time.Time, ok bool) { return since, true }

func (*stage) Close() {}

// Run plays a command.
func (s *stage) Run(ctx context.Context, c hooks.Command) hooks.Result {
	line := c.Args[len(c.Args)-1]
	s.mu.Lock()
	s.ran = append(s.ran, line)
	s.env[line] = c.Env
	r, took := s.reply(line)
	s.mu.Unlock()
	began := time.Now()
	pause(ctx, min(took, c.Timeout))
	r.Took = time.Since(began)
	if ctx.Err() != nil || took > c.Timeout {
		return hooks.Result{Exit: -1, Took: r.Took, Err: errors.New("killed")}
	}
	return r
}

// answers sets what commands say from now on.
func (s *stage) answers(reply func(line string) (hooks.Result, time.Duration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

func (s *stage) set(a topology.Addr, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[a] = down
}

func (s *stage) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ran)
}

func (s *stage) done() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acts)
}

// lead plays a term of this node until the test ends, or what it returns is called.
func (s *stage) lead(number uint64) (*decider, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	t := newTerm(s.Sidecar, number)
	s.setTerm(t)
	var loops sync.WaitGroup
	loops.Go(func() { s.observe(ctx) })
	loops.Go(func() { s.followLedger(ctx) })
	loops.Go(func() { t.run(ctx) })
	pass(time.Second)
	end := func() { cancel(); loops.Wait() }
	s.t.Cleanup(end)
	return t.deciders["main"], end
}

// pass lets virtual time go by.
func pass(d time.Duration) { pause(context.Background(), d); synctest.Wait() }

func (s *stage) main() ledger.Cluster { return s.raft.State().Clusters["main"] }

// history says how each recovery ended, and what its hooks said.
func (s *stage) history() []string {
	var list []string
	for _, r := range s.main().Recoveries {
		line := fmt.Sprintf("%s %s", r.Intent.ID, r.Outcome)
		for _, h := range r.Hooks {
			line += strings.TrimSpace(fmt.Sprintf(", %s %d: %d %s", h.Hook, h.Number, h.Exit, h.Output))
		}
		if r.Due != "" {
			line += "; due " + string(r.Due)
		}
		list = append(list, line)
	}
	return list
}

func (s *stage) want(what string, got []string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

func one(line string) []failover.Hook { return []failover.Hook{{Command: line}} }

func no(line string) (hooks.Result, time.Duration) {
	return hooks.Result{Exit: 3, Output: "asked\n" + line + " said no", Err: errors.New("it ended with exit code 3")}, 100 * time.Millisecond
}

func switchover(id string) api.RecoveryRequest {
	return api.RecoveryRequest{Request: failover.Request{ID: id, Kind: failover.KindSwitchover, By: "ann"}}
}
