package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

func TestWhatALeaseFileIsWorth(t *testing.T) {
	const now = time.Hour
	note := leaseNote{Node: "n1", Boot: "b1", Until: now + time.Second, TTL: 2 * time.Second, Writers: map[string]int{"main": 10}}
	text := func(change func(*leaseNote)) string {
		n := note
		change(&n)
		raw, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"one that holds", text(func(*leaseNote) {}), nil},
		{"the whole of it", text(func(n *leaseNote) { n.Until = now + n.TTL }), nil},
		{"run out this instant", text(func(n *leaseNote) { n.Until = now }), errLeaseOver},
		{"run out long ago", text(func(n *leaseNote) { n.Until = 1 }), errLeaseOver},
		{"of another boot", text(func(n *leaseNote) { n.Boot = "b0" }), errLeaseUnknown},
		{"of no boot", text(func(n *leaseNote) { n.Boot = "" }), errLeaseUnknown},
		{"longer than a lease", text(func(n *leaseNote) { n.Until = now + n.TTL + 1 }), errLeaseUnknown},
		{"an impossible hostgroup", text(func(n *leaseNote) { n.Writers = map[string]int{"main": -1} }), errLeaseUnknown},
		{"nothing", "", errLeaseUnknown},
		{"null", "null", errLeaseUnknown},
		{"half of it", text(func(*leaseNote) {})[:40], errLeaseUnknown},
		{"garbage", "\x00\xff", errLeaseUnknown},
	} {
		n, err := parseLease([]byte(tc.text))
		if err == nil {
			err = n.check("b1", now)
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// virtual is a machine's clock on the time of a test's bubble.
func virtual() Clock {
	clock := goClock()
	return func() Instant {
		now := clock()
		now.Boot, now.Mono = now.Boot+time.Hour, now.Mono+time.Hour
		return now
	}
}

func TestTheLeaseFilePromisesNoMoreThanTheHolderHas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lease")
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		f.cfg.Lease.File = file
		clock := virtual()
		f.lease = newLease(clock)
		f.leaseFile = newLeaseFile(f.Sidecar, "b1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.keepLeaseFile(ctx); close(done) }()
		synctest.Wait()
		var last leaseNote
		asked := f.lease.ask()
		for i := range 40 {
			if i%5 != 4 { // else an answer comes again
				asked = f.lease.ask()
			}
			<-time.After(time.Duration(i%7) * 30 * time.Millisecond)
			if i%9 != 8 { // else nothing is granted
				reply := api.HeartbeatReply{Lease: f.cfg.Lease.TTL}
				f.lease.renew(asked, reply)
				f.lease.renew(asking{at: asked.at - time.Second}, reply) // one that was overtaken
			}
			synctest.Wait()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n, err := parseLease(raw)
			if err != nil {
				t.Fatal(err)
			}
			if left := f.lease.left(); n.Until-clock().Boot > left {
				t.Fatalf("the file says %s, the holder has %s", n.Until-clock().Boot, left)
			}
			if n.Until < last.Until || n.Writers["main"] != 10 || n.Node != "n1" {
				t.Fatalf("%+v after %+v", n, last)
			}
			last = n
		}
		if left := f.lease.left(); left-(last.Until-clock().Boot) > f.cfg.Lease.Heartbeat.D()+210*time.Millisecond {
			t.Errorf("the file lags behind: %s of %s", last.Until-clock().Boot, left)
		}
		stop()
		<-done
	})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// guarded is a watchdog in virtual time over a fake proxy, and the file it reads.
type guarded struct {
	*watchdog
	fake *fakeProxy
	log  *strings.Builder
	file string
}

func guard(t *testing.T, test func(t *testing.T, g guarded)) {
	file := filepath.Join(t.TempDir(), "lease")
	synctest.Test(t, func(t *testing.T) {
		g := guarded{fake: &fakeProxy{now: topology.Proxy{Mode: topology.Open}}, log: &strings.Builder{}, file: file}
		cfg := WatchdogConfig{LeaseFile: file, Grace: 500 * time.Millisecond, Interval: 250 * time.Millisecond}
		g.watchdog = newWatchdog(cfg, g.fake, virtual(), "b1", slog.New(slog.NewTextHandler(g.log, nil)))
		test(t, g)
	})
}

// holds writes a lease.
func (g guarded) holds(t *testing.T, left time.Duration) {
	t.Helper()
	f := leaseFile{path: g.file, lease: newLease(g.clock), servers: func(string) []topology.Addr { return []topology.Addr{dbA, dbB} }, note: leaseNote{Boot: "b1", Writers: map[string]int{"main": 10}}}
	f.lease.until, f.lease.ttl = g.clock().Boot+left, max(left, 0)
	if err := f.write(); err != nil {
		t.Fatal(err)
	}
}

// after looks as often as the interval wants it.
func (g guarded) after(t *testing.T, d time.Duration) (err error) {
	for range d / g.cfg.Interval {
		<-time.After(g.cfg.Interval)
		err = g.look(t.Context())
	}
	return err
}

func (g guarded) fences() int { return strings.Count(fmt.Sprint(g.fake.calls), "fence hard") }

func TestAWatchdogFencesOnceAStaleness(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		for range 10 {
			g.holds(t, 2*time.Second)
			if err := g.after(t, time.Second); err != nil || len(g.fake.calls) > 0 {
				t.Fatalf("while the lease holds: %v, %v", g.fake.calls, err)
			}
		}
		if err := g.after(t, 1500*time.Millisecond); err != nil || g.fences() != 0 {
			t.Fatalf("within the grace: %v, %v", g.fake.calls, err)
		}
		if err := g.after(t, 250*time.Millisecond); err != nil || g.fences() != 1 || !g.fake.called("end sessions") {
			t.Fatalf("after the grace: %v, %v", g.fake.calls, err)
		}
		if err := g.after(t, 10*time.Second); err != nil || g.fences() != 1 {
			t.Errorf("again, though closed: %v, %v", g.fake.calls, err)
		}
		g.fake.now.Mode = topology.Open // by another hand
		if err := g.after(t, 1250*time.Millisecond); err != nil || g.fences() != 2 {
			t.Errorf("opened by another hand: %v, %v", g.fake.calls, err)
		}
		g.holds(t, 2*time.Second)
		g.fake.now.Mode = topology.Open // by the sidecar
		if err := g.after(t, time.Second); err != nil || g.fences() != 2 {
			t.Errorf("after the lease came back: %v, %v", g.fake.calls, err)
		}
		if n := strings.Count(g.log.String(), "\n"); n != 3 {
			t.Errorf("%d sentences, want 3:\n%s", n, g.log)
		}
	})
}

