package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// Adopt finds the first route of a cluster that has none: exactly one instance
// takes writes and is no replica, and everybody else replicates from it, directly
// or by a chain. Whatever else it sees it refuses, for a wrong first route would
// split the cluster. An instance that is down is tolerated where a replica
// testifies for the primary; one that can be neither read nor called down is not.
func Adopt(c *Case) (topology.Route, *Refusal) {
	f := newFacts(c)
	refuse := func(subject topology.Addr, change, format string, args ...any) (topology.Route, *Refusal) {
		return topology.Route{}, &Refusal{Rule: "adopt", Subject: subject, Sentence: fmt.Sprintf(format, args...), Change: change}
	}
	var writable, down []topology.Addr
	for _, i := range f.members() {
		switch {
		case i.Reach == topology.Down:
			down = append(down, i.Addr)
		case !i.Fresh():
			return refuse(i.Addr, "make it readable for the sidecars, or take it out of the cluster", "%s cannot be read (%s)", i.Addr, i.Reach)
		case i.State.Member != "":
			return refuse(i.Addr, "use the tools of that cluster", "%s is managed by %s", i.Addr, i.State.Member)
		case i.State.Writable():
			writable = append(writable, i.Addr)
		}
	}
	switch {
	case len(f.members()) == 0:
		return refuse("", "name the instances", "cluster %s has no instance", f.s.Cluster)
	case len(writable) == 0:
		return refuse("", "SET GLOBAL read_only=0 on the one that is the primary", "no instance of cluster %s takes writes", f.s.Cluster)
	case len(writable) > 1:
		return refuse("", "SET GLOBAL read_only=1 on all but the primary", "%s all take writes", topology.JoinAddrs(writable))
	}
	primary := writable[0]
	if f.s.State(primary).IsReplica() {
		return refuse(primary, "add its source to the cluster, or stop that replication", "%s takes writes, but it replicates from %s", primary, f.s.SourceOf(primary))
	}
	testimony := 0
	for _, i := range f.members() {
		switch {
		case i.Addr == primary || i.Reach == topology.Down:
		case !f.s.Under(i.Addr, primary):
			return refuse(i.Addr, "make it replicate from the primary, or take it out of the cluster", "%s takes writes, and %s does not replicate from it", primary, i.Addr)
		default:
			testimony++
		}
	}
	if len(down) > 0 && testimony == 0 {
		return refuse(primary, "start the others, or take them out of the cluster", "%s takes writes, but %s cannot be reached and no replica says that %s is the primary", primary, topology.JoinAddrs(down), primary)
	}
	return RouteTo(c, primary), nil
}
