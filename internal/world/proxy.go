package world

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// proxy is a model of one ProxySQL with the hostgroups of the one cluster. It
// outlives the sidecar beside it. What is guarded by the world's mutex.
type proxy struct {
	w    *World
	name string
	host string

	up      bool
	born    int
	rows    map[topology.Addr]rowStatus // of the writer hostgroup, in runtime
	foreign bool                        // an operator's hand opened a row
	epoch   uint64                      // remora_epoch, in memory
	applied uint64                      // 0: voided by a fence
	newest  uint64                      // highest epoch ever held, for the checks
	saved   bool                        // the disk holds the fenced form
	disk    map[topology.Addr]rowStatus
	using   map[*statement]bool
	thaw    chan struct{} // not nil: the process is stopped until it is closed
	tickets int           // taken by operations: a late one finds its own taken
	changed chan struct{}
}

type rowStatus string

const (
	online      rowStatus = "ONLINE"
	offlineSoft rowStatus = "OFFLINE_SOFT"
	offlineHard rowStatus = "OFFLINE_HARD"
)

// statement is a client's, on its way to a server.
type statement struct {
	server  *server
	foreign bool          // an operator's hand routed it
	ended   chan struct{} // closed when the proxy ends the session
}

func newProxy(w *World, name, host string) *proxy {
	return &proxy{w: w, name: name, host: host, up: true, rows: map[topology.Addr]rowStatus{}, disk: map[topology.Addr]rowStatus{},
		using: map[*statement]bool{}, changed: make(chan struct{})}
}

func (x *proxy) notify() {
	close(x.changed)
	x.changed = make(chan struct{})
}

// writers are the servers that new statements may go to.
func (x *proxy) writers() []topology.Addr {
	var list []topology.Addr
	if x.up {
		for a, st := range x.rows {
			if st == online {
				list = append(list, a)
			}
		}
	}
	slices.Sort(list)
	return list
}

// crash ends the process: sessions break, what was in memory is gone.
func (x *proxy) crash() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if !x.up {
		return
	}
	x.up = false
	x.born++
	x.end(func(*statement) bool { return true })
	x.notify()
	x.w.breakProxy(x.name)
}

// restart serves what the disk holds, at once.
func (x *proxy) restart() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.up {
		return
	}
	x.up, x.rows, x.epoch, x.applied, x.foreign = true, maps.Clone(x.disk), 0, 0, false
	x.born++
	x.w.checks.restarted(x)
	x.notify()
}

// freeze stops the process, thawed wakes it.
func (x *proxy) freeze() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.thaw == nil {
		x.thaw = make(chan struct{})
	}
}

func (x *proxy) unfreeze() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.thaw != nil {
		close(x.thaw)
		x.thaw = nil
	}
}

// end ends sessions; the caller holds the mutex.
func (x *proxy) end(which func(*statement) bool) int {
	n := 0
	for st := range x.using {
		if which(st) {
			delete(x.using, st)
			close(st.ended)
			n++
		}
	}
	return n
}

// admin is the sidecar's connection to the admin interface of its own proxy. It
// implements sidecar.Proxy as package proxysql does.
type admin struct {
	p *process
	x *proxy
}

// Close implements sidecar.Proxy.
func (admin) Close() {}

// adminLatency is what an operation takes.
const adminLatency = time.Millisecond

// begin waits for the admin interface. An operation that was given up while the
// proxy hung may still be carried out when it wakes, by `late`.
func (a admin) begin(ctx context.Context, what string, late func()) error {
	if err := a.p.enter(ctx); err != nil {
		return err
	}
	a.x.w.mu.Lock()
	a.x.tickets++
	ticket, thaw, up, born := a.x.tickets, a.x.thaw, a.x.up, a.x.born
	a.x.w.mu.Unlock()
	if thaw != nil && up {
		select {
		case <-thaw:
		case <-ctx.Done():
			if late != nil {
				a.x.w.running.Go(func() { a.later(thaw, ticket, born, late) })
			}
			return fmt.Errorf("proxysql %s: %s: %w: %w", a.x.name, what, proxysql.ErrUnreachable, ctx.Err())
		}
	}
	if !sleep(ctx, adminLatency) {
		return fmt.Errorf("proxysql %s: %s: %w: %w", a.x.name, what, proxysql.ErrUnreachable, ctx.Err())
	}
	if err := a.p.enter(ctx); err != nil {
		return err
	}
	a.x.w.mu.Lock()
	up = a.x.up
	a.x.w.mu.Unlock()
	if !up {
		return fmt.Errorf("proxysql %s: %s: %w: %w", a.x.name, what, proxysql.ErrUnreachable, syscall.ECONNREFUSED)
	}
	return nil
}

