package failover

import (
	"path"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Policy is what the operator wants of one cluster. [DefaultPolicy] is safe;
// YAML overrides single values.
type Policy struct {
	Detection  Detection      `yaml:"detection" json:"detection"`
	Failover   FailoverMode   `yaml:"failover" json:"failover"`
	AntiFlap   Duration       `yaml:"anti_flap" json:"anti_flap"` // after a recovery ended, no automatic one for this long unless acknowledged
	Servers    []ServerRule   `yaml:"servers" json:"servers,omitempty"`
	DataCenter DataCenter     `yaml:"data_center" json:"data_center"`
	Lag        Lag            `yaml:"lag" json:"lag"`
	Durability Durability     `yaml:"durability" json:"durability"`
	WaitCount  int            `yaml:"wait_count" json:"wait_count,omitempty"` // semi_sync: acknowledgements a commit waits for
	SemiSync   SemiSyncPolicy `yaml:"semi_sync" json:"semi_sync"`
	GTID       GTIDControl    `yaml:"gtid" json:"gtid"`
	Errant     Errant         `yaml:"errant" json:"errant"`
	Rejoin     Rejoin         `yaml:"rejoin" json:"rejoin"`
	// OnLeaseLoss must be the same on all nodes: the leader counts on it.
	OnLeaseLoss OnLeaseLoss `yaml:"on_lease_loss" json:"on_lease_loss,omitempty"`
	Clone       ClonePolicy `yaml:"clone" json:"clone"`
	Repair      Repair      `yaml:"repair" json:"repair"`
	Switchover  Switchover  `yaml:"switchover" json:"switchover"`
	Readers     Readers     `yaml:"readers" json:"readers"`
	Hooks       Hooks       `yaml:"hooks" json:"hooks"`
}

// Duration is spelled as in topology: "250ms".
type Duration = topology.Duration

// Detection says how quickly a silence counts.
type Detection struct {
	Interval Duration `yaml:"interval" json:"interval"` // between two probes of an instance
	Timeout  Duration `yaml:"timeout" json:"timeout"`   // of one probe
	Timeouts int      `yaml:"timeouts" json:"timeouts"` // time-outs in a row until one sidecar calls an instance dead
	Fresh    Duration `yaml:"fresh" json:"fresh"`       // a view older than this is no evidence
	// Heartbeat is set on every replica: how often an idle source speaks.
	Heartbeat Duration `yaml:"heartbeat" json:"heartbeat"`
	// Beats is how many heartbeat periods of silence make a replica's source silent.
	Beats float64 `yaml:"beats" json:"beats"`
}

// FailoverMode is "automatic" or "manual".
type FailoverMode string

// The failover modes.
const (
	Automatic FailoverMode = "automatic"
	Manual    FailoverMode = "manual"
)

// ServerRule sets properties of the servers whose host:port, or host, matches a
// shell pattern. Of several matching rules the later one wins, value by value.
type ServerRule struct {
	Match      string    `yaml:"match" json:"match"`
	Promotion  Promotion `yaml:"promotion,omitempty" json:"promotion,omitempty"`
	DataCenter string    `yaml:"data_center,omitempty" json:"data_center,omitempty"`
	Region     string    `yaml:"region,omitempty" json:"region,omitempty"`
	Weight     int       `yaml:"weight,omitempty" json:"weight,omitempty"` // as a reader
	Ignore     bool      `yaml:"ignore,omitempty" json:"ignore,omitempty"` // not of this cluster: never probed, routed or promoted
}

// Promotion is orchestrator's promotion rule of a server.
type Promotion string

// The promotion rules, best first.
const (
	Must      Promotion = "must"
	Prefer    Promotion = "prefer"
	Neutral   Promotion = "neutral"
	PreferNot Promotion = "prefer_not"
	MustNot   Promotion = "must_not"
)

// Server is what the rules say of one server.
type Server struct {
	Promotion  Promotion
	DataCenter string
	Region     string
	Weight     int
	Ignore     bool
}

// Server applies the rules to an instance.
func (p *Policy) Server(a topology.Addr) Server {
	s := Server{Promotion: Neutral, Weight: 1}
	for _, r := range p.Servers {
		full, _ := path.Match(r.Match, string(a))
		host, _ := path.Match(r.Match, a.Host())
		if !full && !host {
			continue
		}
		if r.Promotion != "" {
			s.Promotion = r.Promotion
		}
		if r.DataCenter != "" {
			s.DataCenter = r.DataCenter
		}
		if r.Region != "" {
			s.Region = r.Region
		}
		if r.Weight > 0 {
			s.Weight = r.Weight
		}
		s.Ignore = s.Ignore || r.Ignore
	}
	return s
}

// DataCenter limits promotions across places: each is "forbid", "last_resort" or "allow".
type DataCenter struct {
	Cross       Crossing `yaml:"cross" json:"cross"`
	CrossRegion Crossing `yaml:"cross_region" json:"cross_region"`
}

// Crossing says whether a promotion may cross a border.
type Crossing string

// The answers to a crossing.
const (
	Allow      Crossing = "allow"
	LastResort Crossing = "last_resort"
	Forbid     Crossing = "forbid"
)

// Lag says what a candidate may lag and what happens when all lag more.
type Lag struct {
	Max     Duration `yaml:"max" json:"max"`
	WhenAll WhenAll  `yaml:"when_all" json:"when_all"`
	Wait    Duration `yaml:"wait" json:"wait"` // how long "wait" waits for the relay log, then the failover fails
}

// WhenAll is "wait", "fail" or "promote".
type WhenAll string

// What happens when every candidate lags.
const (
	WhenAllWait    WhenAll = "wait"    // promote the best and give it Lag.Wait to apply its relay log
	WhenAllFail    WhenAll = "fail"    // refuse, before anything is touched
	WhenAllPromote WhenAll = "promote" // promote the best and wait for its relay log as long as it takes
)

// Durability is "async" or "semi_sync".
type Durability string

// The durabilities.
const (
	Async    Durability = "async"
	SemiSync Durability = "semi_sync"
)

// Errant says what errant transactions do to a candidate: "refuse", "tolerate" or "inject".
type Errant string

// What errant transactions do.
const (
	ErrantRefuse   Errant = "refuse"
	ErrantTolerate Errant = "tolerate"
	ErrantInject   Errant = "inject" // refuse, and have the primary commit empty ones in their place; MySQL only
)

// Rejoin says what happens to an old primary that returns: "auto", "manual" or "clone".
type Rejoin string

// How an old primary comes back. It is put read-only in either case.
const (
	RejoinAuto   Rejoin = "auto"
	RejoinManual Rejoin = "manual"
	RejoinClone  Rejoin = "clone" // as auto; one that diverged is cloned anew
)

// OnLeaseLoss says what a sidecar that lost its lease does with a proxy that
// routes writes: "fence" or "hold".
type OnLeaseLoss string

// What becomes of the writer without a lease. Who holds it keeps writes going while
// no leader can be reached, and makes every failover wait for it until it is heard.
const (
	LeaseLossFence OnLeaseLoss = "fence"
	LeaseLossHold  OnLeaseLoss = "hold"
)

// Switchover bounds a planned change.
type Switchover struct {
	Timeout Duration `yaml:"timeout" json:"timeout"` // writes are held no longer than this; then everything is put back
	MaxLag  Duration `yaml:"max_lag" json:"max_lag"` // of the candidate before writes are paused
	Drain   Duration `yaml:"drain" json:"drain"`     // transactions in progress get this long to end, then their sessions are ended
}

// Readers says who serves reads.
type Readers struct {
	MaxLag Duration    `yaml:"max_lag" json:"max_lag"` // a replica that lags more is no reader
	Writer WriterReads `yaml:"writer" json:"writer"`
}

// WriterReads is "never", "fallback" or "always".
type WriterReads string

// When the writer is a reader as well.
const (
	WriterNever    WriterReads = "never"
	WriterFallback WriterReads = "fallback" // only when there is no other reader
	WriterAlways   WriterReads = "always"
)

// DefaultPolicy is what holds where the YAML is silent.
func DefaultPolicy() Policy {
	d := func(d time.Duration) Duration { return Duration(d) }
	return Policy{
		Detection: Detection{
			Interval: d(250 * time.Millisecond), Timeout: d(500 * time.Millisecond), Timeouts: 2,
			Fresh: d(time.Second), Heartbeat: d(500 * time.Millisecond), Beats: 2,
		},
		Failover: Automatic, AntiFlap: d(10 * time.Minute),
		DataCenter: DataCenter{Cross: LastResort, CrossRegion: Forbid},
		Lag:        Lag{Max: d(10 * time.Second), WhenAll: WhenAllWait, Wait: d(time.Minute)},
		Durability: Async, WaitCount: 1,
		SemiSync: SemiSyncPolicy{Manage: true, Timeout: Infinite, Blocked: BlockedWait, Patience: d(10 * time.Second)},
		GTID:     GTIDStrict, Errant: ErrantRefuse, Rejoin: RejoinAuto, OnLeaseLoss: LeaseLossFence,
		Clone: ClonePolicy{Timeout: d(2 * time.Hour)},
		Repair: Repair{
			WritableReplica: true, WrongSource: true, Orphans: true, BrokenReplication: true, SaveExtra: true,
			Stopped: StoppedLeave, Grace: d(time.Minute), ReadOnlyPrimary: ReadOnlyRestarted, Ring: RingLeave,
			Attempts: 5, Window: d(10 * time.Minute), Backoff: d(2 * time.Second),
		},
		Switchover: Switchover{Timeout: d(10 * time.Second), MaxLag: d(time.Second), Drain: d(2 * time.Second)},
		Readers:    Readers{MaxLag: d(30 * time.Second), Writer: WriterFallback},
		Hooks:      Hooks{Timeout: d(10 * time.Second), Retry: d(10 * time.Second)},
	}
}
