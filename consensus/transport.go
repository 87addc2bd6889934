package consensus

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// transport is raft's transport over a stream, and patient: entries for a peer
// that cannot be reached wait until a heartbeat reaches it.
//
// Left alone, raft tries again after a pause that doubles up to ten seconds, and
// a follower that comes back may hear heartbeats that long without getting one
// entry. If another node dies meanwhile, nothing can be committed although a
// majority is alive.
type transport struct {
	*raft.NetworkTransport

	rounds *rounds

	mu      sync.Mutex
	patient bool                            // this node leads
	beats   map[raft.ServerID]chan struct{} // closed at the peer's next heartbeat
}

func newTransport(cfg Config, s *stream) *transport {
	return &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:                s,
			MaxPool:               3,
			Timeout:               cfg.IOTimeout,
			Logger:                hclogger(cfg.Log),
			ServerAddressProvider: addressBook(cfg.Peers),
		}),
		rounds: newRounds(),
		beats:  map[raft.ServerID]chan struct{}{},
	}
}

// AppendEntries implements raft.Transport. Heartbeats, which raft sends beside
// the entries and never pauses for long, end the others' waiting.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	beat, round := t.nextBeat(id), t.rounds.now()
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil && resp.Success && resp.Term == args.Term {
		t.rounds.answered(id, answer{term: args.Term, round: round})
	}
	switch heartbeat := isHeartbeat(args); {
	case heartbeat && err == nil:
		t.reached(id)
	case !heartbeat && err != nil:
		<-beat
	}
	return err
}

// isHeartbeat is how raft itself tells them.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.Term != 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// always is a channel that nobody waits on for long.
var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (t *transport) nextBeat(id raft.ServerID) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.patient {
		return always
	}
	if t.beats[id] == nil {
		t.beats[id] = make(chan struct{})
	}
	return t.beats[id]
}

func (t *transport) reached(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if beat := t.beats[id]; beat != nil {
		close(beat)
		delete(t.beats, id)
	}
}

// setPatient says whether this node leads. One that does not sends no
// heartbeats, so nobody may wait for one.
func (t *transport) setPatient(patient bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.patient = patient
	t.rounds.wake()
	for id, beat := range t.beats {
		close(beat)
		delete(t.beats, id)
	}
}

// addressBook gives the configured address of a node, for the one in the log is
// that of the day when the cluster was new.
type addressBook []Peer

// ServerAddr implements raft.ServerAddressProvider.
func (b addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	for _, p := range b {
		if p.Name == string(id) {
			return raft.ServerAddress(p.Addr), nil
		}
	}
	return "", fmt.Errorf("node %q is not configured", id)
}
