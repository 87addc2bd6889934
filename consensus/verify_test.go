package consensus

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A process that was stopped finds answers in its sockets when it wakes. They are
// to old questions and prove nothing.
func TestVerifyTakesNoOldAnswer(t *testing.T) {
	c := newCluster(t, 3, func(c *Config) { c.Heartbeat, c.Election, c.Lease = time.Second, time.Second, time.Second }).start()
	leader, _ := c.leader()
	c.apply(discover(1))
	c.net.hold(leader.cfg.Name)
	asked := c.net.asked()
	eventually(t, "both followers have answered what the leader has not read", func() bool { return c.net.asked() >= asked+4 })
	c.net.isolate(leader.cfg.Name)

	var verified error
	var done sync.WaitGroup
	round := leader.trans.rounds.now()
	done.Go(func() { verified = leader.Verify(bounded(t)) })
	eventually(t, "it asks", func() bool { return leader.trans.rounds.now() > round })
	c.net.release()
	done.Wait()
	if !errors.Is(verified, ErrNotLeader) {
		t.Errorf("a leader that is cut off verified its leadership: %v", verified)
	}
}

// Whose answers make a majority.
func TestMajority(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.peers[3].NonVoter = true
	c.start()
	leader, _ := c.leader()
	want := answer{term: 5, round: 7}
	var voters []raft.ServerID
	for _, n := range c.followers(leader) {
		if n.cfg.Name != "n4" {
			voters = append(voters, raft.ServerID(n.cfg.Name))
		}
	}
	for name, tc := range map[string]struct {
		answers map[raft.ServerID]answer
		want    bool
	}{
		"nobody":                    {nil, false},
		"one":                       {map[raft.ServerID]answer{voters[0]: want}, true},
		"one, in a later round":     {map[raft.ServerID]answer{voters[1]: {5, 8}}, true},
		"only to older questions":   {map[raft.ServerID]answer{voters[0]: {5, 6}, voters[1]: {5, 6}}, false},
		"only of an older term":     {map[raft.ServerID]answer{voters[0]: {4, 7}, voters[1]: {4, 9}}, false},
		"one that has no vote":      {map[raft.ServerID]answer{"n4": want}, false},
		"one that is not a node":    {map[raft.ServerID]answer{"n9": want}, false},
		"one newer, one older term": {map[raft.ServerID]answer{voters[0]: want, voters[1]: {4, 9}}, true},
	} {
		if got := leader.majority(tc.answers, want); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
