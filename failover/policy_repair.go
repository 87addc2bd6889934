package failover

// Repair says what is mended without being asked, while no recovery is open. Each
// is a finding first, whether it is mended or not. An instance that takes writes,
// is no replica and is not the routed writer is closed in any case.
type Repair struct {
	WritableReplica   bool            `yaml:"writable_replica" json:"writable_replica"`     // a replica that takes writes is set read-only
	WrongSource       bool            `yaml:"wrong_source" json:"wrong_source"`             // a replica whose source does not lead to the primary is moved
	Orphans           bool            `yaml:"orphans" json:"orphans"`                       // replicas of a dead intermediate primary are moved
	BrokenReplication bool            `yaml:"broken_replication" json:"broken_replication"` // threads are started again after an error that may have passed
	Stopped           StoppedRepair   `yaml:"stopped" json:"stopped"`                       // threads that were stopped without an error
	Grace             Duration        `yaml:"grace" json:"grace"`                           // how long they are left first
	ReadOnlyPrimary   ReadOnlyPrimary `yaml:"read_only_primary" json:"read_only_primary"`
	SaveExtra         bool            `yaml:"save_extra" json:"save_extra"` // transactions that the primary lacks are saved as SQL
	Ring              RingRepair      `yaml:"ring" json:"ring"`
	// Attempts of one repair within Window; then it is a finding until Window has
	// passed since the first. After each attempt the wait doubles, from Backoff.
	Attempts int      `yaml:"attempts" json:"attempts"`
	Window   Duration `yaml:"window" json:"window"`
	Backoff  Duration `yaml:"backoff" json:"backoff"`
}

// StoppedRepair is "start" or "leave".
type StoppedRepair string

// What happens to replication that somebody stopped.
const (
	StoppedStart StoppedRepair = "start"
	StoppedLeave StoppedRepair = "leave"
)

// ReadOnlyPrimary is "open", "restarted" or "leave".
type ReadOnlyPrimary string

// When a routed writer that is read-only is opened.
const (
	ReadOnlyOpen      ReadOnlyPrimary = "open"
	ReadOnlyRestarted ReadOnlyPrimary = "restarted" // only where it has restarted since it was routed: its configuration closed it, no hand
	ReadOnlyLeave     ReadOnlyPrimary = "leave"
)

// RingRepair is "break" or "leave".
type RingRepair string

// What happens when the primary replicates from one of its replicas.
const (
	RingBreak RingRepair = "break"
	RingLeave RingRepair = "leave"
)

func (r *Repair) validate(bad func(key string, value any, allowed string)) {
	oneOf(bad, "repair.stopped", r.Stopped, StoppedStart, StoppedLeave)
	oneOf(bad, "repair.read_only_primary", r.ReadOnlyPrimary, ReadOnlyOpen, ReadOnlyRestarted, ReadOnlyLeave)
	oneOf(bad, "repair.ring", r.Ring, RingBreak, RingLeave)
	if r.Grace < 0 {
		bad("repair.grace", r.Grace, "at least 0s")
	}
	if r.Attempts < 1 {
		bad("repair.attempts", r.Attempts, "at least 1")
	}
	if r.Backoff <= 0 {
		bad("repair.backoff", r.Backoff, "more than 0s")
	}
	if r.Window <= r.Backoff {
		bad("repair.window", r.Window, "more than repair.backoff")
	}
}
