package proxysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// Together with one who may take over what claims his hostgroups, nothing is taken for one who may not.
func TestOnlyWhatMayBeTakenOverIsReleased(t *testing.T) {
	m := newMemoryAdmin(t)
	over := subject{"over", Hostgroups{Writer: 20, Reader: 21, TakeOver: true}}
	for _, st := range []string{"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 11), (20, 21)", loadServers} {
		must(t, m.exec(st))
	}
	states, err := m.read(ours, over)
	must(t, err)
	var parts []part
	for i, x := range []subject{ours, over} {
		parts = append(parts, part{guard{x, 5, "t"}, states[i], makePlan(states[i], route(5, "db1:3306", topology.Open), x.hg, true)})
	}
	must(t, m.run(statements(parts)))
	rows, err := m.query("SELECT writer_hostgroup FROM mysql_replication_hostgroups")
	must(t, err)
	if d := cmp.Diff([][]string{{"10"}}, rows); d != "" {
		t.Errorf("claims that are left (-want +got):\n%s", d)
	}
}

// toApply is a task to apply a route of one of several clusters.
func toApply(ctx context.Context, i int) *task {
	r, hg := nth(i, 1, topology.Open)
	t := newTask(looking, "apply "+r.Cluster, subject{r.Cluster, hg})
	t.ctx, t.route, t.apply = ctx, r, true
	return t
}

// Where one of several goes away before they are written nothing is opened for him, and the others begin again without him.
func TestNothingIsOpenedForWhoWentAway(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		end, err := b.admin.begin(within(t))
		must(t, err)
		defer end()
		goes, leave := context.WithCancel(context.Background())
		stays, gone := toApply(within(t), 1), toApply(goes, 2)
		b.admin.look(within(t), []*task{stays, gone})
		if stays.kind != writing || gone.kind != writing {
			t.Fatalf("what is left to do is %d and %d", stays.kind, gone.kind)
		}
		leave()
		b.admin.write(within(t), []*task{stays, gone})
		wantText(t, "opened", servers(t, b.Proxy, "mysql_servers"), "")
		if stays.over || stays.written != 0 {
			t.Errorf("who is there has been written %d times, or was answered: %v", stays.written, stays.err)
		}
		b.admin.waiting = []*task{gone, stays}
		if taken := b.admin.take(looking); !slices.Equal(taken, []*task{stays}) || len(b.admin.waiting) > 0 {
			t.Errorf("%d are taken up again, and %d wait", len(taken), len(b.admin.waiting))
		}
	})
}

// Of one cluster or hostgroup two are never written together: both their writers would be opened.
func TestTheSecondOfAClusterIsWrittenAfterTheFirst(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		for name, second := range map[string]subject{
			"one cluster":  {"c1", Hostgroups{Writer: 902, Reader: 903}},
			"one writers":  {"other", Hostgroups{Writer: 102, Reader: 903}},
			"one readers":  {"other", Hostgroups{Writer: 902, Reader: 103}},
			"crossed over": {"other", Hostgroups{Writer: 103, Reader: 903}},
		} {
			reset(t, b.Proxy)
			end, err := b.admin.begin(within(t))
			must(t, err)
			tasks := []*task{toApply(within(t), 1), toApply(within(t), 1)}
			tasks[1].subject, tasks[1].route.Cluster, tasks[1].route.Epoch = second, second.cluster, 2
			b.admin.look(within(t), tasks)
			b.admin.write(within(t), tasks)
			end()
			if tasks[0].written != 1 || tasks[1].written != 0 || tasks[1].kind != looking || tasks[1].over {
				t.Errorf("%s: the first is written %d times, the second %d times, and goes on with %d (over: %v)",
					name, tasks[0].written, tasks[1].written, tasks[1].kind, tasks[1].over)
			}
			wantText(t, name, table(t, b.Proxy, "SELECT COUNT(*) FROM mysql_servers WHERE hostgroup_id >= 900"), "0")
		}
	})
}

// What claims a hostgroup again while it is taken over is seen when the route is read back.
func TestWhatIsTakenOverIsReadBack(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		claims := []string{"INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (102, 103)", loadServers}
		sqlExec(t, b.Proxy, claims...)
		end, err := b.admin.begin(within(t))
		must(t, err)
		defer end()
		x := toApply(within(t), 1)
		x.hg.TakeOver = true
		b.admin.look(within(t), []*task{x})
		b.admin.write(within(t), []*task{x})
		sqlExec(t, b.Proxy, claims...)
		b.admin.look(within(t), []*task{x})
		if x.over || x.settled || x.kind != writing {
			t.Errorf("it is settled: %v (%v), and goes on with %d", x.settled, x.err, x.kind)
		}
	})
}

