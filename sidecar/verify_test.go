package sidecar

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStatementIsSentOnlyOnAYoungQuorumRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raft := newFakeRaft("n1")
		may := Confirmed(&Ports{Consensus: raft, Clock: goClock()})
		depose := func(err error) {
			raft.mu.Lock()
			defer raft.mu.Unlock()
			raft.deposed = err
		}
		lost := errors.New("lost")
		depose(lost)
		if err := may(context.Background()); !errors.Is(err, lost) {
			t.Errorf("the first one, without a round: %v", err)
		}
		depose(nil)
		if err := may(context.Background()); err != nil {
			t.Errorf("with a round: %v", err)
		}
		depose(lost)
		<-time.After(quorumAge / 2)
		if err := may(context.Background()); err != nil {
			t.Errorf("within its age: %v", err)
		}
		<-time.After(quorumAge / 2)
		if err := may(context.Background()); !errors.Is(err, lost) {
			t.Errorf("after its age: %v", err)
		}
	})
}
