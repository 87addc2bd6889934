package scale

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInstancesAreSpreadEvenlyOverClusters(t *testing.T) {
	sizes, err := Options{Clusters: 3, Instances: 10}.sizes()
	if err != nil || !slices.Equal(sizes, []int{4, 3, 3}) {
		t.Errorf("10 instances in 3 clusters: %v, %v", sizes, err)
	}
	if _, err := (Options{Clusters: 3, Instances: 5}).sizes(); err == nil {
		t.Error("a cluster without a replica was accepted")
	}
}

func TestAReportSaysHowTimesAreSpread(t *testing.T) {
	r := newReport("rack", Options{Clusters: 2, Instances: 6, Sidecars: 5, Interval: time.Second})
	r.addTimes("rack", "routed", []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond})
	r.add("rest", "CPU", 0.5, "cores")
	for _, want := range []string{"n=3 min 10 ms, median 20 ms, p90 30 ms, max 30 ms", "0.5000 cores"} {
		if text := r.String(); !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}
