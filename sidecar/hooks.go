package sidecar

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

const (
	// detectAgain is how long a failure must not have been found before it is a new
	// one for the hooks on detection.
	detectAgain = time.Minute
	// recordPause is waited before a hook's result is committed once more.
	recordPause = time.Second
)

// launch begins what was decided. Where hooks come before it they run first, with
// nothing touched yet; then it is decided anew on what is true by then. What a
// hook stopped, or what is no longer called for, goes into the history.
func (d *decider) launch(ctx context.Context, c *failover.Case, dec failover.Decision) (failover.Decision, error) {
	point := failover.HooksBefore(dec.Intent.Kind)
	if len(c.Policy.Hooks.At(point)) == 0 {
		return dec, d.begin(ctx, c, dec, nil)
	}
	ctx, stop := d.untilTermEnds(ctx)
	defer stop()
	d.announce(fmt.Sprintf("%s; hooks %s run before it", dec.Sentence, point))
	results, err := d.before(ctx, c, point, dec.Intent)
	if err != nil {
		return dec, err
	}
	if n := len(results); n > 0 && stops(c, results[n-1]) && !dec.Intent.Forced {
		r := failover.Refusal{
			Rule: "hook", Subject: dec.Intent.From, Sentence: hookFailed(results[n-1]), Overridable: true,
			Change: fmt.Sprintf("let it succeed, or set may_fail; its output is in `remora recoveries %s`", dec.Intent.ID),
		}
		return dec, d.decline(ctx, c, dec.Intent, results, r)
	}
	now, unread := d.readAll(ctx, c.Request)
	v := failover.Examine(&now)
	if v.Decision.Intent == nil {
		r := failover.Refusal{
			Rule: "hook", Subject: dec.Intent.From, Sentence: "after its hooks had run it was no longer called for: " + v.Decision.Sentence,
			Change: "nothing needs to change; ask again where it is still wanted",
		}
		return v.Decision, d.decline(ctx, &now, dec.Intent, results, r)
	}
	if unread != "" {
		return v.Decision, d.decline(ctx, &now, dec.Intent, results, notRead(unread))
	}
	return v.Decision, d.begin(ctx, &now, v.Decision, results)
}

// stops says that a recovery ends with the hook that said so.
func stops(c *failover.Case, r failover.HookResult) bool {
	return r.Error != "" && !c.Policy.Hooks.At(r.Hook)[r.Number-1].MayFail
}

// hookFailed says which hook failed, how, and its last words.
func hookFailed(r failover.HookResult) string {
	words := fmt.Sprintf("%s failed on %s: %s", r, r.Node, r.Error)
	if last := r.Output[strings.LastIndexByte(r.Output, '\n')+1:]; last != "" {
		words += fmt.Sprintf("; it said %q", last)
	}
	return words
}

// before runs the hooks of a point up to the first that stops the recovery. The
// error is only why they could not be run at all.
func (d *decider) before(ctx context.Context, c *failover.Case, p failover.HookPoint, in *failover.Intent) ([]failover.HookResult, error) {
	if err := d.ports.Consensus.Verify(ctx); err != nil {
		return nil, fmt.Errorf("%s: %s was decided, but this node may not lead any more: %w", d.cluster, in.Kind, err)
	}
	var results []failover.HookResult
	for i := range c.Policy.Hooks.At(p) {
		r := d.runHook(ctx, c, p, i, &failover.Recovery{Intent: *in})
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %s was interrupted because this node no longer leads, and nothing was touched", d.cluster, r)
		}
		results = append(results, r)
		if stops(c, r) && !in.Forced {
			break
		}
	}
	return results, nil
}

