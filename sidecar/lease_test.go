package sidecar

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/topology"
)

// machine is a clock in virtual time. A machine that slept stands where it would
// after a suspend: all time has passed, but on Mono.
type machine struct {
	slept time.Duration
	set   time.Duration // how far the time of day is off
	clock Clock
}

func newMachine() *machine { return &machine{clock: goClock()} }

func (m *machine) now() Instant {
	now := m.clock()
	now.Mono -= m.slept
	now.Wall = now.Wall.Add(m.set)
	return now
}

func TestWhatIsAJumpOfAClock(t *testing.T) {
	before := Instant{Boot: time.Hour, Mono: time.Minute, Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, tc := range []struct {
		name       string
		boot, mono time.Duration
		wall       time.Duration
		want       string
	}{
		{"time that passes", time.Second, time.Second, time.Second, ""},
		{"a long time that passes", time.Hour, time.Hour, time.Hour, ""},
		{"a clock that is slewed", time.Second, time.Second, 1100 * time.Millisecond, ""},
		{"a suspend", 3 * time.Second, time.Second, 3 * time.Second, "suspended for 2s"},
		{"a suspend after which the time of day is not known yet", 3 * time.Second, time.Second, time.Second, "suspended for 2s"},
		{"set ahead", time.Second, time.Second, time.Minute, "ahead by 59s"},
		{"set back", time.Second, time.Second, -time.Minute, "back by 1m1s"},
		{"restored from an image", 0, 0, time.Hour, "ahead by 1h0m0s"},
	} {
		now := Instant{Boot: before.Boot + tc.boot, Mono: before.Mono + tc.mono, Wall: before.Wall.Add(tc.wall)}
		if got := jumped(before, now); got != tc.want && !(tc.want != "" && strings.HasSuffix(got, tc.want)) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestTheSystemClockRuns(t *testing.T) {
	before, now := systemClock(), systemClock()
	if what := jumped(before, now); what != "" || now.Boot < before.Boot || now.Mono < before.Mono || before.Boot == 0 || now.Boot < now.Mono {
		t.Errorf("%+v, then %+v: %s", before, now, what)
	}
	if off := time.Since(now.Wall); off.Abs() > time.Minute {
		t.Errorf("the time of day is off by %s", off)
	}
}

func TestAJumpOfAClockEndsTheLease(t *testing.T) {
	for name, jump := range map[string]func(m *machine){
		"a suspend":                    func(m *machine) { <-time.After(time.Second); m.slept = time.Second },
		"the time of day is set ahead": func(m *machine) { m.set = time.Minute },
		"the time of day is set back":  func(m *machine) { m.set = -time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine()
				l := newLease(m.now)
				grant := api.HeartbeatReply{Lease: topology.Duration(2 * time.Second), Index: 7}
				l.renew(l.ask(), grant)
				if left := l.left(); left != 2*time.Second || l.index != 7 {
					t.Fatalf("%s left at index %d", left, l.index)
				}
				underway := l.ask()
				jump(m)
				if left := l.left(); left > 0 {
					t.Errorf("%s left after the jump", left)
				}
				l.renew(underway, grant)
				if left := l.left(); left > 0 {
					t.Errorf("a lease that was asked for before the jump counts: %s left", left)
				}
				if l.takeJump() == "" || l.takeJump() != "" {
					t.Error("what happened is not told once")
				}
				l.renew(l.ask(), grant)
				if left := l.left(); left != 2*time.Second {
					t.Errorf("the next lease does not count: %s left", left)
				}
			})
		})
	}
}

func TestAJumpFencesUntilTheNextLease(t *testing.T) {
	for name, jump := range map[string]func(m *machine){
		"suspended": func(m *machine) { m.slept += time.Minute },
		"set back":  func(m *machine) { m.set -= time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine()
				f := newFollower()
				f.ports.Clock, f.lease = m.now, newLease(m.now)
				after := f.start(t)
				f.opened(t, after)
				f.peer.set(false)
				jump(m)
				after(f.cfg.Lease.FenceTime.D() / 5)
				if f.proxy.routes() == topology.Open {
					t.Error("open early in the fence time after the jump")
				}
				after(f.cfg.Lease.FenceTime.D())
				if !f.proxy.called("fence hard") {
					t.Error("the fence time is over and sessions were not ended")
				}
				f.peer.set(true)
				after(f.cfg.Lease.Heartbeat.D() + time.Millisecond)
				if f.proxy.routes() != topology.Open {
					t.Errorf("the proxy is %s with the next lease", f.proxy.routes())
				}
			})
		})
	}
}

