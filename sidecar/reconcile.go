package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"syscall"
	"time"

	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

const (
	// lookEvery is how often a proxy in line is read, to find what another hand did: for
	// all clusters at one instant, so that a reading serves them all.
	lookEvery = time.Second
	// drainEvery is how often a paused proxy is read until it is drained.
	drainEvery = 5 * time.Millisecond
	// catchUpEvery is how often the ledger is looked at that is older than the lease.
	catchUpEvery = 20 * time.Millisecond
	// retryProxy is waited after the proxy did not do what was asked.
	retryProxy = 100 * time.Millisecond
	// saveAfter is how long a route must stand before the proxy's disk copy is
	// written again: which rows there are matters little to a proxy that comes
	// back, and has no place in a failover. That none of them may write matters
	// much: the first copy is written at once, and then every saveEvery, for
	// others write there too.
	saveAfter = 3 * time.Second
	saveEvery = time.Minute
)

// proxies is what this node's ProxySQL last said, by cluster.
type proxies struct {
	changed signal

	mu sync.Mutex
	of map[string]topology.Proxy
}

func newProxies() *proxies { return &proxies{of: map[string]topology.Proxy{}} }

func (p *proxies) set(cluster string, now topology.Proxy) {
	p.mu.Lock()
	before := p.of[cluster]
	p.of[cluster] = now
	p.mu.Unlock()
	if before.Epoch != now.Epoch || before.Told != now.Told || before.Mode != now.Mode || before.Drained != now.Drained ||
		before.Off() != now.Off() || before.Error != now.Error {
		p.changed.notify()
	}
}

func (p *proxies) all() map[string]topology.Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.of)
}

// keeper keeps one cluster's rows of the node's proxy in line.
type keeper struct {
	*Sidecar
	cluster string
	log     *slog.Logger

	route   topology.Route // last applied
	applied bool
	told    uint64    // epoch of the ledger, which only grows
	fenced  fence     // what was done without a lease
	cut     Cut       // what was done without the admin interface
	sure    bool      // what the process before cut off is not in the way
	leased  bool      // a lease was held since this process began, and a route applied
	freed   bool      // what the watchdog cut off is not in the way
	missed  bool      // the admin interface did not answer a look since it was last in line
	paused  time.Time // when the present pause was applied
	saved   uint64    // epoch of the disk copy
	savedAt time.Time // zero before the first copy, which is due therefore
	since   time.Time // when route was applied
	unsaved string    // why the disk copy was not written; "": it was
	said    string
}

// reconcile keeps the proxy in line with the ledger until ctx ends. The work is
// driven by changes: of the ledger, of the lease, of the proxy's connection.
func (s *Sidecar) reconcile(ctx context.Context, cluster string) {
	k := &keeper{Sidecar: s, cluster: cluster, log: s.log.With("cluster", cluster)}
	agreed, stopAgreed := s.agreed.watch(cluster)
	defer stopAgreed()
	leased, stopLeased := s.lease.changed.watch()
	defer stopLeased()
	broke, stopBroke := s.proxyBroke.watch()
	defer stopBroke()
	for {
		wait := k.step(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-agreed:
		case <-leased:
		case <-broke:
			k.applied, k.fenced = false, notFenced // a new incarnation, until it is read
		}
		timer.Stop()
	}
}

