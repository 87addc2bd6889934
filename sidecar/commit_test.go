package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
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

// fullRaft has no room for what was discovered.
type fullRaft struct {
	*fakeRaft
	routes int
}

func (r *fullRaft) Apply(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	switch {
	case cmd.Discover != nil:
		return ledger.Result{}, errors.New("no room")
	case cmd.SetRoute != nil:
		r.routes++
	}
	return r.fakeRaft.Apply(ctx, cmd)
}

// A cluster whose instances cannot be recorded is looked at all the same, and not adopted.
func TestWhatCannotBeRecordedIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		raft := &fullRaft{fakeRaft: f.raft}
		f.ports.Consensus = raft
		d := newDecider(newTerm(f.Sidecar, 1), "main")
		v := wellView("n2", dbA, dbA, time.Now())
		v.State.Sources, v.State.ReadOnly = nil, false
		d.evidence.take(api.Heartbeat{Node: "n2", Seq: 1, Started: time.Unix(1, 0), Views: []api.AgedView{api.Age(v, time.Now())}}, time.Now())
		if d.cycle(context.Background()) || raft.routes > 0 {
			t.Errorf("%d routes were committed to a ledger that knows no instance", raft.routes)
		}
		if d.lastVerdict().Decision.Sentence == "" || d.gathering() != 0 || d.calm.now {
			t.Errorf("the cluster is not looked at, or left alone: %q", d.lastVerdict().Decision.Sentence)
		}
		d.background.Wait()
	})
}
