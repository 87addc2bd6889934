package failover

import (
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// GTIDControl says how far histories are compared before something is refused:
// "strict", "last_executed" or "declarative". Findings and expected losses are told
// in full under each.
type GTIDControl string

// The levels of GTID control.
const (
	GTIDStrict       GTIDControl = "strict"        // all that was executed, and what a source has purged
	GTIDLastExecuted GTIDControl = "last_executed" // the last position alone
	GTIDDeclarative  GTIDControl = "declarative"   // nothing is refused for its history
)

// The comparisons on which decisions rest are all below; what is only reported
// compares with [position].

// counted is the part of a server's set that decisions compare. The last position
// is the newest entry of each domain, on MySQL the last transaction that the
// primary wrote.
func (f *facts) counted(st *topology.State, set gtid.Set) gtid.Set {
	switch {
	case f.p.GTID != GTIDLastExecuted:
		return position(st, set)
	case st.Flavor == "mysql" && f.prim != nil && f.prim.State != nil && f.prim.State.ServerUUID != "":
		return keepOrigin(set, f.prim.State).Last()
	default:
		return set.Last()
	}
}

// compareReceived orders two contenders by what arrived at them.
func (f *facts) compareReceived(a, b *contender) gtid.Order {
	if f.positions {
		return a.held.Compare(b.held)
	}
	more := a.received.Contains(f.counted(b.st, b.received))
	less := b.received.Contains(f.counted(a.st, a.received))
	return gtid.OrderOf(more, less)
}

// ahead says that a holds all of b and more.
func (f *facts) ahead(a, b *contender) bool { return f.compareReceived(a, b) == gtid.Ahead }

// covers says whether a server can be made a replica of another as far as their
// histories go: the source has all that it executed, and still keeps what it lacks.
func (f *facts) covers(source, replica *topology.State) bool {
	switch f.p.GTID {
	case GTIDDeclarative:
		return true
	case GTIDLastExecuted:
		return source.Received().Contains(f.counted(replica, replica.Executed))
	default:
		return source.Covers(replica) && f.purged(source, replica).Empty()
	}
}

// purged is what a replica lacks and a source no longer keeps, as far as that
// counts for a decision.
func (f *facts) purged(source, replica *topology.State) gtid.Set {
	if f.p.GTID == GTIDLastExecuted || f.p.GTID == GTIDDeclarative {
		return gtid.Set{}
	}
	return notKept(source, replica)
}

// notKept is what a replica lacks and can fetch at a source no more. MariaDB does
// not tell what it purged.
func notKept(source, replica *topology.State) gtid.Set {
	return source.Purged.Subtract(replica.Received())
}

// spared says that errant transactions are not held against an instance.
func (f *facts) spared(w wish) bool {
	return f.p.Errant == ErrantTolerate || w.forced || f.p.GTID == GTIDLastExecuted || f.p.GTID == GTIDDeclarative
}
