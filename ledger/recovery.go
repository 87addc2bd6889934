package ledger

import (
	"slices"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func (b *Begin) apply(s *State, e entry) Result {
	in := b.Intent
	asked := "the " + string(in.Kind) + " " + in.ID
	c, no := s.cluster(in.Cluster, asked)
	switch {
	case no.Refused != "":
		return no
	case in.ID == "":
		return refuse(RuleCommand, "an intent without an id is refused")
	case in.Regroups() && in.Kind != failover.KindSwitchover:
		return refuse(RuleCommand, "intent %s is refused: a %s does not regroup, it closes the proxies at once", in.ID, in.Kind)
	case in.Kind != failover.KindFailover && in.Kind != failover.KindSwitchover:
		return refuse(RuleCommand, "intent %s is refused: its kind is %q, it must be %s or %s", in.ID, in.Kind, failover.KindFailover, failover.KindSwitchover)
	case c.Intent != nil && c.Intent.ID == in.ID:
		return Result{Epoch: c.Intent.Epoch} // begun before
	case c.Intent != nil:
		return refuse(RuleIntentOpen, "%s of cluster %s is refused: %s %s from %s to %s is open since %s", asked, c.Name, c.Intent.Kind, c.Intent.ID, c.Intent.From, c.Intent.To, stamp(c.Intent.At))
	}
	if old := c.ended(in.ID); old != nil {
		return refuse(RuleDone, "%s of cluster %s is refused: it ended at %s: %s, primary %s", asked, c.Name, stamp(old.Ended), old.Outcome, old.To)
	}
	if no := b.checkRoute(asked, c); no.Refused != "" {
		return no
	}
	in.Epoch = e.epoch
	if in.At.IsZero() {
		in.At = e.at
	}
	c.open(in, &failover.Recovery{Outcome: failover.InProgress, Hooks: keepHooks(nil, b.Hooks...)})
	s.Clusters[c.Name] = c
	return Result{Epoch: e.epoch}
}

// checkRoute refuses an intent that does not fit the committed route.
func (b *Begin) checkRoute(asked string, c Cluster) Result {
	in := b.Intent
	switch {
	case c.Route.Epoch == 0 || c.Route.Writer == "":
		return refuse(RuleNotTheWriter, "%s of cluster %s is refused: no writer is routed yet", asked, c.Name)
	case b.Expect != c.Route.Epoch:
		return stale(asked, c, b.Expect)
	case in.From != c.Route.Writer:
		return refuse(RuleNotTheWriter, "%s of cluster %s is refused: it would replace %s, and the writer is %s at epoch %d", asked, c.Name, orNone(in.From), c.Route.Writer, c.Route.Epoch)
	default:
		return c.checkTarget(asked, in.From, in.To)
	}
}

func (c Cluster) checkTarget(asked string, from, to topology.Addr) Result {
	switch {
	case to == from:
		return refuse(RuleCommand, "%s of cluster %s is refused: %s is the writer already", asked, c.Name, to)
	case !c.knows(to):
		return refuse(RuleUnknown, "%s of cluster %s is refused: its target %s is not known; known are %s", asked, c.Name, orNone(to), topology.JoinAddrs(c.Known))
	}
	return Result{}
}

func (r *Retarget) apply(s *State, _ entry) Result {
	asked := "retargeting " + r.IntentID
	c, no := s.open(r.Cluster, r.IntentID, asked)
	switch {
	case no.Refused != "":
		return no
	case c.Routed():
		return refuse(RuleRouted, "%s of cluster %s to %s is refused: the route to %s is committed at epoch %d", asked, c.Name, orNone(r.To), c.Route.Writer, c.Route.Epoch)
	}
	if no := c.checkTarget(asked, c.Intent.From, r.To); no.Refused != "" {
		return no
	}
	in, rec := *c.Intent, *c.Recovery
	in.To = r.To
	c.open(in, &rec)
	s.Clusters[c.Name] = c
	return Result{Epoch: in.Epoch}
}

func (a *Anchor) apply(s *State, _ entry) Result {
	asked := "the anchor of " + a.IntentID
	c, no := s.open(a.Cluster, a.IntentID, asked)
	switch {
	case no.Refused != "":
		return no
	case c.Routed():
		return refuse(RuleRouted, "%s of cluster %s is refused: the route to %s is committed at epoch %d", asked, c.Name, c.Route.Writer, c.Route.Epoch)
	case a.Anchor.Target != c.Intent.To || a.Anchor.Source.IsZero() || a.Anchor.At.IsZero():
		return refuse(RuleCommand, "%s of cluster %s is refused: it is at %s of %s, from %s; %s is to become the writer", asked, c.Name, a.Anchor.At, orNone(a.Anchor.Target), a.Anchor.Source, c.Intent.To)
	}
	in, rec, anchor := *c.Intent, *c.Recovery, a.Anchor
	in.Anchor = &anchor
	c.open(in, &rec)
	s.Clusters[c.Name] = c
	return Result{Epoch: in.Epoch}
}

func (p *Pause) apply(s *State, e entry) Result {
	c, no := s.open(p.Cluster, p.IntentID, "pausing for "+p.IntentID)
	switch {
	case no.Refused != "":
		return no
	case !c.Intent.Regroups():
		return Result{Epoch: c.Intent.Epoch} // paused before
	}
	in, rec := *c.Intent, *c.Recovery
	in.Regroup, in.Epoch = nil, e.epoch
	c.open(in, &rec)
	s.Clusters[c.Name] = c
	return Result{Epoch: in.Epoch}
}

func (a *Abort) apply(s *State, e entry) Result {
	asked := "aborting " + a.IntentID
	c, no := s.open(a.Cluster, a.IntentID, asked)
	switch {
	case no.Refused != "":
		return no
	case c.Intent.Kind != failover.KindSwitchover:
		return refuse(RuleCommand, "%s of cluster %s is refused: a %s cannot be rolled back", asked, c.Name, c.Intent.Kind)
	case c.Routed():
		return refuse(RuleRouted, "%s of cluster %s is refused: the route to %s is committed at epoch %d", asked, c.Name, c.Route.Writer, c.Route.Epoch)
	}
	in, rec := *c.Intent, *c.Recovery
	if in.Deadline.IsZero() || e.at.Before(in.Deadline) {
		in.Deadline = e.at
	}
	if rec.Error == "" {
		rec.Error = a.Reason
	}
	c.open(in, &rec)
	s.Clusters[c.Name] = c
	return Result{Epoch: in.Epoch}
}

func (r *CommitRoute) apply(s *State, e entry) Result {
	const asked = "committing the route"
	c, no := s.open(r.Cluster, r.IntentID, asked)
	switch {
	case no.Refused != "":
		return no
	case r.Writer != c.Intent.To:
		return refuse(RuleNotTheWriter, "%s of cluster %s with writer %s is refused: %s %s is to make %s the writer", asked, c.Name, orNone(r.Writer), c.Intent.Kind, c.Intent.ID, c.Intent.To)
	case c.Intent.Regroups():
		return refuse(RuleRouted, "%s of cluster %s with writer %s is refused: the proxies may still send writes to %s", asked, c.Name, r.Writer, c.Intent.From)
	}
	readers, no := c.assign(asked, r.Writer, r.Readers)
	if no.Refused != "" {
		return no
	}
	if c.Routed() && slices.Equal(readers, c.Route.Readers) {
		return Result{Epoch: c.Route.Epoch} // committed before, by a leader that did not live to know
	}
	rec := *c.Recovery
	if !c.Routed() {
		rec.Routed = latest(e.at, rec.Intent.At)
	}
	rec.Steps = keepNewest(KeptSteps, rec.Steps, r.Steps...)
	c.Recovery = &rec
	c.Route = topology.Route{Cluster: c.Name, Epoch: e.epoch, Writer: r.Writer, Mode: topology.Open, Readers: readers, At: e.at}
	s.Clusters[c.Name] = c
	return Result{Epoch: e.epoch}
}

func (d *Conclude) apply(s *State, e entry) Result {
	if c := s.Clusters[d.Cluster]; c.Intent == nil || c.Intent.ID != d.IntentID {
		if old := c.ended(d.IntentID); old != nil && old.Outcome == d.Outcome {
			return Result{Epoch: c.Route.Epoch} // concluded before
		}
	}
	c, no := s.open(d.Cluster, d.IntentID, "concluding "+d.IntentID)
	if no.Refused != "" {
		return no
	}
	if no := d.check(c); no.Refused != "" {
		return no
	}
	rec := *c.Recovery
	if d.Outcome == failover.RolledBack {
		c.Route.Epoch, c.Route.Mode, c.Route.At = e.epoch, topology.Open, e.at
	}
	rec.Outcome, rec.To = d.Outcome, c.Route.Writer
	rec.Ended = latest(e.at, rec.Intent.At, rec.Routed)
	rec.Steps = keepNewest(KeptSteps, rec.Steps, d.Steps...)
	rec.Lost, rec.Left, rec.Due = d.Lost, d.Left, d.Due
	rec.Intent.Regroup = nil // it has ended, however it did
	if d.Error != "" {
		rec.Error = d.Error // else an abort's reason stays
	}
	c.Intent, c.Recovery = nil, nil
	c.Recoveries = keepNewest(KeptRecoveries, c.Recoveries, rec)
	s.Clusters[c.Name] = c
	return Result{Epoch: c.Route.Epoch}
}

// check refuses an outcome that the route does not bear out.
func (d *Conclude) check(c Cluster) Result {
	asked := "concluding " + d.IntentID + " of cluster " + c.Name + " as " + string(d.Outcome)
	primary := c.Intent.To
	switch d.Outcome {
	case failover.Succeeded:
		if !c.Routed() || c.Route.Writer != primary {
			return refuse(RuleRouted, "%s is refused: the route to %s is not committed, the writer is %s at epoch %d", asked, primary, c.Route.Writer, c.Route.Epoch)
		}
	case failover.RolledBack:
		primary = c.Intent.From
		if c.Routed() {
			return refuse(RuleRouted, "%s is refused: the route to %s is committed at epoch %d", asked, c.Route.Writer, c.Route.Epoch)
		}
	default:
		return refuse(RuleCommand, "%s is refused: an intent ends as %s or %s", asked, failover.Succeeded, failover.RolledBack)
	}
	if d.To != "" && d.To != primary {
		return refuse(RuleNotTheWriter, "%s with primary %s is refused: the primary is %s then", asked, d.To, primary)
	}
	return Result{}
}

func (a *Acknowledge) apply(s *State, e entry) Result {
	const asked = "acknowledging"
	c, no := s.cluster(a.Cluster, asked)
	if no.Refused != "" {
		return no
	}
	ack := a.Ack
	if ack.At.IsZero() {
		ack.At = e.at
	}
	if a.RecoveryID != "" {
		if no := a.checkOne(c); no.Refused != "" {
			return no
		}
	}
	recoveries := slices.Clone(c.Recoveries)
	marked := false
	for i := range recoveries {
		if recoveries[i].Acknowledged == nil && (a.RecoveryID == "" || a.RecoveryID == recoveries[i].Intent.ID) {
			recoveries[i].Acknowledged, marked = &ack, true
		}
	}
	if !marked {
		return refuse(RuleDone, "%s is refused: cluster %s has no ended recovery that is not acknowledged", asked, c.Name)
	}
	c.Recoveries = recoveries
	s.Clusters[c.Name] = c
	return Result{}
}

func (a *Acknowledge) checkOne(c Cluster) Result {
	old := c.ended(a.RecoveryID)
	switch {
	case old == nil && c.Intent != nil && c.Intent.ID == a.RecoveryID:
		return refuse(RuleIntentOpen, "acknowledging %s is refused: it is still open", a.RecoveryID)
	case old == nil:
		return refuse(RuleUnknown, "acknowledging %s is refused: cluster %s has no such recovery", a.RecoveryID, c.Name)
	case old.Acknowledged != nil:
		return refuse(RuleDone, "acknowledging %s is refused: %q has done so at %s", a.RecoveryID, old.Acknowledged.By, stamp(old.Acknowledged.At))
	}
	return Result{}
}

// open makes an intent the open one; its recovery mirrors it.
func (c *Cluster) open(in failover.Intent, rec *failover.Recovery) {
	rec.Intent, rec.To = in, in.To
	c.Intent, c.Recovery = &in, rec
}

// open finds a cluster by its open intent.
func (s *State) open(cluster, intent, asked string) (Cluster, Result) {
	c, no := s.cluster(cluster, asked)
	switch {
	case no.Refused != "":
		return c, no
	case c.Intent == nil:
		return c, refuse(RuleIntentClosed, "%s of cluster %s is refused: intent %q is not open, none is; the writer is %s at epoch %d", asked, c.Name, intent, orNone(c.Route.Writer), c.Route.Epoch)
	case c.Intent.ID != intent:
		return c, refuse(RuleIntentClosed, "%s of cluster %s is refused: intent %q is not open, %s %s is", asked, c.Name, intent, c.Intent.Kind, c.Intent.ID)
	}
	return c, Result{}
}

// ended finds a recovery in the history, nil when it is not there.
func (c Cluster) ended(id string) *failover.Recovery {
	for i := range c.Recoveries {
		if c.Recoveries[i].Intent.ID == id {
			return &c.Recoveries[i]
		}
	}
	return nil
}

// latest of some instants: leaders' clocks differ, yet nothing ends before it began.
func latest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}
