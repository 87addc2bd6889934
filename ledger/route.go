package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/remora-ha/remora/topology"
)

func (r *SetRoute) apply(s *State, e entry) Result {
	const asked = "setting the route"
	c, no := s.cluster(r.Cluster, asked)
	switch {
	case no.Refused != "":
		return no
	case c.Intent != nil:
		return refuse(RuleIntentOpen, "%s of cluster %s is refused: %s %s from %s to %s is open, only it sets the route", asked, c.Name, c.Intent.Kind, c.Intent.ID, c.Intent.From, c.Intent.To)
	case r.Expect != c.Route.Epoch:
		return stale(asked, c, r.Expect)
	case c.Route.Writer != "" && r.Writer != c.Route.Writer:
		return refuse(RuleOneWriter, "%s of cluster %s to writer %s is refused: %s is the writer at epoch %d, and only a failover or a switchover changes it", asked, c.Name, orNone(r.Writer), c.Route.Writer, c.Route.Epoch)
	}
	readers, no := c.assign(asked, r.Writer, r.Readers)
	if no.Refused != "" {
		return no
	}
	c.Route = topology.Route{Cluster: c.Name, Epoch: e.epoch, Writer: r.Writer, Mode: topology.Open, Readers: readers, At: e.at}
	s.Clusters[c.Name] = c
	return Result{Epoch: e.epoch}
}

// assign checks an assignment and gives its readers sorted.
func (c Cluster) assign(asked string, writer topology.Addr, readers []topology.Reader) ([]topology.Reader, Result) {
	if writer != "" && !c.knows(writer) {
		return nil, refuse(RuleUnknown, "%s of cluster %s is refused: writer %s is not known; known are %s", asked, c.Name, writer, topology.JoinAddrs(c.Known))
	}
	sorted := slices.Clone(readers)
	slices.SortFunc(sorted, func(a, b topology.Reader) int { return compareAddr(a.Addr, b.Addr) })
	for i, r := range sorted {
		switch {
		case !c.knows(r.Addr):
			return nil, refuse(RuleUnknown, "%s of cluster %s is refused: reader %s is not known; known are %s", asked, c.Name, orNone(r.Addr), topology.JoinAddrs(c.Known))
		case r.Weight < 1:
			return nil, refuse(RuleCommand, "%s of cluster %s is refused: reader %s has weight %d, the least is 1", asked, c.Name, r.Addr, r.Weight)
		case i > 0 && sorted[i-1].Addr == r.Addr:
			return nil, refuse(RuleCommand, "%s of cluster %s is refused: reader %s is listed twice", asked, c.Name, r.Addr)
		}
	}
	return sorted, Result{}
}

func stale(asked string, c Cluster, expect uint64) Result {
	return refuse(RuleStale, "%s of cluster %s is refused: it was decided upon the route of epoch %d, and the committed one has epoch %d with writer %s", asked, c.Name, expect, c.Route.Epoch, orNone(c.Route.Writer))
}

func compareAddr(a, b topology.Addr) int { return cmp.Compare(a, b) }

func orNone(a topology.Addr) string {
	if a == "" {
		return "none"
	}
	return string(a)
}

// stamp spells an instant for a sentence, the same on every node.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
