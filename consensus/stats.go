package consensus

import (
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

// Stats is what a node says of itself, for display.
type Stats struct {
	Name    string `json:"name"`
	State   string `json:"state"`  // "leader", "follower", "candidate" or "shutdown"
	Leader  string `json:"leader"` // empty when unknown
	Term    uint64 `json:"term"`
	Last    uint64 `json:"last_index"` // newest entry in the log
	Commit  uint64 `json:"commit_index"`
	Applied uint64 `json:"applied_index"` // newest entry that was given to the ledger
	// Contact is how long ago a follower heard of its leader; 0 on the leader, -1
	// when it never did.
	Contact time.Duration `json:"contact"`
	Peers   []Peer        `json:"peers"` // as committed, with the addresses configured here
	Halted  string        `json:"halted,omitempty"`
}

// Stats describes the node now.
func (n *Node) Stats() Stats {
	leader, _ := n.Leader()
	s := Stats{
		Name: n.cfg.Name, State: stateName(n.raft.State()), Leader: leader,
		Term: n.raft.CurrentTerm(), Last: n.raft.LastIndex(), Commit: n.raft.CommitIndex(), Applied: n.raft.AppliedIndex(),
		Peers: n.peers(),
	}
	switch last := n.raft.LastContact(); {
	case n.IsLeader():
	case last.IsZero():
		s.Contact = -1
	default:
		s.Contact = time.Since(last)
	}
	if err := n.Halted(); err != nil {
		s.Halted = err.Error()
	}
	return s
}

// LogSize is how many entries the log holds, and what it takes on disk, in bytes: 0
// where it is in memory. It waits for a disk that hangs.
func (n *Node) LogSize() (entries uint64, bytes int64) {
	first, err := n.stores.Logs.FirstIndex()
	if last, lastErr := n.stores.Logs.LastIndex(); err == nil && lastErr == nil && first > 0 && last >= first {
		entries = last - first + 1
	}
	if n.cfg.Dir != "" {
		if info, err := os.Stat(filepath.Join(n.cfg.Dir, logFile)); err == nil {
			bytes = info.Size()
		}
	}
	return entries, bytes
}

func (n *Node) peers() []Peer {
	var peers []Peer
	for _, server := range n.raft.GetConfiguration().Configuration().Servers {
		p := Peer{Name: string(server.ID), Addr: string(server.Address), NonVoter: server.Suffrage != raft.Voter}
		if at, err := addressBook(n.cfg.Peers).ServerAddr(server.ID); err == nil {
			p.Addr = string(at)
		}
		peers = append(peers, p)
	}
	return peers
}

func stateName(s raft.RaftState) string {
	switch s {
	case raft.Leader:
		return "leader"
	case raft.Follower:
		return "follower"
	case raft.Candidate:
		return "candidate"
	default:
		return "shutdown"
	}
}
