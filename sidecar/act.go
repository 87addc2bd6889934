package sidecar

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

const (
	// stepTimeout bounds a step whose plan names no bound.
	stepTimeout = 10 * time.Second
	// retryPause is waited after a stage that failed or only waited, so that a server
	// that refuses, or has nothing to wait for, is not flooded.
	retryPause = 200 * time.Millisecond
	// settleSteps is how long the end of a recovery waits for the optional steps
	// that are under way, so that its history has them.
	settleSteps = time.Second
)

// advance executes the first remaining stage of the open intent. The later ones
// are a forecast: after every stage the servers are read again and the question
// is asked anew. It says whether something was done.
func (d *decider) advance(ctx context.Context, c *failover.Case) bool {
	d.newRecovery(c.Intent.ID)
	d.breakOff() // also where the commit of the intent seemed to fail, and repairs began again
	stages := failover.Remaining(c)
	if len(stages) == 0 {
		return false
	}
	var now []failover.Step
	waiting := false
	for _, step := range stages[0] {
		switch {
		case step.Do == failover.CloseProxies:
			waiting = true
			d.awaitProxies(step)
		case step.Optional:
			d.start(ctx, step)
		default:
			now = append(now, step)
		}
	}
	if !waiting {
		d.proxiesClosed()
	}
	if len(now) == 0 {
		return false // proxies acknowledge, or optional steps end: both wake us
	}
	if !d.runStage(ctx, c, now) {
		d.giveUp(ctx, c)
	} else if !slices.ContainsFunc(now, failover.Step.OnlyWaits) {
		return true
	}
	pause(ctx, retryPause)
	return true
}

// runStage executes steps side by side; it says whether all succeeded.
func (d *decider) runStage(ctx context.Context, c *failover.Case, steps []failover.Step) bool {
	results := make([]failover.StepResult, len(steps))
	var running sync.WaitGroup
	for i, step := range steps {
		running.Go(func() {
			switch step.Do {
			case failover.Retarget, failover.Pause, failover.CommitRoute, failover.RollBack, failover.Conclude:
				results[i] = d.agree(ctx, c, step)
			default:
				results[i] = d.act(ctx, step, askedNext(c.Intent, step)...)
			}
		})
	}
	running.Wait()
	ok := true
	for _, res := range results {
		d.record(res)
		ok = ok && res.Error == ""
	}
	return ok
}

// askedNext are the instances besides a step's own of which the plan asks next what they
// have: when the old primary of a switchover is closed, the target mostly has all of it
// by then, and nothing need be waited for.
func askedNext(in *failover.Intent, step failover.Step) []topology.Addr {
	if step.Do == failover.SetReadOnly && in.Kind == failover.KindSwitchover && step.Target == in.From {
		return []topology.Addr{in.To}
	}
	return nil
}

// start runs an optional step beside everything else, one at a time on each server:
// one that is being stopped is not moved meanwhile.
func (d *decider) start(ctx context.Context, step failover.Step) {
	key := step.Target
	d.mu.Lock()
	_, busy := d.inFlight[key]
	if !busy {
		d.inFlight[key] = step
	}
	d.mu.Unlock()
	if busy {
		return
	}
	d.background.Go(func() {
		d.record(d.act(ctx, step))
		d.mu.Lock()
		delete(d.inFlight, key)
		d.mu.Unlock()
		d.evidence.changed.notify(d.cluster)
	})
}

// settle waits until no optional step is under way, or for settleSteps.
func (d *decider) settle(ctx context.Context) {
	ended, stop := d.evidence.changed.watch(d.cluster)
	defer stop()
	bounded, cancel := context.WithTimeout(ctx, settleSteps)
	defer cancel()
	for d.stepsInFlight() > 0 {
		select {
		case <-ended:
		case <-bounded.Done():
			return
		}
	}
}

func (d *decider) stepsInFlight() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.inFlight)
}

// act does one step of a recovery on a server, where no repair goes on any more.
func (d *decider) act(ctx context.Context, step failover.Step, also ...topology.Addr) failover.StepResult {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, bound(step))
	defer cancel()
	if err := d.alone(bounded, step.Target); err != nil {
		return failover.StepResult{
			Step: step, Started: began, Took: topology.Duration(time.Since(began)), Node: d.cfg.Node, Error: fmt.Sprintf("%s: %v", step, err),
		}
	}
	return d.execute(ctx, step, also...)
}

