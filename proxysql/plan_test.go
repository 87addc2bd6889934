package proxysql

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/remora-ha/remora/topology"
)

var addrs = []topology.Addr{"db1:3306", "db2:3306", "db3:3306", "db3:3307", "[fe80::1]:3306"}

func drawRoute(t *rapid.T, epoch uint64) topology.Route {
	r := topology.Route{Cluster: "main", Epoch: epoch}
	r.Known = rapid.SliceOfNDistinct(rapid.SampledFrom(addrs), 0, len(addrs), rapid.ID).Draw(t, "known")
	r.Mode = rapid.SampledFrom([]topology.Mode{topology.Open, topology.Paused, topology.Fenced}).Draw(t, "mode")
	r.Writer = rapid.SampledFrom(append([]topology.Addr{""}, addrs...)).Draw(t, "writer")
	for _, a := range r.Known {
		if rapid.Bool().Draw(t, "reads") {
			r.Readers = append(r.Readers, topology.Reader{Addr: a, Weight: rapid.IntRange(1, 9).Draw(t, "weight")})
		}
	}
	return r
}

// drawRows makes rows of all hostgroups, as an operator may have left them.
func drawRows(t *rapid.T) []row {
	row := rapid.Custom(func(t *rapid.T) row {
		return row{
			Hostgroup: rapid.SampledFrom([]int{10, 11, 50}).Draw(t, "hostgroup"),
			Host:      rapid.SampledFrom([]string{"db1", "DB1", "db2", "db3", "fe80::1", "other"}).Draw(t, "host"),
			Port:      rapid.SampledFrom([]int{3306, 3307}).Draw(t, "port"),
			Status:    rapid.SampledFrom([]status{online, offlineHard, offlineSoft, shunned}).Draw(t, "status"),
			Weight:    rapid.IntRange(0, 5).Draw(t, "weight"),
			attributes: attributes{
				MaxConnections:    rapid.IntRange(0, 3).Draw(t, "max_connections"),
				MaxReplicationLag: rapid.IntRange(0, 3).Draw(t, "max_replication_lag"),
				UseSSL:            rapid.IntRange(0, 1).Draw(t, "use_ssl"),
				GTIDPort:          rapid.SampledFrom([]int{0, 6020, 3307}).Draw(t, "gtid_port"),
				Comment:           rapid.SampledFrom([]string{"", "it's", `back\slash`, `"`, "';--"}).Draw(t, "comment"),
			},
		}
	}).Filter(func(r row) bool { return r.GTIDPort != r.Port })
	return rapid.SliceOfNDistinct(row, 0, 8, rowOf).Draw(t, "rows")
}

func rowOf(r row) rowKey { return r.key() }

func insertAll(table string, rows []row) string {
	if len(rows) == 0 {
		return "SELECT 1"
	}
	values := make([]string, len(rows))
	for i, r := range rows {
		values[i] = fmt.Sprintf("(%d, %s, %d, %d, '%s', %d, %d, %d, %d, %d, %d, %s)", r.Hostgroup, literal(r.Host), r.Port, r.GTIDPort, r.Status,
			r.Weight, r.Compression, r.MaxConnections, r.MaxReplicationLag, r.UseSSL, r.MaxLatencyMS, literal(r.Comment))
	}
	return "INSERT INTO " + table + " (" + columns + ") VALUES " + strings.Join(values, ", ")
}

func (m *memoryAdmin) rows(t *rapid.T, where string) []row {
	table, err := m.query("SELECT 'memory', " + columns + " FROM mysql_servers WHERE " + where)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, cells := range table {
		p := &fields{values: cells}
		rows = append(rows, p.row())
		if p.err != nil {
			t.Fatal(p.err)
		}
	}
	return rows
}

