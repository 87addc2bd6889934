package scale

import (
	"cmp"
	"fmt"
	"io"
	"time"
)

// Options say how large the fleet is and how long it is watched. Zero values have defaults.
type Options struct {
	Clusters  int           // 3,000; of a rack 100
	Instances int           // 10,000; of a rack 3 a cluster
	Sidecars  int           // 5
	Interval  time.Duration // detection.interval, 1 s
	Timeout   time.Duration // detection.timeout, 500 ms
	For       time.Duration // how long the cost at rest is measured, 30 s
	Kills     int           // deaths that are timed, one after the other, 20
	Idle      bool          // no cluster writes: GTIDs stand still
	Policy    string        // YAML put under the top level's `policy:`
	StandIn   bool          // take the stand-in also where a ProxySQL is found
	Binary    string        // the remora program; built when empty
	Env       []string      // added to the sidecars'
	Out       io.Writer     // what is being done
}

func (o Options) withDefaults(clusters, instances int) Options {
	o.Clusters = cmp.Or(o.Clusters, clusters)
	o.Instances = cmp.Or(o.Instances, instances, 3*o.Clusters)
	o.Sidecars, o.Kills = cmp.Or(o.Sidecars, 5), cmp.Or(o.Kills, 20)
	o.Interval, o.For = cmp.Or(o.Interval, time.Second), cmp.Or(o.For, 30*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 500*time.Millisecond)
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// sizes spreads the instances over the clusters as evenly as can be.
func (o Options) sizes() ([]int, error) {
	if o.Instances < 2*o.Clusters {
		return nil, fmt.Errorf("%d instances are too few for %d clusters: each has a primary and a replica at least", o.Instances, o.Clusters)
	}
	sizes := make([]int, o.Clusters)
	for i := range sizes {
		sizes[i] = o.Instances / o.Clusters
		if i < o.Instances%o.Clusters {
			sizes[i]++
		}
	}
	return sizes, nil
}

func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Out, "%s  "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}
