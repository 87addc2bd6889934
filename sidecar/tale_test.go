package sidecar

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// passed over are the fields that a heartbeat need not repeat when they move: see moved. For each
// of them: why a decision upon an old value is none. (Before anything is done, all is read anew.)
var passedOver = map[string]string{
	"State.Executed":    "grows with every transaction",
	"State.Purged":      "grows with every purge",
	"State.Uptime":      "grows by the clock; a restart is told",
	"State.Connections": "that all are taken is told",
	"Source.Received":   "grows with every transaction",
	"Source.ReadTo":     "grows with every transaction",
	"Source.AppliedTo":  "grows with every transaction",
	"Source.Lag":        "more than its unit is told",
	"Source.Silence":    "more than a heartbeat's period is told",
	"SemiSync.Waiting":  "that somebody waits at all is told",
	"View.At":           "is what is confirmed",
	"View.StateAt":      "is that of the whole reading",
	"View.Took":         "is shown only",
	"View.Observer":     "does not change",
	"View.Instance":     "does not change",
	"View.State":        "is looked at field by field",
	"State.Sources":     "are looked at field by field",
	"State.SemiSync":    "is looked at field by field",
}

// A field that is added is told, or it is said here why it need not be.
func TestWhatDecisionsLookAtIsTold(t *testing.T) {
	now := time.Now()
	base := func() topology.View {
		v := wellView("n1", "b:3306", "a:3306", now)
		return v
	}
	for _, part := range []struct {
		name string
		of   func(*topology.View) reflect.Value
	}{
		{"View", func(v *topology.View) reflect.Value { return reflect.ValueOf(v).Elem() }},
		{"State", func(v *topology.View) reflect.Value { return reflect.ValueOf(v.State).Elem() }},
		{"Source", func(v *topology.View) reflect.Value { return reflect.ValueOf(&v.State.Sources[0]).Elem() }},
		{"SemiSync", func(v *topology.View) reflect.Value { return reflect.ValueOf(&v.State.SemiSync).Elem() }},
	} {
		v := base()
		for i := range part.of(&v).NumField() {
			name := part.name + "." + part.of(&v).Type().Field(i).Name
			if passedOver[name] != "" {
				continue
			}
			other := base()
			change(t, name, part.of(&other).Field(i))
			if !moved(base(), other) {
				t.Errorf("%s changed and would not be told: compare it in moved, or say here why it need not be", name)
			}
		}
	}
}

func change(t *testing.T, name string, f reflect.Value) {
	switch f.Kind() {
	case reflect.String:
		f.SetString(f.String() + "x")
	case reflect.Bool:
		f.SetBool(!f.Bool())
	case reflect.Int, reflect.Int64:
		f.SetInt(f.Int() + 1)
	case reflect.Uint32:
		f.SetUint(f.Uint() + 1)
	case reflect.Slice:
		f.Set(reflect.Append(f, reflect.Zero(f.Type().Elem())))
	default:
		t.Fatalf("%s is of a kind that this test cannot change: %s", name, f.Kind())
	}
}

