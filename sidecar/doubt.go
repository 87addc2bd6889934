package sidecar

import (
	"context"
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// askAgain is how often all sidecars are asked for an instance that stays in doubt, so that
	// it stays their guest.
	askAgain = guestTime / 2
	// unreadFor is how long nobody tells of an instance until all sidecars are asked: those
	// who watch it may have just begun.
	unreadFor = 2 * time.Second
	// doubtsAtOnce is of how many clusters all sidecars are asked every askEvery; of more each
	// is asked the less often. The first question comes at once, and makes the sidecars watch.
	doubtsAtOnce = 10
)

// doubt is an instance that not everybody who watches it can read.
type doubt struct {
	since time.Time
	asked time.Time // when all sidecars were asked for it last
}

// heedDoubts does what only a large fleet needs: it has all look at what is in doubt, and
// leaves alone for longer where nothing goes on.
func (d *decider) heedDoubts(ctx context.Context, c *failover.Case, v *failover.Verdict) {
	shared, inDoubt := d.shared(), d.inDoubt(c)
	if shared {
		d.inquire(ctx, c)
	}
	d.setDoubting(shared && inDoubt)
	d.calm = shared && !inDoubt && d.isCalm(c, v)
}

// isCalm says that nothing goes on which a cycle could bring forward: what changes, changes by
// something that is told.
func (d *decider) isCalm(c *failover.Case, v *failover.Verdict) bool {
	calls := slices.ContainsFunc(v.Findings, func(f failover.Finding) bool { return f.Recovery != "" })
	return c.Intent == nil && v.Decision.Intent == nil && !v.Decision.Wait && !calls && d.readersAt.IsZero()
}

// doubtful says whether somebody could not read an instance just now, or nobody tells of it.
func doubtful(i *topology.Instance, taken time.Time, fresh time.Duration) bool {
	return i.Reach == topology.Unclear || slices.ContainsFunc(i.Views, func(v topology.View) bool {
		return v.Reach != topology.Unknown && v.Reach != topology.Answered && taken.Sub(v.At) <= fresh
	})
}

// inquire has every sidecar look at what those who watch it cannot read: what one of
// them cannot see is its own problem, where another can.
func (d *decider) inquire(ctx context.Context, c *failover.Case) {
	now, fresh := c.Snapshot.Taken, c.Policy.Detection.Fresh.D()
	var ask []topology.Addr
	d.mu.Lock()
	doubts := map[topology.Addr]doubt{}
	for n := range c.Snapshot.Instances {
		i := &c.Snapshot.Instances[n]
		if !doubtful(i, now, fresh) {
			continue
		}
		x, ok := d.doubts[i.Addr]
		if !ok {
			x.since = now
		}
		if due := now.Sub(x.asked) >= askAgain; due && (i.Reach != topology.Unclear || now.Sub(x.since) >= unreadFor) {
			x.asked = now
			ask = append(ask, i.Addr)
		}
		doubts[i.Addr] = x
	}
	d.doubts = doubts
	d.mu.Unlock()
	if len(ask) > 0 {
		d.background.Go(func() { d.ask(ctx, d.cluster, ask, c.Policy.Detection.Timeout.D()) })
	}
}

// waited are the instances in doubt that all sidecars were asked for so long ago that who has
// said nothing yet is not waited for.
func (d *decider) waited(now time.Time, p *failover.Detection) map[topology.Addr]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list map[topology.Addr]bool
	for a, x := range d.doubts {
		if now.Sub(x.since) > p.Fresh.D()+p.Timeout.D() {
			if list == nil {
				list = map[topology.Addr]bool{}
			}
			list[a] = true
		}
	}
	return list
}

// current says whether all that is said to answer was read just now, wholly. Heartbeats of a
// large fleet confirm readings without repeating them: before anything is done the sidecars are asked.
func (d *decider) current(ctx context.Context, c *failover.Case) bool {
	fresh := c.Policy.Detection.Fresh.D()
	for n := range c.Snapshot.Instances {
		i := &c.Snapshot.Instances[n]
		if i.Fresh() && c.Snapshot.Taken.Sub(i.ReadAt) > fresh {
			d.askAll(ctx, c)
			return false
		}
	}
	return true
}

// shared says that a sidecar watches a share of the instances only; all do in a large fleet,
// unless they are being configured one after the other.
func (t *term) shared() bool { return t.sharing.Load() || t.evidence.anyShares() }

// askPause is how long a cluster whose primary is in doubt waits until all are asked again.
func (t *term) askPause() time.Duration {
	return askEvery * time.Duration(max(1, t.doubting.Load()/doubtsAtOnce))
}

// setDoubting counts the clusters whose primary is in doubt.
func (d *decider) setDoubting(now bool) {
	switch {
	case now && !d.doubting:
		d.term.doubting.Add(1)
	case !now && d.doubting:
		d.term.doubting.Add(-1)
	}
	d.doubting = now
}
