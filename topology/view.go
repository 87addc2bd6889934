package topology

import "time"

// Reach says how the last attempt to read an instance ended.
type Reach string

// How a probe ends. What the server refuses is told from what did not arrive.
const (
	Unknown  Reach = ""          // not probed, or the reading is too old
	Answered Reach = "answered"  // a complete reading
	Denied   Reach = "denied"    // the server lives and refuses us: wrong credentials, too many connections
	Garbled  Reach = "garbled"   // something answers, but no sense can be made of it
	Refused  Reach = "refused"   // the host says that nobody listens, or reset the connection
	TimedOut Reach = "timed_out" // nothing came back within the deadline
)

// View is what one sidecar saw of one instance at one instant.
type View struct {
	Observer string    `json:"observer"` // the sidecar's name
	Instance Addr      `json:"instance"`
	At       time.Time `json:"at"` // when the probe ended, on the snapshot's clock
	Reach    Reach     `json:"reach"`
	// Failures counts the attempts without an answer in a row; 0 after an answer.
	Failures int      `json:"failures,omitempty"`
	Error    string   `json:"error,omitempty"`
	Took     Duration `json:"took,omitempty"`

	// State is the last reading that this observer got, nil when it never got
	// one; StateAt is when.
	State   *State    `json:"state,omitempty"`
	StateAt time.Time `json:"state_at,omitzero"`
}

// Alive says that something on the instance spoke to us, useful or not.
func (v View) Alive() bool { return v.Reach == Answered || v.Reach == Denied || v.Reach == Garbled }

// Dead says that this observer alone would call the instance dead: a refused
// connection counts at once, a time-out after `timeouts` in a row.
func (v View) Dead(timeouts int) bool {
	switch v.Reach {
	case Refused:
		return true
	case TimedOut:
		return v.Failures >= max(timeouts, 1)
	default:
		return false
	}
}
