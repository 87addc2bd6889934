package proxysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// nth is a cluster with hostgroups of its own, and its route.
func nth(i int, epoch uint64, mode topology.Mode) (topology.Route, Hostgroups) {
	r := route(epoch, "db1:3306", mode)
	r.Cluster = fmt.Sprintf("c%d", i)
	for k := range r.Known {
		r.Known[k] = topology.Addr(fmt.Sprintf("10.0.%d.%d:3306", i, k))
	}
	r.Writer, r.Readers = r.Known[0], []topology.Reader{{Addr: r.Known[1], Weight: 1}, {Addr: r.Known[2], Weight: 1}}
	return r, Hostgroups{Writer: 100 + 2*i, Reader: 101 + 2*i}
}

// atOnce starts operations of which all but the first are in one round, and returns their errors.
func (b *bench) atOnce(t *testing.T, n int, do func(i int) error) []error {
	t.Helper()
	idle := func() (bool, string) {
		b.admin.mu.Lock()
		defer b.admin.mu.Unlock()
		return !b.admin.working && len(b.admin.waiting) == 0, "a round is under way"
	}
	eventually(t, "the rounds before are over", idle)
	end, err := b.admin.begin(within(t)) // the connection is busy
	must(t, err)
	end = sync.OnceFunc(end)
	defer end()
	errs := make([]error, n)
	var running sync.WaitGroup
	waits := func(count int) {
		eventually(t, "all wait", func() (bool, string) {
			b.admin.mu.Lock()
			defer b.admin.mu.Unlock()
			return b.admin.working && len(b.admin.waiting) == count, fmt.Sprintf("%d of %d do", len(b.admin.waiting), count)
		})
	}
	running.Go(func() { errs[0] = do(0) })
	waits(0) // it has a round of its own, which waits for the connection
	for i := 1; i < n; i++ {
		running.Go(func() { errs[i] = do(i) })
	}
	waits(n - 1)
	end()
	running.Wait()
	return errs
}

func loads(t *testing.T, b *bench) int {
	t.Helper()
	var n int
	_, err := fmt.Sscan(table(t, b.Proxy, "SELECT Variable_Value FROM stats_mysql_global WHERE Variable_Name='Servers_table_version'"), &n)
	must(t, err)
	return n
}

