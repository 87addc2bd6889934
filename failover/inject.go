package failover

import (
	"fmt"

	"github.com/remora-ha/remora/topology"
)

// injectLimit bounds the empty transactions of one injection.
const injectLimit = 1000

// inject has the primary commit empty transactions in the place of a replica's own,
// so that everybody's history has them and none stands out. The data of that replica
// differ from the others' all the same.
func (f *facts) inject(i *topology.Instance) (Step, bool) {
	if f.p.Errant != ErrantInject || f.whyNotInject(i) != "" {
		return Step{}, false
	}
	extra := f.errant(i)
	return Step{
		Do: Inject, Target: f.primary, Until: extra,
		Why: fmt.Sprintf("replica %s holds %s that primary %s did not write, and the policy's errant is inject: %s", i.Addr, count(extra.Count()), f.primary, clip(extra)),
	}, !extra.Empty()
}

// whyNotInject says why a replica's own transactions cannot be injected; empty when
// they can.
func (f *facts) whyNotInject(i *topology.Instance) string {
	extra := f.errant(i)
	switch {
	case i.State.Flavor == "mariadb":
		return "MariaDB orders the transactions of a domain by their numbers, so none can be put in behind the newest: take them back with remora rejoin --discard, or clone it"
	case !f.prim.Fresh() || !f.prim.State.Writable():
		return fmt.Sprintf("primary %s cannot be written to", f.primary)
	case !f.s.Under(i.Addr, f.primary):
		return fmt.Sprintf("it does not follow primary %s", f.primary)
	case f.downtime(i.Addr) != nil:
		return f.downtimeWords(i.Addr)
	case extra.Count() > injectLimit:
		return fmt.Sprintf("%d are too many, at most %d are injected", extra.Count(), injectLimit)
	case f.p.Repair.SaveExtra && !f.safe(i.Addr, extra):
		return "they are to be saved first, all of them"
	}
	return ""
}