// bound is how long a step may take.
func bound(step failover.Step) time.Duration {
	if step.Wait > 0 {
		return step.Wait.D()
	}
	return stepTimeout
}

// execute does one step on a server, after a quorum round, and reads the server
// again, and others with it, so that the next plan sees what came of it.
func (d *decider) execute(ctx context.Context, step failover.Step, also ...topology.Addr) failover.StepResult {
	res := failover.StepResult{Step: step, Started: time.Now(), Node: d.cfg.Node}
	bounded, cancel := context.WithTimeout(ctx, bound(step))
	defer cancel()
	err := d.ports.Consensus.Verify(bounded)
	if err != nil {
		err = fmt.Errorf("%s: this node may not lead any more, so nothing was touched: %w", step, err)
	} else {
		err = d.perform(bounded, step)
	}
	if err != nil {
		res.Error = err.Error()
	}
	res.Took = topology.Duration(time.Since(res.Started))
	d.end(step)
	again, stop := context.WithTimeout(ctx, d.cfg.Clusters[d.cluster].Policy.Detection.Timeout.D())
	defer stop()
	d.observer.now(again, append([]topology.Addr{step.Target}, also...), false)
	return res
}

// perform does a step that may be done now.
func (d *decider) perform(ctx context.Context, step failover.Step) error {
	switch step.Do {
	case failover.SaveExtra:
		return d.rescue(ctx, step)
	case failover.Discard:
		return d.discard(ctx, step)
	case failover.Clone:
		return d.clone(ctx, step)
	case failover.Locate:
		return d.locate(ctx, step)
	default:
		return d.ports.Servers[d.cluster].Do(ctx, step)
	}
}

// locate finds where the target of the open recovery stands, and commits it: nothing
// else remembers it when the target has forgotten its source.
func (d *decider) locate(ctx context.Context, step failover.Step) error {
	locator := d.ports.Locators[d.cluster]
	if locator == nil {
		return fmt.Errorf("%s: positions in binary logs are not read here", step)
	}
	anchor, err := locator.Locate(ctx, step)
	if err != nil {
		return err
	}
	d.mu.Lock()
	id := d.stepsOf
	d.mu.Unlock()
	if _, err := d.commit(ctx, ledger.Command{Anchor: &ledger.Anchor{Cluster: d.cluster, IntentID: id, Anchor: anchor}}); err != nil {
		return fmt.Errorf("commit where %s stands: %w", step.Target, err)
	}
	d.log.Info("located", "cluster", d.cluster, "instance", string(anchor.Target), "executed", anchor.Source.String(), "stands", anchor.At.String(), "whole", anchor.Whole)
	return nil
}

// agree commits what a step of the plan wants committed.
func (d *decider) agree(ctx context.Context, c *failover.Case, step failover.Step) failover.StepResult {
	res := failover.StepResult{Step: step, Started: time.Now(), Node: d.cfg.Node}
	var cmd ledger.Command
	if step.Do == failover.Conclude {
		d.settle(ctx)
	}
	steps := d.takeSteps()
	switch step.Do {
	case failover.Retarget:
		cmd.Retarget = &ledger.Retarget{Cluster: d.cluster, IntentID: c.Intent.ID, To: step.Target}
	case failover.Pause:
		cmd.Pause = &ledger.Pause{Cluster: d.cluster, IntentID: c.Intent.ID}
	case failover.CommitRoute:
		cmd.CommitRoute = &ledger.CommitRoute{
			Cluster: d.cluster, IntentID: c.Intent.ID, Writer: step.Target, Readers: failover.RouteTo(c, step.Target).Readers, Steps: steps,
		}
	case failover.RollBack:
		cmd.Conclude = &ledger.Conclude{
			Cluster: d.cluster, IntentID: c.Intent.ID, Outcome: failover.RolledBack, To: step.Target, Steps: steps, Error: d.why(step),
			Left: failover.Left(c, step.Target), Due: d.due(c, failover.RolledBack),
		}
	case failover.Conclude:
		cmd.Conclude = &ledger.Conclude{
			Cluster: d.cluster, IntentID: c.Intent.ID, Outcome: failover.Succeeded, To: c.Intent.To, Steps: steps, Lost: failover.Lost(c),
			Left: failover.Left(c, c.Intent.To), Due: d.due(c, failover.Succeeded), Error: failover.CutShort(c),
		}
	}
	out, err := d.commit(ctx, cmd)
	res.Took = topology.Duration(time.Since(res.Started))
	if err != nil {
		res.Error = fmt.Sprintf("commit %s: %v", step, err)
		d.setSteps(steps)
		return res
	}
	if step.Do == failover.Retarget || step.Do == failover.Pause {
		d.setSteps(steps)
	}
	d.log.Info("committed", "cluster", d.cluster, "step", step.String(), "epoch", out.Epoch, "took", res.Took, "why", step.Why)
	return res
}

