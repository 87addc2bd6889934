package chaos

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// deal draws hands by name.
func deal(t *testing.T, seed uint64, n int, only ...string) []string {
	t.Helper()
	d, err := newDeck(rand.New(rand.NewPCG(seed, 1)), only)
	if err != nil {
		t.Fatal(err)
	}
	var hands []string
	for range n {
		hands = append(hands, d.draw().String())
	}
	return hands
}

func TestADeckHoldsEveryKind(t *testing.T) {
	hands := deal(t, 7, 200)
	var round []string // until the first kind comes again by itself
	for _, h := range hands {
		if slices.Contains(round, h) && slices.ContainsFunc(catalogue, func(f fault) bool { return f.name == h }) {
			break
		}
		round = append(round, h)
	}
	for _, f := range catalogue {
		if !slices.Contains(round, f.name) {
			t.Errorf("%q did not come before another came twice", f.name)
		}
	}
	for _, h := range hands {
		for _, f := range catalogue {
			if f.alone && h != f.name && (strings.HasPrefix(h, f.name+" +") || strings.HasSuffix(h, "+ "+f.name)) {
				t.Errorf("%q takes all writes away and came with another: %q", f.name, h)
			}
		}
	}
	if again := deal(t, 7, 200); !slices.Equal(hands, again) {
		t.Error("the same seed gave another order")
	}
	if other := deal(t, 8, 200); slices.Equal(hands, other) {
		t.Error("another seed gave the same order")
	}
	for _, h := range deal(t, 1, 50, "primary killed", "leader killed") {
		if !strings.Contains(h, "killed") && h != "switchover" {
			t.Errorf("%q was not asked for", h)
		}
	}
	if _, err := newDeck(rand.New(rand.NewPCG(1, 1)), []string{"primary kidnapped"}); err == nil {
		t.Error("a fault that does not exist was taken")
	}
}

// a report of a run of a minute, with one fault and a change of the primary.
func exampleReport() (Report, []lab.Write, []reign, *fleet.Fleet) {
	began := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	r := Report{
		Seed: 7, Servers: "MariaDB", Proxies: lab.StandIn, Began: began, Ended: at(60), Rebuilt: 1,
		Rounds: []Round{
			{Fault: "primary killed", Detail: "db0 killed <&>", Struck: at(10), Healed: at(20), Well: at(25), From: "db0", To: "db1", Backs: []float64{1200, 1300, 900}, Pauses: []float64{1250, 1350, 950}},
			{Fault: "leader killed", Detail: "node2 killed", Struck: at(30), Healed: at(40), Well: at(41), From: "db1", To: "db1"},
		},
		Verdict: Verdict{Acked: 4},
	}
	r.Kinds = kinds(r.Rounds)
	acked := []lab.Write{{Writer: 1, Seq: 1, At: at(5)}, {Writer: 1, Seq: 2, At: at(12)}, {Writer: 2, Seq: 1, At: at(6)}, {Writer: 2, Seq: 2, At: at(50)}}
	reigns := []reign{{server: 1, first: at(5).UnixMicro(), last: at(10).UnixMicro()}, {server: 2, first: at(12).UnixMicro(), last: at(50).UnixMicro()}}
	f := &fleet.Fleet{
		Nodes: make([]*lab.Host, 2),
		DB:    &lab.Topology{Servers: []*lab.Server{{Process: &lab.Process{Name: "db0"}, ServerID: 1}, {Process: &lab.Process{Name: "db1"}, ServerID: 2}}},
	}
	return r, acked, reigns, f
}

func TestTheTableAligns(t *testing.T) {
	r, _, _, _ := exampleReport()
	text := r.String()
	lines := strings.Split(text, "\n")
	column := strings.Index(lines[0], "rounds")
	for _, want := range []string{"primary killed", "leader killed"} {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) })
		if i < 0 || len(lines[i]) <= column || lines[i][column] != '1' || lines[i][column-1] != ' ' {
			t.Errorf("%q does not align:\n%s", want, text)
		}
	}
	for _, want := range []string{"0.90 / 1.20 / 1.30", "the stand-in", "seed 7", "Every promise was kept."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	r.Verdict.Lost, r.Verdict.Late, r.Verdict.Overlap = 3, 2, time.Second
	r.Broken = r.Verdict.broken(0)
	if len(r.Broken) != 2 || !strings.Contains(r.String(), "BROKEN: 3 acknowledged writes are lost") {
		t.Errorf("%q\n%s", r.Broken, r)
	}
}

func TestTheTimelineIsWellFormed(t *testing.T) {
	r, acked, reigns, f := exampleReport()
	plot := newTimeline(&r, acked, reigns, f)
	if len(plot.Faults) != 2 || len(plot.Writers) != 2 || len(plot.Clients) != 2 || len(plot.Clients[1].Gaps) != 3 || len(plot.Names) != 2 {
		t.Errorf("%d faults, %d writers, clients %+v", len(plot.Faults), len(plot.Writers), plot.Clients)
	}
	if a := plot.Faults[0]; a.X <= plotLeft || a.After()+a.Settle >= plot.Faults[1].X {
		t.Errorf("the faults lie at %+v", plot.Faults)
	}
	var b strings.Builder
	if err := plot.draw(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
	}
}
