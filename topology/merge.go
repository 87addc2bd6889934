package topology

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// MergeOptions are the rules by which views become verdicts.
type MergeOptions struct {
	// Fresh is how old a view may be and still count.
	Fresh Duration
	// Timeouts is how many time-outs in a row make one observer call an
	// instance dead; a refused connection counts at once.
	Timeouts int
	// Await are the sidecars that are heard and watch a share of the instances: none is
	// down before each of them has looked at it, but for those in Waited, where they were asked
	// in vain.
	Await  []string
	Waited map[Addr]bool
}

// Merge puts the views of all observers into a snapshot's instances. `known`
// names instances that belong to the cluster whether seen or not; `observers`
// all sidecars that should observe: a majority is counted of them, not of those
// heard, so a cut-off minority never calls anything dead.
//
// An instance is up when any observer's newest fresh view answered, stuck when
// something answers but to nobody usefully, down when a majority of all
// observers call it dead and nobody reaches it, partial when fewer do or somebody
// is yet to look, and unknown without fresh evidence.
func Merge(taken time.Time, known []Addr, observers []string, views []View, opt MergeOptions) []Instance {
	newest := map[Addr]map[string]View{}
	for _, a := range known {
		newest[a] = map[string]View{}
	}
	for _, v := range views {
		of := newest[v.Instance]
		if of == nil {
			continue // not of this cluster
		}
		if old, ok := of[v.Observer]; !ok || v.At.After(old.At) {
			of[v.Observer] = v
		}
	}
	instances := make([]Instance, 0, len(newest))
	for addr, of := range newest {
		instances = append(instances, mergeOne(taken, addr, observers, of, opt))
	}
	slices.SortFunc(instances, func(a, b Instance) int { return strings.Compare(string(a.Addr), string(b.Addr)) })
	return instances
}

func mergeOne(taken time.Time, addr Addr, observers []string, of map[string]View, opt MergeOptions) Instance {
	inst := Instance{Addr: addr, Reach: Unclear}
	var answered, alive, dead int
	looked := map[string]bool{}
	// In order of names, so that of two readings of one instant always the same counts.
	for _, observer := range slices.Sorted(maps.Keys(of)) {
		v := of[observer]
		if v.State != nil && (inst.State == nil || v.StateAt.After(inst.ReadAt)) {
			inst.State, inst.ReadAt = v.State, v.StateAt
		}
		fresh := taken.Sub(v.At) <= opt.Fresh.D()
		if !fresh {
			v.Reach, v.Failures = Unknown, 0
		}
		looked[v.Observer] = v.Reach != Unknown
		switch {
		case v.Reach == Answered:
			answered++
		case v.Alive():
			alive++
		case v.Dead(opt.Timeouts) && slices.Contains(observers, v.Observer):
			dead++
		}
		v.State = nil // the evidence stays readable; the reading is in inst.State
		inst.Views = append(inst.Views, v)
	}
	switch {
	case answered > 0:
		inst.Reach = Up
	case alive > 0:
		inst.Reach = Stuck
	case dead > len(observers)/2 && (opt.Waited[addr] || !slices.ContainsFunc(opt.Await, func(o string) bool { return !looked[o] })):
		inst.Reach = Down
	case dead > 0:
		inst.Reach = Partial
	}
	return inst
}
