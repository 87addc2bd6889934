package failover

import "testing"

// benchmarkExamine examines a case for 3,000 clusters, as a leader does when something happened to all of them.
func benchmarkExamine(b *testing.B, c *Case, wanted bool) {
	const clusters = 3000
	b.ReportAllocs()
	for b.Loop() {
		for range clusters {
			if v := Examine(c); (v.Decision.Intent != nil) != wanted {
				b.Fatalf("%+v", v.Decision)
			}
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/clusters, "us/cluster")
}

// BenchmarkExamineHealthy is 3,000 clusters at once of which nothing is to be said.
func BenchmarkExamineHealthy(b *testing.B) {
	benchmarkExamine(b, &primary("a").replica("b").replica("c").c, false)
}

// BenchmarkExamineDead is 3,000 clusters at once that lost their primaries.
func BenchmarkExamineDead(b *testing.B) {
	benchmarkExamine(b, &primary("a").replica("b").replica("c").kill("a").c, true)
}
