package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// Result is what one scenario cost, as its clients saw it.
type Result struct {
	Scenario string
	// Paused is the longest time that one client waited between two of its acknowledged writes.
	Paused lab.Interval
	// Struck is when the blow began; zero for a planned change.
	Struck time.Time
	// Landed is when the blow was done, such as when a killed process had ended; zero for a planned change.
	Landed time.Time
	// Back is how long after the blow the first write that was sent after it was acknowledged; 0 for a planned change.
	Back     time.Duration
	Failures []lab.Failure // errors that clients saw
	Acked    int           // writes acknowledged during the scenario
	From, To *lab.Server
	Recovery failover.Recovery

	began time.Time // of the window that was looked at
}

// Pause is how long Paused was.
func (r Result) Pause() time.Duration { return r.Paused.Duration() }

// Through is the same scenario as other clients saw it, such as those of
// HAProxy, once each of them writes again.
func (r Result) Through(ctx context.Context, other *lab.Load) (Result, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !r.Struck.IsZero() {
		back, err := other.First(bounded, r.Landed)
		if err != nil {
			return r, err
		}
		r.Back = back.Sub(r.Struck)
	}
	if _, err := other.Back(bounded, time.Now()); err != nil {
		return r, err
	}
	w := other.Window(r.began, time.Now())
	r.Paused, r.Failures, r.Acked = w.Longest, w.Failures, w.Acked
	return r, nil
}

func (r Result) String() string {
	return fmt.Sprintf("%s %s → %s: longest pause %s, back after %s, %d client errors, %d writes acknowledged",
		r.Scenario, r.From.Name, r.To.Name, r.Pause().Round(time.Millisecond), r.Back.Round(time.Millisecond), len(r.Failures), r.Acked)
}

// Planned begins a scenario in which nothing is struck; Through ends it.
func Planned(name string, from, to *lab.Server) Result {
	return Result{Scenario: name, From: from, To: to, began: time.Now()}
}

// margin is how long clients write undisturbed around what is measured.
const margin = 300 * time.Millisecond

// Switchover asks node i for a planned change to `to` (empty: Remora's choice)
// and waits until the fleet is well again.
func (f *Fleet) Switchover(ctx context.Context, load *lab.Load, i int, to string) (Result, error) {
	from, err := f.Primary(ctx)
	if err != nil {
		return Result{}, err
	}
	r := Result{Scenario: "switchover", From: from}
	began := time.Now().Add(-margin)
	id, err := f.AskSwitchover(ctx, i, to, 0)
	if err != nil {
		return r, err
	}
	if r.Recovery, err = f.ended(ctx, id); err != nil {
		return r, err
	}
	if r.Recovery.Outcome != failover.Succeeded {
		return r, fmt.Errorf("switchover %s %s: %s", id, r.Recovery.Outcome, r.Recovery.Error)
	}
	return f.finish(ctx, load, r, began)
}

// AskSwitchover asks node i for a planned change to `to` (empty: Remora's choice)
// within a time (0: the policy's); it gives the recovery's id, also where the
// answer is an error.
func (f *Fleet) AskSwitchover(ctx context.Context, i int, to string, within time.Duration) (id string, err error) {
	id = rand.Text()
	_, err = f.clients[i].Recover(ctx, Cluster, api.RecoveryRequest{Request: failover.Request{
		ID: id, Kind: failover.KindSwitchover, To: topology.Addr(to), By: "lab", Timeout: topology.Duration(within),
	}})
	if err != nil {
		return id, fmt.Errorf("switchover: %w", refusals(err))
	}
	return id, nil
}

// Discard takes back what a server alone has, and makes it a replica again.
func (f *Fleet) Discard(ctx context.Context, s *lab.Server) error {
	return f.rejoin(ctx, failover.RejoinRequest{Instance: topology.Addr(s.Addr), Discard: true})
}

// Clone makes a MySQL server anew from another one, and a replica again. It ends itself, and has to be started meanwhile.
func (f *Fleet) Clone(ctx context.Context, s *lab.Server) error {
	return f.rejoin(ctx, failover.RejoinRequest{Instance: topology.Addr(s.Addr), Clone: true})
}

func (f *Fleet) rejoin(ctx context.Context, r failover.RejoinRequest) error {
	leader, err := f.Leader(ctx)
	if err != nil {
		return err
	}
	_, err = f.clients[slices.Index(f.Sidecars, leader)].Rejoin(ctx, Cluster, api.RejoinRequest{RejoinRequest: r})
	if err != nil {
		return fmt.Errorf("bring %s back: %w", r.Instance, refusals(err))
	}
	return nil
}

