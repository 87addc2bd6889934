package topology

import (
	"slices"
	"strings"
)

// Sorted is the snapshot in canonical order: instances by address, their views
// by observer, proxies by node, observers by name. The original is left as it is.
func (s Snapshot) Sorted() Snapshot {
	s.Observers = sorted(s.Observers, strings.Compare)
	s.Instances = slices.Clone(s.Instances)
	for i := range s.Instances {
		s.Instances[i].Views = sorted(s.Instances[i].Views, func(a, b View) int { return strings.Compare(a.Observer, b.Observer) })
	}
	slices.SortStableFunc(s.Instances, func(a, b Instance) int { return strings.Compare(string(a.Addr), string(b.Addr)) })
	s.Proxies = sorted(s.Proxies, func(a, b Proxy) int { return strings.Compare(a.Node, b.Node) })
	return s
}

// sorted is the list itself where it is in order, as it is nearly always, else a copy.
func sorted[T any](list []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(list, compare) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compare)
	return list
}

// Resolve finds the instance that an address means: the one of that name, else
// the one that reports itself so. An address that means nobody here is returned
// as it is.
func (s *Snapshot) Resolve(a Addr) Addr {
	if a == "" || s.Instance(a) != nil {
		return a
	}
	for i := range s.Instances {
		if st := s.Instances[i].State; st != nil && st.ReportedAs == a {
			return s.Instances[i].Addr
		}
	}
	return a
}

// SourceOf is whom an instance replicates from by its default channel, resolved;
// empty when it is no replica or was never read.
func (s *Snapshot) SourceOf(a Addr) Addr {
	src := s.State(a).Source()
	if src == nil {
		return ""
	}
	return s.Resolve(src.Addr)
}

// ChannelTo is the channel by which an instance replicates from `source`; nil
// when there is none.
func (s *Snapshot) ChannelTo(i *Instance, source Addr) *Source {
	if i == nil || i.State == nil || source == "" {
		return nil
	}
	for n := range i.State.Sources {
		if s.Resolve(i.State.Sources[n].Addr) == source {
			return &i.State.Sources[n]
		}
	}
	return nil
}

// RootOf follows the sources upwards and is where they end: at an instance
// without a source, at an address that is not in the snapshot, or, in a ring of
// co-primaries, at the first instance of the ring that is met.
func (s *Snapshot) RootOf(a Addr) Addr {
	seen := map[Addr]bool{}
	for !seen[a] {
		seen[a] = true
		next := s.SourceOf(a)
		if next == "" {
			return a
		}
		a = next
	}
	return a
}

// Under says whether an instance replicates from `root`, directly or by a chain.
func (s *Snapshot) Under(a, root Addr) bool {
	seen := map[Addr]bool{}
	for next := s.SourceOf(a); next != "" && !seen[next]; next = s.SourceOf(next) {
		if next == root {
			return true
		}
		seen[next] = true
	}
	return false
}
