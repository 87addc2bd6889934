package failover

import (
	"slices"

	"github.com/remora-ha/remora/topology"
)

// ReadersOf says who should serve reads now, sorted by address.
func ReadersOf(c *Case) []topology.Reader {
	f := newFacts(c)
	return f.readers(f.primary)
}

// RouteTo is the route that makes `writer` the open writer: what CommitRoute and
// RollBack commit. Its epoch is set by the commit.
func RouteTo(c *Case, writer topology.Addr) topology.Route {
	f := newFacts(c)
	known := make([]topology.Addr, 0, len(f.s.Instances))
	for _, i := range f.s.Instances {
		known = append(known, i.Addr)
	}
	return topology.Route{
		Cluster: f.s.Cluster, Writer: writer, Mode: topology.Open, Readers: f.readers(writer),
		Known: topology.SortAddrs(known), At: f.s.Taken,
	}
}

func (f *facts) readers(writer topology.Addr) []topology.Reader {
	if writer == "" {
		return nil
	}
	var list []topology.Reader
	for _, i := range f.members() {
		if i.Addr != writer && f.mayRead(i, writer) {
			list = append(list, topology.Reader{Addr: i.Addr, Weight: f.p.Server(i.Addr).Weight})
		}
	}
	if f.p.Readers.Writer == WriterAlways || f.p.Readers.Writer == WriterFallback && len(list) == 0 {
		list = append(list, topology.Reader{Addr: writer, Weight: f.p.Server(writer).Weight})
	}
	slices.SortFunc(list, func(a, b topology.Reader) int {
		if a.Addr < b.Addr {
			return -1
		}
		return 1
	})
	return list
}

// mayRead says whether a replica serves reads. Who serves already stays until it
// lags by more than max_lag, stops or is down; who does not is taken only when it
// lags by no more than half of that and both threads run. So a lag that swings
// around the limit does not commit a route at each swing. A replica that has lost
// its source goes on serving: that is when reads matter. So does one that a new leader has yet to hear of. While an intent is open
// sources are moved under the replicas, and only death takes a reader away.
func (f *facts) mayRead(i *topology.Instance, writer topology.Addr) bool {
	serves := f.s.Route.Reads(i.Addr)
	switch {
	case i.Reach == topology.Down:
		return false
	case f.c.Intent != nil && serves:
		return i.Addr != f.c.Intent.From
	case i.State == nil:
		return serves
	}
	if !i.State.IsReplica() || !f.s.Under(i.Addr, writer) && !f.related(i.Addr) {
		return false
	}
	src := i.State.Source()
	lag, known := f.lag(i)
	limit := f.p.Readers.MaxLag.D()
	if serves {
		return src.IO != topology.ThreadNo && src.SQL != topology.ThreadNo && (!known || lag <= limit)
	}
	return i.Fresh() && src.IO == topology.ThreadYes && src.SQL == topology.ThreadYes && known && lag <= limit/2
}
