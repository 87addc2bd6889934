package ledger

import (
	"slices"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func (d *Discover) apply(s *State, _ entry) Result {
	if d.Cluster == "" {
		return refuse(RuleCommand, "discovering %s is refused: no cluster is named", topology.JoinAddrs(d.Addrs))
	}
	found := topology.SortAddrs(slices.Clone(d.Addrs))
	if len(found) == 0 {
		return refuse(RuleCommand, "discovering nothing in cluster %s is refused: no address is given", d.Cluster)
	}
	c := s.Clusters[d.Cluster]
	c.Name = d.Cluster
	c.Known = topology.SortAddrs(slices.Concat(c.Known, found))
	s.Clusters[d.Cluster] = c
	return Result{}
}

func (f *Forget) apply(s *State, _ entry) Result {
	c, no := s.cluster(f.Cluster, "forgetting "+string(f.Addr))
	if no.Refused != "" {
		return no
	}
	i, ok := slices.BinarySearch(c.Known, f.Addr)
	switch {
	case !ok:
		return refuse(RuleUnknown, "forgetting %s is refused: cluster %s does not know it; known are %s", f.Addr, c.Name, topology.JoinAddrs(c.Known))
	case c.Route.Writer == f.Addr:
		return refuse(RuleInUse, "forgetting %s is refused: it is the writer of cluster %s at epoch %d; switch over first", f.Addr, c.Name, c.Route.Epoch)
	case c.Route.Reads(f.Addr):
		return refuse(RuleInUse, "forgetting %s is refused: it serves reads of cluster %s at epoch %d; take it out of the route first", f.Addr, c.Name, c.Route.Epoch)
	case c.Intent != nil && (c.Intent.From == f.Addr || c.Intent.To == f.Addr):
		return refuse(RuleIntentOpen, "forgetting %s is refused: %s %s from %s to %s is open", f.Addr, c.Intent.Kind, c.Intent.ID, c.Intent.From, c.Intent.To)
	}
	c.Known = slices.Concat(c.Known[:i], c.Known[i+1:])
	c.Downtimes = without(c.Downtimes, f.Addr)
	s.Clusters[c.Name] = c
	if len(c.Known) == 0 && c.Route.Epoch == 0 {
		delete(s.Clusters, c.Name)
	}
	return Result{}
}

func (d *SetDowntime) apply(s *State, e entry) Result {
	asked := "downtime of " + string(d.Downtime.Instance)
	c, no := s.cluster(d.Cluster, asked)
	if no.Refused != "" {
		return no
	}
	if !c.knows(d.Downtime.Instance) {
		return refuse(RuleUnknown, "%s is refused: cluster %s does not know it; known are %s", asked, c.Name, topology.JoinAddrs(c.Known))
	}
	if !d.Downtime.Until.After(e.at) {
		return refuse(RuleCommand, "%s is refused: it would end at %s and now is %s", asked, stamp(d.Downtime.Until), stamp(e.at))
	}
	// Those that are over go now, for nothing else ever removes them.
	kept := slices.DeleteFunc(without(c.Downtimes, d.Downtime.Instance), func(x failover.Downtime) bool { return !x.Until.After(e.at) })
	kept = append(kept, d.Downtime)
	slices.SortFunc(kept, func(a, b failover.Downtime) int { return compareAddr(a.Instance, b.Instance) })
	c.Downtimes = kept
	s.Clusters[c.Name] = c
	return Result{}
}

func (d *EndDowntime) apply(s *State, _ entry) Result {
	c, no := s.cluster(d.Cluster, "ending the downtime of "+string(d.Instance))
	if no.Refused != "" {
		return no
	}
	kept := without(c.Downtimes, d.Instance)
	if len(kept) == len(c.Downtimes) {
		return refuse(RuleDone, "ending the downtime of %s is refused: it has none in cluster %s", d.Instance, c.Name)
	}
	c.Downtimes = kept
	s.Clusters[c.Name] = c
	return Result{}
}

// without is a new list that lacks the downtime of a; nil when empty.
func without(list []failover.Downtime, a topology.Addr) []failover.Downtime {
	var kept []failover.Downtime
	for _, d := range list {
		if d.Instance != a {
			kept = append(kept, d)
		}
	}
	return kept
}
