package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Kind of a recovery.
type Kind string

// The kinds.
const (
	KindFailover   Kind = "failover"
	KindSwitchover Kind = "switchover"
)

// Intent is the committed decision to change a cluster's primary. While it is
// open every proxy holds the writer closed: fenced for a failover, paused for a
// switchover, which may regroup replicas before. It is closed by committing the route to
// its end (To as writer), or by rolling back to From.
type Intent struct {
	ID      string        `json:"id"` // the recovery's; chosen by who proposes, so that a repeated command is recognised
	Cluster string        `json:"cluster"`
	Kind    Kind          `json:"kind"`
	From    topology.Addr `json:"from"`
	To      topology.Addr `json:"to"`
	Reason  string        `json:"reason"` // a sentence
	Code    Code          `json:"code,omitempty"`
	// Evidence are sentences: who saw what when the decision was made.
	Evidence []string `json:"evidence,omitempty"`
	// Forced says that an operator overrode refusals; By names who asked.
	Forced bool   `json:"forced,omitempty"`
	By     string `json:"by,omitempty"`
	// Chosen says that an operator named To: nobody is taken in its place, and
	// who is ahead of it serves as its donor.
	Chosen bool `json:"chosen,omitempty"`
	// Replicas replicated from From when it was decided.
	Replicas []topology.Addr `json:"replicas,omitempty"`
	// Positions says that the replicas position by file and offset, without GTID. Anchor
	// is where they follow To, known before To opens; nil until then.
	Positions bool    `json:"positions,omitempty"`
	Anchor    *Anchor `json:"anchor,omitempty"`
	// Regroup are replicas that are moved under To first, while the proxies go on sending
	// writes to From. A switchover may begin so; see regroup.go. It is empty from the end
	// of that on.
	Regroup []topology.Addr `json:"regroup,omitempty"`
	Epoch   uint64          `json:"epoch"` // the raft index of its commit, or of the end of its regrouping; set by the ledger
	// At is when it was proposed. A switchover that has not passed its point of
	// no return by Deadline is rolled back.
	At       time.Time `json:"at"`
	Deadline time.Time `json:"deadline,omitzero"`
}

// Mode is what the proxies do with the writer while the intent is open.
func (i *Intent) Mode() topology.Mode {
	if i.Kind == KindSwitchover {
		return topology.Paused
	}
	return topology.Fenced
}

// Request is what an operator asks for.
type Request struct {
	ID      string        `json:"id"` // the same id asked twice is one request
	Kind    Kind          `json:"kind"`
	To      topology.Addr `json:"to,omitempty"` // empty: the best candidate
	Force   bool          `json:"force,omitempty"`
	By      string        `json:"by,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Timeout Duration      `json:"timeout,omitempty"` // 0: the policy's
}

// Recovery is one failover or switchover with its outcome, kept as history.
type Recovery struct {
	Intent  Intent        `json:"intent"`
	Outcome Outcome       `json:"outcome"`
	To      topology.Addr `json:"to,omitempty"` // who became primary
	Steps   []StepResult  `json:"steps"`
	Routed  time.Time     `json:"routed,omitzero"` // when the new route was committed
	Ended   time.Time     `json:"ended,omitzero"`
	Error   string        `json:"error,omitempty"`
	// Lost names transactions known to be lost or kept out, and replicas set aside.
	Lost []string `json:"lost,omitempty"`
	// Left are those of the intent's Replicas that did not replicate from the primary
	// when the recovery ended: one that was away, or was moved and not back yet.
	Left []topology.Addr `json:"left,omitempty"`
	// Hooks are what the hooks of it said, as they were run.
	Hooks []HookResult `json:"hooks,omitempty"`
	// Due are the hooks that are still to be run for it: those of them that Hooks
	// does not have. Empty: none.
	Due HookPoint `json:"due,omitempty"`
	// Acknowledged releases the anti-flap period.
	Acknowledged *Acknowledgement `json:"acknowledged,omitempty"`
}

// CutShort says that the new primary died before the recovery had ended: routed,
// but without its replicas perhaps. What died then is another failure and no flap.
func (r *Recovery) CutShort() bool { return r != nil && r.Outcome == Succeeded && r.Error != "" }

// HookResult is what became of a hook, for the history.
type HookResult struct {
	Hook    HookPoint `json:"hook"`
	Number  int       `json:"number"` // its place among those of its point, from 1
	Command string    `json:"command"`
	Started time.Time `json:"started"`
	Took    Duration  `json:"took"`
	Node    string    `json:"node"` // the leader that ran it
	// Exit is its exit code; -1 where it did not start or was killed.
	Exit   int    `json:"exit"`
	Output string `json:"output,omitempty"` // stdout and stderr, cut in the middle when long
	Error  string `json:"error,omitempty"`  // how it failed; empty when it succeeded
}

// String names the hook: "hook before_failover 1".
func (r HookResult) String() string { return fmt.Sprintf("hook %s %d", r.Hook, r.Number) }

// Acknowledgement says that a human has seen a recovery.
type Acknowledgement struct {
	By      string    `json:"by"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// Outcome of a recovery.
type Outcome string

// The outcomes.
const (
	InProgress Outcome = "in progress"
	Succeeded  Outcome = "succeeded"
	RolledBack Outcome = "rolled back"
	Aborted    Outcome = "aborted" // a hook stopped it before anything was touched
)
