package topology

import "testing"

// BenchmarkMerge is one cluster of four instances that five sidecars have seen.
func BenchmarkMerge(b *testing.B) {
	known := []Addr{"a:1", "b:1", "c:1", "d:1"}
	observers := []string{"s1", "s2", "s3", "s4", "s5"}
	var views []View
	for _, o := range observers {
		for _, a := range known {
			views = append(views, View{Observer: o, Instance: a, At: noon, Reach: Answered, State: &State{Version: "8.4.6"}, StateAt: noon})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := Merge(noon, known, observers, views, options); got[3].Reach != Up {
			b.Fatalf("%+v", got[3])
		}
	}
}
