package topology

import (
	"slices"
	"strings"
)

// Node is an instance in the replication tree.
type Node struct {
	Addr Addr
	// Instance is nil for a source that is not part of the snapshot.
	Instance *Instance
	// Channel is how it replicates from its parent; nil at a root.
	Channel *Source
	// Ring marks co-primaries: each replicates, in the end, from the other.
	Ring     bool
	Children []*Node // sorted by address
}

// Tree arranges a snapshot by who replicates from whom, by default channels.
// Roots are instances without a source, sources that the snapshot does not know,
// and of each ring of co-primaries one: the routed writer, else the first by
// address. The routed writer's tree comes first, the others by address. Every
// instance appears exactly once.
func Tree(s *Snapshot) []*Node {
	sorted := s.Sorted()
	s = &sorted
	children := map[Addr][]Addr{}
	rings := map[Addr]bool{}
	var roots []Addr
	for i := range s.Instances {
		a := s.Instances[i].Addr
		source := s.SourceOf(a)
		if ring := s.ring(a); len(ring) > 0 {
			rings[a] = true
			if a == s.head(ring) {
				roots = append(roots, a)
				continue
			}
		}
		switch {
		case source == "":
			roots = append(roots, a)
		case s.Instance(source) == nil:
			roots = append(roots, source)
			fallthrough
		default:
			children[source] = append(children[source], a)
		}
	}
	main := s.treeOf(s.Route.Writer, rings)
	roots = SortAddrs(roots)
	slices.SortStableFunc(roots, func(a, b Addr) int {
		switch {
		case a == main:
			return -1
		case b == main:
			return 1
		}
		return strings.Compare(string(a), string(b))
	})
	nodes := make([]*Node, 0, len(roots))
	for _, a := range roots {
		nodes = append(nodes, s.grow(a, "", children, rings))
	}
	return nodes
}

func (s *Snapshot) grow(a, parent Addr, children map[Addr][]Addr, rings map[Addr]bool) *Node {
	n := &Node{Addr: a, Instance: s.Instance(a), Ring: rings[a]}
	n.Channel = s.ChannelTo(n.Instance, parent)
	for _, child := range children[a] {
		n.Children = append(n.Children, s.grow(child, a, children, rings))
	}
	return n
}

// ring lists the instances that replicate in a circle with a; none when a is not
// part of one.
func (s *Snapshot) ring(a Addr) []Addr {
	list := []Addr{a}
	for next := s.SourceOf(a); next != a; next = s.SourceOf(next) {
		if next == "" || slices.Contains(list, next) {
			return nil // ends, or runs into a ring further up
		}
		list = append(list, next)
	}
	return list
}

func (s *Snapshot) head(ring []Addr) Addr {
	if slices.Contains(ring, s.Route.Writer) {
		return s.Route.Writer
	}
	return slices.Min(ring)
}

// treeOf is the root under which an instance stands.
func (s *Snapshot) treeOf(a Addr, rings map[Addr]bool) Addr {
	root := s.RootOf(a)
	if rings[root] {
		return s.head(s.ring(root))
	}
	return root
}

// Depth calls visit for the node and all below it, in order, with their depth.
func (n *Node) Depth(visit func(n *Node, depth int)) { n.descend(0, visit) }

func (n *Node) descend(depth int, visit func(n *Node, depth int)) {
	visit(n, depth)
	for _, child := range n.Children {
		child.descend(depth+1, visit)
	}
}
