package failover

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// Step is one piece of work that remains. A plan is data: one place executes it,
// and [Remaining] alone says whether it is done.
type Step struct {
	Do     Act           `json:"do"`
	Target topology.Addr `json:"target,omitempty"` // the instance acted upon
	Source topology.Addr `json:"source,omitempty"` // Repoint: the new source; StopReceiving: the old one, as Target calls it; Locate: the old primary
	Until  gtid.Set      `json:"until,omitzero"`   // CatchUp: what Target must have executed; SaveExtra, Discard, Inject: what is saved, taken back, injected
	// Without GTID. CatchUp: what Target must have executed of its source's binary log.
	// Repoint: where it goes on in that of Source, if it stands at Stands: in the log of
	// its present source, or without one at the end of its own.
	At     topology.Coordinates `json:"at,omitzero"`
	Stands topology.Coordinates `json:"stands,omitzero"`
	Wait   Duration             `json:"wait,omitempty"` // how long the step may take; 0: the executor's default
	Mode   topology.Mode        `json:"mode,omitempty"` // CloseProxies: what they must acknowledge
	// SemiSync says how to set semi-sync on Target (Promote, Repoint, SetSemiSync).
	SemiSync *SemiSyncPlan `json:"semi_sync,omitempty"`
	// Optional steps may fail without failing the recovery; repair takes them up.
	Optional bool   `json:"optional,omitempty"`
	Why      string `json:"why"` // a sentence
}

// Act names what a step does.
type Act string

// The acts. Each is idempotent.
const (
	CloseProxies Act = "close_proxies" // wait until every proxy acknowledged the intent's epoch, or its lease is over
	// Pause commits that the proxies hold the writes to Target, the old primary, from now
	// on: the regrouping has ended.
	Pause       Act = "pause"
	SetReadOnly Act = "set_read_only" // (super_)read_only on Target, then end its application sessions
	// StopReceiving stops Target's IO thread, so that it acknowledges nothing any more;
	// what it received stays in its relay log, and is applied.
	StopReceiving Act = "stop_receiving"
	// SetSemiSync sets semi-sync on Target as planned, and lets a replica connect anew
	// where it takes that up only then.
	SetSemiSync Act = "set_semi_sync"
	CatchUp     Act = "catch_up" // wait until Target has executed Until
	Drain       Act = "drain"    // wait until Target has applied all that it received; its IO thread is stopped
	// Locate lets Target apply all that it received, or all that Source, closed, has in
	// its binary log; then it stops its replication, and the anchor is committed.
	Locate      Act = "locate"
	Retarget    Act = "retarget"     // commit Target as the intent's To
	Promote     Act = "promote"      // Target: stop and forget its source, set semi-sync, become writable
	CommitRoute Act = "commit_route" // commit the route with Target as the open writer
	Repoint     Act = "repoint"      // Target replicates from Source
	SetWritable Act = "set_writable" // rollback, repair: Target (the old primary, the routed writer) takes writes again
	// StartReplica starts what is stopped of Target's replication from Source: a repair, or
	// in a switchover what a repair that was broken off left undone.
	StartReplica Act = "start_replica"
	// SaveExtra saves Target's transactions in Until as SQL: a repair that changes
	// nothing on the server.
	SaveExtra Act = "save_extra"
	// Discard takes Target's transactions in Until back: a rejoin.
	Discard Act = "discard"
	// Clone replaces all of Target's data by those of Source: a rejoin.
	Clone Act = "clone"
	// Inject commits empty transactions in the place of those in Until on Target, the
	// primary: a repair.
	Inject Act = "inject"
	// Detach makes Target, a primary, forget its source: a repair.
	Detach   Act = "detach"
	RollBack Act = "roll_back" // commit the intent's end with Target as the open writer again
	Conclude Act = "conclude"  // commit the intent's end
)

// Stage is a group of steps that may run at the same time; the next stage starts
// when all its steps that are not optional have ended.
type Stage []Step

// String lists the steps: "promote b:3306, repoint c:3306 to b:3306".
func (s Stage) String() string {
	words := make([]string, len(s))
	for i, step := range s {
		words[i] = step.String()
	}
	return strings.Join(words, ", ")
}

// StepResult is how a step went, for the history.
type StepResult struct {
	Step    Step      `json:"step"`
	Started time.Time `json:"started"`
	Took    Duration  `json:"took"`
	Node    string    `json:"node"` // the leader that did it
	Error   string    `json:"error,omitempty"`
}

// String says what the step does: "repoint b:3306 to c:3306".
func (s Step) String() string {
	switch s.Do {
	case CloseProxies:
		return fmt.Sprintf("proxies: writer %s", s.Mode)
	case Clone:
		return fmt.Sprintf("clone %s from %s", s.Target, s.Source)
	case Repoint:
		return fmt.Sprintf("repoint %s to %s", s.Target, s.Source)
	case Conclude:
		return "conclude"
	case SetSemiSync:
		return fmt.Sprintf("set semi-sync %s (%s)", s.Target, s.SemiSync)
	default:
		return strings.ReplaceAll(string(s.Do), "_", " ") + " " + string(s.Target)
	}
}
