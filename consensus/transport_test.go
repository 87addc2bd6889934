package consensus

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Entries for a peer that is away wait for its heartbeat, and for nothing else
// once this node no longer leads.
func TestEntriesWaitForAHeartbeat(t *testing.T) {
	c := newCluster(t, 2, nil)
	cfg := c.config("n1").Defaults()
	s, err := listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport(cfg, s)
	defer func() { _ = tr.Close() }()
	entries := &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 3, PrevLogTerm: 2}
	send := func() <-chan error {
		sent := make(chan error, 1)
		go func() {
			sent <- tr.AppendEntries("n2", raft.ServerAddress(c.peers[1].Addr), entries, &raft.AppendEntriesResponse{})
		}()
		return sent
	}
	wantEnd := func(sent <-chan error) {
		t.Helper()
		select {
		case err := <-sent:
			if err == nil {
				t.Error("sent to a peer that is away")
			}
		case <-time.After(patience):
			t.Fatal("it waits")
		}
	}
	waits := func() bool { return entriesWait(tr, "n2") }
	wantEnd(send()) // a follower does not wait

	tr.setPatient(true)
	sent := send()
	eventually(t, "it waits", waits)
	select {
	case <-sent:
		t.Error("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	tr.reached("n2")
	wantEnd(sent)

	sent = send()
	eventually(t, "it waits again", waits)
	tr.setPatient(false)
	wantEnd(sent)
	wantEnd(send())
}

// entriesWait says whether entries for a peer wait until it is heard of.
func entriesWait(tr *transport, peer string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.beats[raft.ServerID(peer)] != nil
}

// A follower that was away gets the log as soon as it is back, and a leader that
// is no longer one waits for nobody.
func TestReturnAfterAnAbsence(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, term := c.leader()
	c.apply(discover(0))
	away := c.followers(leader)[0]
	c.net.isolate(away.cfg.Name)
	c.apply(discover(1))
	tries := c.net.refusals()
	eventually(t, "the leader has tried often", func() bool { return c.net.refusals() > tries+5 })
	if !entriesWait(leader.trans, away.cfg.Name) {
		t.Error("the leader keeps sending entries to a peer that is away")
	}
	c.net.heal()
	start := time.Now()
	knows(t, away, host(1))
	t.Logf("it knew %s after it was back", time.Since(start))

	c.net.isolate(leader.cfg.Name)
	ended(t, term)
	eventually(t, "nothing waits any more", func() bool {
		return !entriesWait(leader.trans, "n1") && !entriesWait(leader.trans, "n2") && !entriesWait(leader.trans, "n3")
	})
}
