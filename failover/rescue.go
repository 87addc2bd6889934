package failover

import (
	"fmt"
	"strings"
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

// savings are the files that a set of an instance's transactions was saved in, and what of it they do not have.
type savings struct {
	files []*Rescued
	// unsafe is in no file that has all it was made for; untried in no file at all.
	unsafe, untried gtid.Set
}

// saved looks for a set of an instance's transactions in what was saved: in files that are whole first, in newer ones
// before older ones.
func (f *facts) saved(a topology.Addr, set gtid.Set) savings {
	s := savings{unsafe: set, untried: set}
	for _, whole := range []bool{true, false} {
		for n := len(f.c.Rescued) - 1; n >= 0; n-- {
			r := &f.c.Rescued[n]
			if r.Instance != a || r.Whole() != whole || s.untried.Intersect(r.Set).Empty() {
				continue
			}
			s.files, s.untried = append(s.files, r), s.untried.Subtract(r.Set)
			if whole {
				s.unsafe = s.unsafe.Subtract(r.Set)
			}
		}
	}
	return s
}

// savedBefore are an instance's transactions of which all was saved by then: the primary, which was in service, lacked them.
func (f *facts) savedBefore(a topology.Addr, then time.Time) gtid.Set {
	var set gtid.Set
	for i := range f.c.Rescued {
		if r := &f.c.Rescued[i]; r.Instance == a && r.Whole() && r.At.Before(then) {
			set = set.Union(r.Set)
		}
	}
	return set
}

// String says where they are: "saved as SQL in FILE on NODE and saved as SQL in …".
func (s savings) String() string {
	words := make([]string, len(s.files))
	for i, r := range s.files {
		words[i] = r.String()
	}
	return strings.Join(words, " and ")
}

// safe says that a set of an instance's transactions was saved whole, so that they
// may be gone from the instance.
func (f *facts) safe(a topology.Addr, set gtid.Set) bool { return f.saved(a, set).unsafe.Empty() }

// rescueWords says of an instance's extra transactions whether they are saved.
func (f *facts) rescueWords(i *topology.Instance, set gtid.Set) string {
	s := f.saved(i.Addr, set)
	switch {
	case s.untried.Empty():
		return "they are " + s.String()
	case len(s.files) > 0:
		return fmt.Sprintf("%s, of these, are %s; the others are %s", clip(s.untried), f.whyUnsaved(i), s)
	default:
		return "they are " + f.whyUnsaved(i)
	}
}

func (f *facts) whyUnsaved(i *topology.Instance) string {
	if !f.p.Repair.SaveExtra {
		return "not saved: the policy's repair.save_extra is off"
	}
	step, wanted := f.saveExtra(i)
	if t := f.tried(step); wanted && t != nil && t.Error != "" {
		return "not saved: " + t.Error
	}
	return "not saved yet"
}

// saveExtra has an instance's extra transactions saved, each once.
func (f *facts) saveExtra(i *topology.Instance) (Step, bool) {
	set := f.saved(i.Addr, f.extraOf(i)).untried
	return f.saving(i, set), f.p.Repair.SaveExtra && !set.Empty()
}

func (f *facts) saving(i *topology.Instance, set gtid.Set) Step {
	return Step{
		Do: SaveExtra, Target: i.Addr, Until: set, Wait: Duration(rescueWait),
		Why: fmt.Sprintf("%s has %s that primary %s lacks: %s", i.Addr, count(set.Count()), f.primary, clip(set)),
	}
}
