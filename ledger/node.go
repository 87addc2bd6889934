package ledger

import (
	"fmt"
	"strings"
)

// maxEpoch keeps epochs exact in every JSON reader, and far from overflow.
const maxEpoch = 1 << 52

func (r *RegisterNode) apply(s *State, e entry) Result {
	node := r.Node
	if node.Name == "" {
		return refuse(RuleCommand, "registering a node without a name is refused")
	}
	if r.Epoch > maxEpoch {
		return refuse(RuleCommand, "registering %s is refused: it claims to have acknowledged epoch %d, which no cluster can reach", node.Name, r.Epoch)
	}
	old, known := s.Nodes[node.Name]
	if known && old.Proxy && !node.Proxy {
		if open := s.OpenIntent(); open != "" {
			return refuse(RuleInUse, "taking the proxy of %s out of account is refused: %s is open and waits for every registered proxy", node.Name, open)
		}
	}
	node.Since = e.at
	if known {
		node.Since = old.Since
	}
	s.Nodes[node.Name] = node
	if r.Epoch > e.epoch {
		s.Base += r.Epoch - e.epoch
	}
	return Result{}
}

func (f *ForgetNode) apply(s *State, _ entry) Result {
	node, ok := s.Nodes[f.Name]
	if !ok {
		return refuse(RuleUnknown, "forgetting node %q is refused: it is not registered; registered are %s", f.Name, list(s.NodeNames()))
	}
	if open := s.OpenIntent(); node.Proxy && open != "" {
		return refuse(RuleInUse, "forgetting %s is refused: %s is open and waits for every registered proxy", f.Name, open)
	}
	delete(s.Nodes, f.Name)
	return Result{}
}

// OpenIntent names an open intent that waits for the proxies, of the first cluster that has
// one; "" is none.
func (s *State) OpenIntent() string {
	first := ""
	for name, c := range s.Clusters {
		if c.Intent != nil && !c.Intent.Regroups() && (first == "" || name < first) {
			first = name
		}
	}
	if first == "" {
		return ""
	}
	i := s.Clusters[first].Intent
	return string(i.Kind) + " " + i.ID + " of cluster " + first
}

// listAtMost is how many names a sentence holds.
const listAtMost = 20

// list spells names for a sentence.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - listAtMost; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:listAtMost], ", "), more)
	}
	return strings.Join(names, ", ")
}