// A route that closes the writer is not said to be applied before the sessions are gone that could go on writing.
func TestNoEpochIsToldWhileSessionsMayWrite(t *testing.T) {
	onProxies(t, func(t *testing.T, b *bench) {
		end, err := b.admin.begin(within(t))
		must(t, err)
		end = sync.OnceFunc(end)
		defer end()
		x := toApply(within(t), 1)
		x.route.Mode = topology.Fenced
		b.admin.look(within(t), []*task{x})
		b.admin.write(within(t), []*task{x})
		b.admin.look(within(t), []*task{x})
		if !x.settled || x.over || x.kind != ending {
			t.Fatalf("it is settled: %v, over: %v, and goes on with %d", x.settled, x.over, x.kind)
		}
		b.admin.fail([]*task{x}, ErrUnreachable)
		if x.status.Epoch != 0 {
			t.Errorf("it is told to be at epoch %d", x.status.Epoch)
		}
		end()
		p, err := b.admin.Apply(within(t), x.route, x.hg) // finds nothing to change
		must(t, err)
		if p.Epoch != 1 || !p.Drained {
			t.Errorf("when they are gone: %+v", p)
		}
	})
}

// What is refused to several may be the fault of one; that nobody answers is nobody's. Who is refused alone stays alone.
func TestWhoseFaultARefusalIs(t *testing.T) {
	for _, tt := range []struct {
		name              string
		several           bool
		err               error
		over, alone, kept bool
	}{
		{"several are refused", true, ErrRefused, false, true, false},
		{"several get no answer", true, ErrUnreachable, true, false, false},
		{"one is refused", false, ErrRefused, true, false, true},
		{"one gets no answer", false, ErrUnreachable, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := New(Config{}, nil, nil)
			defer a.Close()
			tasks := []*task{toApply(within(t), 1)}
			if tt.several {
				tasks = append(tasks, toApply(within(t), 2))
			}
			a.fail(tasks, fmt.Errorf("what was asked: %w", tt.err))
			for _, x := range tasks {
				if x.over != tt.over || x.alone != tt.alone || a.refused[x.refusal()] != tt.kept {
					t.Errorf("over: %v, alone: %v, to be alone: %v; want %v, %v, %v", x.over, x.alone, a.refused[x.refusal()], tt.over, tt.alone, tt.kept)
				}
			}
		})
	}
}

// What concerns the proxy as a whole and cannot be taken over keeps everybody from writing, also one whom others asked with.
func TestNothingIsWrittenBeforeAllIsTakenOver(t *testing.T) {
	const of = "UPDATE global_variables SET variable_value = '%d' WHERE variable_name = 'admin-cluster_mysql_%s_diffs_before_sync'"
	onProxies(t, func(t *testing.T, b *bench) {
		sqlExec(t, b.Proxy, "INSERT INTO proxysql_servers (hostname, port) VALUES ('127.0.0.1', 1)", "LOAD PROXYSQL SERVERS TO RUNTIME",
			fmt.Sprintf(of, 3, "servers"), fmt.Sprintf(of, 0, "users"), "LOAD ADMIN VARIABLES TO RUNTIME",
			"CREATE UNIQUE INDEX one_off ON global_variables (variable_value) WHERE variable_value = '0' AND variable_name IN "+
				"('admin-cluster_mysql_servers_diffs_before_sync', 'admin-cluster_mysql_users_diffs_before_sync')")
		defer sqlExec(t, b.Proxy, "DROP INDEX one_off", fmt.Sprintf(of, 3, "users"), "LOAD ADMIN VARIABLES TO RUNTIME",
			"DELETE FROM proxysql_servers", "LOAD PROXYSQL SERVERS TO RUNTIME")
		b = newBench(t, b.Proxy) // who looked before would look for ProxySQL Cluster again only after seconds
		for i, err := range b.atOnce(t, 3, func(i int) error {
			r, hg := nth(i, 1, topology.Open)
			hg.TakeOver = true
			_, err := b.admin.Apply(within(t), r, hg)
			return err
		}) {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%d: %v, want %v", i, err, ErrRefused)
			}
		}
		wantText(t, "written", servers(t, b.Proxy, "mysql_servers"), "")
	})
}