func TestAWatchdogTriesAgainEachSecond(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		g.holds(t, 0)
		g.fake.err = errors.New("hangs")
		if _ = g.after(t, 5*time.Second); g.fences() < 4 || g.fences() > 5 {
			t.Errorf("%d attempts in 5 s", g.fences())
		}
		if n := strings.Count(g.log.String(), "\n"); n != 1 {
			t.Errorf("%d sentences, want 1:\n%s", n, g.log)
		}
		g.fake.err = nil
		if err := g.after(t, time.Second); err != nil || g.fake.routes() != topology.Fenced {
			t.Errorf("%v, %v", g.fake.routes(), err)
		}
	})
}

func TestAWatchdogWithoutAFile(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		if err := g.after(t, 2*time.Second); err == nil || !strings.Contains(err.Error(), "names no hostgroup") || len(g.fake.calls) > 0 {
			t.Errorf("nothing is known: %v, %v", g.fake.calls, err)
		}
		g.writers["hostgroup 10"] = 10 // --hostgroup
		if err := g.after(t, 2*time.Second); err != nil || g.fences() != 1 {
			t.Errorf("with a hostgroup: %v, %v", g.fake.calls, err)
		}
	})
	guard(t, func(t *testing.T, g guarded) { // the file was there once
		g.writers["hostgroup 10"] = 10
		g.holds(t, 2*time.Second)
		_ = g.look(t.Context())
		if len(g.writers) != 1 || g.writers["main"] != 10 {
			t.Errorf("the file's name for the hostgroup does not count: %v", g.writers)
		}
		if err := os.Remove(g.file); err != nil {
			t.Fatal(err)
		}
		if err := g.after(t, 2*time.Second); err != nil || g.fences() != 1 {
			t.Errorf("last known hostgroup: %v, %v", g.fake.calls, err)
		}
	})
}