// later carries out a statement whose sender has given up, unless another
// operation has taken the ticket since.
func (a admin) later(thaw <-chan struct{}, ticket, born int, late func()) {
	select {
	case <-thaw:
	case <-a.x.w.ctx.Done():
		return
	}
	a.x.w.mu.Lock()
	defer a.x.w.mu.Unlock()
	if a.x.tickets == ticket && a.x.born == born {
		late()
	}
}

// Apply implements sidecar.Proxy.
func (a admin) Apply(ctx context.Context, route topology.Route, _ proxysql.Hostgroups) (topology.Proxy, error) {
	do := func() {
		if a.x.epoch <= route.Epoch {
			a.x.set(route)
		}
	}
	if err := a.begin(ctx, "apply", do); err != nil {
		return topology.Proxy{Error: err.Error()}, err
	}
	a.x.w.mu.Lock()
	if a.x.epoch > route.Epoch {
		defer a.x.w.mu.Unlock()
		err := fmt.Errorf("proxysql %s: apply at epoch %d: %w, %d", a.x.name, route.Epoch, proxysql.ErrStaleEpoch, a.x.epoch)
		p := a.x.read(route)
		p.Error = err.Error()
		return p, err
	}
	drift := a.x.drift(route)
	closed := map[topology.Addr]bool{} // by the route
	for addr, status := range a.x.rows {
		closed[addr] = status != offlineHard && addr != route.Writer
	}
	if have, want := a.p.raft.State().Index, a.p.needs(); route.Mode == topology.Open && have < want && !a.x.w.options.Hold {
		a.x.w.failLocked("invariant 10: the proxy of %s was opened by a ledger at index %d under a lease that needs %d", a.x.name, have, want)
	}
	a.x.set(route)
	fenced := route.Mode == topology.Fenced || route.Writer == ""
	a.x.end(func(st *statement) bool { return fenced || closed[st.server.addr] })
	p := a.x.read(route)
	p.Drift = drift
	a.x.w.mu.Unlock()
	return p, nil
}

// set makes runtime as the route wants it; the caller holds the mutex.
func (x *proxy) set(route topology.Route) {
	rows := map[topology.Addr]rowStatus{}
	for a := range x.rows {
		rows[a] = offlineHard
	}
	for _, a := range route.Known {
		rows[a] = offlineHard
	}
	if route.Writer != "" {
		switch route.Mode {
		case topology.Open:
			rows[route.Writer] = online
		case topology.Paused:
			rows[route.Writer] = offlineSoft
		default:
			rows[route.Writer] = offlineHard
		}
	}
	x.rows, x.epoch, x.applied, x.foreign = rows, route.Epoch, route.Epoch, false
	x.w.checks.applied(x, route)
	x.newest = max(x.newest, route.Epoch)
	x.abandon()
	x.notify()
}

// hardTick is how long ProxySQL takes to abandon a statement on a server that
// was set OFFLINE_HARD.
const hardTick = 2 * time.Second

// abandon breaks statements on servers that are OFFLINE_HARD, in a while.
func (x *proxy) abandon() {
	var doomed []*statement
	for st := range x.using {
		if x.rows[st.server.addr] == offlineHard {
			doomed = append(doomed, st)
		}
	}
	if len(doomed) == 0 {
		return
	}
	time.AfterFunc(hardTick, func() {
		x.w.mu.Lock()
		defer x.w.mu.Unlock()
		x.end(func(st *statement) bool { return slices.Contains(doomed, st) && x.rows[st.server.addr] == offlineHard })
	})
}