// step does what is called for now and says when to look again at the latest.
func (k *keeper) step(ctx context.Context) time.Duration {
	left := k.lease.left()
	state := k.ports.Consensus.State()
	want := state.Clusters[k.cluster].Desired()
	k.told = want.Epoch
	changes := !k.applied || want.Epoch != k.route.Epoch || !want.SameAssignment(k.route)
	switch newest, enough := k.lease.knows(state.Index); {
	case k.goesOn():
	case left <= 0:
		return k.fence(ctx, -left, "no lease")
	case !enough, !newest && !k.applied:
		return min(catchUpEvery, k.fence(ctx, 0, "the ledger is older than the lease")) // of other clusters' entries nobody tells
	case !newest && changes && want.Mode == topology.Open:
		return catchUpEvery // nothing is opened by a ledger that is not the newest
	}
	if acked := k.acked.epoch(k.cluster); want.Epoch < acked {
		return k.fence(ctx, k.cfg.Lease.FenceTime.D(), fmt.Sprintf("the ledger is at epoch %d and this node has acknowledged %d", want.Epoch, acked))
	}
	k.fenced = notFenced
	bounded, cancel := k.whileLeased(ctx)
	wait := lookEvery
	switch {
	case want.Epoch == 0: // nothing was agreed yet: nothing is ours to change
	case changes:
		wait = k.apply(bounded, want)
	default:
		wait = k.look(bounded)
	}
	cancel()
	if left = k.lease.left(); left > 0 || !k.goesOn() { // that may have taken seconds
		return max(0, min(left, wait))
	}
	return wait
}

// goesOn says that the end of the lease closes nothing here, as the policy wants.
func (k *keeper) goesOn() bool { return k.leased && k.lease.unbroken() && k.holds(k.cluster) }

// errLeaseEnds is why a look at the proxy, or an apply, was cut short.
var errLeaseEnds = errors.New("the lease ended meanwhile")

// whileLeased bounds what is done with the proxy by the lease: the fence time begins
// when it ends, whatever answer a proxy that hangs still owes.
func (k *keeper) whileLeased(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if !k.goesOn() {
		go func() {
			k.lease.ended(ctx)
			cancel(errLeaseEnds)
		}()
	}
	return ctx, func() { cancel(nil) }
}

// cutShort says that the lease, and not the proxy's patience, ended an attempt: that
// says nothing of the proxy.
func cutShort(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errLeaseEnds) }

func (k *keeper) hostgroups() proxysql.Hostgroups { return k.cfg.Clusters[k.cluster].Hostgroups }

// apply brings the proxy to the wanted route.
func (k *keeper) apply(ctx context.Context, want topology.Route) time.Duration {
	hg := k.hostgroups()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*k.cfg.ProxySQL.Timeout.D())
	defer cancel()
	if err := k.release(ctx); err != nil {
		return k.notApplied(ctx, topology.Proxy{}, want, err)
	}
	k.acked.note(k.cluster, want.Epoch) // beside applying it, which takes longer
	p, err := k.ports.Proxy.Apply(ctx, want, hg)
	if err != nil {
		return k.notApplied(ctx, p, want, err)
	}
	if err := k.acked.wait(ctx, k.cluster, want.Epoch); err != nil {
		p.Epoch = min(p.Epoch, k.acked.epoch(k.cluster))
		k.failed(p, fmt.Errorf("epoch %d is applied, but not acknowledged before it is on disk: %w", want.Epoch, err))
		k.say(fmt.Sprintf("epoch %d is applied, but not acknowledged: %v", want.Epoch, err))
		return retryProxy
	}
	if want.Mode == topology.Paused && (!k.applied || k.route.Mode != topology.Paused) {
		k.paused = began
	}
	k.route, k.applied, k.leased, k.since = want, true, true, began
	k.report(p)
	k.said = ""
	if k.saved == 0 {
		k.save(ctx)
	}
	return k.next(p)
}

// notApplied says what kept a route from the proxy. Where the route would close the
// writer it is cut off; an opening can wait, and a switchover that cannot pause is
// rolled back.
func (k *keeper) notApplied(ctx context.Context, p topology.Proxy, want topology.Route, err error) time.Duration {
	if cutShort(ctx) {
		return 0 // to be fenced, or with a new lease to be tried again
	}
	if want.Mode == topology.Fenced {
		err = k.cutOff(err)
	}
	k.failed(p, err)
	k.say(fmt.Sprintf("epoch %d could not be applied to the proxy: %v", want.Epoch, err))
	return retryProxy
}

