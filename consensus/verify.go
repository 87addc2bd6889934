package consensus

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// Verify asks a majority now whether this node still leads. It returns nil only
// when a majority answered, in this node's term, what it was asked after Verify
// had been called: at the call no other node led.
//
// Raft's own VerifyLeader makes the round but counts whatever answer comes in
// next, also one to an older question. A process that was stopped for a while
// finds such answers in its sockets when it wakes, long after another node took
// over. So raft is only asked to send its heartbeats at once.
func (n *Node) Verify(ctx context.Context) error {
	const what = "verify the leadership"
	term, round := n.raft.CurrentTerm(), n.trans.rounds.begin()
	_ = n.send(func() { n.raft.VerifyLeader() })
	for {
		answers, news := n.trans.rounds.answers()
		switch {
		case n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term:
			return n.leaderError(what, raft.ErrLeadershipLost)
		case n.majority(answers, answer{term: term, round: round}):
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-n.own:
			return fmt.Errorf("%s: %w", what, ErrClosed)
		}
	}
}

// majority says whether most voters, this node among them, gave a wanted answer.
func (n *Node) majority(answers map[raft.ServerID]answer, want answer) bool {
	voters, agree := 0, 0
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		got := answers[s.ID]
		if string(s.ID) == n.cfg.Name || got.term == want.term && got.round >= want.round {
			agree++
		}
	}
	return agree > voters/2
}

// rounds numbers the questions of [Node.Verify] and keeps the peers' answers.
type rounds struct {
	mu     sync.Mutex
	round  uint64
	newest map[raft.ServerID]answer
	news   chan struct{} // closed at the next answer
}

// answer is a peer's agreement to what it was asked in a round.
type answer struct{ term, round uint64 }

func newRounds() *rounds {
	return &rounds{newest: map[raft.ServerID]answer{}, news: make(chan struct{})}
}

// begin starts a round: only what is asked from now on counts for it.
func (r *rounds) begin() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round++
	return r.round
}

// now is the round that a question asked now belongs to.
func (r *rounds) now() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.round
}

func (r *rounds) answered(id raft.ServerID, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.newest[id]; a.term < old.term || a.term == old.term && a.round < old.round {
		return
	}
	r.newest[id] = a
	r.wakeLocked()
}

// wake lets those who wait look again.
func (r *rounds) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeLocked()
}

func (r *rounds) wakeLocked() {
	close(r.news)
	r.news = make(chan struct{})
}

// answers are the newest of all peers, and a channel for when there are others.
func (r *rounds) answers() (map[raft.ServerID]answer, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(map[raft.ServerID]answer, len(r.newest))
	for id, a := range r.newest {
		c[id] = a
	}
	return c, r.news
}
