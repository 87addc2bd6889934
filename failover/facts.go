package failover

import (
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// facts is a case with what is derived from it once: who is the primary, who
// replicates from whom. It is built in canonical order, so the order in which
// the case lists things never shows.
type facts struct {
	c *Case
	p *Policy
	s *topology.Snapshot // sorted, without ignored instances

	// primary is the routed writer, or, while an intent is open and its end is
	// not routed, the intent's From: that is whose death or life matters.
	primary topology.Addr
	prim    *topology.Instance   // nil when there is no primary or nothing is known of it
	direct  []*topology.Instance // replicas of the primary, by their last reading
	// orphans replicate from the primary before this one: the recovery that made this
	// one primary ended with its death, before they were moved.
	orphans []*topology.Instance
	// co is the other one of a ring of two primaries; nil without a ring.
	co *topology.Instance
	// positions says that the replicas position by file and offset, see positions.go.
	positions bool
}

func newFacts(c *Case) *facts {
	s := c.Snapshot.Sorted()
	f := &facts{c: c, p: &c.Policy, s: &s}
	kept := s.Instances[:0]
	for _, i := range s.Instances {
		if !f.p.Server(i.Addr).Ignore {
			kept = append(kept, i)
		}
	}
	s.Instances = kept
	f.primary = s.Route.Writer
	if c.Intent != nil && !f.routed() {
		f.primary = c.Intent.From
	}
	f.prim = s.Instance(f.primary)
	f.direct = f.replicasOf(f.primary)
	if last := c.Last; last.CutShort() && last.To == f.primary {
		f.orphans = f.under(last.Intent.From)
	}
	for _, r := range f.direct {
		if f.prim != nil && s.ChannelTo(f.prim, r.Addr) != nil {
			f.co = r
		}
	}
	f.positions = f.byPosition()
	return f
}

// routed says that the open intent's end is committed: its To is the writer.
func (f *facts) routed() bool {
	in := f.c.Intent
	return in != nil && f.s.Route.Writer == in.To && f.s.Route.Epoch > in.Epoch
}

func (f *facts) members() []*topology.Instance {
	list := make([]*topology.Instance, len(f.s.Instances))
	for i := range f.s.Instances {
		list[i] = &f.s.Instances[i]
	}
	return list
}

// replicasOf lists who, by its last reading, replicates from a by any channel.
func (f *facts) replicasOf(a topology.Addr) []*topology.Instance {
	var list []*topology.Instance
	for _, i := range f.members() {
		if i.Addr != a && f.s.ChannelTo(i, a) != nil {
			list = append(list, i)
		}
	}
	return list
}

// under lists who, by its last reading, replicates from a, also by a chain.
func (f *facts) under(a topology.Addr) []*topology.Instance {
	var list []*topology.Instance
	for _, i := range f.members() {
		if i.Addr != a && i.Addr != f.primary && i.State.IsReplica() && f.s.Under(i.Addr, a) {
			list = append(list, i)
		}
	}
	return list
}

// silenceLimit is how long a channel may be silent before its source counts as
// silent; 0 when no heartbeat is known, so that silence means nothing.
func (f *facts) silenceLimit(src *topology.Source) time.Duration {
	beat := src.Heartbeat
	if beat == 0 {
		beat = f.p.Detection.Heartbeat
	}
	return time.Duration(max(f.p.Detection.Beats, 1) * float64(beat))
}

// receives says whether a replica certainly still receives from `source`: its
// fresh reading shows the IO thread connected and not silent for too long. A
// stopped SQL thread says nothing about the source.
func (f *facts) receives(r *topology.Instance, source topology.Addr) bool {
	src := f.s.ChannelTo(r, source)
	if !r.Fresh() || src == nil || src.IO != topology.ThreadYes {
		return false
	}
	limit := f.silenceLimit(src)
	return src.Silence == nil || limit == 0 || src.Silence.D() < limit
}

func (f *facts) receivers(source topology.Addr) []*topology.Instance {
	var list []*topology.Instance
	for _, r := range f.replicasOf(source) {
		if f.receives(r, source) {
			list = append(list, r)
		}
	}
	return list
}

// dead is the one definition of a dead instance: a majority of all sidecars
// cannot reach it, none can, and no replica still receives from it. Hence a
// frozen server is dead once its replicas' heartbeats stay away, and one that
// only the sidecars cannot reach is not dead at all.
func (f *facts) dead(a topology.Addr) bool {
	i := f.s.Instance(a)
	return i != nil && i.Reach == topology.Down && len(f.receivers(a)) == 0
}

// lag is how far a replica is behind; false when nobody can tell. A replica that
// has applied all it received from a silent source does not lag.
func (f *facts) lag(i *topology.Instance) (time.Duration, bool) {
	src := i.State.Source()
	switch {
	case src == nil:
		return 0, i.State != nil
	case src.Lag != nil:
		return src.Lag.D(), true
	default:
		return 0, f.drained(i.State)
	}
}

// drained says that a replica has applied all that it received.
func (f *facts) drained(st *topology.State) bool {
	if src := st.Source(); f.positions && src != nil {
		return src.AppliedTo == src.ReadTo
	}
	return st != nil && st.HasApplied(st.Received())
}

// closed says that a reading shows the server refusing application writes as
// firmly as its flavor can: on MySQL read_only alone lets accounts with SUPER or
// CONNECTION_ADMIN write, so super_read_only is asked for.
func closed(st *topology.State) bool {
	if st == nil {
		return false
	}
	if st.Flavor == "mysql" {
		return st.SuperReadOnly
	}
	return st.ReadOnly
}

// delayed says that a replica applies late on purpose.
func delayed(st *topology.State) bool {
	src := st.Source()
	return src != nil && src.Delay > 0
}

// downtime is the running downtime of an instance; nil without one.
func (f *facts) downtime(a topology.Addr) *Downtime {
	for i := range f.c.Downtime {
		if d := &f.c.Downtime[i]; d.Instance == a && d.Until.After(f.s.Taken) {
			return d
		}
	}
	return nil
}

// reference is what the primary had executed when it was last read in its
// present role; nil when there is no such reading.
func (f *facts) reference() *topology.State {
	since := f.s.Route.At
	if seen := f.c.Seen.Route; !seen.IsZero() && seen.Before(since) {
		since = seen // the clock of who committed the route is ahead
	}
	if f.prim == nil || f.prim.State == nil || f.prim.ReadAt.Before(since) {
		return nil
	}
	return f.prim.State
}

// positions are the sets by which a server's history is compared: the whole of
// them, or on a MariaDB server in strict mode their heads, which imply the rest.
func position(st *topology.State, set gtid.Set) gtid.Set {
	if st.GTIDStrict {
		return set.Heads()
	}
	return set
}
