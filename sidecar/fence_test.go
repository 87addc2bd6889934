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

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// frozenProxy answers nothing while it is frozen.
type frozenProxy struct {
	*fakeProxy
	mu     sync.Mutex
	frozen bool
}

func (p *frozenProxy) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = frozen
}

func (p *frozenProxy) hang(ctx context.Context) error {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if !frozen {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("%w: %w", proxysql.ErrUnreachable, ctx.Err())
}

func (p *frozenProxy) Apply(ctx context.Context, r topology.Route, hg proxysql.Hostgroups) (topology.Proxy, error) {
	if err := p.hang(ctx); err != nil {
		return topology.Proxy{}, err
	}
	return p.fakeProxy.Apply(ctx, r, hg)
}

func (p *frozenProxy) Status(ctx context.Context, r topology.Route, hg proxysql.Hostgroups) (topology.Proxy, error) {
	if err := p.hang(ctx); err != nil {
		return topology.Proxy{}, err
	}
	return p.fakeProxy.Status(ctx, r, hg)
}

func (p *frozenProxy) Fence(ctx context.Context, cluster string, hg proxysql.Hostgroups, hard bool) error {
	if err := p.hang(ctx); err != nil {
		return err
	}
	return p.fakeProxy.Fence(ctx, cluster, hg, hard)
}

// fakeLadder writes its calls beside those of the proxy.
type fakeLadder struct {
	*fakeProxy
	cut   Cut
	err   error
	takes time.Duration // each Cut
}

func (l *fakeLadder) Cut(_ context.Context, cluster string, servers []topology.Addr) (Cut, error) {
	<-time.After(l.takes)
	_ = l.call(fmt.Sprintf("cut %s from %s", cluster, topology.JoinAddrs(servers)))
	return l.cut, l.err
}

func (l *fakeLadder) Release(context.Context, string) error { return l.call("release") }

// frozen runs a follower in virtual time whose proxy can be frozen, with a ladder.
func frozen(t *testing.T, cut Cut, test func(t *testing.T, f follower, p *frozenProxy, l *fakeLadder, after func(time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		p := &frozenProxy{fakeProxy: f.proxy}
		l := &fakeLadder{fakeProxy: f.proxy, cut: cut}
		f.ports.Proxy, f.ports.Ladder = p, l
		after := f.start(t)
		f.opened(t, after)
		f.forget()
		test(t, f, p, l, after)
	})
}

// forget lets the proxy's calls begin anew.
func (f follower) forget() {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	f.proxy.calls = nil
}

// made are the proxy's calls but the readings.
func (f follower) made() string {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	calls := slices.DeleteFunc(slices.Clone(f.proxy.calls), func(c string) bool { return c == "status" || c == "save" })
	return strings.Join(calls, ", ")
}

func TestAFrozenProxyIsCutOffForAFailover(t *testing.T) {
	frozen(t, Cut{"packet filter", true}, func(t *testing.T, f follower, p *frozenProxy, _ *fakeLadder, after func(time.Duration)) {
		p.freeze(true)
		after(5 * time.Second)
		if f.made() != "" {
			t.Errorf("nothing is to be fenced, and it was: %s", f.made())
		}
		if told := f.proxies.all()["main"]; !told.Hung {
			t.Errorf("the leader is not told: %+v", told)
		}
		f.begin(t, failover.KindFailover)
		epoch := f.raft.State().Clusters["main"].Intent.Epoch
		after(4 * f.cfg.ProxySQL.Timeout.D())
		told := f.proxies.all()["main"]
		if f.made() != "cut main from a:3306 and b:3306" || !told.Holds(epoch) || told.Cut != "packet filter" || told.Epoch >= epoch {
			t.Errorf("%s; the leader is told %+v", f.made(), told)
		}
		f.forget()
		after(10 * time.Second)
		if f.made() != "" {
			t.Errorf("what lasts is done again: %s", f.made())
		}
		p.freeze(false)
		after(time.Second)
		if f.made() != "fence hard, end sessions, release, apply" {
			t.Errorf("when it answers: %s", f.made())
		}
		if told := f.proxies.all()["main"]; told.Cut != "" || told.Epoch != epoch || told.Hung {
			t.Errorf("the leader is told %+v", told)
		}
	})
}

func TestAStoppedProxyThatHangsAgainIsStoppedAgain(t *testing.T) {
	frozen(t, Cut{"stopped", false}, func(t *testing.T, f follower, p *frozenProxy, _ *fakeLadder, after func(time.Duration)) {
		f.begin(t, failover.KindFailover)
		p.freeze(true)
		after(20 * time.Second)
		if n := strings.Count(f.made(), "cut main"); n < 3 {
			t.Errorf("%d times: %s", n, f.made())
		}
	})
}

func TestASwitchoverCutsNobodyOff(t *testing.T) {
	frozen(t, Cut{"stopped", false}, func(t *testing.T, f follower, p *frozenProxy, _ *fakeLadder, after func(time.Duration)) {
		p.freeze(true)
		f.begin(t, failover.KindSwitchover)
		after(10 * time.Second)
		if f.made() != "" {
			t.Errorf("a proxy that cannot pause is cut off: %s", f.made())
		}
	})
}

func TestALadderThatFailsHoldsNothing(t *testing.T) {
	frozen(t, Cut{}, func(t *testing.T, f follower, p *frozenProxy, l *fakeLadder, after func(time.Duration)) {
		l.err = errors.New("no such file")
		p.freeze(true)
		f.begin(t, failover.KindFailover)
		after(10 * time.Second)
		told := f.proxies.all()["main"]
		if told.Holds(f.raft.State().Clusters["main"].Intent.Epoch) || !told.Hung || !strings.Contains(told.Error, "no such file") {
			t.Errorf("the leader is told %+v", told)
		}
	})
}

func TestAFrozenProxyIsCutOffWithinTheFenceTimeOfALostLease(t *testing.T) {
	frozen(t, Cut{"stopped", false}, func(t *testing.T, f follower, p *frozenProxy, _ *fakeLadder, after func(time.Duration)) {
		f.peer.set(false)
		p.freeze(true)
		lease := f.cfg.Lease
		after(lease.TTL.D() - lease.Heartbeat.D() - time.Millisecond)
		if f.made() != "" {
			t.Errorf("while the lease holds: %s", f.made())
		}
		after(lease.Heartbeat.D() + lease.FenceTime.D()*3/4)
		if !f.proxy.called("cut main from a:3306 and b:3306") {
			t.Errorf("the fence time is nearly over: %s", f.made())
		}
	})
}

func TestALostLeaseEndsSessionsThatAreAttached(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		after(time.Second)
		f.forget()
		f.peer.set(false)
		after(f.cfg.Lease.TTL.D() + f.cfg.Lease.FenceTime.D())
		if f.made() != "fence soft, fence hard, end sessions" {
			t.Errorf("%s", f.made())
		}
	})
}

