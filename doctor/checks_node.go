package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// syncMost is what a disk may take to write and sync a little: every commit of
	// raft waits for it on a majority of the nodes.
	syncMost = topology.Duration(100 * time.Millisecond)
	// logMost is how large raft's log may be, in bytes: it holds decisions alone.
	logMost = 256 << 20
)

// nodeChecks are about the sidecars.
var nodeChecks = []Check{
	{
		Name: "node_unreachable",
		Why:  "A sidecar that is not heard is an observer less, and a failover waits for its proxy's lease.",
		look: func(f *Facts) (hits []hit) {
			for _, n := range f.Nodes {
				if n.Error != "" {
					hits = append(hits, hit{severity: Unknown, where: n.Name, sentence: "it could not be asked: " + n.Error, mend: "start it, or look at the network between the nodes; an older version cannot answer"})
				}
			}
			return hits
		},
	},
	{
		Name: "leader",
		Why:  "Without a leader nobody fails over, and the proxies close when their leases end.",
		look: func(f *Facts) (hits []hit) {
			if f.Leader == "" {
				hits = append(hits, hit{severity: Error, where: "fleet", sentence: "no leader is known to " + f.Node, mend: "bring back a majority of the sidecars, or their network"})
			}
			for _, n := range f.Nodes {
				if n.Error == "" && f.Leader != "" && n.Raft.Leader != f.Leader {
					hits = append(hits, hit{severity: Warning, where: n.Name, sentence: fmt.Sprintf("it takes %s for the leader, and %s takes %s", orWord(n.Raft.Leader), f.Node, f.Leader), mend: "ask again; if it stays, look at its network"})
				}
			}
			return hits
		},
	},
	{
		Name: "raft_members",
		Why:  "A majority is counted of the committed members, whoever is configured.",
		look: nodes(func(f *Facts, n *Node, add nodeAdder) {
			if n.Raft.Halted != "" {
				add(Error, "see its log", "its ledger has halted: %s", n.Raft.Halted)
			}
			committed := map[string]bool{}
			for _, m := range n.Raft.Members {
				committed[m.Name] = true
				if !slices.ContainsFunc(f.Members, func(c Member) bool { return c.Name == m.Name }) {
					add(Error, "one list of `nodes` on all machines; docs/operations.md says how to change it", "%s is a committed member and not configured", m.Name)
				}
			}
			for _, c := range f.Members {
				if len(committed) > 0 && !committed[c.Name] {
					add(Error, "one list of `nodes` on all machines; docs/operations.md says how to change it", "%s is configured and no committed member", c.Name)
				}
			}
			if n.Name == f.Node && len(f.Members)%2 == 0 {
				add(Advice, "an odd number of nodes, the last as a witness", "there are %d nodes: as many may fail as with one less", len(f.Members))
			}
		}),
	},
	{
		Name: "raft_peers",
		Why:  "Nodes that cannot reach each other's raft cannot form a majority.",
		look: nodes(func(_ *Facts, n *Node, add nodeAdder) {
			for _, p := range n.Peers {
				if p.Error != "" {
					add(Warning, "the sidecar there, or the network and its filters", "it cannot reach the raft of %s at %s: %s", p.Name, p.Addr, p.Error)
				}
			}
		}),
	},
	{
		Name: "raft_disk",
		Why:  "Every decision waits until a majority of the nodes has it on disk, so a slow disk makes every failover slow.",
		look: nodes(func(_ *Facts, n *Node, add nodeAdder) {
			switch d := n.Disk; {
			case d == nil:
				add(Advice, "data_dir in the configuration", "it keeps raft's log in memory: only one node at a time may lose it")
			case d.Error != "":
				add(Error, "mend the disk under data_dir", "its disk cannot be written: %s", d.Error)
			case d.Median > syncMost:
				add(Warning, "another disk for data_dir", "its disk takes %s to sync a little (%s at worst)", d.Median.D().Round(time.Millisecond), d.Worst.D().Round(time.Millisecond))
			}
		}),
	},
	{
		Name: "raft_log",
		Why:  "The log holds decisions only, so one that grows tells of something that decides all the time.",
		look: nodes(func(_ *Facts, n *Node, add nodeAdder) {
			if n.Raft.Bytes > logMost {
				add(Warning, "look for a sentence that repeats in its log", "raft's log takes %d MiB, with %d entries", n.Raft.Bytes>>20, n.Raft.Entries)
			}
		}),
	},
	{
		Name: "node_versions",
		Why:  "Two versions may decide differently; they are meant for the minutes of an upgrade.",
		look: nodes(func(f *Facts, n *Node, add nodeAdder) {
			if first := f.answered(); first != nil && n.Version != first.Version {
				add(Warning, "install one version on all nodes", "it runs version %s, and %s runs %s", n.Version, first.Name, first.Version)
			}
		}),
	},
	{
		Name: "node_settings",
		Why:  "Whoever leads decides by its own file, so the next leader would decide otherwise.",
		look: nodes(func(f *Facts, n *Node, add nodeAdder) {
			first := f.answered()
			if first == nil || first.Settings == nil || n.Settings == nil {
				return
			}
			var differ []string
			for part, digest := range n.Settings {
				if first.Settings[part] != digest {
					differ = append(differ, part)
				}
			}
			for part := range first.Settings {
				if _, ok := n.Settings[part]; !ok {
					differ = append(differ, part)
				}
			}
			if slices.Sort(differ); len(differ) > 0 {
				add(Warning, "the same file on all nodes, and a restart of who has the old one", "its configuration differs from %s's in %s", first.Name, strings.Join(differ, ", "))
			}
		}),
	},
	{
		Name: "node_clock",
		Why:  "Leases need no clocks to agree, but downtimes, anti-flap periods and the history are told by them.",
		look: nodes(func(_ *Facts, n *Node, add nodeAdder) {
			if off, yes := n.Clock.off(); yes {
				add(Warning, "run an NTP client on its machine", "its clock is %s", off)
			}
		}),
	},
}

