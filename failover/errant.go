package failover

import (
	"strconv"
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// errant names the transactions that a replica has and should not have: those
// that were written on it or below it and not on the primary.
//
// What the primary's last reading lacks is not errant by that alone: the replica
// may have been read later, or have received what the primary wrote just before
// it died. So transactions that originate from the primary (or its co-primary)
// never count. Any other origin was a primary before, and a primary's reading
// taken in its role holds all that its predecessors wrote: what it lacks is errant.
//
// Without such a reading less can be told. Then only what the replica itself
// wrote counts, and only when no other instance has it; a replica that is alone
// cannot be compared and is given the benefit of the doubt.
func (f *facts) errant(i *topology.Instance) gtid.Set {
	if i == nil || i.State == nil || i == f.prim {
		return gtid.Set{}
	}
	st := i.State
	if ref := f.reference(); ref != nil {
		extra := beyond(st, ref.Executed)
		extra = dropOrigin(extra, ref)
		if f.co != nil && f.co.State != nil {
			extra = dropOrigin(extra, f.co.State)
		}
		return extra
	}
	others, compared := gtid.Set{}, false
	for _, o := range f.members() {
		if o != i && o.State != nil {
			others, compared = others.Union(o.State.Received()), true
		}
	}
	if !compared {
		return gtid.Set{}
	}
	return keepOrigin(beyond(st, others), st)
}

// beyond is what a server has, received or executed, outside of a known history.
// Both are looked at by themselves: on MariaDB the head of what was received
// would hide an own transaction among those executed.
func beyond(st *topology.State, known gtid.Set) gtid.Set {
	executed := position(st, st.Executed).Beyond(known)
	return executed.Union(position(st, st.Received()).Beyond(known))
}

func keepOrigin(set gtid.Set, st *topology.State) gtid.Set {
	return filter(set, func(entry string) bool { return from(entry, st) })
}

func dropOrigin(set gtid.Set, st *topology.State) gtid.Set {
	return filter(set, func(entry string) bool { return !from(entry, st) })
}

// from says whether an entry of a set, in its text form, was written on a server.
func from(entry string, st *topology.State) bool {
	if st.ServerUUID != "" && strings.HasPrefix(entry, strings.ToLower(st.ServerUUID)+":") {
		return true
	}
	parts := strings.SplitN(entry, "-", 3)
	return len(parts) == 3 && !strings.Contains(entry, ":") && parts[1] == strconv.FormatUint(uint64(st.ServerID), 10)
}

func filter(set gtid.Set, keep func(entry string) bool) gtid.Set {
	var kept []string
	for entry := range strings.SplitSeq(set.String(), ",") {
		if entry = strings.TrimSpace(entry); entry != "" && keep(entry) {
			kept = append(kept, entry)
		}
	}
	out, err := gtid.Parse(strings.Join(kept, ","))
	if err != nil {
		return set // cannot be: these are entries of a printed set
	}
	return out
}