// Whatever memory and runtime held, a plan brings them to the route; never are
// two servers ONLINE in the writer hostgroup once the first update is through, and none
// but the writer afterwards; what is the operator's stays.
func TestAPlanLeadsToTheRoute(t *testing.T) {
	m := newMemoryAdmin(t)
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		m.reset(t, rows, drawRows(t))
		writers := func() (n int) { return len(m.rows(t, "hostgroup_id = 10 AND status = 'ONLINE'")) }
		atFirst := writers()
		m.tick = func(name string) {
			if n := writers(); n > max(1, atFirst) || name == "load servers" && n > 1 {
				t.Fatalf("%d ONLINE in the writer hostgroup after %q", n, name)
			}
		}
		for epoch := uint64(1); epoch <= 3; epoch++ {
			r := drawRoute(t, epoch)
			states, err := m.read(ours)
			if err != nil {
				t.Fatal(err)
			}
			s := states[0]
			p := makePlan(s, r, tens, true)
			if err := m.run(statements([]part{{guard{ours, epoch, "t"}, s, p}})); err != nil {
				t.Fatal(err)
			}
			atFirst = 0
			if states, err = m.read(ours); err != nil {
				t.Fatal(err)
			}
			s = states[0]
			if again := makePlan(s, r, tens, true); !again.settled(s, epoch) {
				t.Fatalf("not settled: memory %v, runtime %v, limit %t, publish %t", again.memory, again.runtime, again.limit, again.publish)
			}
			got := s.proxy(r, tens)
			if mode := modeOf(r); got.Mode != mode || mode != topology.Fenced && got.Writer != r.Writer {
				t.Fatalf("proxy %+v of route %+v", got, r)
			}
			if exposed(s, r, tens) {
				t.Fatal("exposed")
			}
			for _, reader := range r.Readers {
				if got := index(s.runtime)[place{11, reader.Addr}]; got.Status != online || got.Weight != reader.Weight {
					t.Fatalf("reader %v is %+v", reader, got)
				}
			}
		}
		checkKept(t, rows, m.rows(t, "1"))
	})
}

// modeOf is what a route amounts to.
func modeOf(r topology.Route) topology.Mode {
	if r.Writer == "" {
		return topology.Fenced
	}
	return r.Mode
}

// checkKept compares what is the operator's before and after.
func checkKept(t *rapid.T, before, after []row) {
	has := byKey(after)
	for _, b := range before {
		a, ok := has[b.key()]
		if !ok {
			t.Fatalf("%v is gone", b.key())
		}
		if b.Hostgroup != 50 {
			b.Status = a.Status
		}
		if b.Hostgroup == 11 {
			b.Weight = a.Weight
		}
		if d := cmp.Diff(b, a, cmp.AllowUnexported(row{})); d != "" {
			t.Fatalf("changed (-before +after):\n%s", d)
		}
	}
}

// A statement of an operation whose ticket or epoch is gone changes nothing.
func TestGuardedStatementsAreInert(t *testing.T) {
	m := newMemoryAdmin(t)
	rapid.Check(t, func(t *rapid.T) {
		m.reset(t, drawRows(t), nil)
		now := guard{ours, rapid.Uint64Range(1, 3).Draw(t, "epoch"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "ticket")}
		late := guard{ours, rapid.Uint64Range(1, 3).Draw(t, "late epoch"), rapid.SampledFrom([]string{"a", "b", "it's"}).Draw(t, "late ticket")}
		if now == late {
			t.Skip("the same operation")
		}
		for _, st := range []string{createTable, guards{now}.raise().text} {
			if err := m.exec(st); err != nil {
				t.Fatal(err)
			}
		}
		dump := func() string {
			var all []string
			for _, table := range []string{"mysql_servers", "mysql_hostgroup_attributes", "mysql_replication_hostgroups", "remora_epoch"} {
				rows, err := m.query("SELECT * FROM " + table + " ORDER BY 1, 2")
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, fmt.Sprint(table, rows))
			}
			return strings.Join(all, "\n")
		}
		before := dump()
		target := drawRows(t)
		gs := guards{late}
		list := []statement{gs.update(target), gs.limitWriters(true), gs.limitWriters(false), gs.confirm(),
			gs.release("mysql_replication_hostgroups", []string{"writer_hostgroup", "reader_hostgroup"})}
		if len(target) > 0 {
			list = append(list, gs.insert(target))
		}
		if late.epoch < now.epoch {
			list = append(list, gs.raise())
		}
		if err := m.run(list); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, dump()); d != "" {
			t.Fatal(d)
		}
	})
}

