package topology

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	three   = []string{"s1", "s2", "s3"}
	options = MergeOptions{Fresh: Duration(time.Second), Timeouts: 2}
)

// saw is a view of a:1 by an observer, some time ago.
func saw(observer string, r Reach, ago time.Duration, failures int) View {
	return View{Observer: observer, Instance: "a:1", At: noon.Add(-ago), Reach: r, Failures: failures}
}

func TestMergeVerdicts(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name  string
		views []View
		want  Verdict
	}{
		{"nobody saw it", nil, Unclear},
		{"one answer is enough", []View{saw("s1", Answered, 0, 0)}, Up},
		{"one answer outweighs a majority", []View{saw("s1", Answered, 0, 0), saw("s2", Refused, 0, 1), saw("s3", Refused, 0, 1)}, Up},
		{"a majority refused", []View{saw("s1", Refused, 0, 1), saw("s2", Refused, 0, 1)}, Down},
		{"one of three", []View{saw("s1", Refused, 0, 1)}, Partial},
		{"one of three, the others see nothing", []View{saw("s1", Refused, 0, 1), saw("s2", Unknown, 0, 0)}, Partial},
		{"a time-out counts after the second in a row", []View{saw("s1", TimedOut, 0, 2), saw("s2", TimedOut, 0, 2)}, Down},
		{"a first time-out is nothing", []View{saw("s1", TimedOut, 0, 2), saw("s2", TimedOut, 0, 1)}, Partial},
		{"only first time-outs", []View{saw("s1", TimedOut, 0, 1), saw("s2", TimedOut, 0, 1)}, Unclear},
		{"denied is alive", []View{saw("s1", Denied, 0, 1), saw("s2", Refused, 0, 1), saw("s3", Refused, 0, 1)}, Stuck},
		{"garbled is alive", []View{saw("s1", Garbled, 0, 1)}, Stuck},
		{"old views are no evidence of death", []View{saw("s1", Refused, 0, 1), saw("s2", Refused, 1001*ms, 1)}, Partial},
		{"nor of life", []View{saw("s1", Answered, 1001*ms, 0)}, Unclear},
		{"the newest view of an observer counts", []View{saw("s1", Answered, 500*ms, 0), saw("s1", Refused, 0, 1), saw("s2", Refused, 0, 1)}, Down},
		{"in whatever order", []View{saw("s1", Refused, 0, 1), saw("s1", Answered, 500*ms, 0), saw("s2", Refused, 0, 1)}, Down},
		{"who is no observer has no vote on death", []View{saw("s1", Refused, 0, 1), saw("x", Refused, 0, 1)}, Partial},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Merge(noon, []Addr{"a:1"}, three, tt.views, options)[0].Reach; got != tt.want {
				t.Errorf("the verdict is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMergeKeepsTheFreshestReading(t *testing.T) {
	first, second := &State{Version: "1"}, &State{Version: "2"}
	views := []View{
		{Observer: "s1", Instance: "a:1", At: noon, Reach: Refused, Failures: 1, State: first, StateAt: noon.Add(-2 * time.Second)},
		{Observer: "s2", Instance: "a:1", At: noon, Reach: Refused, Failures: 1, State: second, StateAt: noon.Add(-time.Second)},
		{Observer: "s2", Instance: "b:1", At: noon, Reach: Answered, State: second},
	}
	got := Merge(noon, []Addr{"a:1", "c:1"}, three, views, options)
	if len(got) != 2 || got[1].Addr != "c:1" || got[1].State != nil {
		t.Fatalf("unknown instances appear, or known ones do not: %+v", got)
	}
	a := got[0]
	if a.State != second || !a.ReadAt.Equal(noon.Add(-time.Second)) || a.Fresh() {
		t.Errorf("%+v", a)
	}
	for _, v := range a.Views {
		if v.State != nil {
			t.Error("the evidence carries states")
		}
	}
}

func drawViews(t *rapid.T) []View {
	gen := rapid.Custom(func(t *rapid.T) View {
		r := rapid.SampledFrom([]Reach{Unknown, Answered, Denied, Garbled, Refused, TimedOut}).Draw(t, "reach")
		v := saw(fmt.Sprintf("s%d", rapid.IntRange(1, 5).Draw(t, "observer")), r,
			time.Duration(rapid.IntRange(0, 2000).Draw(t, "ago"))*time.Millisecond, rapid.IntRange(0, 3).Draw(t, "failures"))
		if rapid.Bool().Draw(t, "read") {
			v.State, v.StateAt = &State{Version: v.Observer}, v.At
		}
		return v
	})
	// Two views of one observer at one instant do not occur.
	return rapid.SliceOfDistinct(gen, func(v View) string { return v.Observer + v.At.String() }).Draw(t, "views")
}

func TestAMinorityNeverMakesDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		views := drawViews(t)
		observers := []string{"s1", "s2", "s3", "s4", "s5"}[:rapid.IntRange(1, 5).Draw(t, "observers")]
		i := Merge(noon, []Addr{"a:1"}, observers, views, options)[0]
		dead, lives := 0, false
		for _, v := range i.Views {
			if noon.Sub(v.At) > time.Second {
				continue
			}
			lives = lives || v.Alive()
			if v.Dead(options.Timeouts) && slices.Contains(observers, v.Observer) {
				dead++
			}
		}
		if i.Reach == Down && (lives || 2*dead <= len(observers)) {
			t.Fatalf("down, and %d of %d say so; lives %v", dead, len(observers), lives)
		}
		if i.Reach != Down && !lives && 2*dead > len(observers) {
			t.Fatalf("%s, and %d of %d call it dead", i.Reach, dead, len(observers))
		}
	})
}

func TestTheOrderOfViewsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		views := drawViews(t)
		want := Merge(noon, []Addr{"a:1", "b:1"}, three, views, options)
		r := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		r.Shuffle(len(views), func(i, j int) { views[i], views[j] = views[j], views[i] })
		if diff := cmp.Diff(want, Merge(noon, []Addr{"b:1", "a:1"}, three, views, options)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Where the watching is shared, a majority of all that calls an instance dead is not enough while one
// that is heard has not looked: it might reach it.
func TestNobodyIsDownBeforeAllHaveLooked(t *testing.T) {
	now := time.Now()
	view := func(observer string, reach Reach, age time.Duration) View {
		return View{Observer: observer, Instance: "a:1", At: now.Add(-age), Reach: reach, Failures: 1}
	}
	dead := []View{view("s1", Refused, 0), view("s2", Refused, 0)}
	for _, c := range []struct {
		name   string
		views  []View
		await  []string
		waited map[Addr]bool
		want   Verdict
	}{
		{"all watch all", dead, nil, nil, Down},
		{"the third is yet to look", dead, []string{"s1", "s2", "s3"}, nil, Partial},
		{"its look is too old", append(dead, view("s3", Answered, time.Minute)), []string{"s1", "s2", "s3"}, nil, Partial},
		{"it cannot reach it either", append(dead, view("s3", TimedOut, 0)), []string{"s1", "s2", "s3"}, nil, Down},
		{"it reaches it", append(dead, view("s3", Answered, 0)), []string{"s1", "s2", "s3"}, nil, Up},
		{"it is not heard", dead, []string{"s1", "s2"}, nil, Down},
		{"it was waited for in vain", dead, []string{"s1", "s2", "s3"}, map[Addr]bool{"a:1": true}, Down},
	} {
		got := Merge(now, []Addr{"a:1"}, []string{"s1", "s2", "s3"}, c.views, MergeOptions{
			Fresh: Duration(time.Second), Timeouts: 2, Await: c.await, Waited: c.waited,
		})
		if got[0].Reach != c.want {
			t.Errorf("%s: %s, want %s", c.name, got[0].Reach, c.want)
		}
	}
}
