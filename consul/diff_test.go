package consul

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"pgregory.net/rapid"

	"github.com/remora-ha/remora/topology"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// route is one of cluster main with a writer and two readers.
func route(epoch uint64, writer topology.Addr, mode topology.Mode) topology.Route {
	return topology.Route{Cluster: "main", Epoch: epoch, Writer: writer, Mode: mode, At: at,
		Readers: []topology.Reader{{Addr: "db2:3306", Weight: 10}, {Addr: "[fd00::3]:3307"}}}
}

func about(a topology.Addr) (string, topology.LagState) {
	if a == "db2:3306" {
		return "eu1", topology.LagOK
	}
	return "eu2", topology.Lagging
}

func TestTheDocumentOfARoute(t *testing.T) {
	primary := `{"host":"db1","port":3306,"address":"db1:3306","data_center":"eu2"}`
	readers := `[{"host":"db2","port":3306,"address":"db2:3306","data_center":"eu1","weight":10,"lag":"ok"},` +
		`{"host":"fd00::3","port":3307,"address":"[fd00::3]:3307","data_center":"eu2","weight":1,"lag":"lagging"}]`
	for name, c := range map[string]struct {
		route topology.Route
		want  string
	}{
		"open": {route(7, "db1:3306", topology.Open),
			`{"version":1,"cluster":"main","epoch":7,"mode":"open","writer":` + primary + `,"primary":` + primary + `,"readers":` + readers + `,"time":"2026-01-02T03:04:05Z"}`},
		"fenced": {route(8, "db1:3306", topology.Fenced),
			`{"version":1,"cluster":"main","epoch":8,"mode":"fenced","writer":null,"primary":` + primary + `,"readers":` + readers + `,"time":"2026-01-02T03:04:05Z"}`},
		"paused": {route(9, "db1:3306", topology.Paused),
			`{"version":1,"cluster":"main","epoch":9,"mode":"paused","writer":null,"primary":` + primary + `,"readers":` + readers + `,"time":"2026-01-02T03:04:05Z"}`},
		"nobody": {topology.Route{Cluster: "main", Epoch: 1, Mode: topology.Open},
			`{"version":1,"cluster":"main","epoch":1,"mode":"open","writer":null,"primary":null,"readers":[],"time":"0001-01-01T00:00:00Z"}`},
	} {
		t.Run(name, func(t *testing.T) {
			d := topology.NewDocument(c.route, about)
			if diff := cmp.Diff(c.want, encode(d)); diff != "" {
				t.Error(diff)
			}
			if back, ok := decode(encode(d)); !ok || !cmp.Equal(d, back) {
				t.Errorf("read back: %v", cmp.Diff(d, back))
			}
		})
	}
}