// The holder's machine goes on while the grantor's sleeps, or the other way
// round: the grantor never believes that a lease is over before the holder does,
// and does not wait longer than it must.
func TestTheGrantorNeverBelievesALeaseOverEarly(t *testing.T) {
	for name, sleeper := range map[string]func(holder, grantor *machine) *machine{
		"nobody sleeps":      func(_, _ *machine) *machine { return &machine{} },
		"the holder sleeps":  func(holder, _ *machine) *machine { return holder },
		"the grantor sleeps": func(_, grantor *machine) *machine { return grantor },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				holder, grantor := newMachine(), newMachine()
				ttl, fence := topology.Duration(2*time.Second), topology.Duration(500*time.Millisecond)
				l := newLease(holder.now)
				e := newEvidence(LeaseConfig{TTL: ttl, FenceTime: fence}, grantor.now().Boot)
				asked := l.ask()
				until := time.Now().Add(ttl.D())
				<-time.After(30 * time.Millisecond)
				e.take(api.Heartbeat{Node: "n1", Seq: 1}, time.Now())
				e.grant("n1", grantor.now().Boot)
				<-time.After(30 * time.Millisecond)
				l.renew(asked, api.HeartbeatReply{Lease: ttl})
				<-time.After(time.Second)
				sleeper(holder, grantor).slept += time.Second
				if held := l.left(); held > time.Until(until) {
					t.Errorf("the holder has %s, %s is right", held, time.Until(until))
				}
				<-time.After(time.Until(until))
				if held := l.left(); held > 0 {
					t.Errorf("the holder's lease is over, and it has %s", held)
				}
				if left := e.leaseLeft("n1", grantor.now().Boot); left < fence.D() {
					t.Errorf("the lease ends now, and the grantor believes that it ended %s ago", fence.D()-left)
				}
				<-time.After(fence.D() + 30*time.Millisecond)
				if left := e.leaseLeft("n1", grantor.now().Boot); left > 0 {
					t.Errorf("lease and fence time are over, and the grantor waits for another %s", left)
				}
			})
		})
	}
}

// What was agreed while there was no lease must be known before anything is routed; what
// is agreed during one waits for its holder.
func TestALeaseAsksForTheLedgerOfItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLease(newMachine().now)
		grant := func(index uint64) {
			l.renew(l.ask(), api.HeartbeatReply{Lease: topology.Duration(time.Second), Index: index})
		}
		for _, step := range []struct {
			name  string
			wait  time.Duration
			index uint64
			want  uint64
		}{
			{"the first", 0, 5, 5},
			{"renewed", 900 * time.Millisecond, 8, 5},
			{"renewed again", 900 * time.Millisecond, 9, 5},
			{"after its end", time.Second, 12, 12},
			{"from one whose ledger is older", 2 * time.Second, 11, 12},
		} {
			<-time.After(step.wait)
			grant(step.index)
			if l.index != step.want {
				t.Errorf("%s: the ledger must have reached %d, want %d", step.name, l.index, step.want)
			}
		}
		current := func(has uint64) bool { _, enough := l.knows(has); return enough }
		for current(12) { // at each heartbeat: the leader's ledger goes on, this node's does not
			<-time.After(100 * time.Millisecond)
			if l.index != 12 {
				t.Fatalf("a lease that goes on asks for %d", l.index)
			}
			grant(30)
			if newest, _ := l.knows(12); newest {
				t.Fatal("it is taken for the newest")
			}
		}
		if left := l.left(); left <= 0 || !current(30) {
			t.Errorf("%s of the lease are left, and a ledger that has caught up does not do", left)
		}
		asked := l.ask() // the answer is late: the lease has ended meanwhile
		<-time.After(time.Second)
		l.renew(asked, api.HeartbeatReply{Lease: topology.Duration(2 * time.Second), Index: 40})
		if l.index != 40 {
			t.Errorf("an answer that came after the end of the lease: the ledger must have reached %d", l.index)
		}
	})
}
