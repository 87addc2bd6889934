package proxysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/topology"
)

// kind is what is to be done next for a task.
type kind int

const (
	fencing kind = iota // close a writer hostgroup
	looking             // read the cluster, for an Apply or a Status
	ending              // end sessions, or see that they are gone
	writing             // execute the plan that came of the reading
	saving              // write the disk copy
)

// task is something that a caller waits for. All but what the caller gave belongs to the
// goroutine that does the rounds.
type task struct {
	subject
	ctx    context.Context
	what   string // for errors, "apply main at epoch 5"
	kind   kind
	route  topology.Route
	apply  bool // bring the proxy to the route; else only read
	hard   bool // of a fence
	stage  kind // in which it is
	alone  bool // not together with others: with them it was refused
	asked  time.Time
	status topology.Proxy // the answer
	n      int            // the answer: sessions ended
	err    error
	over   bool
	done   chan struct{} // closed when the answer is there

	// Of an Apply under way.
	state   *state
	plan    plan
	written int      // how often a plan of it was executed
	settled bool     // the route was read back
	drift   []string // what another hand had changed

	// Of sessions that are to be ended.
	addrs []topology.Addr // of the servers that they are attached to; "": any
	ended map[string]bool
	since time.Time // when that began; zero: it did not
}

func newTask(k kind, what string, x subject) *task {
	return &task{subject: x, what: what, kind: k, asked: time.Now(), done: make(chan struct{}), ended: map[string]bool{}}
}

// finish answers the caller.
func (t *task) finish(err error) {
	if !t.over {
		t.over, t.err = true, err
		close(t.done)
	}
}

// ask hands a task over and waits for its answer, or until ctx ends: then what is under
// way for it goes on as long as somebody else waits for the same statement, and no
// further one is begun. It returns false when there is no answer.
func (a *Admin) ask(ctx context.Context, t *task) bool {
	t.ctx = ctx
	a.mu.Lock()
	a.waiting = append(a.waiting, t)
	if !a.working {
		a.working = true
		a.worker.Go(a.work)
	}
	a.mu.Unlock()
	select {
	case a.arrived <- struct{}{}:
	default:
	}
	select {
	case <-t.done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-t.done: // both in one instant
		return true
	default:
		return false
	}
}

// left is the error of a caller that went away before there was an answer.
func (a *Admin) left(ctx context.Context, t *task) error {
	return fmt.Errorf("proxysql %s: %s: %w: %w", a.cfg.Addr, t.what, ErrUnreachable, context.Cause(ctx))
}

// work does rounds until nobody waits. A round takes together what waits at its time, one
// kind after the other, and fences between them. Nobody is answered by a reading that began
// before he asked, and nobody waits for company: who comes while a statement is under way
// is in the next one. What was written is read back before the disk is seen to.
func (a *Admin) work() {
	for a.someWait() {
		for _, s := range []struct {
			kind kind
			do   func(context.Context, []*task)
		}{{looking, a.look}, {ending, a.end}, {writing, a.write}, {looking, a.look}, {ending, a.end}, {saving, a.save}} {
			a.stage(fencing, a.fence)
			a.stage(s.kind, s.do)
		}
		a.rest()
	}
}

// someWait says whether there is anything left to do; else the work is at its end.
func (a *Admin) someWait() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.working = len(a.waiting) > 0
	return a.working
}

// rest waits, while all that is left is to see that sessions are gone.
func (a *Admin) rest() {
	a.mu.Lock()
	idle := len(a.waiting) > 0 && !slices.ContainsFunc(a.waiting, func(t *task) bool { return t.kind != ending || t.since.IsZero() })
	a.mu.Unlock()
	if !idle {
		return
	}
	timer := time.NewTimer(sessionPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.arrived:
	}
}

// maxTogether bounds how many clusters are in one statement: its text must not become
// too long for SQLite.
const maxTogether = 250

// stage does what waits and is of a kind: all together, and those that must be alone one by one.
func (a *Admin) stage(k kind, do func(context.Context, []*task)) {
	var alone, together []*task
	for _, t := range a.take(k) {
		t.stage = k
		if t.alone = t.alone || a.refused[t.refusal()]; t.alone {
			alone = append(alone, t)
		} else {
			together = append(together, t)
		}
	}
	for group := range slices.Chunk(together, maxTogether) {
		a.try(group, do)
	}
	for group := range slices.Chunk(alone, 1) {
		a.try(group, do)
	}
}

// refusal is what was refused of a cluster: one whose disk copy is refused is fenced and read with the others.
type refusal struct {
	stage  kind
	writer int
}

func (t *task) refusal() refusal { return refusal{t.stage, t.hg.Writer} }

// gone says that nobody waits for the task any more.
func (t *task) gone() bool { return t.ctx.Err() != nil }

// take takes what waits and is of a kind, without those whose callers went away.
func (a *Admin) take(k kind) []*task {
	a.mu.Lock()
	defer a.mu.Unlock()
	var taken []*task
	a.waiting = slices.DeleteFunc(a.waiting, func(t *task) bool {
		switch {
		case t.ctx.Err() != nil:
			return true
		case t.kind == k:
			taken = append(taken, t)
			return true
		}
		return false
	})
	return taken
}

// try does something for tasks, on a connection, as long as any of their callers is
// there. Those that are not over afterwards wait for what comes next for them.
func (a *Admin) try(tasks []*task, do func(context.Context, []*task)) {
	ctx, stop := anyOf(tasks)
	defer stop()
	if end, err := a.begin(ctx); err != nil {
		a.fail(tasks, err)
	} else {
		do(ctx, tasks)
		end()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range tasks {
		switch {
		case !t.over:
			a.waiting = append(a.waiting, t)
		case t.err == nil:
			delete(a.refused, t.refusal())
			if t.apply {
				delete(a.refused, refusal{writing, t.hg.Writer})
			}
		}
	}
}

// anyOf is a context that ends when all the tasks' contexts have ended.
func anyOf(tasks []*task) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var there atomic.Int64
	there.Store(int64(len(tasks)))
	stops := make([]func() bool, len(tasks))
	for i, t := range tasks {
		stops[i] = context.AfterFunc(t.ctx, func() {
			if there.Add(-1) == 0 {
				cancel(context.Cause(t.ctx))
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// fail ends tasks with an error. Where ProxySQL answered and refused what was for several
// of them, it may be the fault of one: then they are done again, each alone. Who is
// refused alone stays so until he is not.
func (a *Admin) fail(tasks []*task, err error) {
	several := len(tasks) > 1 && !errors.Is(err, ErrUnreachable)
	for _, t := range tasks {
		switch {
		case t.over:
		case several:
			t.alone = true
		default:
			if !errors.Is(err, ErrUnreachable) {
				a.refused[t.refusal()] = true
			}
			t.finish(err)
		}
	}
}
