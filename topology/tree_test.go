package topology

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
)

var update = flag.Bool("update", false, "rewrite the golden trees")

// chart makes a snapshot from lines such as "b<a": b replicates from a. The first
// one is the routed writer.
func chart(text string) *Snapshot {
	s := &Snapshot{Cluster: "main", Taken: noon}
	for n, word := range strings.Fields(text) {
		name, source, isReplica := strings.Cut(word, "<")
		st := &State{Flavor: "mariadb", Version: "10.11.6", LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDMode: "ON", Executed: gtid.MustParse("0-1-100"), ReadOnly: n > 0}
		if isReplica {
			lag := Duration(0)
			st.Sources = []Source{{Addr: Addr(source + ":3306"), IO: ThreadYes, SQL: ThreadYes, GTID: true, Lag: &lag}}
		}
		s.Instances = append(s.Instances, Instance{Addr: Addr(name + ":3306"), Reach: Up, State: st})
	}
	s.Route.Writer = s.Instances[0].Addr
	*s = s.Sorted()
	return s
}

func (s *Snapshot) with(name string, change func(*Instance)) *Snapshot {
	change(s.Instance(Addr(name + ":3306")))
	return s
}

func TestTrees(t *testing.T) {
	cases := map[string]*Snapshot{
		"chain":   chart("a b<a c<b d<c e<a"),
		"ring":    chart("b<a a<b c<a d<b"),
		"orphans": chart("b a<b z c<b"),
		"unknown": chart("a b<a c<elsewhere d<c"),
		"states": chart("a b<a c<a db-with-a-long-name<a e<a f<a").
			with("b", func(i *Instance) { i.State.Sources[0].SQL, i.State.Sources[0].Lag = ThreadNo, nil }).
			with("c", func(i *Instance) { i.Reach = Down }).
			with("db-with-a-long-name", func(i *Instance) {
				i.State.SemiSync.ReplicaEnabled = true
				lag := Duration(90 * time.Second)
				i.State.Sources[0].Lag = &lag
			}).
			with("a", func(i *Instance) { i.State.SemiSync = SemiSync{SourceEnabled: true, WaitCount: 1} }).
			with("e", func(i *Instance) { i.State.LogBin = false }).
			with("f", func(i *Instance) { i.State, i.Reach = nil, Unclear }),
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			got := Render(Tree(s))
			file := filepath.Join("testdata", "tree-"+name+".golden")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEveryInstanceAppearsOnce draws any sources at all: chains, rings, rings with
// tails, unknown ones.
func TestEveryInstanceAppearsOnce(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	rapid.Check(t, func(t *rapid.T) {
		var words []string
		for _, n := range names {
			source := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f", "x"}).Draw(t, n)
			if source != "" && source != n {
				n += "<" + source
			}
			words = append(words, n)
		}
		s := chart(strings.Join(words, " "))
		s.Route.Writer = Addr(rapid.SampledFrom(names).Draw(t, "writer") + ":3306")
		var seen []Addr
		for _, root := range Tree(s) {
			root.Depth(func(n *Node, _ int) {
				if n.Instance != nil {
					seen = append(seen, n.Addr)
				}
			})
		}
		slices.Sort(seen)
		if len(seen) != len(names) || len(slices.Compact(seen)) != len(names) {
			t.Fatalf("%v: drawn are %v", words, seen)
		}
	})
}

func TestResolve(t *testing.T) {
	s := chart("a b<alias c<b").with("a", func(i *Instance) { i.State.ReportedAs = "alias:3306" })
	if got := s.SourceOf("b:3306"); got != "a:3306" {
		t.Errorf("the source of b is %s", got)
	}
	if s.ChannelTo(s.Instance("b:3306"), "a:3306") == nil || s.ChannelTo(s.Instance("c:3306"), "a:3306") != nil {
		t.Error("channels lead elsewhere")
	}
	if !s.Under("c:3306", "a:3306") || s.Under("a:3306", "c:3306") || s.RootOf("c:3306") != "a:3306" {
		t.Error("c is under a, and a is the root")
	}
	if ring := chart("a<b b<a c<a"); !ring.Under("c:3306", "b:3306") || !ring.Under("a:3306", "b:3306") {
		t.Error("in a ring everybody is under everybody")
	}
}
