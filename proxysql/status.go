package proxysql

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// checkClustering is how often Status looks whether ProxySQL Cluster was set up
// meanwhile.
const checkClustering = 5 * time.Second

// Status reads what the proxy does for the route's cluster. It changes nothing.
//
// Epoch is the one that the proxy applied and that was read back. It is 0 when
// ProxySQL has restarted since, when the writer was fenced locally, or when the
// proxy sends more to the writer hostgroup than the route at that epoch allows
// (Error says which): then fence, or apply. A route of another epoch, or the zero
// route with a cluster, cannot be compared: Drift is left empty. Drift names only
// what Apply mends; rows that are not ours and differ between memory and runtime
// are logged, once.
//
// Writer and Mode are runtime's: open while a server of the writer hostgroup is
// ONLINE or SHUNNED, paused while one is OFFLINE_SOFT, else fenced. Drained says
// that no connection to the route's writer is in use and none will be. A session that
// ProxySQL cannot multiplex (user variables, temporary tables, GET_LOCK) keeps its
// connection even when idle, and may start a transaction on it at any time: it
// keeps Drained false until it ends or is ended, see [Admin.EndSessions].
func (a *Admin) Status(ctx context.Context, route topology.Route, hg Hostgroups) (topology.Proxy, error) {
	if err := hg.Validate(); err != nil {
		return topology.Proxy{}, fmt.Errorf("proxysql %s: %w", a.cfg.Addr, err)
	}
	t := newTask(looking, "read "+route.Cluster, subject{route.Cluster, hg})
	t.route = route
	if !a.ask(ctx, t) {
		err := a.left(ctx, t)
		return topology.Proxy{Error: err.Error()}, err
	}
	if t.err != nil {
		return topology.Proxy{Error: t.err.Error()}, t.err
	}
	return t.status, nil
}

// statusOf is what was read, against the route.
func (a *Admin) statusOf(t *task) topology.Proxy {
	s, route, hg := t.state, t.route, t.hg
	if route.Epoch == 0 || s.applied != route.Epoch || s.epoch != route.Epoch {
		p := a.describe(s, route, hg, nil)
		if !s.hasTable {
			p.Error = "ProxySQL has restarted, or was never told a route"
		}
		return p
	}
	p := a.describe(s, route, hg, a.plan(s, route, hg).drift(s, hg))
	if exposed(s, route, hg) {
		p.Epoch = 0
		p.Error = fmt.Sprintf("the writer hostgroup %d is more open than the route at epoch %d allows: %s %s",
			hg.Writer, route.Epoch, p.Mode, p.Writer)
	}
	return p
}
