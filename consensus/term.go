package consensus

import (
	"context"
	"time"
)

// Term is a time of leadership.
type Term struct {
	// Ctx ends when this node has noticed that it no longer leads.
	Ctx    context.Context
	Number uint64 // raft's
}

// Terms delivers a term each time this node has become leader and has applied
// everything that was committed before. It is for one receiver; a term that ends
// before it was received is not delivered. Closed when the node is.
func (n *Node) Terms() <-chan Term { return n.terms }

// barrierRetry is the pause after a barrier that failed in a living term.
const barrierRetry = 20 * time.Millisecond

// followLeadership reads raft's notifications, always: raft stands still while
// one is unread.
func (n *Node) followLeadership(ctx context.Context, notify <-chan bool) {
	defer close(n.own)
	defer close(n.terms)
	defer n.trans.setPatient(false)
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case leads := <-notify:
			n.trans.setPatient(leads)
			end()
			end = func() {}
			if leads {
				end = n.beginTerm(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// beginTerm delivers a term; the returned function ends it and waits until
// nobody works on it any more.
func (n *Node) beginTerm(parent context.Context) (end func()) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.deliverTerm(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (n *Node) deliverTerm(ctx context.Context) {
	for {
		err := n.Barrier(ctx)
		if err == nil {
			err = n.Halted()
		}
		if err == nil {
			break
		}
		n.cfg.Log.Warn("leadership is not usable yet", "error", err)
		select {
		case <-time.After(barrierRetry):
		case <-ctx.Done():
			return
		}
	}
	select {
	case n.terms <- Term{Ctx: ctx, Number: n.raft.CurrentTerm()}:
	case <-ctx.Done():
	}
}