// read is what the proxy does now; the caller holds the mutex.
func (x *proxy) read(route topology.Route) topology.Proxy {
	p := topology.Proxy{Epoch: x.applied, Mode: topology.Fenced, Version: "2.7.1"}
	for _, a := range slices.Sorted(maps.Keys(x.rows)) {
		switch st := x.rows[a]; {
		case st == online && (p.Mode != topology.Open || p.Writer == route.Writer):
			p.Writer, p.Mode = a, topology.Open
		case st == offlineSoft && p.Mode == topology.Fenced:
			p.Writer, p.Mode = a, topology.Paused
		}
	}
	if route.Mode != topology.Open {
		p.Drained = true
		for st := range x.using {
			if st.server.addr == route.Writer {
				p.Drained = false
			}
		}
		if x.rows[route.Writer] == online {
			p.Drained = false
		}
	}
	return p
}

// drift names what another hand changed since the route was applied.
func (x *proxy) drift(route topology.Route) []string {
	if x.applied != route.Epoch || x.epoch != route.Epoch {
		return nil
	}
	var list []string
	for _, a := range slices.Sorted(maps.Keys(x.rows)) {
		want := offlineHard
		if a == route.Writer {
			want = map[topology.Mode]rowStatus{topology.Open: online, topology.Paused: offlineSoft, topology.Fenced: offlineHard}[route.Mode]
		}
		if x.rows[a] != want {
			list = append(list, fmt.Sprintf("%s is %s, want %s", a, x.rows[a], want))
		}
	}
	return list
}

// Status implements sidecar.Proxy.
func (a admin) Status(ctx context.Context, route topology.Route, _ proxysql.Hostgroups) (topology.Proxy, error) {
	if err := a.begin(ctx, "status", nil); err != nil {
		return topology.Proxy{Error: err.Error()}, err
	}
	a.x.w.mu.Lock()
	defer a.x.w.mu.Unlock()
	p := a.x.read(route)
	p.Drift = a.x.drift(route)
	for addr, st := range a.x.rows {
		open := st == online && (addr != route.Writer || route.Mode != topology.Open)
		if route.Epoch != 0 && a.x.applied == route.Epoch && (open || st == offlineSoft && (addr != route.Writer || route.Mode == topology.Fenced)) {
			p.Epoch, p.Error = 0, "the writer hostgroup is more open than the route allows"
		}
	}
	return p, nil
}

// close closes the writer without a new epoch, and voids the applied one; the
// caller holds the mutex.
func (x *proxy) close(hard bool) {
	x.applied = 0
	for addr, st := range x.rows {
		if hard || st == online {
			x.rows[addr] = map[bool]rowStatus{true: offlineHard, false: offlineSoft}[hard]
		}
	}
	x.abandon()
	x.notify()
}

// Fence implements sidecar.Proxy.
func (a admin) Fence(ctx context.Context, _ string, _ proxysql.Hostgroups, hard bool) error {
	do := func() { a.x.close(hard) }
	if err := a.begin(ctx, "fence", do); err != nil {
		return err
	}
	a.x.w.mu.Lock()
	defer a.x.w.mu.Unlock()
	do()
	return nil
}

// EndSessions implements sidecar.Proxy.
func (a admin) EndSessions(ctx context.Context, _ proxysql.Hostgroups, writer topology.Addr) (int, error) {
	if err := a.begin(ctx, "end sessions", nil); err != nil {
		return 0, err
	}
	a.x.w.mu.Lock()
	defer a.x.w.mu.Unlock()
	return a.x.end(func(st *statement) bool { return writer == "" || st.server.addr == writer }), nil
}

// Save implements sidecar.Proxy.
func (a admin) Save(ctx context.Context, _ proxysql.Hostgroups) error {
	if err := a.begin(ctx, "save", nil); err != nil {
		return err
	}
	a.x.w.mu.Lock()
	defer a.x.w.mu.Unlock()
	a.x.disk = map[topology.Addr]rowStatus{}
	for addr := range a.x.rows {
		a.x.disk[addr] = offlineHard
	}
	a.x.saved = true
	return nil
}