func TestWhatIsNoDocumentIsNotPublished(t *testing.T) {
	good := func() topology.Document { return topology.NewDocument(route(1, "db1:3306", topology.Open), nil) }
	if err := check(good()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*topology.Document){
		"names no cluster":          func(d *topology.Document) { d.Cluster = "" },
		"cannot be part of a key":   func(d *topology.Document) { d.Cluster = "a/b" },
		"has no epoch":              func(d *topology.Document) { d.Epoch = 0 },
		"a writer while it is":      func(d *topology.Document) { d.Mode = topology.Fenced },
		"which is not its primary":  func(d *topology.Document) { d.Primary = &topology.Endpoint{Address: "db9:3306"} },
		"db1:3306, which is not it": func(d *topology.Document) { d.Primary = nil },
	} {
		d := good()
		spoil(&d)
		if err := check(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

const keys = keyset("mysql/master/main")

// stored is what a store holds after d was published, each key at index 5.
func stored(d topology.Document, addrs ips) map[string]entry {
	have := map[string]entry{}
	for key, value := range want(keys, d, addrs, nil) {
		have[key] = entry{value: value, flags: d.Epoch, index: 5}
	}
	return have
}

func render(ops api.TxnOps) []string {
	var lines []string
	for _, op := range ops {
		line := string(op.KV.Verb) + " " + strings.TrimPrefix(op.KV.Key, "mysql/master/")
		if op.KV.Verb == api.KVSet {
			line += " " + string(op.KV.Value)
		} else {
			line += " @" + string(rune('0'+op.KV.Index))
		}
		lines = append(lines, line)
	}
	return lines
}

func TestOperations(t *testing.T) {
	known := ips{v4: "10.0.0.1", known: true}
	old := topology.NewDocument(route(7, "db1:3306", topology.Open), about)
	next := topology.NewDocument(route(8, "db2:3306", topology.Open), about)
	all := func(host, ip string) []string {
		return []string{"set main " + host + ":3306", "set main/hostname " + host, "set main/port 3306", "set main/ipv4 " + ip, "set main/ipv6 "}
	}
	later := old
	later.Time = at.Add(time.Hour)
	lag := topology.NewDocument(route(7, "db1:3306", topology.Open), nil)
	for name, c := range map[string]struct {
		have  func(map[string]entry)
		want  topology.Document
		addrs ips
		ops   []string
	}{
		"an empty store":               {func(h map[string]entry) { clear(h) }, old, known, append([]string{"cas main/remora @0"}, all("db1", "10.0.0.1")...)},
		"nothing to do":                {nil, old, known, nil},
		"only the time differs":        {nil, later, known, nil},
		"another lag":                  {nil, lag, known, []string{"cas main/remora @5"}},
		"a new primary":                {nil, next, known, append([]string{"cas main/remora @5"}, all("db2", "10.0.0.1")...)},
		"its address is unknown":       {nil, next, ips{}, append([]string{"cas main/remora @5"}, all("db2", "")...)},
		"the address is not known now": {nil, old, ips{}, nil},
		"a key is gone":                {func(h map[string]entry) { delete(h, "mysql/master/main") }, old, known, []string{"check-index main/remora @5", "set main db1:3306"}},
		"an empty key is gone":         {func(h map[string]entry) { delete(h, keys.ipv6()) }, old, known, []string{"check-index main/remora @5", "set main/ipv6 "}},
		"a key was changed":            {func(h map[string]entry) { h[keys.port()] = entry{value: "1", index: 9} }, old, known, []string{"check-index main/remora @5", "set main/port 3306"}},
		"its epoch was lost":           {func(h map[string]entry) { h[keys.port()] = entry{value: "3306", index: 9} }, old, known, []string{"check-index main/remora @5", "set main/port 3306"}},
		"the document is gone":         {func(h map[string]entry) { delete(h, keys.document()) }, old, known, []string{"cas main/remora @0"}},
		"the document is nonsense":     {func(h map[string]entry) { h[keys.document()] = entry{value: "{", index: 6} }, old, known, []string{"cas main/remora @6"}},
		"the document has other letters": {func(h map[string]entry) {
			h[keys.document()] = entry{value: strings.Replace(h[keys.document()].value, `"writer"`, `"Writer"`, 1), flags: 7, index: 6}
		}, old, known, []string{"cas main/remora @6"}},
		"a stranger's key stays": {func(h map[string]entry) { h[string(keys)+"/note"] = entry{value: "x", index: 1} }, old, known, nil},
		"nobody is the primary":  {nil, topology.NewDocument(topology.Route{Cluster: "main", Epoch: 9}, nil), ips{}, []string{"cas main/remora @5"}},
	} {
		t.Run(name, func(t *testing.T) {
			have := stored(old, known)
			if c.have != nil {
				c.have(have)
			}
			ops := diff(keys, c.want.Epoch, want(keys, c.want, c.addrs, have), have)
			if d := cmp.Diff(c.ops, render(ops)); d != "" {
				t.Error(d)
			}
			for _, op := range ops {
				if op.KV.Verb != api.KVCheckIndex && op.KV.Flags != c.want.Epoch {
					t.Errorf("%s is not marked with the epoch", op.KV.Key)
				}
			}
		})
	}
}

func TestTheStoredEpochOutlivesTheDocument(t *testing.T) {
	have := stored(topology.NewDocument(route(7, "db1:3306", topology.Open), nil), ips{})
	have[keys.document()] = entry{value: "gone mad", index: 1}
	if got := storedEpoch(keys, have); got != 7 {
		t.Errorf("without a document the epoch is %d, want 7", got)
	}
	d := topology.NewDocument(route(9, "db1:3306", topology.Open), nil)
	have[keys.document()] = entry{value: encode(d)}
	if got := storedEpoch(keys, have); got != 9 {
		t.Errorf("without flags the epoch is %d, want 9", got)
	}
	if got := storedEpoch(keys, map[string]entry{"mysql/master/main2": {flags: 99}}); got != 0 {
		t.Errorf("another cluster's epoch %d counts", got)
	}
}

// apply is Consul's transaction on one cluster's keys.
func apply(have map[string]entry, ops api.TxnOps, index uint64) bool {
	for _, op := range ops {
		if (op.KV.Verb == api.KVCAS || op.KV.Verb == api.KVCheckIndex) && have[op.KV.Key].index != op.KV.Index {
			return false
		}
	}
	for _, op := range ops {
		if op.KV.Verb != api.KVCheckIndex {
			have[op.KV.Key] = entry{string(op.KV.Value), op.KV.Flags, index}
		}
	}
	return true
}

// Whatever is stored, and whoever wrote in between, a plan either makes the keys as
// wanted, with nothing left to do, or changes nothing.
func TestAnyPlanConvergesOrChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		hosts := []topology.Addr{"", "db1:3306", "db2:3306", "[fd00::1]:3306"}
		document := func(label string) topology.Document {
			r := route(rapid.Uint64Range(1, 5).Draw(rt, label+" epoch"), rapid.SampledFrom(hosts).Draw(rt, label),
				rapid.SampledFrom([]topology.Mode{topology.Open, topology.Paused, topology.Fenced}).Draw(rt, label+" mode"))
			return topology.NewDocument(r, about)
		}
		addrs := ips{v4: "10.0.0.1", known: rapid.Bool().Draw(rt, "known")}
		have := stored(document("stored"), ips{known: true})
		for _, key := range keys.all() {
			switch rapid.SampledFrom([]string{"as it is", "gone", "changed"}).Draw(rt, key) {
			case "gone":
				delete(have, key)
			case "changed":
				have[key] = entry{value: rapid.SampledFrom([]string{"", "x", "{}", "null"}).Draw(rt, "value"), index: 6}
			}
		}
		d := document("wanted")
		w := want(keys, d, addrs, have)
		ops := diff(keys, d.Epoch, w, have)
		if len(ops) > 0 && rapid.Bool().Draw(rt, "outrun") {
			other := topology.NewDocument(route(9, "db9:3306", topology.Open), nil)
			if !apply(have, diff(keys, 9, want(keys, other, ips{}, have), have), 8) {
				rt.Fatal("the other one failed")
			}
			if apply(have, ops, 10) || storedEpoch(keys, have) != 9 {
				rt.Fatalf("a plan made before another one was carried out after it: %v", render(ops))
			}
			return
		}
		if !apply(have, ops, 10) {
			rt.Fatalf("an undisturbed plan fails: %v", render(ops))
		}
		if left := diff(keys, d.Epoch, want(keys, d, addrs, have), have); len(left) > 0 {
			rt.Fatalf("left to do: %v", render(left))
		}
		if changes := compare(keys, w, have); len(changes) > 0 {
			rt.Fatalf("still different: %v", changes)
		}
		if d.Primary != nil && have[keys.address()].value != string(d.Primary.Address) {
			rt.Fatal("orchestrator's key names another primary")
		}
		if i := slices.IndexFunc(keys.all(), func(k string) bool { return have[k].flags > d.Epoch }); i >= 0 && d.Primary != nil {
			rt.Fatalf("%s has a higher epoch", keys.all()[i])
		}
	})
}
