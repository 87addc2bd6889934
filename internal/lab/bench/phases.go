package bench

import (
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
)

// phase is a part of an outage, by when it ended.
type phase struct {
	name string
	end  time.Time
}

// phasesOf divides what clients saw, an outage or a pause, by the recovery's own record. All is on one machine, so it is one
// clock. Phases follow each other: where the record has two at the same time the later one counts only from the end of the
// one before.
//
//   - detect: until the decision is made
//   - commit: until the intent is committed and the first step begins, after the regrouping of a switchover
//   - fence: until no proxy sends writes to the old primary, or it can commit none
//   - close: until the old primary is read-only (a switchover)
//   - choose: until the next act, with the servers read again, and another target committed where there is one
//   - drain: until the target has applied all that it is to have, and has the replicas that it needs
//   - promote: until it takes writes
//   - route: until the new route is committed
//   - first write: until a client was acknowledged one
func phasesOf(rec failover.Recovery, seen lab.Interval) []phase {
	var first, paused, fenced, closed, prepared, promoting, promoted, routed time.Time
	for _, s := range rec.Steps {
		if s.Step.Do == failover.Pause {
			paused = s.Started.Add(s.Took.D())
		}
	}
	for _, s := range rec.Steps {
		end := s.Started.Add(s.Took.D())
		if s.Started.Before(paused) {
			continue // clients noticed nothing of it
		}
		first = earliest(first, s.Started)
		switch s.Step.Do {
		case failover.Promote:
			promoting, promoted = earliest(promoting, s.Started), latest(promoted, end)
		case failover.CommitRoute:
			routed = latest(routed, end)
		}
	}
	for _, s := range rec.Steps {
		end := s.Started.Add(s.Took.D())
		if s.Started.Before(paused) || !promoting.IsZero() && !s.Started.Before(promoting) {
			continue
		}
		switch s.Step.Do {
		case failover.CloseProxies, failover.StopReceiving:
			fenced = latest(fenced, end)
		case failover.SetReadOnly:
			closed = latest(closed, end)
		case failover.CatchUp, failover.Drain, failover.Repoint:
			prepared = earliest(prepared, s.Started)
		}
	}
	return clip([]phase{
		{"detect", rec.Intent.At}, {"commit", first}, {"fence", fenced}, {"close", closed}, {"choose", earliest(prepared, promoting)},
		{"drain", promoting}, {"promote", promoted}, {"route", routed}, {"first write", seen.To},
	}, seen)
}

// clip keeps phases in order and within what was seen.
func clip(phases []phase, seen lab.Interval) []phase {
	last := seen.From
	for i, p := range phases {
		if p.end.After(seen.To) {
			p.end = seen.To
		}
		phases[i].end = latest(last, p.end)
		last = phases[i].end
	}
	return phases
}

// addPhases keeps a record and notes how long each phase was.
func (r *Result) addPhases(rec failover.Recovery, seen lab.Interval) {
	r.Recoveries = append(r.Recoveries, rec)
	from := seen.From
	for _, p := range phasesOf(rec, seen) {
		add(&r.Phases, p.name, "ms", ms(p.end.Sub(from)))
		from = p.end
	}
}

// earliest is the first of two instants, of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
