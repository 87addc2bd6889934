package failover

import (
	"testing"

	"github.com/remora-ha/remora/topology"
)

// A leader that has just begun has not heard of every instance yet. That takes no reads away.
func TestAReaderThatWasNotReadYetStays(t *testing.T) {
	for _, x := range []struct {
		reach  topology.Verdict
		serves bool
		want   int
	}{{topology.Unclear, true, 1}, {topology.Partial, true, 1}, {topology.Down, true, 0}, {topology.Unclear, false, 0}} {
		c := primary("a").replica("b").c
		c.Policy.Readers.Writer = WriterNever
		c.Snapshot.Route.Readers = nil
		if x.serves {
			c.Snapshot.Route.Readers = []topology.Reader{{Addr: at("b"), Weight: 1}}
		}
		b := c.Snapshot.Instance(at("b"))
		b.State, b.Reach = nil, x.reach
		if got := ReadersOf(&c); len(got) != x.want {
			t.Errorf("%s, serves %t: readers are %v", x.reach, x.serves, got)
		}
	}
}