func TestAProxyThatRestartsWithoutALeaseIsFencedAgain(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, f follower, after func(time.Duration)) {
		f.routed(t)
		f.peer.set(false)
		after(5 * time.Second)
		for name, open := range map[string]func(){
			"by another hand": func() { after(lookEvery) },
			"by its restart":  func() { f.broke <- struct{}{} }, // which is noticed at once
		} {
			f.forget()
			f.proxy.mu.Lock()
			f.proxy.now.Mode = topology.Open
			f.proxy.mu.Unlock()
			open()
			after(time.Millisecond)
			if f.proxy.routes() != topology.Fenced {
				t.Errorf("opened %s, it stays so: %s", name, f.made())
			}
		}
	})
}

// The watchdog may cut a proxy off though its sidecar has a lease: its file was late, or
// the watchdog was. Nobody but the sidecar undoes that.
func TestWhatTheWatchdogCutOffIsReleasedByASidecarThatKeptItsLease(t *testing.T) {
	for name, happens := range map[string]func(f follower, p *frozenProxy, after func(time.Duration)){
		"it voided the epoch": func(f follower, _ *frozenProxy, _ func(time.Duration)) {
			f.proxy.mu.Lock()
			defer f.proxy.mu.Unlock()
			f.proxy.now.Epoch, f.proxy.now.Mode = 0, topology.Fenced
		},
		"the admin interface hung": func(f follower, p *frozenProxy, after func(time.Duration)) {
			p.freeze(true)
			after(3 * time.Second)
			p.freeze(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			frozen(t, Cut{"packet filter", true}, func(t *testing.T, f follower, p *frozenProxy, _ *fakeLadder, after func(time.Duration)) {
				happens(f, p, after)
				after(2 * lookEvery)
				if !f.proxy.called("release") || f.proxy.called("fence hard") || f.proxy.routes() != topology.Open {
					t.Errorf("the proxy is %s: %s", f.proxy.routes(), f.made())
				}
				f.forget()
				after(10 * lookEvery)
				if f.made() != "" {
					t.Errorf("what is in line is touched: %s", f.made())
				}
			})
		})
	}
}
