package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/consensus"
	"github.com/remora-ha/remora/ledger"
)

// closingRaft is a raft that is being closed: whatever it is asked, the outcome is
// not known, and it says so at once.
type closingRaft struct {
	*fakeRaft
	asked int
}

func (r *closingRaft) Apply(context.Context, ledger.Command) (ledger.Result, error) {
	if r.asked++; r.asked > 10000 {
		panic("a commit spins")
	}
	return ledger.Result{}, consensus.ErrAmbiguous
}

func TestACommitOfUnknownOutcomeIsNotSentWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raft := &closingRaft{fakeRaft: newFakeRaft("n1")}
		began := time.Now()
		d := &term{Sidecar: &Sidecar{ports: Ports{Consensus: raft}, log: slog.New(slog.DiscardHandler)}}
		_, err := d.commit(context.Background(), ledger.Command{})
		if !errors.Is(err, consensus.ErrAmbiguous) || time.Since(began) < commitTimeout {
			t.Errorf("after %s, asked %d times: %v", time.Since(began), raft.asked, err)
		}
	})
}
