package proxysql

import (
	"context"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

// look reads the clusters of tasks in one statement. It answers who only asked; for routes
// that are to be applied it finds what is left to do.
func (a *Admin) look(ctx context.Context, tasks []*task) {
	if err := a.lookAll(ctx, tasks); err != nil {
		a.fail(tasks, err)
		return
	}
	var first, applied []*task
	for _, t := range tasks {
		switch {
		case !t.apply:
			t.status = a.statusOf(t)
			t.finish(nil)
		case t.settled: // for what it did not know yet
			a.conclude(t)
		default:
			if t.written == 0 {
				a.begun(t)
				first = append(first, t)
			}
			t.status = a.describe(t.state, t.route, t.hg, t.drift)
			applied = append(applied, t)
		}
	}
	if err := a.yield(ctx, first); err != nil {
		a.fail(first, err) // who is not over is asked again, alone: nothing is written for it before
		applied = slices.DeleteFunc(applied, func(t *task) bool { return slices.Contains(first, t) })
	}
	a.settle(ctx, going(applied))
}

// lookAll reads what the tasks need.
func (a *Admin) lookAll(ctx context.Context, tasks []*task) error {
	q := reading{brief: true}
	asked := false
	for _, t := range tasks {
		q.of = append(q.of, t.subject)
		q.brief = q.brief && t.settles() && len(t.state.claims) == 0
		q.used = q.used || t.route.Mode != topology.Open && (!t.apply || t.settles())
		asked = asked || !t.apply
	}
	if asked && time.Since(a.checked) > checkClustering {
		if err := a.readClustering(ctx); err != nil {
			return err
		}
	}
	states, err := a.read(ctx, q)
	if err != nil {
		return err
	}
	for i, t := range tasks {
		t.state = states[i]
		if !q.brief {
			a.warn(t.state, t.cluster, t.hg)
		}
	}
	return nil
}

// settles says that a route was read before, and is read back.
func (t *task) settles() bool { return t.settled || t.written > 0 }

// going are the tasks that are not over.
func going(tasks []*task) []*task {
	var list []*task
	for _, t := range tasks {
		if !t.over {
			list = append(list, t)
		}
	}
	return list
}
