package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// rescueWait is how long the reading of a server's binary logs may take.
const rescueWait = 10 * time.Minute

// Rescued says where transactions that an instance has and its primary lacks were
// saved as SQL.
type Rescued struct {
	Instance     topology.Addr `json:"instance"`
	Set          gtid.Set      `json:"set"`
	Node         string        `json:"node"` // the sidecar that has the file
	File         string        `json:"file"`
	Transactions int           `json:"transactions"`
	Changes      int           `json:"changes"`        // statements and rows
	Note         string        `json:"note,omitempty"` // what is missing in it, in a sentence; empty when it is whole
	At           time.Time     `json:"at"`
}

// Whole says that all of the set is in the file, so that the server may lose it.
func (r Rescued) Whole() bool { return r.Note == "" }

// String is a sentence without its end: "saved as SQL in FILE on NODE".
func (r Rescued) String() string {
	words := fmt.Sprintf("saved as SQL in %s on %s (%s, %s)", r.File, r.Node, count(uint64(r.Transactions)), plural(r.Changes, "change", "changes"))
	if !r.Whole() {
		words = "not all " + words
		words += "; " + r.Note
	}
	return words
}

// extraOf is what a closed instance has and the primary lacks, for good: the
// transactions of its own of a replica, and all that an instance that does not follow
// the primary has beyond it. Empty while that cannot be told.
func (f *facts) extraOf(i *topology.Instance) gtid.Set {
	switch {
	case !f.prim.Fresh() || !i.Fresh() || i.Addr == f.primary || i.State.Writable() || i.State.Member != "":
		return gtid.Set{}
	case f.s.Under(i.Addr, f.primary):
		return f.errant(i)
	default:
		return f.prim.State.Extra(i.State)
	}
}

// rescued is where a set of an instance's transactions was saved, whole if it can be;
// nil when nothing was.
func (f *facts) rescued(a topology.Addr, set gtid.Set) *Rescued {
	var part *Rescued
	for n := len(f.c.Rescued) - 1; n >= 0; n-- {
		switch r := &f.c.Rescued[n]; {
		case r.Instance != a || !r.Set.Contains(set):
		case r.Whole():
			return r
		case part == nil:
			part = r
		}
	}
	return part
}

// safe says that a set of an instance's transactions was saved whole, so that they
// may be gone from the instance.
func (f *facts) safe(a topology.Addr, set gtid.Set) bool {
	r := f.rescued(a, set)
	return r != nil && r.Whole()
}

// rescueWords says of an instance's extra transactions whether they are saved.
func (f *facts) rescueWords(i *topology.Instance, set gtid.Set) string {
	if r := f.rescued(i.Addr, set); r != nil {
		return "they are " + r.String()
	}
	if !f.p.Repair.SaveExtra {
		return "they are not saved: the policy's repair.save_extra is off"
	}
	step, wanted := f.saveExtra(i)
	if t := f.tried(step); wanted && t != nil && t.Error != "" {
		return "they are not saved: " + t.Error
	}
	return "they are not saved yet"
}

// saveExtra has an instance's extra transactions saved, once.
func (f *facts) saveExtra(i *topology.Instance) (Step, bool) {
	set := f.extraOf(i)
	return Step{
		Do: SaveExtra, Target: i.Addr, Until: set, Wait: Duration(rescueWait),
		Why: fmt.Sprintf("%s has %s that primary %s lacks: %s", i.Addr, count(set.Count()), f.primary, clip(set)),
	}, f.p.Repair.SaveExtra && !set.Empty() && f.rescued(i.Addr, set) == nil
}