func refusals(err error) error {
	var e *api.Error
	if errors.As(err, &e) {
		for _, r := range e.Refusals {
			err = fmt.Errorf("%w\n  %s", err, r)
		}
		for _, c := range e.Checks {
			if !c.OK {
				err = fmt.Errorf("%w\n  %s: %s", err, c.Name, c.Sentence)
			}
		}
	}
	return err
}

// Blow strikes the primary (and whatever else strike does) and waits until
// writes are back, without any help; then until the fleet is well and every
// client writes, with the help of mend where that is not nil. The struck server
// stays as it is left.
func (f *Fleet) Blow(ctx context.Context, load *lab.Load, name string, strike func(primary *lab.Server) error, mend func() error) (Result, error) {
	from, err := f.Primary(ctx)
	if err != nil {
		return Result{}, err
	}
	r := Result{Scenario: name, From: from}
	struck := time.Now()
	if err := strike(from); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	landed := time.Now() // what was sent before may have been faster than the blow
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	back, err := load.First(bounded, landed)
	if err != nil {
		return r, fmt.Errorf("%s of %s: %w\n%s", name, from.Name, err, f.logs())
	}
	r.Back, r.Struck, r.Landed = back.Sub(struck), struck, landed
	if mend != nil {
		if err := mend(); err != nil {
			return r, fmt.Errorf("mend after %s: %w", name, err)
		}
	}
	return f.finish(ctx, load, r, struck.Add(-margin))
}

func (f *Fleet) finish(ctx context.Context, load *lab.Load, r Result, began time.Time) (Result, error) {
	if err := f.Converged(ctx); err != nil {
		return r, err
	}
	var err error
	if r.To, err = f.Primary(ctx); err != nil {
		return r, err
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := load.Back(bounded, time.Now()); err != nil { // every writer wrote on the new primary
		return r, err
	}
	r.began = began
	w := load.Window(began, time.Now())
	r.Paused, r.Failures, r.Acked = w.Longest, w.Failures, w.Acked
	if r.Recovery.Intent.ID == "" {
		list, err := f.Recoveries(ctx)
		if err != nil || len(list) == 0 {
			return r, errors.Join(errors.New("no recovery is on record"), err)
		}
		r.Recovery = list[0]
	}
	return r, nil
}

// Return starts a server that was killed, or thaws one that was frozen, and
// waits until it replicates. What MySQL had written and no replica acknowledged it
// keeps, also after a crash: Remora then leaves it out, and here it is set up anew,
// as its operator would.
func (f *Fleet) Return(ctx context.Context, s *lab.Server) (time.Duration, error) {
	began := time.Now()
	if s.Frozen() {
		if err := s.Thaw(); err != nil {
			return 0, err
		}
	} else if err := s.Start(ctx); err != nil {
		return 0, err
	}
	if s.Flavor() == lab.MySQL {
		if err := f.renewDiverged(ctx, s); err != nil {
			return 0, fmt.Errorf("return of %s: %w", s.Name, err)
		}
	}
	if err := f.Converged(ctx); err != nil {
		return 0, fmt.Errorf("return of %s: %w", s.Name, err)
	}
	return time.Since(began), nil
}

// renewDiverged waits until a server replicates or was found to have diverged, and
// sets it up anew in that case.
func (f *Fleet) renewDiverged(ctx context.Context, s *lab.Server) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	diverged := false
	err := lab.Eventually(ctx, s.Name+" replicates, or is found to have diverged", 20*time.Millisecond, func() (bool, string) {
		status, err := f.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		c := cluster(status)
		diverged = slices.ContainsFunc(c.Findings, func(f failover.Finding) bool {
			return f.Code == "OldPrimaryDiverged" && string(f.Instance) == s.Addr
		})
		return diverged || f.unwell(status) == "", c.Sentence
	})
	if err != nil || !diverged {
		return err
	}
	return s.Renew(ctx)
}

// Recoveries are those on record, newest first.
func (f *Fleet) Recoveries(ctx context.Context) (list []failover.Recovery, err error) {
	for i, c := range f.clients {
		if f.Sidecars[i].Running() && !f.Sidecars[i].Frozen() {
			if list, err = c.Recoveries(ctx); err == nil {
				return list, nil
			}
		}
	}
	return nil, err
}

// ended waits until a recovery has ended.
func (f *Fleet) ended(ctx context.Context, id string) (rec failover.Recovery, err error) {
	err = lab.Eventually(ctx, "recovery "+id+" has ended", 5*time.Millisecond, func() (bool, string) {
		list, err := f.Recoveries(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, r := range list {
			if r.Intent.ID == id {
				rec = r
				return r.Outcome != failover.InProgress && r.Outcome != "", string(r.Outcome)
			}
		}
		return false, "unknown"
	})
	return rec, err
}

func (f *Fleet) logs() string {
	var all string
	for _, p := range f.Sidecars {
		all += p.LogTail(25) + "\n"
	}
	return all
}