func TestWhatMovesOnlyALittleIsNotTold(t *testing.T) {
	now := time.Now()
	a := wellView("n1", "b:3306", "a:3306", now)
	at := func(d time.Duration, change func(*topology.State, *topology.Source)) topology.View {
		v := wellView("n1", "b:3306", "a:3306", now.Add(d))
		v.State.Uptime = a.State.Uptime + topology.Duration(d)
		change(v.State, &v.State.Sources[0])
		return v
	}
	dur := func(d time.Duration) *topology.Duration { x := topology.Duration(d); return &x }
	for _, c := range []struct {
		name string
		b    topology.View
		want bool
	}{
		{"a minute later", at(time.Minute, func(*topology.State, *topology.Source) {}), false},
		{"transactions", at(0, func(s *topology.State, _ *topology.Source) {
			s.Executed = gtid.MustParse("8c2c7a2e-3e1c-11ef-9d3b-0242ac120002:1-1000009")
		}), false},
		{"a restart", at(time.Minute, func(s *topology.State, _ *topology.Source) { s.Uptime = 0 }), true},
		{"a second's lag", at(0, func(_ *topology.State, s *topology.Source) { s.Lag = dur(time.Second) }), false},
		{"more lag", at(0, func(_ *topology.State, s *topology.Source) { s.Lag = dur(2 * time.Second) }), true},
		{"an unknown lag", at(0, func(_ *topology.State, s *topology.Source) { s.Lag = nil }), true},
		{"a heartbeat's silence", at(0, func(_ *topology.State, s *topology.Source) { s.Silence = dur(500 * time.Millisecond) }), false},
		{"more silence", at(0, func(_ *topology.State, s *topology.Source) { s.Silence = dur(600 * time.Millisecond) }), true},
		{"all connections taken", at(0, func(s *topology.State, _ *topology.Source) { s.Connections = s.MaxConnections }), true},
		{"a few connections", at(0, func(s *topology.State, _ *topology.Source) { s.Connections = 11 }), false},
	} {
		if moved(a, c.b) != c.want {
			t.Errorf("%s: told is %t", c.name, !c.want)
		}
	}
}

// talk is a sidecar and the leaders that it talks to, over a network that loses requests and answers.
type talk struct {
	*rapid.T
	now     time.Time
	started time.Time
	seq     uint64
	leader  string
	by      map[string]*evidence
	tale    tale
	views   map[topology.Addr]topology.View
	proxies map[string]topology.Proxy
	acked   map[string]uint64
}

// Whatever is lost, whoever leads and whoever restarts: what a leader says to hold is what the sidecar
// last told of, and what it does not hold it asks for.
func TestTheLeaderHoldsWhatItSaysToHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &talk{
			T: t, now: time.Now(), leader: "n2", by: map[string]*evidence{}, views: map[topology.Addr]topology.View{},
			proxies: map[string]topology.Proxy{}, acked: map[string]uint64{},
		}
		k.started = k.now
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			k.now = k.now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			k.step()
		}
		for range 3 { // without losses everything arrives
			k.now = k.now.Add(time.Millisecond)
			k.beat(false, false)
		}
		if k.tale.upTo != k.seq {
			t.Errorf("after three heartbeats without a loss the leader holds all up to %d of %d", k.tale.upTo, k.seq)
		}
	})
}

func (k *talk) step() {
	addr := rapid.SampledFrom(someAddrs(2)).Draw(k.T, "instance")
	switch rapid.IntRange(0, 14).Draw(k.T, "what") {
	case 0, 1, 2: // it is read again
		v := wellView("n1", addr, "a:3306", k.now)
		if rapid.Bool().Draw(k.T, "down") {
			v.Reach, v.Failures = topology.Refused, 1
		}
		k.views[addr] = v
	case 3: // it is watched no more
		delete(k.views, addr)
	case 4: // the proxy goes on
		k.proxies["main"] = topology.Proxy{Epoch: k.proxies["main"].Epoch + 1}
		k.acked["main"]++
	case 5:
		k.leader = rapid.SampledFrom([]string{"n2", "n3"}).Draw(k.T, "leader")
	case 6: // a new term of the same leader
		delete(k.by, k.leader)
	case 7: // the sidecar restarts
		k.started, k.seq, k.tale = k.now, 0, tale{}
	default:
		lost := rapid.IntRange(0, 5).Draw(k.T, "lost")
		k.beat(lost == 0, lost == 1)
	}
}

