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
	end, err := a.begin(ctx)
	if err != nil {
		return topology.Proxy{}, err
	}
	defer end()
	start := time.Now()
	proxy, changed, err := a.apply(ctx, route, hg)
	proxy.Version = a.version
	if err != nil {
		proxy.Error = err.Error()
		return proxy, err
	}
	if changed {
		a.log.Info("route applied", "cluster", route.Cluster, "epoch", route.Epoch, "writer", route.Writer, "mode", route.Mode,
			"took", time.Since(start))
	}
	return proxy, nil
}

func (a *Admin) apply(ctx context.Context, route topology.Route, hg Hostgroups) (topology.Proxy, bool, error) {
	s, err := a.read(ctx, reading{cluster: route.Cluster, hg: hg})
	if err != nil {
		return topology.Proxy{}, false, err
	}
	a.warn(s, route.Cluster, hg)
	attached := attachedTo(s, route, hg)
	var drift []string
	if s.applied == route.Epoch && s.epoch == route.Epoch {
		drift = a.plan(s, route, hg).drift(s, hg)
	}
	if err := a.yield(ctx, s, hg); err != nil {
		return a.describe(s, route, hg, drift), false, err
	}
	s, changed, err := a.settle(ctx, s, route, hg)
	if err != nil {
		return a.describe(s, route, hg, drift), changed, err
	}
	if route.Mode != topology.Open && s.used == nil {
		if s, err = a.read(ctx, reading{cluster: route.Cluster, hg: hg, used: true}); err != nil {
			return topology.Proxy{}, changed, err
		}
	}
	for _, addr := range attached {
		if n, err := a.endSessions(ctx, hg, addr); err != nil {
			p := a.describe(s, route, hg, drift)
			p.Epoch = 0 // a session that is attached could go on writing: that is no fence
			return p, changed, err
		} else if n > 0 {
			a.log.Info("sessions ended", "cluster", route.Cluster, "hostgroup", hg.Writer, "server", addr, "sessions", n)
		}
	}
	return a.describe(s, route, hg, drift), changed, nil
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

// settle executes plans until a reading shows that nothing is left to do, and
// notes that.
func (a *Admin) settle(ctx context.Context, s *state, route topology.Route, hg Hostgroups) (*state, bool, error) {
	for attempt := 0; ; attempt++ {
		if s.epoch > route.Epoch {
			return s, attempt > 0, fmt.Errorf("proxysql %s: apply %s at epoch %d: %w, %d", a.cfg.Addr, route.Cluster, route.Epoch,
				ErrStaleEpoch, s.epoch)
		}
		p := a.plan(s, route, hg)
		if p.settled(s, route.Epoch) {
			return s, attempt > 0, a.confirm(ctx, s, route)
		}
		if attempt == attempts {
			return s, true, fmt.Errorf("proxysql %s: apply %s at epoch %d: %w: %s", a.cfg.Addr, route.Cluster, route.Epoch,
				ErrNotReadBack, p.remains(s, hg))
		}
		g := a.guard(route.Cluster, route.Epoch)
		for _, st := range p.statements(s, g, hg) {
			if err := a.exec(ctx, st); err != nil {
				return s, true, err
			}
		}
		a.tables["remora_epoch"] = true
		next, err := a.read(ctx, reading{cluster: route.Cluster, hg: hg, brief: len(s.claims) == 0,
			used: route.Mode != topology.Open})
		if err != nil {
			return s, true, err
		}
		s = next
	}
}

// confirm notes in the proxy that the epoch was read back.
func (a *Admin) confirm(ctx context.Context, s *state, route topology.Route) error {
	if s.applied == route.Epoch {
		return nil
	}
	g := guard{cluster: route.Cluster, epoch: route.Epoch, ticket: s.ticket}
	if err := a.exec(ctx, g.confirm()); err != nil {
		return err
	}
	s.applied = route.Epoch
	return nil
}

// yield refuses a conflict, or removes it where Remora may take over: what
// concerns the cluster here, the rest with the plan.
func (a *Admin) yield(ctx context.Context, s *state, hg Hostgroups) error {
	if a.cluster.syncs() {
		if err := a.readClustering(ctx); err != nil {
			return err
		}
	}
	sentence := conflict(s.claims, hg, a.cluster)
	if sentence == "" {
		return nil
	}
	if !hg.TakeOver {
		return fmt.Errorf("proxysql %s: %w: %s", a.cfg.Addr, ErrConflict, sentence)
	}
	a.log.Warn("taking over", "conflict", sentence)
	if !a.cluster.syncs() {
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