// untilTermEnds is a context that outlives who asked: what was begun on behalf of
// a client goes on when it hangs up, and hooks outlast its patience.
func (t *term) untilTermEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-t.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// runHook runs one hook, by its place among those of its point.
func (d *decider) runHook(ctx context.Context, c *failover.Case, p failover.HookPoint, place int, rec *failover.Recovery) failover.HookResult {
	hook := c.Policy.Hooks.At(p)[place]
	o := failover.OccasionOf(c, p, rec, d.cfg.Node)
	r := failover.HookResult{Hook: p, Number: place + 1, Command: o.Expand(hook.Command), Started: time.Now(), Node: d.cfg.Node}
	out := d.ports.Commands.Run(ctx, hooks.Command{
		Args: hooks.Shell(r.Command), Env: o.Environment(), Timeout: c.Policy.Hooks.Bound(hook),
	})
	r.Took, r.Exit, r.Output = topology.Duration(out.Took), out.Exit, out.Output
	if out.Err != nil {
		r.Error = out.Err.Error()
		d.log.Warn("a hook failed", "cluster", d.cluster, "hook", r.String(), "recovery", rec.Intent.ID, "took", r.Took, "error", r.Error, "output", r.Output)
		return r
	}
	d.log.Info("a hook was run", "cluster", d.cluster, "hook", r.String(), "recovery", rec.Intent.ID, "took", r.Took)
	return r
}

// decline puts a recovery that did not begin into the history; its error is the
// refusal.
func (d *decider) decline(ctx context.Context, c *failover.Case, in *failover.Intent, results []failover.HookResult, r failover.Refusal) error {
	cmd := ledger.Decline{Intent: *in, Error: r.Sentence, Hooks: results}
	switch {
	case again(c, in):
		cmd.Replaces = c.Stopped.Intent.ID
	case len(c.Policy.Hooks.OnFailure) > 0:
		cmd.Due = failover.OnFailure
	}
	_, err := d.commit(ctx, ledger.Command{Decline: &cmd})
	if err != nil {
		d.log.Warn("what a hook stopped could not be recorded", "cluster", d.cluster, "recovery", in.ID, "error", err)
		pause(ctx, recordPause) // nothing else keeps the hooks from being run again at once
	}
	sentence := fmt.Sprintf("%s: %s from %s stopped: %s", d.cluster, in.Kind, in.From, r)
	d.announce(sentence)
	return &api.RefusedError{Sentence: sentence, Refusals: []failover.Refusal{r}}
}

// again says that this was one more try of an automatic recovery that a hook goes
// on stopping: people hear of it once, not at every try.
func again(c *failover.Case, in *failover.Intent) bool {
	last := c.Stopped
	return in.By == "" && last != nil && last.Intent.From == in.From &&
		c.Snapshot.Taken.Sub(last.Ended) < c.Policy.Hooks.Retry.D()+detectAgain
}

// announce is the sentence of the cluster until the next cycle has its own.
func (d *decider) announce(sentence string) {
	d.mu.Lock()
	d.verdict.Decision.Sentence = sentence
	d.mu.Unlock()
	d.say(sentence)
}

// due is the point whose hooks are to be run when a recovery has ended so.
func (d *decider) due(c *failover.Case, o failover.Outcome) failover.HookPoint {
	p := failover.HooksAfter(c.Intent.Kind, o)
	if len(c.Policy.Hooks.At(p)) == 0 {
		return ""
	}
	return p
}

// startDue runs, beside everything else, the hooks that are due for recoveries
// that have ended, of this leader or of one before.
func (d *decider) startDue(ctx context.Context, c *failover.Case) {
	for _, rec := range d.ports.Consensus.State().Clusters[d.cluster].Recoveries {
		if rec.Due == "" || !d.hooksBusy.CompareAndSwap(false, true) {
			continue
		}
		d.background.Go(func() {
			defer d.hooksBusy.Store(false)
			d.after(ctx, c, &rec)
		})
		return
	}
}

