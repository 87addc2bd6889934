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
	waits := func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.beats["n2"] != nil
	}
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
}

// A follower that was away for seconds gets the log as soon as it is back.
func TestReturnAfterALongAbsence(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, _ := c.leader()
	c.apply(discover(0))
	away := c.followers(leader)[0]
	c.net.isolate(away.cfg.Name)
	// That is for about two seconds; raft's own pauses would have grown as long.
	eventually(t, "the leader has tried often", func() bool { return c.net.refusals() > 15 })
	c.apply(discover(1))
	c.net.heal()
	start := time.Now()
	knows(t, away, host(1))
	took := time.Since(start)
	t.Logf("it knew after %s", took)
	if took > time.Second {
		t.Errorf("it took %s", took)
	}
}