func TestWantOfARoute(t *testing.T) {
	for _, c := range []struct {
		name  string
		route topology.Route
		want  string
	}{
		{"open", route(1, "db1:3306", topology.Open), "10 db1 ONLINE, 10 db2 OFFLINE_HARD, 10 db3 OFFLINE_HARD, 11 db1 OFFLINE_SOFT, 11 db2 ONLINE*3, 11 db3 ONLINE*3"},
		{"paused", route(1, "db1:3306", topology.Paused), "10 db1 OFFLINE_SOFT, 10 db2 OFFLINE_HARD, 10 db3 OFFLINE_HARD, 11 db1 OFFLINE_SOFT, 11 db2 ONLINE*3, 11 db3 ONLINE*3"},
		{"fenced", route(1, "db1:3306", topology.Fenced), "10 db1 OFFLINE_HARD, 10 db2 OFFLINE_HARD, 10 db3 OFFLINE_HARD, 11 db1 OFFLINE_HARD, 11 db2 ONLINE*3, 11 db3 ONLINE*3"},
		{"the writer reads too", topology.Route{Writer: "db1:3306", Mode: topology.Open, Readers: []topology.Reader{{Addr: "db1:3306"}}},
			"10 db1 ONLINE, 11 db1 ONLINE*1"},
		{"a mode unheard of", topology.Route{Writer: "db1:3306", Mode: "ajar"}, "10 db1 OFFLINE_HARD, 11 db1 OFFLINE_HARD"},
		{"nobody", topology.Route{Mode: topology.Open}, ""},
		{"too heavy", topology.Route{Readers: []topology.Reader{{Addr: "db2:3306", Weight: 1 << 30}}}, "10 db2 OFFLINE_HARD, 11 db2 ONLINE*10000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted := want(c.route, tens)
			places := slices.SortedFunc(maps.Keys(wanted), func(a, b place) int {
				return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
			})
			var list []string
			for _, p := range places {
				text := fmt.Sprintf("%d %s %s", p.Hostgroup, p.Addr.Host(), wanted[p].Status)
				if w := wanted[p].Weight; w > 0 {
					text += fmt.Sprintf("*%d", w)
				}
				list = append(list, text)
			}
			wantText(t, "want", strings.Join(list, ", "), c.want)
		})
	}
}

func TestRuntimeIsComparedWithLeniency(t *testing.T) {
	at := func(hg int, s status, weight int) row {
		return row{Hostgroup: hg, Host: "db1", Port: 3306, Status: s, Weight: weight}
	}
	for _, c := range []struct {
		name       string
		have, want []row
		says       string
	}{
		{"absent is hard", nil, []row{at(10, offlineHard, 1)}, ""},
		{"shunned is ProxySQL's own view", []row{at(11, shunned, 1)}, []row{at(11, online, 1)}, ""},
		{"shunned may come back", []row{at(10, shunned, 1)}, []row{at(10, offlineHard, 1)}, "status SHUNNED, want OFFLINE_HARD"},
		{"shunned is no pause", []row{at(10, shunned, 1)}, []row{at(10, offlineSoft, 1)}, "status SHUNNED, want OFFLINE_SOFT"},
		{"soft is not closed", []row{at(10, offlineSoft, 1)}, []row{at(10, offlineHard, 1)}, "status OFFLINE_SOFT, want OFFLINE_HARD"},
		{"weight of one who serves", []row{at(11, online, 1)}, []row{at(11, online, 2)}, "weight 1, want 2"},
		{"weight of one who does not", []row{at(11, offlineSoft, 1)}, []row{at(11, offlineSoft, 2)}, ""},
		{"weight of a writer", []row{at(10, online, 1)}, []row{at(10, online, 2)}, ""},
		{"missing", nil, []row{at(11, online, 1)}, "absent, want ONLINE"},
		{"no row in memory", []row{at(10, online, 1)}, nil, "status ONLINE, want no row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var says []string
			for _, x := range diffRuntime(c.have, c.want, tens) {
				says = append(says, x.Why)
			}
			wantText(t, "changes", strings.Join(says, "; "), c.says)
		})
	}
}

func TestHostgroupsAreValidated(t *testing.T) {
	for _, h := range []Hostgroups{{Writer: 1, Reader: 1}, {Writer: -1, Reader: 1}, {}} {
		if h.Validate() == nil {
			t.Errorf("%+v is taken", h)
		}
	}
	if err := tens.Validate(); err != nil {
		t.Error(err)
	}
}