// after runs the hooks that are due for a recovery. Each result is committed
// before the next hook, so that another leader goes on where this one ended; the
// hook that was running then is run once more.
func (d *decider) after(ctx context.Context, c *failover.Case, rec *failover.Recovery) {
	list := c.Policy.Hooks.At(rec.Due)
	next := 0
	for _, r := range rec.Hooks {
		if r.Hook == rec.Due {
			next = max(next, r.Number)
		}
	}
	if next >= len(list) { // the policy has fewer hooks than it had
		d.recordHook(ctx, &ledger.RecordHook{Cluster: d.cluster, RecoveryID: rec.Intent.ID, Done: true})
		return
	}
	for i := next; i < len(list); i++ {
		if err := d.ports.Consensus.Verify(ctx); err != nil {
			pause(ctx, recordPause)
			return
		}
		r := d.runHook(ctx, c, rec.Due, i, rec)
		if !d.recordHook(ctx, &ledger.RecordHook{Cluster: d.cluster, RecoveryID: rec.Intent.ID, Result: &r, Done: i == len(list)-1}) {
			return
		}
	}
}

// recordHook commits a result until that succeeds, is refused, or ctx ends. When
// ctx has ended already nothing is: the hook was interrupted, and the next leader
// runs it again.
func (d *decider) recordHook(ctx context.Context, r *ledger.RecordHook) bool {
	for ctx.Err() == nil {
		_, err := d.commit(ctx, ledger.Command{RecordHook: r})
		if err == nil {
			return true
		}
		d.log.Warn("a hook's result could not be recorded", "cluster", d.cluster, "recovery", r.RecoveryID, "error", err)
		if errors.Is(err, ledger.ErrRefused) {
			return false
		}
		pause(ctx, recordPause)
	}
	return false
}

// told is what hooks on detection said and no recovery has yet.
type told struct {
	since   time.Time // of the detection
	results []failover.HookResult
}

// detect runs the hooks on detection beside everything else, once for a failure
// that calls for a recovery: however many cycles find it, and by whatever name.
func (d *decider) detect(ctx context.Context, c *failover.Case, findings []failover.Finding) {
	if len(c.Policy.Hooks.OnDetection) == 0 {
		return
	}
	now := time.Now()
	for _, x := range findings {
		if x.Recovery == "" {
			continue
		}
		last, seen := d.detected[x.Instance]
		d.detected[x.Instance] = now
		if seen && now.Sub(last) < detectAgain {
			continue
		}
		rec := failover.Detected(c, x)
		d.mu.Lock()
		d.told[x.Instance] = told{since: rec.Intent.At}
		d.mu.Unlock()
		d.background.Go(func() { d.detection(ctx, c, &rec) })
	}
}

func (d *decider) detection(ctx context.Context, c *failover.Case, rec *failover.Recovery) {
	if err := d.ports.Consensus.Verify(ctx); err != nil {
		return // the next leader detects it itself
	}
	for i := range c.Policy.Hooks.OnDetection {
		r := d.runHook(ctx, c, failover.OnDetection, i, rec)
		d.mu.Lock()
		t := d.told[rec.Intent.From]
		t.results = append(t.results, r)
		d.told[rec.Intent.From] = t
		d.mu.Unlock()
	}
}

// handOver records what hooks on detection said in the recovery that the failure
// led to; as long as there is none they wait for it.
func (d *decider) handOver(ctx context.Context) {
	cl := d.ports.Consensus.State().Clusters[d.cluster]
	d.mu.Lock()
	defer d.mu.Unlock()
	for from, t := range d.told {
		id := ledTo(cl, from, t.since)
		if id == "" || len(t.results) == 0 {
			continue
		}
		d.told[from] = told{since: t.since}
		d.background.Go(func() {
			for _, r := range t.results {
				d.recordHook(ctx, &ledger.RecordHook{Cluster: d.cluster, RecoveryID: id, Result: &r})
			}
		})
	}
}

// ledTo is the id of the newest recovery from a primary that was decided since.
func ledTo(cl ledger.Cluster, from topology.Addr, since time.Time) string {
	if cl.Intent != nil && cl.Intent.From == from {
		return cl.Intent.ID
	}
	for i := len(cl.Recoveries) - 1; i >= 0; i-- {
		if in := &cl.Recoveries[i].Intent; in.From == from && !in.At.Before(since) {
			return in.ID
		}
	}
	return ""
}