// look reads the proxy against the route that it has applied.
func (k *keeper) look(ctx context.Context) time.Duration {
	hg := k.hostgroups()
	ctx, cancel := context.WithTimeout(ctx, k.cfg.ProxySQL.Timeout.D())
	defer cancel()
	p, err := k.ports.Proxy.Status(ctx, k.route, hg)
	if err != nil && cutShort(ctx) {
		return 0
	}
	if err != nil {
		k.failed(p, err)
		k.missed = true
		k.applied = !gone(err) // one that has ended comes back as a new incarnation
		k.say(fmt.Sprintf("the proxy cannot be read: %v", err))
		return retryProxy
	}
	if p.Epoch != k.route.Epoch || p.Mode != k.route.Mode || len(p.Drift) > 0 {
		k.say(fmt.Sprintf("the proxy is not as it was left (epoch %d, %s; want %d, %s) %v: mending it", p.Epoch, p.Mode, k.route.Epoch, k.route.Mode, p.Drift))
		k.applied, k.freed = false, false // by the watchdog, maybe, which may have done more
		return 0
	}
	if k.missed {
		k.missed, k.freed = false, false // the watchdog may have despaired of it too
	}
	if err := k.release(ctx); err != nil {
		k.say(fmt.Sprintf("the proxy is as it was left, but what cut it off was not released: %v", err))
	}
	if p.Mode == topology.Paused && !p.Drained {
		k.endSessions(ctx)
	}
	k.report(p)
	k.save(ctx)
	return k.next(p)
}

// report tells the leader of the proxy.
func (k *keeper) report(p topology.Proxy) {
	p.Node, p.Told, p.Cut = k.cfg.Node, k.told, k.cut.How
	if p.Error == "" {
		p.Error = k.unsaved
	}
	k.proxies.set(k.cluster, p)
}

// failed reports what could not be done, and what that says about the proxy.
func (k *keeper) failed(p topology.Proxy, err error) {
	p.Error, p.Gone = err.Error(), gone(err)
	p.Hung = errors.Is(err, proxysql.ErrUnreachable) && errors.Is(err, context.DeadlineExceeded)
	k.report(p)
}

// gone says whether the host answered that nobody listens: the proxy has ended.
func gone(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// next says when to look again.
func (k *keeper) next(p topology.Proxy) time.Duration {
	if p.Mode == topology.Paused && !p.Drained {
		return drainEvery
	}
	return k.untilLook()
}

// untilLook is when the proxy is looked at next, for whichever cluster.
func (s *Sidecar) untilLook() time.Duration { return lookEvery - time.Since(s.started)%lookEvery }

// endSessions ends the sessions that still hold the paused writer after the
// policy's patience.
func (k *keeper) endSessions(ctx context.Context) {
	c := k.cfg.Clusters[k.cluster]
	if time.Since(k.paused) < c.Policy.Switchover.Drain.D() {
		return
	}
	n, err := k.ports.Proxy.EndSessions(ctx, c.Hostgroups, k.route.Writer)
	if err != nil {
		k.log.Warn("sessions on the paused writer could not be ended", "error", err)
		return
	}
	if n > 0 {
		k.log.Warn("ended sessions that held the paused writer too long", "sessions", n, "patience", c.Policy.Switchover.Drain)
	}
}

// save writes the proxy's disk copy where it is due.
func (k *keeper) save(ctx context.Context) {
	now := time.Now()
	changed := k.saved != k.route.Epoch && now.Sub(k.since) >= saveAfter
	if k.route.Mode != topology.Open || !changed && now.Sub(k.savedAt) < saveEvery {
		return
	}
	if err := k.ports.Proxy.Save(ctx, k.hostgroups()); err != nil {
		k.unsaved = fmt.Sprintf("the proxy's disk copy could not be written, and may open a writer when it restarts: %v", err)
		k.say(k.unsaved)
		return
	}
	k.unsaved = ""
	k.saved, k.savedAt = k.route.Epoch, now
}

func (k *keeper) say(sentence string) {
	if sentence != k.said {
		k.said = sentence
		k.log.Warn(sentence)
	}
}
