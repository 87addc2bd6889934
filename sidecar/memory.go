package sidecar

import (
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// memory is what a leader remembers of a cluster from cycle to cycle: since when
// it has found what, and what it did about it. It is gone with the term: the next
// leader begins to count anew. The lists are replaced, never changed, for cases hold
// them.
type memory struct {
	noticed []failover.Noticed
	tries   []failover.Try
	rejoins []failover.Rejoining
	watch   failover.Watch
	seen    failover.Seen
	intent  uint64 // the epoch of the intent that seen is of
	route   uint64 // that of the route
}

// remembering gives a case the leader's memory.
func (d *decider) remembering(c failover.Case) failover.Case {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.Noticed, c.Tries, c.Rejoins, c.Watch = d.memory.noticed, d.memory.tries, d.memory.rejoins, d.memory.watch
	d.memory.see(&c, time.Now())
	c.Unsettled = d.unsettled(&c)
	return c
}

// see tells a case when this leader first saw its intent and its route. It is asked
// after they were read from the ledger, so that what was read of servers since was
// read after their commit. A case that is older than another one is told nothing.
func (m *memory) see(c *failover.Case, now time.Time) {
	if in := c.Intent; in != nil {
		if in.Epoch > m.intent {
			m.intent, m.seen.Intent = in.Epoch, now
		}
		if in.Epoch == m.intent {
			c.Seen.Intent = m.seen.Intent
		}
	}
	if epoch := c.Snapshot.Route.Epoch; epoch > m.route {
		m.route, m.seen.Route = epoch, now
	}
	if c.Snapshot.Route.Epoch == m.route {
		c.Seen.Route = m.seen.Route
	}
}

// look keeps when the routed writer was last seen to take writes, and forgets the
// attempts at servers that have restarted since: what ails them now is something
// else, and a server that came back five times is not one that was mended in vain.
func (m *memory) look(s *topology.Snapshot) {
	m.tries = slices.DeleteFunc(slices.Clone(m.tries), func(t failover.Try) bool {
		i := s.Instance(t.At)
		// Servers tell their uptime in whole seconds.
		return i.Fresh() && i.ReadAt.Add(-i.State.Uptime.D()-time.Second).After(t.Last)
	})
	if w := s.Instance(s.Route.Writer); w.Fresh() && w.State.Writable() {
		m.watch.Writer, m.watch.Open = w.Addr, w.ReadAt
	}
}

// notice takes over the findings of a cycle. It says which are new and which are
// gone.
func (m *memory) notice(found []failover.Finding, taken time.Time) (appeared []failover.Finding, gone []failover.Noticed) {
	now := make([]failover.Noticed, 0, len(found))
	for _, f := range found {
		n := failover.Noticed{Code: f.Code, Instance: f.Instance, Since: taken}
		if f.Instance == "" {
			n.Gist = gist(f.Sentence)
		}
		if seen(now, n) != nil {
			continue
		}
		if old := seen(m.noticed, n); old != nil {
			n = *old
		} else {
			appeared = append(appeared, f)
		}
		now = append(now, n)
	}
	for _, n := range m.noticed {
		if seen(now, n) == nil {
			gone = append(gone, n)
		}
	}
	m.noticed = now
	return appeared, gone
}

func seen(list []failover.Noticed, n failover.Noticed) *failover.Noticed {
	for i := range list {
		if list[i].Code == n.Code && list[i].Instance == n.Instance && list[i].Gist == n.Gist {
			return &list[i]
		}
	}
	return nil
}

// tried counts an attempt at a repair, and says which it is within the policy's
// window. What is older than that is forgotten.
func (m *memory) tried(step failover.Step, res failover.StepResult, policy failover.Repair) int {
	t := failover.Try{Step: step.String(), At: step.Target, First: res.Started}
	var kept []failover.Try
	for _, old := range m.tries {
		switch {
		case res.Started.Sub(old.First) >= policy.Window.D():
		case old.Step == t.Step:
			t = old
		default:
			kept = append(kept, old)
		}
	}
	t.Count++
	// The wait for the next begins when this one has ended.
	t.Last, t.Error = res.Started.Add(res.Took.D()), res.Error
	m.tries = append(kept, t)
	return t.Count
}

// rejoin notes what is being done to bring an instance back, in place of what was
// said of it before. Since when stays while it is under way.
func (m *memory) rejoin(r failover.Rejoining) {
	kept := make([]failover.Rejoining, 0, len(m.rejoins)+1)
	for _, old := range m.rejoins {
		switch {
		case old.Instance != r.Instance:
			kept = append(kept, old)
		case old.Error == "":
			r.Since = old.Since
		}
	}
	m.rejoins = append(kept, r)
}

// rejoined ends what is under way; a failure is remembered.
func (m *memory) rejoined(a topology.Addr, failure string, now time.Time) {
	kept := make([]failover.Rejoining, 0, len(m.rejoins))
	for _, r := range m.rejoins {
		if r.Instance == a {
			if failure == "" {
				continue
			}
			r.Error, r.Since = failure, now
		}
		kept = append(kept, r)
	}
	m.rejoins = kept
}
