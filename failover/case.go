package failover

import (
	"time"

	"github.com/remora-ha/remora/topology"
)

// CaseVersion is the version of the JSON document that a Case makes.
const CaseVersion = 1

// Case is everything a decision depends on: what `remora snapshot` writes and
// `remora analyze` reads. The same case always gives the same answer.
type Case struct {
	Version  int               `json:"version"`
	Snapshot topology.Snapshot `json:"snapshot"`
	Policy   Policy            `json:"policy"`
	Intent   *Intent           `json:"intent,omitempty"`  // the open one
	Last     *Recovery         `json:"last,omitempty"`    // the newest ended one that had begun, for the anti-flap period
	Stopped  *Recovery         `json:"stopped,omitempty"` // an automatic one after Last that a hook stopped before it began
	Request  *Request          `json:"request,omitempty"` // what an operator asks for now
	Downtime []Downtime        `json:"downtime,omitempty"`
	// Tries, Noticed and Watch are what the leader remembers of repairs, findings and the writer.
	Tries   []Try       `json:"tries,omitempty"`
	Noticed []Noticed   `json:"noticed,omitempty"`
	Watch   Watch       `json:"watch,omitzero"`
	Rescued []Rescued   `json:"rescued,omitempty"` // transactions that were saved as SQL, newest last
	Rejoins []Rejoining `json:"rejoins,omitempty"`
	Seen    Seen        `json:"seen,omitzero"`
	// Unsettled are the servers of which an old reading says nothing, for an act of before the open intent.
	Unsettled []Unsettled `json:"unsettled,omitempty"`
}

// Downtime excuses an instance from recoveries until a time.
type Downtime struct {
	Instance topology.Addr `json:"instance"`
	Until    time.Time     `json:"until"`
	Reason   string        `json:"reason,omitempty"`
	By       string        `json:"by,omitempty"`
}

// Code names a problem of the catalogue, in orchestrator's spelling where it has one.
type Code string

// Finding is a problem found in a snapshot.
type Finding struct {
	Code     Code          `json:"code"`
	Instance topology.Addr `json:"instance,omitempty"`
	Priority int           `json:"priority"` // 1 is the most urgent
	Sentence string        `json:"sentence"`
	Evidence []string      `json:"evidence,omitempty"`
	// Recovery is what the problem calls for; empty: nothing but to be reported.
	Recovery Kind `json:"recovery,omitempty"`
}

// Refusal is why something is not done.
type Refusal struct {
	Rule     string        `json:"rule"` // a stable word: "anti_flap", "must_not", "errant", ...
	Subject  topology.Addr `json:"subject,omitempty"`
	Sentence string        `json:"sentence"` // what is refused and why, with the evidence
	Change   string        `json:"change"`   // what would change it
	// Overridable says that a forced request goes on in spite of it.
	Overridable bool `json:"overridable,omitempty"`
}

func (r Refusal) String() string { return r.Sentence + "; " + r.Change }

// Candidate is a replica with its fitness for promotion.
type Candidate struct {
	Addr     topology.Addr `json:"addr"`
	Fit      bool          `json:"fit"`
	Refusals []Refusal     `json:"refusals,omitempty"` // why it is not fit
	Rank     []string      `json:"rank,omitempty"`     // what put it where it stands, in words
}

// Decision is what to do now.
type Decision struct {
	// Sentence sums the cycle up for a human.
	Sentence string `json:"sentence"`
	// Intent is to be committed; nil when nothing is to be begun. Epoch is not set.
	Intent     *Intent     `json:"intent,omitempty"`
	Candidates []Candidate `json:"candidates,omitempty"` // best first
	Refusals   []Refusal   `json:"refusals,omitempty"`   // why there is no intent
	// Checks are a switchover's preconditions, for a dry run.
	Checks []Check `json:"checks,omitempty"`
	// Loss is what a forced failover is expected to lose, in sentences.
	Loss []string `json:"loss,omitempty"`
	// Wait asks to decide again later: something may yet come (lag, evidence).
	Wait bool `json:"wait,omitempty"`
}

// Check is one precondition and its answer.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Sentence string `json:"sentence"`
}

// Verdict is all that [Examine] finds in a case.
type Verdict struct {
	Cluster  string    `json:"cluster"`
	Findings []Finding `json:"findings"`
	Decision Decision  `json:"decision"`
	// Plan is the remaining work of the open intent, or of the decision's.
	Plan []Stage `json:"plan,omitempty"`
	// Repairs are convergence without an intent, see [Repairs].
	Repairs []Step `json:"repairs,omitempty"`
}
