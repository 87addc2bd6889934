package sidecar

import (
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// start is that a server begins to receive; source is empty where it is the one that it
// had before.
type start struct{ at, source topology.Addr }

// startOf is what a step may start, be it only what it has stopped itself; false when
// nothing.
func startOf(step failover.Step) (start, bool) {
	switch {
	case step.Do == failover.StartReplica, step.Do == failover.Repoint && step.At.IsZero():
		return start{step.Target, step.Source}, true
	case step.Do == failover.SetSemiSync, step.Do == failover.Repoint, step.Do == failover.Discard:
		return start{at: step.Target}, true
	default:
		return start{}, false
	}
}

// end notes that nothing more is sent for a step; what is read of its server from now
// on shows what came of it.
func (d *decider) end(step failover.Step) {
	if s, ok := startOf(step); ok {
		d.mu.Lock()
		d.ended[s] = time.Now()
		d.mu.Unlock()
	}
}

// unsettled are the servers that may yet be started to receive from the open intent's
// From, or might until just now: by a repair that was broken off, by what an earlier
// recovery had begun, by a statement that was given up. It is asked when the servers'
// views are gathered already, so that nothing ends between the two unseen; d.mu is held.
func (d *decider) unsettled(c *failover.Case) (list []failover.Unsettled) {
	if c.Intent == nil {
		return nil
	}
	for _, i := range c.Snapshot.Instances {
		of := func(s start) bool {
			return s.at == i.Addr && (s.source == "" || c.Snapshot.Resolve(s.source) == c.Intent.From)
		}
		until, over := d.ports.Servers[d.cluster].Settled(i.Addr)
		for _, step := range d.underWay(i.Addr) {
			if s, ok := startOf(step); ok && of(s) {
				over = false
			}
		}
		for s, at := range d.ended {
			if of(s) && at.After(until) {
				until = at
			}
		}
		switch {
		case !over:
			list = append(list, failover.Unsettled{Instance: i.Addr})
		case until.After(c.Seen.Intent): // before that no reading counts anyway
			list = append(list, failover.Unsettled{Instance: i.Addr, Until: until})
		}
	}
	return list
}

// underWay are the repairs and the optional steps on a server; d.mu is held.
func (d *decider) underWay(a topology.Addr) (steps []failover.Step) {
	for _, m := range d.mending {
		if m.step.Target == a {
			steps = append(steps, m.step)
		}
	}
	if step, ok := d.inFlight[a]; ok {
		steps = append(steps, step)
	}
	return steps
}
