package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// Command is one entry of the log: an id, an instant, and exactly one of the
// operations.
type Command struct {
	// ID is the sender's, unique. A command sent again after an unknown outcome
	// carries the same id; a new attempt after a refusal carries a new one.
	ID string    `json:"id"`
	At time.Time `json:"at"` // the sender's clock

	RegisterNode *RegisterNode `json:"register_node,omitempty"`
	ForgetNode   *ForgetNode   `json:"forget_node,omitempty"`
	Discover     *Discover     `json:"discover,omitempty"`
	Forget       *Forget       `json:"forget,omitempty"`
	SetRoute     *SetRoute     `json:"set_route,omitempty"`
	Begin        *Begin        `json:"begin,omitempty"`
	Retarget     *Retarget     `json:"retarget,omitempty"`
	Anchor       *Anchor       `json:"anchor,omitempty"`
	Pause        *Pause        `json:"pause,omitempty"`
	Decline      *Decline      `json:"decline,omitempty"`
	Abort        *Abort        `json:"abort,omitempty"`
	CommitRoute  *CommitRoute  `json:"commit_route,omitempty"`
	Conclude     *Conclude     `json:"conclude,omitempty"`
	Acknowledge  *Acknowledge  `json:"acknowledge,omitempty"`
	SetDowntime  *SetDowntime  `json:"set_downtime,omitempty"`
	EndDowntime  *EndDowntime  `json:"end_downtime,omitempty"`
	Rescue       *Rescue       `json:"rescue,omitempty"`
	RecordHook   *RecordHook   `json:"record_hook,omitempty"`
}

// RegisterNode adds a sidecar or changes what is known of it.
type RegisterNode struct {
	Node Node `json:"node"` // Since is set by the ledger
	// Epoch is the highest that the sidecar has ever acknowledged, from its own
	// memory outside the log; epochs set from now on are higher. 0: none.
	Epoch uint64 `json:"epoch,omitempty"`
}

// ForgetNode removes a sidecar.
type ForgetNode struct {
	Name string `json:"name"`
}

// Discover adds instances to a cluster, and the cluster with its first ones.
type Discover struct {
	Cluster string          `json:"cluster"`
	Addrs   []topology.Addr `json:"addrs"`
}

// Forget removes an instance from a cluster; with the last one goes a cluster
// that was never routed. An instance that is routed or part of the open intent
// stays.
type Forget struct {
	Cluster string        `json:"cluster"`
	Addr    topology.Addr `json:"addr"`
}

// SetRoute commits a route outside of any intent: the first one, or other
// readers. It never replaces a writer.
type SetRoute struct {
	Cluster string `json:"cluster"`
	// Expect is the epoch of the route that the new one was derived from.
	Expect  uint64            `json:"expect"`
	Writer  topology.Addr     `json:"writer,omitempty"`
	Readers []topology.Reader `json:"readers,omitempty"`
}

// Begin opens an intent; its Epoch is set by the ledger. From then on
// [Cluster.Desired] closes the writer.
type Begin struct {
	Intent failover.Intent `json:"intent"`
	Expect uint64          `json:"expect"` // the epoch of the route that was decided upon
	// Hooks are the results of those that were run before it.
	Hooks []failover.HookResult `json:"hooks,omitempty"`
}

// Decline puts a recovery into the history that was stopped before it began, by a
// hook or by what came to light while hooks ran. Nothing else changes.
type Decline struct {
	Intent failover.Intent       `json:"intent"`
	Error  string                `json:"error"` // a sentence: what stopped it
	Hooks  []failover.HookResult `json:"hooks,omitempty"`
	Due    failover.HookPoint    `json:"due,omitempty"` // the hooks that are to be run now
	// Replaces is the declined recovery that this was one more try of. It leaves the
	// history, and what its hooks on detection and on failure said, and are yet to
	// say, becomes this one's.
	Replaces string `json:"replaces,omitempty"`
}

// Retarget changes who is to become primary, before the route is committed.
type Retarget struct {
	Cluster  string        `json:"cluster"`
	IntentID string        `json:"intent_id"`
	To       topology.Addr `json:"to"`
}

// Pause ends the regrouping of an open intent: from now on every proxy holds the writer,
// at the epoch of this command.
type Pause struct {
	Cluster  string `json:"cluster"`
	IntentID string `json:"intent_id"`
}

// Anchor notes where the others follow the open intent's To, before it takes writes:
// without GTID nothing tells it afterwards.
type Anchor struct {
	Cluster  string          `json:"cluster"`
	IntentID string          `json:"intent_id"`
	Anchor   failover.Anchor `json:"anchor"`
}

// Abort lets the open switchover's time run out now, because a step of it failed:
// before its point of no return it is to be rolled back at once.
type Abort struct {
	Cluster  string `json:"cluster"`
	IntentID string `json:"intent_id"`
	Reason   string `json:"reason"` // a sentence: what failed
}

