package failover

import (
	"fmt"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// SemiSyncPolicy says how semi-sync is kept under durability semi_sync.
type SemiSyncPolicy struct {
	// Manage sets semi-sync on servers that are not set as the policy says, also
	// where nobody changes role. Without it roles alone are set, when they change.
	Manage bool `yaml:"manage" json:"manage"`
	// Timeout is how long a commit waits until the server goes on without
	// acknowledgements; only without an end nothing acknowledged is lost.
	Timeout AckTimeout `yaml:"timeout" json:"timeout"`
	// Blocked is what happens when commits stand still: "wait" or "degrade".
	Blocked Blocked `yaml:"blocked" json:"blocked"`
	// Patience is how long commits stand still before degrade gives in.
	Patience Duration `yaml:"patience" json:"patience"`
}

// Blocked is "wait" or "degrade".
type Blocked string

// What happens when a primary waits for acknowledgements that do not come.
const (
	BlockedWait    Blocked = "wait"    // writes stand still, and nothing acknowledged is lost
	BlockedDegrade Blocked = "degrade" // it waits for as many as there are; at none, for nobody
)

// AckTimeout is a Duration that may be "infinite".
type AckTimeout Duration

// Infinite is the time-out that never ends.
const Infinite = AckTimeout(topology.Forever)

const infiniteWord = "infinite"

func (d AckTimeout) String() string {
	if d == Infinite {
		return infiniteWord
	}
	return Duration(d).String()
}

// MarshalText spells it "infinite" or "10s".
func (d AckTimeout) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *AckTimeout) UnmarshalText(text []byte) error {
	if string(text) == infiniteWord {
		*d = Infinite
		return nil
	}
	var plain Duration
	if err := plain.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, nor the word %s", err, infiniteWord)
	}
	*d = AckTimeout(plain)
	return nil
}

// SemiSyncPlan is semi-sync's setting on an instance.
type SemiSyncPlan struct {
	Source    bool `json:"source"`
	Replica   bool `json:"replica"`
	WaitCount int  `json:"wait_count,omitempty"` // 0: leave it
	// Timeout of a source; 0 leaves it. With it come what a time-out is worth
	// nothing without: commits wait before they are seen, and also while too few
	// replicas are attached.
	Timeout Duration `json:"timeout,omitempty"`
}

// String says it in few words: "replica", "wait for 2", "off".
func (p *SemiSyncPlan) String() string {
	switch {
	case p == nil:
		return "as it is"
	case p.Source:
		return fmt.Sprintf("wait for %d", p.WaitCount)
	case p.Replica:
		return "replica"
	default:
		return "off"
	}
}

// afterSync is the wait point at which nobody sees what is not acknowledged.
const afterSync = "AFTER_SYNC"

// Unmet says in what a server is not set as planned; empty when it is, or when
// there is no plan. MariaDB knows no wait count.
func (p *SemiSyncPlan) Unmet(st *topology.State) string {
	if p == nil || st == nil {
		return ""
	}
	have, words := st.SemiSync, []string(nil)
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if have.SourceEnabled != p.Source {
		add("semi-sync as a source is %s", onOff(have.SourceEnabled))
	}
	if have.ReplicaEnabled != p.Replica {
		add("semi-sync as a replica is %s", onOff(have.ReplicaEnabled))
	}
	if !p.Source {
		return strings.Join(words, ", ")
	}
	if p.WaitCount > 0 && st.Flavor != "mariadb" && have.WaitCount != p.WaitCount {
		add("it waits for %d acknowledgements and not for %d", have.WaitCount, p.WaitCount)
	}
	if p.Timeout == 0 {
		return strings.Join(words, ", ")
	}
	endless := p.Timeout == topology.Forever && have.Timeout.Endless()
	if have.Timeout != p.Timeout && !endless {
		add("it waits %s for acknowledgements and not %s", AckTimeout(have.Timeout), AckTimeout(p.Timeout))
	}
	if have.WaitPoint != afterSync {
		add("its wait point is %s and not %s", orWord(have.WaitPoint, "unknown"), afterSync)
	}
	if !have.WaitsAlone {
		add("it waits for nobody while too few replicas are attached")
	}
	return strings.Join(words, ", ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func orWord(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