// Who is refused something is alone in that until it is granted, and in nothing else.
func TestWhoIsRefusedIsAloneInThatOnly(t *testing.T) {
	const refused, n = 3, 6
	onProxies(t, func(t *testing.T, b *bench) {
		together := func(do func(topology.Route, Hostgroups) error) []error {
			return b.atOnce(t, n, func(i int) error { return do(nth(i, 1, topology.Open)) })
		}
		alone := func() int {
			b.admin.mu.Lock()
			defer b.admin.mu.Unlock()
			return len(b.admin.refused)
		}
		save := func(_ topology.Route, hg Hostgroups) error { return b.admin.Save(within(t), hg) }
		for _, err := range together(func(r topology.Route, hg Hostgroups) error { _, err := b.admin.Apply(within(t), r, hg); return err }) {
			must(t, err)
		}
		_, hg := nth(refused, 1, topology.Open)
		sqlExec(t, b.Proxy, fmt.Sprintf("CREATE UNIQUE INDEX disk.one_saved ON mysql_servers (hostgroup_id) WHERE hostgroup_id = %d", hg.Reader))
		t.Cleanup(func() { sqlExec(t, b.Proxy, "DROP INDEX IF EXISTS disk.one_saved") })
		for i, err := range together(save) {
			if (err != nil) != (i == refused) {
				t.Errorf("saved %d: %v", i, err)
			}
		}
		before := loads(t, b)
		for _, err := range together(func(r topology.Route, hg Hostgroups) error { return b.admin.Fence(within(t), r.Cluster, hg, true) }) {
			must(t, err)
		}
		if did := loads(t, b) - before; did > 2 || alone() != 1 {
			t.Errorf("%d loads for %d fences, while %d were refused something", did, n, alone())
		}
		sqlExec(t, b.Proxy, "DROP INDEX disk.one_saved")
		for _, err := range together(save) {
			must(t, err)
		}
		eventually(t, "nobody is alone any more", func() (bool, string) { return alone() == 0, "somebody is" })
	})
}

// Each session that is ended takes a statement, and who fences meanwhile does not wait for those of all.
func TestTheEndOfManySessionsKeepsNobodyFromAFence(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(within(t), lab.ServerOptions{Name: "db", Writable: true})
	must(t, err)
	must(t, s.Exec(within(t), "CREATE DATABASE lab"))
	onProxies(t, func(t *testing.T, b *bench) {
		h := throughHeld(t, b)
		var log bytes.Buffer
		b.admin.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		writer := topology.MustParseAddr(s.Addr)
		b.apply(t, topology.Route{Cluster: "main", Epoch: 1, Writer: writer, Mode: topology.Open})
		attached := func() string {
			return table(t, b.Proxy, "SELECT COUNT(*) FROM stats_mysql_processlist WHERE hostgroup = 10 AND srv_host <> ''")
		}
		for range 3 {
			openClient(t, b).exec(t, "SET @kept = 1") // no multiplexing from here on
		}
		wantText(t, "attached", attached(), "3")
		read := h.shut(t)
		ended, fenced := make(chan error, 1), make(chan error, 1)
		go func() { _, err := b.admin.EndSessions(within(t), tens, writer); ended <- err }()
		h.keeps(t)
		first := h.shut(t)
		read()
		eventually(t, "the first is ended", func() (bool, string) { n := attached(); return n == "2", n + " are left" })
		since := time.Now()
		go func() { fenced <- b.admin.Fence(within(t), "main", tens, false) }()
		eventually(t, "it has taken long", func() (bool, string) {
			b.admin.mu.Lock()
			defer b.admin.mu.Unlock()
			return time.Since(since) > endFor && len(b.admin.waiting) == 1, "not yet"
		})
		first()
		must(t, <-fenced)
		must(t, <-ended)
		b.admin.Close()
		order := regexp.MustCompile(`statement="(end a session|void the epoch)"`).FindAllStringSubmatch(log.String(), -1)
		var names []string
		for _, m := range order {
			names = append(names, m[1])
		}
		if want := []string{"end a session", "void the epoch", "end a session", "end a session"}; !slices.Equal(names, want) {
			t.Errorf("the order was %q, want %q", names, want)
		}
	})
}

// A session that went away by itself meanwhile is one that has ended.
func TestASessionThatIsGoneIsEnded(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(within(t), lab.ServerOptions{Name: "db", Writable: true})
	must(t, err)
	must(t, s.Exec(within(t), "CREATE DATABASE lab"))
	onProxies(t, func(t *testing.T, b *bench) {
		h := throughHeld(t, b)
		writer := topology.MustParseAddr(s.Addr)
		b.apply(t, topology.Route{Cluster: "main", Epoch: 1, Writer: writer, Mode: topology.Open})
		openClient(t, b).exec(t, "SET @kept = 1") // no multiplexing from here on
		read := h.shut(t)
		ended := make(chan error, 1)
		go func() { _, err := b.admin.EndSessions(within(t), tens, writer); ended <- err }()
		h.keeps(t)
		const attached = "FROM stats_mysql_processlist WHERE hostgroup = 10 AND srv_host <> ''"
		sqlExec(t, b.Proxy, "KILL CONNECTION "+table(t, b.Proxy, "SELECT SessionID "+attached))
		eventually(t, "it is gone", func() (bool, string) {
			n := table(t, b.Proxy, "SELECT COUNT(*) "+attached)
			return n == "0", n + " are left"
		})
		read()
		must(t, <-ended)
	})
}