// CommitRoute opens the open intent's To for writes at the proxies. It is the
// point of no return. Until Conclude it may be repeated with other readers.
type CommitRoute struct {
	Cluster  string                `json:"cluster"`
	IntentID string                `json:"intent_id"`
	Writer   topology.Addr         `json:"writer"`
	Readers  []topology.Reader     `json:"readers,omitempty"`
	Steps    []failover.StepResult `json:"steps,omitempty"` // what was done so far and not reported yet
}

// Conclude ends the open intent. Succeeded needs the committed route; RolledBack
// is possible only without it, and opens From again.
type Conclude struct {
	Cluster  string                `json:"cluster"`
	IntentID string                `json:"intent_id"`
	Outcome  failover.Outcome      `json:"outcome"`
	To       topology.Addr         `json:"to,omitempty"` // who is primary now; empty: as the outcome says
	Steps    []failover.StepResult `json:"steps,omitempty"`
	Error    string                `json:"error,omitempty"`
	Lost     []string              `json:"lost,omitempty"`
	Left     []topology.Addr       `json:"left,omitempty"`
	Due      failover.HookPoint    `json:"due,omitempty"` // the hooks that are to be run now
}

// Acknowledge marks ended recoveries as seen by a human.
type Acknowledge struct {
	Cluster    string                   `json:"cluster"`
	RecoveryID string                   `json:"recovery_id,omitempty"` // empty: all that are not acknowledged
	Ack        failover.Acknowledgement `json:"ack"`                   // At is the command's when zero
}

// SetDowntime excuses an instance, or changes until when.
type SetDowntime struct {
	Cluster  string            `json:"cluster"`
	Downtime failover.Downtime `json:"downtime"`
}

// EndDowntime ends an instance's downtime early.
type EndDowntime struct {
	Cluster  string        `json:"cluster"`
	Instance topology.Addr `json:"instance"`
}

// RecordHook adds what a hook said to its recovery, open or ended. Done says that
// no more hooks are due for it; a result is then not needed.
type RecordHook struct {
	Cluster    string               `json:"cluster"`
	RecoveryID string               `json:"recovery_id"`
	Result     *failover.HookResult `json:"result,omitempty"`
	Done       bool                 `json:"done,omitempty"`
}

// Rescue records that transactions which the primary lacks were saved as SQL.
type Rescue struct {
	Cluster string           `json:"cluster"`
	Rescued failover.Rescued `json:"rescued"` // At is the command's when zero
}

// Encode gives the bytes of a log entry. A command whose own bytes would not be
// read back (a malformed address, a negative duration) is an error: in the log
// it would stop every node.
func (c Command) Encode() ([]byte, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command %s: %w", c.ID, err)
	}
	if _, err := DecodeCommand(data); err != nil {
		return nil, err
	}
	return data, nil
}

// DecodeCommand reads a log entry. A field that this version does not know is an
// error: to skip it would make this node's state differ from the others'.
func DecodeCommand(data []byte) (Command, error) {
	var c Command
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Command{}, fmt.Errorf("decode command %s: %w", c.ID, err)
	}
	if _, err := c.operation(); err != nil {
		return Command{}, err
	}
	return c, nil
}

// operation is a transition of the state. It leaves the state untouched when it
// refuses.
type operation interface {
	apply(s *State, e entry) Result
}

// entry is where and when a command stands in the log.
type entry struct {
	epoch uint64 // for what the command sets
	at    time.Time
}

func (c Command) operation() (operation, error) {
	var ops []operation
	add := func(set bool, op operation) {
		if set {
			ops = append(ops, op)
		}
	}
	add(c.RegisterNode != nil, c.RegisterNode)
	add(c.ForgetNode != nil, c.ForgetNode)
	add(c.Discover != nil, c.Discover)
	add(c.Forget != nil, c.Forget)
	add(c.SetRoute != nil, c.SetRoute)
	add(c.Begin != nil, c.Begin)
	add(c.Retarget != nil, c.Retarget)
	add(c.Anchor != nil, c.Anchor)
	add(c.Pause != nil, c.Pause)
	add(c.Decline != nil, c.Decline)
	add(c.Abort != nil, c.Abort)
	add(c.CommitRoute != nil, c.CommitRoute)
	add(c.Conclude != nil, c.Conclude)
	add(c.Acknowledge != nil, c.Acknowledge)
	add(c.SetDowntime != nil, c.SetDowntime)
	add(c.EndDowntime != nil, c.EndDowntime)
	add(c.Rescue != nil, c.Rescue)
	add(c.RecordHook != nil, c.RecordHook)
	if len(ops) != 1 {
		return nil, fmt.Errorf("command %q holds %d operations, it must hold exactly one that this version knows", c.ID, len(ops))
	}
	return ops[0], nil
}