// However many clusters change at one time, ProxySQL loads its servers a few times.
func TestManyClustersAreAppliedTogether(t *testing.T) {
	const n = 40
	onProxies(t, func(t *testing.T, b *bench) {
		for epoch, mode := range []topology.Mode{topology.Open, topology.Fenced, topology.Open} {
			before := loads(t, b)
			proxies := make([]topology.Proxy, n)
			for i, err := range b.atOnce(t, n, func(i int) (err error) {
				r, hg := nth(i, uint64(epoch+1), mode)
				proxies[i], err = b.admin.Apply(within(t), r, hg)
				return err
			}) {
				must(t, err)
				r, _ := nth(i, 1, mode)
				if p := proxies[i]; p.Epoch != uint64(epoch+1) || p.Mode != mode || mode == topology.Open && p.Writer != r.Writer || len(p.Drift) > 0 {
					t.Fatalf("%s: %+v", r.Cluster, p)
				}
			}
			if did := loads(t, b) - before; did > 2 {
				t.Errorf("%s: %d loads for %d clusters", mode, did, n)
			}
		}
		before := loads(t, b)
		for _, err := range b.atOnce(t, n, func(i int) error {
			r, hg := nth(i, 1, topology.Open)
			return b.admin.Fence(within(t), r.Cluster, hg, true)
		}) {
			must(t, err)
		}
		if did := loads(t, b) - before; did > 2 {
			t.Errorf("%d loads for %d fences", did, n)
		}
		for i, err := range b.atOnce(t, n, func(i int) error {
			r, hg := nth(i, 3, topology.Open)
			p, err := b.admin.Status(within(t), r, hg)
			if p.Mode != topology.Fenced || p.Epoch != 0 {
				return fmt.Errorf("after the fence: %+v", p)
			}
			return errors.Join(err, b.admin.Save(within(t), hg))
		}) {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		wantText(t, "on disk", table(t, b.Proxy, "SELECT hostgroup_id % 2, status, COUNT(*) FROM disk.mysql_servers GROUP BY 1, 2 ORDER BY 1, 2"),
			fmt.Sprintf("0 OFFLINE_HARD %d\n1 OFFLINE_SOFT %d\n1 ONLINE %d", 3*n, n, 2*n))
	})
}

// What is wrong with one cluster is said of that one; the others get what they ask for.
func TestOneClusterStopsNoOther(t *testing.T) {
	const stale, claimed, refused, n = 2, 5, 7, 10
	onProxies(t, func(t *testing.T, b *bench) {
		newer, hg := nth(stale, 9, topology.Open)
		_, err := b.admin.Apply(within(t), newer, hg)
		must(t, err)
		_, hg = nth(claimed, 1, topology.Open)
		sqlExec(t, b.Proxy, fmt.Sprintf("INSERT INTO mysql_galera_hostgroups (writer_hostgroup, backup_writer_hostgroup, reader_hostgroup, offline_hostgroup) "+
			"VALUES (901, 902, 903, %d)", hg.Reader))
		_, hg = nth(refused, 1, topology.Open)
		sqlExec(t, b.Proxy, fmt.Sprintf("CREATE UNIQUE INDEX one_reader ON mysql_servers (hostgroup_id) WHERE hostgroup_id = %d AND status = 'ONLINE'", hg.Reader))
		t.Cleanup(func() {
			sqlExec(t, b.Proxy, "DROP INDEX IF EXISTS one_reader", "DELETE FROM mysql_galera_hostgroups", loadServers)
		})
		apply := func(epoch uint64, mode topology.Mode) []error {
			return b.atOnce(t, n, func(i int) error {
				r, hg := nth(i, epoch, mode)
				p, err := b.admin.Apply(within(t), r, hg)
				if err == nil && (p.Epoch != epoch || p.Mode != mode || mode == topology.Open && p.Writer != r.Writer) {
					return fmt.Errorf("applied: %+v", p)
				}
				return err
			})
		}
		for i, err := range apply(5, topology.Open) {
			want := map[int]error{stale: ErrStaleEpoch, claimed: ErrConflict, refused: ErrRefused}[i]
			if !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", i, err, want)
			}
		}
		before := loads(t, b)
		apply(6, topology.Fenced)
		if did := loads(t, b) - before; did > 2 {
			t.Errorf("%d loads, though it is known who is refused", did)
		}
		sqlExec(t, b.Proxy, "DROP INDEX one_reader", "DELETE FROM mysql_galera_hostgroups", loadServers)
		for i, err := range apply(10, topology.Open) {
			if err != nil {
				t.Errorf("%d, mended: %v", i, err)
			}
		}
		eventually(t, "nobody is alone any more", func() (bool, string) {
			b.admin.mu.Lock()
			defer b.admin.mu.Unlock()
			return !b.admin.working && len(b.admin.refused) == 0, "somebody is"
		})
	})
}

// In a statement for several clusters each is bound to its own epoch and ticket.
func TestAStatementIsBoundClusterByCluster(t *testing.T) {
	m := newMemoryAdmin(t)
	other := subject{"it's another", Hostgroups{Writer: 20, Reader: 21}}
	routes := []topology.Route{route(5, "db1:3306", topology.Open), route(5, "db2:3306", topology.Open)}
	for _, st := range []string{createTable, guards{{ours, 4, "before"}, {other, 6, "newer"}}.raise().text} {
		must(t, m.exec(st))
	}
	states, err := m.read(ours, other)
	must(t, err)
	var parts []part
	for i, x := range []subject{ours, other} {
		parts = append(parts, part{guard{x, 5, "t"}, states[i], makePlan(states[i], routes[i], x.hg, true)})
	}
	must(t, m.run(statements(parts)))
	states, err = m.read(ours, other)
	must(t, err)
	if p := makePlan(states[0], routes[0], tens, true); !p.settled(states[0], 5) {
		t.Errorf("main is not settled: %+v", p)
	}
	if s := states[1]; s.epoch != 6 || s.ticket != "newer" || len(s.memory)+len(s.runtime) > 0 || s.limit != -1 {
		t.Errorf("the other one, whose epoch is newer: %+v", s)
	}
	must(t, m.exec(guards{{ours, 5, "t"}, {other, 5, "t"}}.confirm().text))
	rows, err := m.query("SELECT cluster, epoch, applied FROM remora_epoch ORDER BY epoch")
	must(t, err)
	if d := cmp.Diff([][]string{{"main", "5", "5"}, {other.cluster, "6", "0"}}, rows); d != "" {
		t.Errorf("confirmed (-want +got):\n%s", d)
	}
}