// storeChecks are about the Consuls, as each node reaches them: any may lead.
var storeChecks = []Check{
	{
		Name: "consul_access",
		Why:  "A leader that cannot write there leaves HAProxy and everybody else who reads it at the old primary.",
		look: stores(func(_ *Facts, _ *Node, s *Store, add nodeAdder) {
			switch {
			case s.Denied:
				add(Error, "key_prefix write for the prefix, as docs/consul.md shows", "%s", s.Error)
			case s.Error != "":
				add(Unknown, "the agent there, or the network to it", "%s", s.Error)
			}
		}),
	},
	{
		Name: "consul_epoch",
		Why:  "A store that holds a newer epoch refuses every route until the ledger has passed it.",
		look: stores(func(f *Facts, _ *Node, s *Store, add nodeAdder) {
			for _, c := range f.Clusters {
				if have := s.Epochs[c.Name]; c.Epoch > 0 && have > c.Epoch {
					add(Error, "is another fleet writing there? Give each a prefix of its own; else delete the cluster's keys, and `remora kv submit`",
						"it holds epoch %d of %s, and the ledger is at %d", have, c.Name, c.Epoch)
				}
			}
		}),
	},
}

type nodeAdder = func(severity Severity, mend, format string, args ...any)

// nodes looks at every node that answered.
func nodes(look func(*Facts, *Node, nodeAdder)) func(*Facts) []hit {
	return func(f *Facts) (hits []hit) {
		for i := range f.Nodes {
			n := &f.Nodes[i]
			if n.Error != "" {
				continue
			}
			look(f, n, func(severity Severity, mend, format string, args ...any) {
				hits = append(hits, hit{severity: severity, where: n.Name, sentence: fmt.Sprintf(format, args...), mend: mend})
			})
		}
		return hits
	}
}

func stores(look func(*Facts, *Node, *Store, nodeAdder)) func(*Facts) []hit {
	return func(f *Facts) (hits []hit) {
		for i := range f.Nodes {
			n := &f.Nodes[i]
			for j := range n.Stores {
				s := &n.Stores[j]
				look(f, n, s, func(severity Severity, mend, format string, args ...any) {
					where := fmt.Sprintf("%s's consul %s", n.Name, s.Name)
					if s.Agent != "" && s.Agent != s.Name {
						where += " (" + s.Agent + ")"
					}
					hits = append(hits, hit{severity: severity, where: where, sentence: fmt.Sprintf(format, args...), mend: mend})
				})
			}
		}
		return hits
	}
}

// answered is the node that the others are compared with: who gathered the facts,
// else the first that answered.
func (f *Facts) answered() *Node {
	var first *Node
	for i := range f.Nodes {
		switch n := &f.Nodes[i]; {
		case n.Error != "":
		case n.Name == f.Node:
			return n
		case first == nil:
			first = n
		}
	}
	return first
}

// covered are findings of the decision cycle that a check of this package says with
// its statement.
var covered = []failover.Code{
	"ProxyKills", "ProxyConflict", "OpenAtBoot", "NoLoggingReplicasStructureWarning", "DifferentGTIDModesStructureWarning", "SidecarSilent",
	"StatementAndMixedLoggingReplicasStructureWarning", "StatementAndRowLoggingReplicasStructureWarning", "MixedAndRowLoggingReplicasStructureWarning",
}

// found are the findings of the decision cycle, as the doctor says them.
func found(f *Facts) (list []Finding) {
	for _, c := range f.Clusters {
		for _, x := range c.Findings {
			if slices.Contains(covered, x.Code) {
				continue
			}
			severity := Warning
			switch {
			case x.Priority <= 2:
				severity = Error
			case x.Priority >= 5:
				severity = Advice
			}
			where := string(x.Instance)
			if where == "" {
				where = "cluster " + c.Name
			}
			problem, _ := failover.Explain(x.Code)
			list = append(list, Finding{Check: string(x.Code), Severity: severity, Cluster: c.Name, Where: where, Sentence: x.Sentence,
				Why: problem.Explain, Mend: "docs/operations.md has a line on it"})
		}
	}
	return list
}