func TestOneLookOfAWatchdog(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		g.cfg.Once = true
		g.holds(t, 2*time.Second)
		if err := g.look(t.Context()); err != nil || len(g.fake.calls) > 0 || g.log.Len() > 0 {
			t.Errorf("the lease holds: %v, %v\n%s", g.fake.calls, err, g.log)
		}
		if err := os.WriteFile(g.file, []byte(`{"boot_id":"b0","writer_hostgroups":{"main":10}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.look(t.Context()); err != nil || g.fences() != 1 || strings.Count(g.log.String(), "\n") != 1 {
			t.Errorf("another boot: %v, %v\n%s", g.fake.calls, err, g.log)
		}
	})
}

// readmits gives the sidecar its lease back while the watchdog reads the proxy.
type readmits struct {
	*fakeProxy
	renew func()
}

func (p readmits) Status(ctx context.Context, r topology.Route, hg proxysql.Hostgroups) (topology.Proxy, error) {
	p.renew()
	return p.fakeProxy.Status(ctx, r, hg)
}

func TestAWatchdogDoesNotCloseWhatWasOpenedWithANewLease(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		g.holds(t, 0)
		g.proxy = readmits{g.fake, func() { g.holds(t, 2*time.Second) }}
		if err := g.after(t, 2*time.Second); err != nil || g.fences() != 0 || !g.fake.called("status") {
			t.Errorf("%v, %v", g.fake.calls, err)
		}
	})
}

func TestAWatchdogClosesAtOnceWhenTheSidecarHasFailed(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		g.cfg.Once, g.cfg.Now = true, true
		g.holds(t, 2*time.Second)
		if err := g.look(t.Context()); err != nil || g.fences() != 1 {
			t.Errorf("the lease holds: %v, %v", g.fake.calls, err)
		}
	})
	guard(t, func(t *testing.T, g guarded) { // started again meanwhile
		g.cfg.Once, g.cfg.Now = true, true
		g.holds(t, time.Second)
		g.proxy = readmits{g.fake, func() { g.holds(t, 2*time.Second) }}
		if err := g.look(t.Context()); err != nil || g.fences() != 0 {
			t.Errorf("renewed: %v, %v", g.fake.calls, err)
		}
	})
}

func TestAWatchdogClimbsTheLadder(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		frozen := &frozenProxy{fakeProxy: g.fake, frozen: true}
		ladder := &fakeLadder{fakeProxy: g.fake, cut: Cut{"packet filter", true}}
		g.proxy, g.ladder = frozen, ladder
		g.holds(t, 0)
		began := time.Now()
		if err := g.after(t, 750*time.Millisecond); err != nil || !g.fake.called("cut main from a:3306 and b:3306") {
			t.Fatalf("%v, %v", g.fake.calls, err)
		}
		if took := time.Since(began); took > 1250*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		g.fake.calls = nil
		if err := g.after(t, 5*time.Second); err != nil || slices.Contains(g.fake.calls, "cut main from a:3306 and b:3306") {
			t.Errorf("what lasts is done again: %v, %v", g.fake.calls, err)
		}
		if n := strings.Count(g.log.String(), "cut off"); n != 1 {
			t.Errorf("said %d times:\n%s", n, g.log)
		}
		g.holds(t, 2*time.Second)
		_ = g.look(t.Context())
		g.fake.calls = nil
		g.holds(t, 0)
		ladder.cut, ladder.err = Cut{}, errors.New("no nft")
		if _ = g.after(t, 2*time.Second); !strings.Contains(g.log.String(), "no nft") {
			t.Errorf("%v\n%s", g.fake.calls, g.log)
		}
	})
}

// unfenceable is read, and does not answer when it is to be closed.
type unfenceable struct{ *fakeProxy }

func (unfenceable) Fence(ctx context.Context, _ string, _ proxysql.Hostgroups, _ bool) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", proxysql.ErrUnreachable, ctx.Err())
}

func TestAWatchdogDoesNotCutOffWhoGotALeaseMeanwhile(t *testing.T) {
	guard(t, func(t *testing.T, g guarded) {
		ladder := &fakeLadder{fakeProxy: g.fake, cut: Cut{"packet filter", true}}
		g.proxy, g.ladder = unfenceable{g.fake}, ladder
		g.holds(t, 0)
		<-time.After(time.Second)
		done := make(chan error, 1)
		go func() { done <- g.look(context.Background()) }()
		synctest.Wait() // it waits for the admin interface
		g.holds(t, 2*time.Second)
		if err := <-done; err != nil || g.fake.called("cut main from a:3306 and b:3306") {
			t.Errorf("%v, %v", g.fake.calls, err)
		}
	})
}
