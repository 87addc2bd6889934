package topology

import (
	"strconv"
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
)

// State is what an instance said of itself in one reading.
type State struct {
	Flavor     string `json:"flavor"`  // "mariadb" or "mysql"
	Version    string `json:"version"` // as the server prints it
	ServerID   uint32 `json:"server_id"`
	ServerUUID string `json:"server_uuid,omitempty"` // MySQL only

	// ReportedAs is the address that the instance gives its source
	// (report_host, report_port); empty when not configured.
	ReportedAs Addr `json:"reported_as,omitempty"`

	ReadOnly      bool `json:"read_only"`
	SuperReadOnly bool `json:"super_read_only"` // MySQL only; MariaDB's read_only spares holders of READ_ONLY ADMIN

	LogBin            bool   `json:"log_bin"`
	LogReplicaUpdates bool   `json:"log_replica_updates"`
	BinlogFormat      string `json:"binlog_format,omitempty"` // ROW, MIXED or STATEMENT
	GTIDMode          string `json:"gtid_mode,omitempty"`     // MySQL's gtid_mode; "ON" on MariaDB, where GTIDs are always written
	GTIDStrict        bool   `json:"gtid_strict,omitempty"`   // MariaDB's gtid_strict_mode; always true on MySQL

	// Executed holds every transaction in the binary log's history: MySQL's
	// gtid_executed; on MariaDB gtid_binlog_state together with gtid_slave_pos.
	Executed gtid.Set `json:"executed"`
	// Purged holds those of Executed whose events are no longer in the binary
	// logs (MySQL's gtid_purged). Empty on MariaDB.
	Purged gtid.Set `json:"purged"`

	Sources  []Source `json:"sources,omitempty"`  // one a replication channel; none on a primary
	Replicas []Addr   `json:"replicas,omitempty"` // replicas now attached, by their report_host
	SemiSync SemiSync `json:"semi_sync"`

	Uptime         Duration `json:"uptime"`
	Connections    int      `json:"connections,omitempty"`     // Threads_connected
	MaxConnections int      `json:"max_connections,omitempty"` // 0: not read

	// PersistedOpen names the variables which are persisted so that the server takes
	// writes after its next start, whatever its configuration file says (MySQL's SET
	// PERSIST).
	PersistedOpen []string `json:"persisted_open,omitempty"`

	// Member names a cluster technology that manages this server itself
	// ("group_replication", "galera"); empty for plain replication.
	Member string `json:"member,omitempty"`
}

// Source is one replication channel of a replica.
type Source struct {
	Channel string `json:"channel,omitempty"` // empty: the default channel
	Addr    Addr   `json:"addr"`
	IO      Thread `json:"io"`  // receives from the source
	SQL     Thread `json:"sql"` // applies the relay log

	IOError  string `json:"io_error,omitempty"`
	SQLError string `json:"sql_error,omitempty"`
	// The server's numbers of these errors; 0 without one.
	IOErrno  int `json:"io_errno,omitempty"`
	SQLErrno int `json:"sql_errno,omitempty"`

	// Untried says that the replica has not once connected since it was pointed at
	// the source: somebody who moved it did not come to start it.
	Untried bool `json:"untried,omitempty"`

	// Received holds what has arrived, applied or not: MySQL's
	// Retrieved_Gtid_Set, MariaDB's Gtid_IO_Pos.
	Received gtid.Set `json:"received"`

	// Lag is Seconds_Behind; nil when the server does not know.
	Lag     *Duration `json:"lag,omitempty"`
	Delay   Duration  `json:"delay,omitempty"` // configured (MASTER_DELAY, SOURCE_DELAY)
	GTID    bool      `json:"gtid"`            // GTID positioning is on
	Filters string    `json:"filters,omitempty"`

	// Where GTID positioning is off: how much of the source's binary log was read and
	// was applied, and which server wrote it (its server_uuid; on MariaDB its
	// server_id), as far as the replica knows.
	ReadTo    Coordinates `json:"read_to,omitzero"`
	AppliedTo Coordinates `json:"applied_to,omitzero"`
	SourceID  string      `json:"source_id,omitempty"`

	// Heartbeat is how often an idle source says that it is alive.
	Heartbeat Duration `json:"heartbeat,omitempty"`
	// Silence is how long nothing at all (event or heartbeat) has come from the
	// source, as far as this observer could tell; nil when it cannot tell yet.
	Silence *Duration `json:"silence,omitempty"`
}

// Thread is the state of a replication thread.
type Thread string

