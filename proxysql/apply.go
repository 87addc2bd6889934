package proxysql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// attempts bounds how often an operation is planned anew when another hand wrote
// between its statements.
const attempts = 3

// Apply brings the proxy's rows of the route's cluster to the route, at
// route.Epoch, and reads back. It returns what the proxy now does; with an error
// too, as far as that is known. With nothing to change it reads, and no more.
//
// It also ends the sessions that are attached to a server of the writer hostgroup
// which the route closes, and returns when they are gone.
//
// Errors: ErrStaleEpoch, ErrConflict (both: nothing was changed), ErrUnreachable,
// ErrRefused, ErrNotReadBack.
func (a *Admin) Apply(ctx context.Context, route topology.Route, hg Hostgroups) (topology.Proxy, error) {
	if err := checkRoute(route, hg); err != nil {
		return topology.Proxy{}, fmt.Errorf("proxysql %s: %w", a.cfg.Addr, err)
	}
	t := newTask(looking, fmt.Sprintf("apply %s at epoch %d", route.Cluster, route.Epoch), subject{route.Cluster, hg})
	t.route, t.apply = route, true
	if !a.ask(ctx, t) {
		err := a.left(ctx, t)
		return topology.Proxy{Error: err.Error()}, err
	}
	if t.err != nil {
		t.status.Error = t.err.Error()
		return t.status, t.err
	}
	if t.written > 0 {
		a.log.Info("route applied", "cluster", route.Cluster, "epoch", route.Epoch, "writer", route.Writer, "mode", route.Mode,
			"took", time.Since(t.asked))
	}
	return t.status, nil
}

// begun takes in the first reading of a route that is to be applied.
func (a *Admin) begun(t *task) {
	t.addrs = attachedTo(t.state, t.route, t.hg)
	if t.state.applied == t.route.Epoch && t.state.epoch == t.route.Epoch {
		t.drift = a.plan(t.state, t.route, t.hg).drift(t.state, t.hg)
	}
}

// attachedTo names the servers whose sessions a route ends, judged by what runtime did
// before: all of the writer hostgroup ("") where the route has no open writer, else
// those that were in use there and are not its writer. A statement that another hand
// let through to an old writer would otherwise be answered whenever that one thaws.
func attachedTo(s *state, route topology.Route, hg Hostgroups) []topology.Addr {
	if route.Mode == topology.Fenced || route.Writer == "" {
		return []topology.Addr{""}
	}
	var list []topology.Addr
	for _, r := range s.runtime {
		if r.Hostgroup == hg.Writer && r.Status != offlineHard && r.addr() != route.Writer {
			list = append(list, r.addr())
		}
	}
	return list
}

// settle finds out what is left to do for routes that are being applied: nothing, then
// that is noted in the proxy; or a plan, which is executed next.
func (a *Admin) settle(ctx context.Context, tasks []*task) {
	var settled []*task
	var confirmed guards
	for _, t := range tasks {
		s := t.state
		if s.epoch > t.route.Epoch {
			t.finish(fmt.Errorf("proxysql %s: %s: %w, %d", a.cfg.Addr, t.what, ErrStaleEpoch, s.epoch))
			continue
		}
		t.plan = a.plan(s, t.route, t.hg)
		switch {
		case t.plan.settled(s, t.route.Epoch):
			settled = append(settled, t)
			if s.applied != t.route.Epoch {
				confirmed = append(confirmed, guard{t.subject, t.route.Epoch, s.ticket})
			}
		case t.written == attempts:
			t.finish(fmt.Errorf("proxysql %s: %s: %w: %s", a.cfg.Addr, t.what, ErrNotReadBack, t.plan.remains(s, t.hg)))
		default:
			t.kind = writing
		}
	}
	if len(confirmed) > 0 {
		if err := a.exec(ctx, confirmed.confirm()); err != nil {
			a.fail(settled, err)
			return
		}
	}
	for _, t := range settled {
		t.state.applied, t.settled = t.route.Epoch, true
		a.conclude(t)
	}
}

// conclude answers that a route is applied, where that is all: a proxy that does not send
// on to the writer tells too whether it is drained, and sessions that are attached to a
// server which is closed could go on writing, so that it is no fence before they are gone.
func (a *Admin) conclude(t *task) {
	t.status = a.describe(t.state, t.route, t.hg, t.drift)
	switch {
	case t.route.Mode != topology.Open && t.state.used == nil:
		return // it is read once more
	case len(t.addrs) > 0:
		t.kind, t.status.Epoch = ending, 0
	default:
		t.finish(nil)
	}
}

// yield refuses conflicts, or removes them where Remora may take over: what concerns the
// proxy as a whole here, the rest with the plans.
func (a *Admin) yield(ctx context.Context, tasks []*task) error {
	if len(tasks) > 0 && a.cluster.syncs() {
		if err := a.readClustering(ctx); err != nil {
			return err
		}
	}
	leave := false
	for _, t := range tasks {
		sentence := conflict(t.state.claims, t.hg, a.cluster)
		switch {
		case sentence == "":
		case !t.hg.TakeOver:
			t.finish(fmt.Errorf("proxysql %s: %w: %s", a.cfg.Addr, ErrConflict, sentence))
		default:
			a.log.Warn("taking over", "conflict", sentence)
			leave = a.cluster.syncs()
		}
	}
	if !leave {
		return nil
	}
	for _, st := range leaveCluster {
		if err := a.exec(ctx, st); err != nil {
			return err
		}
	}
	if err := a.readClustering(ctx); err != nil {
		return err
	}
	if a.cluster.syncs() {
		return fmt.Errorf("proxysql %s: stop the servers' sync: %w", a.cfg.Addr, ErrNotReadBack)
	}
	return nil
}

func (a *Admin) plan(s *state, route topology.Route, hg Hostgroups) plan {
	return makePlan(s, route, hg, a.tables["mysql_hostgroup_attributes"])
}

// remains says what a plan would still have to do.
func (p plan) remains(s *state, hg Hostgroups) string {
	list := p.drift(s, hg)
	if c := conflict(s.claims, hg, clustering{}); c != "" {
		list = append(list, c)
	}
	if len(list) == 0 {
		list = []string{fmt.Sprintf("the epoch is %d", s.epoch)}
	}
	return strings.Join(list, "; ")
}

// warn logs what an operator should see to and no Apply mends, once.
func (a *Admin) warn(s *state, cluster string, hg Hostgroups) {
	sentence := strings.Join(warnings(s, hg), "; ")
	if sentence != "" && sentence != a.warned[cluster] {
		a.log.Warn("an operator should see to this", "cluster", cluster, "rows", sentence)
	}
	a.warned[cluster] = sentence
}

// describe makes the proxy of a state.
func (a *Admin) describe(s *state, route topology.Route, hg Hostgroups, drift []string) topology.Proxy {
	p := s.proxy(route, hg)
	p.Conflict = conflict(s.claims, hg, a.cluster)
	p.Drift = drift
	p.Drained = route.Mode != topology.Open && drained(s, route, hg)
	p.Version, p.Kills = a.version, a.kills
	return p
}
