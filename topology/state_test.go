package topology

import (
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
)

// mariadb is a server with a binary log state, and what its source sent; strict
// as it has to be for its position to imply its history.
func mariadb(executed, received string) *State {
	st := &State{Flavor: "mariadb", GTIDStrict: true, Executed: gtid.MustParse(executed)}
	if received != "" {
		st.Sources = []Source{{Addr: "a:1", Received: gtid.MustParse(received)}}
	}
	return st
}

func loose(st *State) *State { st.GTIDStrict = false; return st }

func TestCovers(t *testing.T) {
	const u = "00000000-0000-0000-0000-000000000001"
	tests := []struct {
		name  string
		s, o  *State
		want  bool
		extra string
	}{
		{"equal", mariadb("0-1-100", ""), mariadb("0-1-100", ""), true, ""},
		{"ahead", mariadb("0-1-101", ""), mariadb("0-1-100", ""), true, ""},
		{"received counts", mariadb("0-1-90", "0-1-100"), mariadb("0-1-100", ""), true, ""},
		{"behind", mariadb("0-1-90", "0-1-95"), mariadb("0-1-100", ""), false, "0-1-(96..100)"},
		{"a promoted server has written on", mariadb("0-1-100,0-2-105", ""), mariadb("0-1-100", ""), true, ""},
		{"and the old one too", mariadb("0-1-100,0-2-105", ""), mariadb("0-1-103", ""), false, "0-1-(101..103)"},
		{"strict: the head implies an old server's entry", mariadb("0-1-100", ""), mariadb("0-1-100,0-9-50", ""), true, ""},
		{"not strict: it does not", mariadb("0-1-100", ""), loose(mariadb("0-1-100,0-9-50", "")), false, "0-9-50"},
		{"MySQL", mariadb(u+":1-100", ""), mariadb(u+":1-99", ""), true, ""},
		{"MySQL, a gap", mariadb(u+":1-50:52-100", ""), mariadb(u+":1-100", ""), false, u + ":51"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Covers(tt.o); got != tt.want {
				t.Errorf("covers: %v, want %v", got, tt.want)
			}
			if got := tt.s.Extra(tt.o).String(); got != tt.extra {
				t.Errorf("extra: %q, want %q", got, tt.extra)
			}
		})
	}
}

func TestCompareReceived(t *testing.T) {
	tests := []struct {
		name string
		a, b *State
		want gtid.Order
	}{
		{"equal, applied or not", mariadb("0-1-90", "0-1-100"), mariadb("0-1-100", "0-1-100"), gtid.Equal},
		{"ahead", mariadb("0-1-90", "0-1-101"), mariadb("0-1-100", "0-1-100"), gtid.Ahead},
		{"behind", mariadb("0-1-90", "0-1-99"), mariadb("0-1-100", "0-1-100"), gtid.Behind},
		{"divergent", mariadb("0-1-101", ""), mariadb("0-1-100,0-2-101", ""), gtid.Divergent},
		{"divergent domains", mariadb("0-1-101,1-1-5", ""), mariadb("0-1-100,1-1-6", ""), gtid.Divergent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := CompareReceived(tt.a, tt.b); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestHasApplied(t *testing.T) {
	st := mariadb("0-1-100", "0-1-105")
	if !st.HasApplied(gtid.MustParse("0-1-100,0-9-50")) || st.HasApplied(st.Received()) {
		t.Error("what is in the relay log is not applied; what its position implies is")
	}
}

func TestStateOfNobody(t *testing.T) {
	var none *State
	var nobody *Instance
	if none.IsReplica() || none.Writable() || none.Source() != nil || !none.Received().Empty() || nobody.Fresh() {
		t.Error("an unknown instance has properties")
	}
}

func TestDefaultChannel(t *testing.T) {
	st := &State{Sources: []Source{{Channel: "x", Addr: "b:1"}, {Addr: "a:1"}}}
	if got := st.Source().Addr; got != "a:1" {
		t.Errorf("the default channel leads to %s", got)
	}
	st.Sources = st.Sources[:1]
	if got := st.Source().Addr; got != "b:1" {
		t.Errorf("the only channel leads to %s", got)
	}
}

func TestMajorVersion(t *testing.T) {
	for version, want := range map[string][2]int{"10.11.6-MariaDB-1:log": {10, 11}, "8.4.3": {8, 4}, "": {0, 0}, "x": {0, 0}} {
		if major, minor := (&State{Version: version}).MajorVersion(); [2]int{major, minor} != want {
			t.Errorf("%q is %d.%d", version, major, minor)
		}
	}
}

func TestHolds(t *testing.T) {
	tests := []struct {
		p    Proxy
		want bool
	}{
		{Proxy{Epoch: 12}, false}, {Proxy{Epoch: 13}, true}, {Proxy{Epoch: 14}, true},
		{Proxy{Epoch: 1, LeaseOver: true}, true}, {Proxy{Epoch: 1, Gone: true, Told: 13}, true},
		{Proxy{Epoch: 1, Gone: true, Told: 12}, false}, {Proxy{Cut: "stopped", Told: 13}, true}, {Proxy{Cut: "stopped", Told: 12}, false},
		{Proxy{Epoch: 1, Told: 13}, false},
		{Proxy{Epoch: 12, Conflict: "x", Error: "y"}, false},
	}
	for _, tt := range tests {
		if got := tt.p.Holds(13); got != tt.want {
			t.Errorf("%+v holds 13: %v", tt.p, got)
		}
	}
}

func TestSameAssignment(t *testing.T) {
	r := Route{Cluster: "main", Epoch: 1, Writer: "a:1", Mode: Open, Readers: []Reader{{"b:1", 1}}, Known: []Addr{"a:1", "b:1"}}
	same := r
	same.Epoch, same.At = 9, time.Now()
	if !r.SameAssignment(same) {
		t.Error("epoch and time are no assignment")
	}
	other := r
	other.Readers = []Reader{{"b:1", 2}}
	if r.SameAssignment(other) || !r.Reads("b:1") || r.Reads("a:1") {
		t.Error("weights are")
	}
}
