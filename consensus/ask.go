package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/remora-ha/remora/ledger"
)

const (
	// maxAsking bounds the requests that hang in a raft that does not answer. Thousands of clusters that begin at the
	// same time are committed by as many of them.
	maxAsking = 512
	// enqueueWait is how long an abandoned request still tries to reach raft.
	enqueueWait = 10 * time.Second
	// nudgeWait: later, CommitTimeout has done the nudge's work.
	nudgeWait = 100 * time.Millisecond
)

// Apply sends a command through the log and gives the ledger's answer; a refusal
// is an answer, not an error. Only the leader can: else [ErrNotLeader], and
// nothing was done. [ErrAmbiguous]: send the same command again, to whoever leads.
func (n *Node) Apply(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	what := "apply " + cmd.ID
	data, err := cmd.Encode()
	if err != nil {
		return ledger.Result{}, fmt.Errorf("%s: %w", what, err)
	}
	future, err := ask(ctx, n, func() raft.ApplyFuture { return n.raft.Apply(data, wait(ctx)) })
	switch {
	case err == nil:
	case notStarted(err):
		return ledger.Result{}, fmt.Errorf("%s: %w", what, n.notLeader())
	default:
		return ledger.Result{}, fmt.Errorf("%s: %w: %w", what, ErrAmbiguous, err)
	}
	switch answer := future.Response().(type) {
	case ledger.Result:
		n.nudge()
		return answer, nil
	case error:
		return ledger.Result{}, fmt.Errorf("%s: %w", what, answer)
	default:
		return ledger.Result{}, fmt.Errorf("%s: raft answered %T", what, answer)
	}
}

// nudge lets the followers know at once what has been committed: raft tells them
// with the next entry, so it gets one, or else after CommitTimeout. One does for all that was committed
// before raft takes it.
func (n *Node) nudge() {
	if n.nudges.Add(1) > 1 {
		return // who is at it sees that there is more
	}
	sent := n.send(func() {
		for more := true; more; {
			asked := n.nudges.Load()
			n.raft.Barrier(nudgeWait)
			more = !n.nudges.CompareAndSwap(asked, 0)
		}
	})
	if !sent {
		n.nudges.Store(0)
	}
}

// send gives raft something to do whose outcome nobody waits for. A raft that has
// much to do already is spared.
func (n *Node) send(request func()) bool {
	select {
	case n.asking <- struct{}{}:
	default:
		return false
	}
	go func() {
		defer func() { <-n.asking }()
		request()
	}()
	return true
}

// Barrier waits until everything committed so far has been applied here. Only
// the leader can.
func (n *Node) Barrier(ctx context.Context) error {
	_, err := ask(ctx, n, func() raft.Future { return n.raft.Barrier(wait(ctx)) })
	return n.leaderError("barrier", err)
}

// TransferLeadership hands the leadership to a voter, or, when to is empty, to
// the one that is most up to date.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	what := "transfer the leadership"
	transfer := n.raft.LeadershipTransfer
	if to != "" {
		what += " to " + to
		at, err := addressBook(n.cfg.Peers).ServerAddr(raft.ServerID(to))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		transfer = func() raft.Future { return n.raft.LeadershipTransferToServer(raft.ServerID(to), at) }
	}
	_, err := ask(ctx, n, transfer)
	return n.leaderError(what, err)
}

// ask waits for raft's answer, for ctx, or for the end of the node. Raft may hang
// with its disk, and its futures know no context, so each is awaited in a
// goroutine that outlives an impatient caller; there are at most maxAsking.
func ask[F raft.Future](ctx context.Context, n *Node, request func() F) (F, error) {
	var none F
	select {
	case n.asking <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%d requests wait for raft: %w", maxAsking, ctx.Err())
	case <-n.own:
		return none, ErrClosed
	}
	type answer struct {
		future F
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-n.asking }()
		f := request()
		answers <- answer{f, f.Error()}
	}()
	select {
	case a := <-answers:
		if errors.Is(a.err, raft.ErrEnqueueTimeout) { // raft's word for a deadline that has passed
			return none, fmt.Errorf("%w: %w", a.err, context.DeadlineExceeded)
		}
		return a.future, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-n.own:
		return none, ErrClosed
	}
}

// wait is how long raft may take to accept a request.
func wait(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Nanosecond) // 0 would be for ever
	}
	return enqueueWait
}

// leaderError names the leader where an error says that this node is not it.
func (n *Node) leaderError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case notStarted(err), errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("%s: %w", what, n.notLeader())
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

func (n *Node) notLeader() error {
	name, _ := n.Leader()
	if name == n.cfg.Name { // about to hand over, or just lost it
		name = ""
	}
	return &NotLeaderError{Leader: name}
}
