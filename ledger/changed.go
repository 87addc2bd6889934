package ledger

import (
	"maps"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// Changed names the clusters that differ between an older state and this one, sorted. all
// says that what concerns every cluster differs too: the registered nodes or the base
// of the epochs. It compares lists by identity, for a state's lists are replaced and
// never changed: thousands of clusters cost microseconds.
func (s *State) Changed(old *State) (clusters []string, all bool) {
	if s == old {
		return nil, false
	}
	for name, c := range s.Clusters {
		if was, ok := old.Clusters[name]; !ok || !c.is(&was) {
			clusters = append(clusters, name)
		}
	}
	for name := range old.Clusters {
		if _, ok := s.Clusters[name]; !ok {
			clusters = append(clusters, name)
		}
	}
	slices.Sort(clusters)
	return clusters, s.Base != old.Base || !maps.EqualFunc(s.Nodes, old.Nodes, sameNode)
}

func sameNode(a, b Node) bool {
	return a.Name == b.Name && a.Raft == b.Raft && a.API == b.API && a.Proxy == b.Proxy && a.Since.Equal(b.Since) &&
		a.TTL == b.TTL && a.FenceTime == b.FenceTime && slices.Equal(a.Holds, b.Holds)
}

// is says whether two states hold the very same cluster.
func (c *Cluster) is(o *Cluster) bool {
	return sameRoute(&c.Route, &o.Route) && c.Intent == o.Intent && c.Recovery == o.Recovery && same(c.Known, o.Known) &&
		same(c.Recoveries, o.Recoveries) && same(c.Downtimes, o.Downtimes) && same(c.Rescued, o.Rescued)
}

func sameRoute(a, b *topology.Route) bool {
	return a.Epoch == b.Epoch && a.Writer == b.Writer && a.Mode == b.Mode && a.At.Equal(b.At) && same(a.Readers, b.Readers)
}

// same says whether two lists are one.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
