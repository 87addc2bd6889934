package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// Repairs are the steps of convergence while no intent is open: whatever is not
// the routed writer takes no writes, and follows the writer if its history
// allows. Nobody is ever opened here, and nothing that the writer lacks is
// overwritten.
func Repairs(c *Case) []Step { return newFacts(c).repairs() }

func (f *facts) repairs() []Step {
	if f.c.Intent != nil || f.primary == "" {
		return nil
	}
	var steps []Step
	for _, i := range f.members() {
		if i.Addr == f.primary || !i.Fresh() || i.State.Member != "" {
			continue
		}
		if i.State.Writable() {
			steps = append(steps, Step{Do: SetReadOnly, Target: i.Addr, Why: fmt.Sprintf("%s takes writes and is not the writer, %s is", i.Addr, f.primary)})
			continue
		}
		if why := f.belongsElsewhere(i); why != "" {
			steps = append(steps, Step{Do: Repoint, Target: i.Addr, Source: f.primary, SemiSync: f.replicaSemiSync(), Why: why})
		}
	}
	return append(steps, f.semiSyncRepairs()...)
}

// belongsElsewhere says why a closed instance is to be made a replica of the
// primary; empty when it is to be left alone.
func (f *facts) belongsElsewhere(i *topology.Instance) string {
	if !f.prim.Fresh() || f.downtime(i.Addr) != nil || !f.prim.State.Covers(i.State) {
		return ""
	}
	if !i.State.IsReplica() {
		if f.p.Rejoin != RejoinAuto {
			return ""
		}
		return fmt.Sprintf("%s has no source, and primary %s has all that it has", i.Addr, f.primary)
	}
	source := f.s.SourceOf(i.Addr)
	known := f.s.Instance(source)
	switch src := f.s.ChannelTo(i, f.primary); {
	case src != nil && src.Untried && src.SQL == topology.ThreadNo && src.SQLError == "":
		return fmt.Sprintf("%s was pointed at primary %s and never started: a repoint was cut short", i.Addr, f.primary)
	case known == nil || source == f.primary:
		return "" // a source outside of the cluster is somebody's intention
	case !f.s.Under(i.Addr, f.primary) && !(known.Fresh() && known.State.IsReplica()):
		return fmt.Sprintf("%s replicates from %s, which does not follow primary %s", i.Addr, source, f.primary)
	case f.dead(source) && f.p.Failover == Automatic && f.downtime(source) == nil:
		return fmt.Sprintf("%s replicates from %s, which is dead", i.Addr, source)
	}
	return ""
}
