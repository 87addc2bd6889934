package sidecar

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// askAgain is how often all sidecars are asked for an instance that stays in doubt, so that
	// it stays their guest.
	askAgain = guestTime / 2
	// unreadFor is how long nobody tells of an instance until all sidecars are asked: those
	// who watch it may have just begun. Where much is going on everywhere that takes longer, up to unreadAtMost.
	unreadFor    = 2 * time.Second
	unreadAtMost = 30 * time.Second
	// doubtsAtOnce is of how many clusters all sidecars are asked every askEvery; of more each
	// is asked the less often. The first question comes at once, and makes the sidecars watch.
	doubtsAtOnce = 10
	// inquiriesAtOnce is for how many instances a second all sidecars are asked where nothing is known to be wrong: nobody
	// tells of them, as of thousands when a term begins, or only some cannot read them. To have them all looked at by everybody
	// keeps those who watch them from reading them.
	inquiriesAtOnce = 10
)

// doubt is an instance that not everybody who watches it can read.
type doubt struct {
	since time.Time
	first time.Time // when all sidecars were asked for it
	asked time.Time // likewise, last
}

// heedDoubts does what only a large fleet needs: it has all look at what is in doubt, and
// leaves alone for longer where nothing goes on.
func (d *decider) heedDoubts(ctx context.Context, c *failover.Case, v *failover.Verdict) {
	shared, inDoubt := d.shared(), d.inDoubt(c)
	if shared {
		d.inquire(ctx, c)
		d.readAnew(ctx, c)
	}
	d.hurries = inDoubt || c.Intent != nil || v.Decision.Intent != nil || v.Decision.Wait
	d.waits = false
	d.doubting.set(shared && inDoubt)
	d.calm = d.calmness(c, v, shared && !inDoubt)
	d.restless.set(shared && !d.calm.now)
}

// unreadMost is how old the last reading of an instance that answers may be: more than any view
// takes that is read and told as it should be.
func (d *decider) unreadMost() time.Duration {
	return d.cfg.Watch.ReadEvery.D() + wholeEvery + 2*time.Second
}

// readAnew has an instance read that answers and that nobody reads: those who watch it may not agree
// whose place is the first.
func (d *decider) readAnew(ctx context.Context, c *failover.Case) {
	for n := range c.Snapshot.Instances {
		if i := &c.Snapshot.Instances[n]; i.Fresh() && c.Snapshot.Taken.Sub(i.ReadAt) > d.unreadMost() {
			d.askReaders(ctx, c)
			return
		}
	}
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
	now, fresh, storms := c.Snapshot.Taken, c.Policy.Detection.Fresh.D(), d.storms()
	patience := min(unreadAtMost, unreadFor*time.Duration(storms))
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
		unread := i.Reach == topology.Unclear
		waits := unread || i.Reach == topology.Up && storms > 1
		due := now.Sub(x.asked) >= askAgain && (!waits || now.Sub(x.since) >= patience)
		if due && (!unread && i.Reach != topology.Up || d.inquiries.more(now)) {
			if x.asked = now; x.first.IsZero() {
				x.first = now
			}
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
		if !x.first.IsZero() && now.Sub(x.first) > p.Timeout.D() && now.Sub(x.since) > p.Fresh.D()+p.Timeout.D() {
			if list == nil {
				list = map[topology.Addr]bool{}
			}
			list[a] = true
		}
	}
	return list
}

// current says whether all was read just now that anybody can read; if not, it asks for it. An instance that is only to be
// read again is asked of those who read it. Of a cluster without a route nothing is urgent: who is to watch it is about to read it.
func (d *decider) current(ctx context.Context, c *failover.Case) bool {
	switch d.unread(c) {
	case "":
		d.reread = false
		return true
	case d.unlooked(c):
		if c.Snapshot.Route.Epoch != 0 {
			d.askAll(ctx, c)
		}
	default:
		d.askReaders(ctx, c)
	}
	return false
}

// askReaders has the instances of the cluster read: by who read each last, and where that was asked before in vain by all whom
// it answers.
func (d *decider) askReaders(ctx context.Context, c *failover.Case) {
	if time.Since(d.asked) < d.askPause() {
		return
	}
	d.asked = time.Now()
	of := map[string][]topology.Addr{}
	for n := range c.Snapshot.Instances {
		i := &c.Snapshot.Instances[n]
		last := -1
		for k, v := range i.Views {
			switch {
			case v.Reach != topology.Answered:
			case d.reread:
				of[v.Observer] = append(of[v.Observer], i.Addr)
			case last < 0 || v.StateAt.After(i.Views[last].StateAt):
				last = k
			}
		}
		if last >= 0 {
			of[i.Views[last].Observer] = append(of[i.Views[last].Observer], i.Addr)
		}
	}
	d.reread = true
	d.background.Go(func() { d.askEach(ctx, d.cluster, of, true, c.Policy.Detection.Timeout.D()) })
}

// unread is an instance of which more may be known in a moment, "" when there is none. Heartbeats of a
// large fleet confirm readings without repeating them: what is said to answer may not have been
// read wholly just now. And where few watch an instance, and those are gone or cannot reach it, the others
// may read it: it is not passed over before they have looked, or were asked in vain.
func (d *decider) unread(c *failover.Case) topology.Addr {
	if a := d.unlooked(c); a != "" {
		return a
	}
	for n := range c.Snapshot.Instances {
		if i := &c.Snapshot.Instances[n]; i.Fresh() && c.Snapshot.Taken.Sub(i.ReadAt) > c.Policy.Detection.Fresh.D() {
			return i.Addr
		}
	}
	return ""
}

// unlooked is an instance that nobody can read of those who have looked, "" when there is none.
func (d *decider) unlooked(c *failover.Case) topology.Addr {
	now := c.Snapshot.Taken
	await, waited := d.evidence.sharing(now, c.Policy.Detection.Fresh.D()), d.waited(now, &c.Policy.Detection)
	for n := range c.Snapshot.Instances {
		i := &c.Snapshot.Instances[n]
		if (i.Reach == topology.Unclear || i.Reach == topology.Partial) && !waited[i.Addr] && !seenByAll(i, await) {
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

// askPause is how long a cluster whose primary is in doubt, or that is to be read again, waits until others are asked once
// more.
func (t *term) askPause() time.Duration {
	return min(askAgain, askEvery*time.Duration(max(t.doubting.Load()/doubtsAtOnce, t.storms())))
}

// inquiries bounds how many questions are asked in a second. It is safe for concurrent use.
type inquiries struct {
	mu    sync.Mutex
	since time.Time
	n     int
}

// more says that one more may be asked now.
func (q *inquiries) more(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.since) >= time.Second {
		q.since, q.n = now, 0
	}
	q.n++
	return q.n <= inquiriesAtOnce
}
