package ledger

import (
	"fmt"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// apply records the saving, and in the history of the newest recovery that took the
// primary's place from the instance, where there is one.
func (r *Rescue) apply(s *State, e entry) Result {
	asked := "recording what was saved of " + string(r.Rescued.Instance)
	c, no := s.cluster(r.Cluster, asked)
	switch {
	case no.Refused != "":
		return no
	case !c.knows(r.Rescued.Instance):
		return refuse(RuleUnknown, "%s is refused: cluster %s does not know it; known are %s", asked, c.Name, topology.JoinAddrs(c.Known))
	case r.Rescued.Set.Empty() || r.Rescued.File == "":
		return refuse(RuleCommand, "%s is refused: it names no transactions or no file", asked)
	}
	x := r.Rescued
	if x.At.IsZero() {
		x.At = e.at
	}
	c.Rescued = keepNewest(KeptRescues, c.Rescued, x)
	for n := len(c.Recoveries) - 1; n >= 0; n-- {
		if c.Recoveries[n].Intent.From != x.Instance {
			continue
		}
		c.Recoveries = slices.Clone(c.Recoveries)
		if lost := c.Recoveries[n].Lost; len(lost) < KeptRescues {
			c.Recoveries[n].Lost = append(slices.Clip(lost), fmt.Sprintf("%s of %s were %s", x.Set, x.Instance, x))
		}
		break
	}
	s.Clusters[c.Name] = c
	return Result{}
}