// beat sends a heartbeat that is lost on its way, or its answer is, or neither.
func (k *talk) beat(requestLost, answerLost bool) {
	k.seq++
	h := api.Heartbeat{Node: "n1", Seq: k.seq, Started: k.started, Shares: "x", Proxies: map[string]topology.Proxy{}, Acknowledged: map[string]uint64{}}
	for name, p := range k.proxies {
		h.Proxies[name] = p
	}
	for name, e := range k.acked {
		h.Acknowledged[name] = e
	}
	var seen []reading
	for _, v := range k.views {
		seen = append(seen, reading{v, rapid.IntRange(0, 9).Draw(k.T, "close") == 0})
	}
	slices.SortFunc(seen, func(a, b reading) int { return compareAddrs(a.Instance, b.Instance) })
	k.tale.compose(&h, k.leader, seen, k.now)
	e := k.by[k.leader]
	if e == nil {
		e = newEvidence(DefaultConfig().Lease, 0)
		k.by[k.leader] = e
	}
	if requestLost {
		k.tale.lost()
		return
	}
	taken := e.take(h, k.now)
	if held := e.held("n1"); taken && held == h.Seq {
		k.compare(e)
	} else if taken && held != 0 {
		k.Fatalf("after heartbeat %d the leader holds all up to %d", h.Seq, held)
	}
	if !taken || answerLost {
		k.tale.lost()
		return
	}
	k.tale.taken(&h, e.held("n1"), k.now)
}

func compareAddrs(a, b topology.Addr) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (k *talk) compare(e *evidence) {
	for a, v := range k.views {
		held, ok := e.nodes["n1"].views[a]
		if !ok || moved(held, v) || held.At.Sub(v.At).Abs() > time.Millisecond {
			k.Fatalf("of %s the leader holds %s; the sidecar saw %s", a, said(held), said(v))
		}
		if held.StateAt.After(v.StateAt.Add(time.Millisecond)) {
			k.Fatalf("the leader's reading of %s is newer than any", a)
		}
	}
	if got := e.nodes["n1"].proxies["main"]; got.Epoch != k.proxies["main"].Epoch || e.nodes["n1"].acked["main"] != k.acked["main"] {
		k.Fatalf("of the proxy the leader holds %v, %v; it is %v, %v", got, e.nodes["n1"].acked, k.proxies, k.acked)
	}
}

func said(v topology.View) string {
	if v.State == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s at %s", v.Reach, v.At)
}

// What was sent, and may have arrived or not, is not what the next heartbeat builds upon.
func TestAViewWhoseAnswerWasLostIsToldAgain(t *testing.T) {
	now := time.Now()
	e := newEvidence(DefaultConfig().Lease, 0)
	var told tale
	for n, c := range []struct {
		reach topology.Reach
		lost  bool // the answer is
	}{{topology.Answered, false}, {topology.Refused, true}, {topology.Answered, false}} {
		now = now.Add(time.Second)
		v := wellView("n1", "b:3306", "a:3306", now)
		v.State.Uptime += topology.Duration(time.Duration(n) * time.Second)
		v.Reach = c.reach
		h := api.Heartbeat{Node: "n1", Seq: uint64(n + 1)}
		told.compose(&h, "n2", []reading{{View: v}}, now)
		e.take(h, now)
		if c.lost {
			told.lost()
		} else {
			told.taken(&h, e.held("n1"), now)
		}
		if held := e.nodes["n1"].views["b:3306"]; held.Reach != c.reach {
			t.Errorf("heartbeat %d: the leader holds that it %s, and it %s", n+1, held.Reach, c.reach)
		}
	}
}

// Of thousands of views each heartbeat tells some, first those that are acted upon, until all are held.
func TestThousandsOfViewsAreToldInTurn(t *testing.T) {
	now := time.Now()
	e := newEvidence(DefaultConfig().Lease, 0)
	var seen []reading
	for _, a := range someAddrs(2*maxWhole + 1) {
		seen = append(seen, reading{View: wellView("n1", a, "a:3306", now)})
	}
	last := &seen[len(seen)-1].View
	last.Reach = topology.Refused
	var told tale
	beats := 0
	for again := true; again; {
		beats++
		h := api.Heartbeat{Node: "n1", Seq: uint64(beats), Shares: "x"}
		told.compose(&h, "n2", seen, now)
		e.take(h, now)
		again = told.taken(&h, e.held("n1"), now)
		if held := e.nodes["n1"].views[last.Instance]; held.Reach != topology.Refused {
			t.Errorf("after heartbeat %d the leader does not know who cannot be reached", beats)
		}
	}
	if n := len(e.nodes["n1"].views); beats != 3 || n != len(seen) {
		t.Errorf("after %d heartbeats the leader holds %d of %d views", beats, n, len(seen))
	}
}