// why is the reason of a roll-back: the first failed step, else the plan's own.
func (d *decider) why(step failover.Step) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.firstError != "" {
		return d.firstError
	}
	return step.Why
}

// giveUp ends a switchover at its first failure: until the point of no return
// it costs nothing to put everything back, and writes wait meanwhile.
func (d *decider) giveUp(ctx context.Context, c *failover.Case) {
	routed := c.Snapshot.Route.Writer == c.Intent.To
	if c.Intent.Kind != failover.KindSwitchover || !c.Snapshot.Taken.Before(c.Intent.Deadline) || routed {
		return
	}
	_, err := d.commit(ctx, ledger.Command{Abort: &ledger.Abort{Cluster: d.cluster, IntentID: c.Intent.ID, Reason: d.why(failover.Step{})}})
	if err != nil {
		d.log.Warn("a switchover could not be aborted", "cluster", d.cluster, "error", err)
	}
}

// awaitProxies notes when waiting for the proxies began.
func (d *decider) awaitProxies(step failover.Step) {
	if d.closing.IsZero() {
		d.closing, d.closingStep = time.Now(), step
	}
}

// proxiesClosed records the wait once it is over.
func (d *decider) proxiesClosed() {
	if d.closing.IsZero() || d.closingStep.Do == "" {
		return
	}
	d.record(failover.StepResult{
		Step: d.closingStep, Started: d.closing, Node: d.cfg.Node, Took: topology.Duration(time.Since(d.closing)),
	})
	d.closingStep = failover.Step{}
}

// record keeps a step's result for the recovery's history and says it. A wait that
// goes on is one step, however often it was begun.
func (d *decider) record(res failover.StepResult) {
	d.mu.Lock()
	last := len(d.steps) - 1
	goesOn := last >= 0 && res.Step.OnlyWaits() && d.steps[last].Step.Why == res.Step.Why && d.steps[last].Step.String() == res.Step.String()
	if goesOn {
		d.steps[last].Took = topology.Duration(res.Started.Add(res.Took.D()).Sub(d.steps[last].Started))
		d.steps[last].Error = res.Error
	} else {
		d.steps = append(d.steps, res)
	}
	if res.Error != "" && !res.Step.Optional && d.firstError == "" {
		d.firstError = res.Error
	}
	d.mu.Unlock()
	if goesOn {
		return
	}
	if res.Error != "" {
		d.log.Warn("a step failed", "cluster", d.cluster, "step", res.Step.String(), "why", res.Step.Why, "took", res.Took, "error", res.Error)
		return
	}
	d.log.Info("step done", "cluster", d.cluster, "step", res.Step.String(), "took", res.Took, "why", res.Step.Why)
}

// newRecovery forgets the steps of the recovery before.
func (d *decider) newRecovery(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stepsOf != id {
		d.stepsOf, d.steps, d.firstError = id, nil, ""
		d.closing, d.closingStep = time.Time{}, failover.Step{}
	}
}

func (d *decider) setSteps(steps []failover.StepResult) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps = steps
}

// pendingSteps are the steps of an open recovery that are not committed yet.
func (d *decider) pendingSteps(id string) []failover.StepResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stepsOf != id {
		return nil
	}
	return slices.Clone(d.steps)
}

// lastVerdict is what the last cycle found.
func (d *decider) lastVerdict() failover.Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.verdict
}

func (d *decider) takeSteps() []failover.StepResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	steps := d.steps
	d.steps = nil
	return steps
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
