package failover

import (
	"time"

	"github.com/remora-ha/remora/topology"
)

// Unsettled is a server on which something may yet be executed that was sent to it
// before, by a repair that was broken off or an act that was given up: a replica that
// stands still may receive from the old primary a moment later. Nothing is concluded
// from what it says before that is over; one that cannot be read might do anything
// anyway, so nobody waits any longer for a server that is frozen.
type Unsettled struct {
	Instance topology.Addr `json:"instance"`
	// Until is when that was over: a later reading counts. Zero: it is not over.
	Until time.Time `json:"until,omitzero"`
}

// unsettled says that the last reading of an instance says nothing of its replication
// for that.
func (f *facts) unsettled(i *topology.Instance) bool {
	for _, u := range f.c.Unsettled {
		if u.Instance == i.Addr && (u.Until.IsZero() || !i.ReadAt.After(u.Until)) {
			return true
		}
	}
	return false
}
