package sidecar

import (
	"context"
	"fmt"
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

// current says whether all was read just now that anybody can read; if not, it asks for it.
func (d *decider) current(ctx context.Context, c *failover.Case) bool {
	if d.unread(c) == "" {
		return true
	}
	d.askAll(ctx, c)
	return false
}

// unread is an instance of which more may be known in a moment, "" when there is none. Heartbeats of a
// large fleet confirm readings without repeating them: what is said to answer may not have been
// read wholly just now. And where few watch an instance, and those are gone or cannot reach it, the others
// may read it: it is not passed over before they have looked, or were asked in vain.
func (d *decider) unread(c *failover.Case) topology.Addr {
	now, fresh := c.Snapshot.Taken, c.Policy.Detection.Fresh.D()
	await, waited := d.evidence.sharing(now, fresh), d.waited(now, &c.Policy.Detection)
	for n := range c.Snapshot.Instances {
		i := &c.Snapshot.Instances[n]
		switch {
		case i.Fresh() && now.Sub(i.ReadAt) > fresh:
			return i.Addr
		case (i.Reach == topology.Unclear || i.Reach == topology.Partial) && !waited[i.Addr] && !seenByAll(i, await):
			return i.Addr
		}
	}
	return ""
}

// seenByAll says whether each of the sidecars has looked at an instance just now.
func seenByAll(i *topology.Instance, sidecars []string) bool {
	return !slices.ContainsFunc(sidecars, func(name string) bool {
		return !slices.ContainsFunc(i.Views, func(v topology.View) bool { return v.Observer == name && v.Reach != topology.Unknown })
	})
}

// readAll reads the whole cluster now, at every vantage point, and puts the case together when no more
// is to come, or after the detection timeout: then it names an instance that nobody has read yet.
func (d *decider) readAll(ctx context.Context, r *failover.Request) (c failover.Case, unread topology.Addr) {
	news, stop := d.evidence.changed.watch(d.cluster)
	defer stop()
	bound := d.cfg.Clusters[d.cluster].Policy.Detection.Timeout.D()
	d.ask(ctx, d.cluster, d.known(d.cluster), bound)
	timer := time.NewTimer(bound)
	defer timer.Stop()
	for {
		c = d.remembering(d.caseOf(d.cluster, r))
		if unread = d.unread(&c); unread == "" {
			return c, ""
		}
		select {
		case <-news:
		case <-timer.C:
			return c, unread
		case <-ctx.Done():
			return c, unread
		}
	}
}

// notRead is the refusal to decide while an instance is yet to be read.
func notRead(a topology.Addr) failover.Refusal {
	return failover.Refusal{
		Rule: "unread", Subject: a, Sentence: fmt.Sprintf("%s has not been read yet: who watches it is gone or cannot reach it, and not every other sidecar has answered", a),
		Change: "ask again in a few seconds: by then it has been read, or is passed over",
	}
}

// shared says that a sidecar watches a share of the instances only; all do in a large fleet,
// unless they are being configured one after the other.
func (t *term) shared() bool { return t.sharing.Load() || t.evidence.anyShares() }

// askPause is how long a cluster whose primary is in doubt waits until all are asked again.
func (t *term) askPause() time.Duration {
	return min(askAgain, askEvery*time.Duration(max(1, t.doubting.Load()/doubtsAtOnce)))
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