// The states of a replication thread. A zero Thread is unknown.
const (
	ThreadYes        Thread = "yes"
	ThreadNo         Thread = "no"
	ThreadConnecting Thread = "connecting" // the IO thread has lost its source and tries again
)

// SemiSync is the state of semi-synchronous replication on both sides.
type SemiSync struct {
	SourceEnabled  bool     `json:"source_enabled"`
	SourceActive   bool     `json:"source_active"`         // Rpl_semi_sync_*_status of the source: commits do wait
	Timeout        Duration `json:"timeout,omitempty"`     // how long a commit waits until the source falls back to asynchronous
	WaitCount      int      `json:"wait_count,omitempty"`  // acknowledgements a commit waits for; 1 on MariaDB
	WaitPoint      string   `json:"wait_point,omitempty"`  // AFTER_SYNC: before anybody sees the commit; AFTER_COMMIT
	WaitsAlone     bool     `json:"waits_alone,omitempty"` // a commit waits also while too few replicas are attached
	Clients        int      `json:"clients"`               // semi-sync replicas attached
	Waiting        int      `json:"waiting,omitempty"`     // sessions that wait for an acknowledgement now
	ReplicaEnabled bool     `json:"replica_enabled"`
	ReplicaActive  bool     `json:"replica_active"`

	// MySQL without the plugin for a side: it can neither wait for acknowledgements, nor
	// acknowledge, before that is installed.
	NoSource  bool `json:"no_source,omitempty"`
	NoReplica bool `json:"no_replica,omitempty"`
}

// Binds says that a commit really waits for the acknowledgements, now and however
// long they stay away.
func (s SemiSync) Binds() bool {
	return s.SourceEnabled && s.SourceActive && s.WaitsAlone && s.Timeout.Endless()
}

// IsReplica says whether a source is configured, running or not.
func (s *State) IsReplica() bool { return s != nil && len(s.Sources) > 0 }

// MultiSource says whether it replicates from several sources, each over a channel.
func (s *State) MultiSource() bool { return s != nil && len(s.Sources) > 1 }

// LeftAlone says that its replication is not Remora's to change: it serves somebody beyond
// the cluster by other channels, or something else manages it.
func (s *State) LeftAlone() bool { return s.MultiSource() || s != nil && s.Member != "" }

// Writable says whether ordinary users can write.
func (s *State) Writable() bool { return s != nil && !s.ReadOnly && !s.SuperReadOnly }

// Source is the default channel's source, or the only one; nil when there is none.
func (s *State) Source() *Source {
	if s == nil || len(s.Sources) == 0 {
		return nil
	}
	for i := range s.Sources {
		if s.Sources[i].Channel == "" {
			return &s.Sources[i]
		}
	}
	return &s.Sources[0]
}

// Received is everything that has arrived: executed and waiting in relay logs.
// Candidates are ranked by it, for a relay log survives its source.
func (s *State) Received() gtid.Set {
	if s == nil {
		return gtid.Set{}
	}
	set := s.Executed
	for _, src := range s.Sources {
		set = set.Union(src.Received)
	}
	return set
}

// Covers says whether all that `other` executed is part of what s has received.
// Where the other server runs in strict mode its position implies its history,
// so entries of servers that wrote long ago need not be known here: a replica
// restored from a backup does not know them.
func (s *State) Covers(other *State) bool {
	return s.Received().Contains(other.position(other.Executed))
}

// HasApplied says whether s has executed all of set, a position that s or one of
// its siblings received.
func (s *State) HasApplied(set gtid.Set) bool { return s.Executed.Contains(set.Heads()) }

// Extra is what `other` executed and s never received: other's errant
// transactions as seen from s.
func (s *State) Extra(other *State) gtid.Set {
	if s.Covers(other) {
		return gtid.Set{}
	}
	return other.position(other.Executed).Beyond(s.Received())
}

// CompareReceived orders two instances by what they received.
func CompareReceived(a, b *State) gtid.Order {
	more := a.Received().Contains(b.position(b.Received()))
	less := b.Received().Contains(a.position(a.Received()))
	return gtid.OrderOf(more, less)
}

func (s *State) position(set gtid.Set) gtid.Set {
	if s.GTIDStrict {
		return set.Heads()
	}
	return set
}

// MajorVersion is the release series, "10.11" or "8.4", for comparisons.
func (s *State) MajorVersion() (major, minor int) {
	parts := strings.SplitN(s.Version, ".", 3)
	if len(parts) < 2 {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[0])
	minor, _ = strconv.Atoi(parts[1])
	return major, minor
}