// held passes connections on to a proxy; what the proxy answers waits while it is shut.
type held struct {
	net.Listener
	kept atomic.Int32 // answers that wait

	mu   sync.Mutex
	open chan struct{}
}

func (h *held) gate() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// shut holds back what is answered from now on; the returned function lets it through.
func (h *held) shut(t *testing.T) (open func()) {
	gate := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = gate
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	return open
}

func (h *held) keeps(t *testing.T) {
	t.Helper()
	eventually(t, "an answer is held back", func() (bool, string) { return h.kept.Load() > 0, "none is" })
}

// throughHeld makes the bench's Admin one that is answered through a held.
func throughHeld(t *testing.T, b *bench) *held {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h := &held{Listener: l, open: make(chan struct{})}
	close(h.open)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", b.AdminAddr)
			if err != nil {
				_ = client.Close()
				continue
			}
			serving.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
			serving.Go(func() {
				defer client.Close()
				var buffer [4096]byte
				for {
					n, err := server.Read(buffer[:])
					if err != nil {
						return
					}
					h.kept.Add(1)
					<-h.gate()
					h.kept.Add(-1)
					if _, err := client.Write(buffer[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	b.admin = New(Config{Addr: l.Addr().String(), User: lab.AdminUser.Name, Password: lab.AdminUser.Password, Timeout: time.Minute}, slog.New(slog.DiscardHandler), nil)
	t.Cleanup(func() {
		b.admin.Close()
		_ = l.Close()
		serving.Wait()
	})
	return h
}

// routedThenHeld brings the proxy to a route; what it answers then waits until it is let through.
func routedThenHeld(t *testing.T, b *bench) (h *held, r topology.Route, open func()) {
	t.Helper()
	h, r = throughHeld(t, b), route(5, "db1:3306", topology.Open)
	b.apply(t, r)
	return h, r, h.shut(t)
}

// A reading that began before somebody asked is no answer to him.
func TestNobodyIsAnsweredByAnOlderReading(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		h, r, open := routedThenHeld(t, b)
		var looks sync.WaitGroup
		drift := make([][]string, 2)
		look := func(i int) {
			looks.Go(func() {
				p, err := b.admin.Status(within(t), r, tens)
				if err != nil {
					t.Error(err)
				}
				drift[i] = p.Drift
			})
		}
		look(0)
		h.keeps(t)
		sqlExec(t, b.Proxy, "UPDATE mysql_servers SET weight = 9 WHERE hostgroup_id = 11 AND hostname = 'db2'", "LOAD MYSQL SERVERS TO RUNTIME")
		look(1)
		eventually(t, "the second waits", func() (bool, string) {
			b.admin.mu.Lock()
			defer b.admin.mu.Unlock()
			return len(b.admin.waiting) == 1, "it does not"
		})
		open()
		looks.Wait()
		if len(drift[0]) > 0 || len(drift[1]) != 1 {
			t.Errorf("drift %q, and after it %q", drift[0], drift[1])
		}
	})
}

// Who goes away gets no answer at once, and takes none from the others. When nobody is
// left the connection is given up, and the next, such as a fence, waits for nothing.
func TestWhoGoesAwayHoldsUpNobody(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		h, r, open := routedThenHeld(t, b)
		why := errors.New("no longer wanted")
		impatient, leave := context.WithCancelCause(context.Background())
		left, stayed := make(chan error, 1), make(chan error, 1)
		var asking sync.WaitGroup
		end, err := b.admin.begin(within(t))
		must(t, err)
		asking.Go(func() { _, err := b.admin.Status(impatient, r, tens); left <- err })
		asking.Go(func() { _, err := b.admin.Status(within(t), r, tens); stayed <- err })
		end()
		leave(why)
		if err := <-left; !errors.Is(err, why) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("who left: %v", err)
		}
		open()
		must(t, <-stayed)
		asking.Wait()

		h.shut(t)
		lone, leave := context.WithCancelCause(context.Background())
		asking.Go(func() { _, err := b.admin.Apply(lone, route(6, "db2:3306", topology.Open), tens); left <- err })
		h.keeps(t)
		leave(why)
		wantErr(t, <-left, why)
		h.shut(t)() // connections to come are answered; that one never
		must(t, b.admin.Fence(within(t), "main", tens, true))
		wantText(t, "after the fence", servers(t, b.Proxy, "runtime_mysql_servers"), strings.TrimPrefix(openDB1, "10 db1 ONLINE\n"))
		asking.Wait()
	})
}
