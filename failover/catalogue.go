package failover

import (
	"cmp"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// Problem is a row of the catalogue.
type Problem struct {
	Code     Code
	Priority int // 1 is the most urgent
	// Recovery is what the problem calls for; empty: it is only reported.
	Recovery Kind
	Explain  string // what it means, for documentation and `remora explain`
	match    func(*facts) []hit
}

// hit is one place where a problem was found.
type hit struct {
	instance topology.Addr
	sentence string
	evidence []string
}

// The urgencies of problems.
const (
	urgent  = 1 // nobody can write, or two can
	serious = 2 // writes are in danger
	broken  = 3 // a part does not do its work
	weak    = 4 // all works, with less reserve
	advice  = 5 // a failover would be harder than it need be
)

// Catalogue lists every problem that Analyze knows. The codes are orchestrator's
// analysis codes where it has one; theirs is the spelling, the definition here
// rests on what replicas receive and never on their SQL threads.
func Catalogue() []Problem { return slices.Clone(catalogue) }

var catalogue = slices.Concat(primaryProblems, coPrimaryProblems, replicationProblems, semiSyncProblems,
	intermediateProblems, writerProblems, replicaProblems, rejoinProblems, routingProblems, publicationProblems, structureProblems)

// Explain finds a problem of the catalogue by its code.
func Explain(code Code) (Problem, bool) {
	for _, p := range catalogue {
		if p.Code == code {
			return p, true
		}
	}
	return Problem{}, false
}

// Analyze matches the catalogue against the case. The most urgent comes first;
// the same case always gives the same list, in whatever order it lists things.
func Analyze(c *Case) []Finding {
	f := newFacts(c)
	var found []Finding
	for _, p := range catalogue {
		for _, h := range p.match(f) {
			found = append(found, Finding{
				Code: p.Code, Instance: h.instance, Priority: p.Priority,
				Sentence: h.sentence, Evidence: h.evidence, Recovery: p.Recovery,
			})
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(a.Priority, b.Priority) })
	return found
}

// hits is for matches that find at most one place.
func hits(yes bool, h func() hit) []hit {
	if !yes {
		return nil
	}
	return []hit{h()}
}

// each matches a problem of single instances.
func each(list []*topology.Instance, match func(*topology.Instance) (string, bool)) []hit {
	var found []hit
	for _, i := range list {
		if sentence, yes := match(i); yes {
			found = append(found, hit{instance: i.Addr, sentence: sentence})
		}
	}
	return found
}

// tally counts the replicas of one source, in the terms of orchestrator's
// analysis.
type tally struct {
	all        int
	valid      int // read freshly
	receiving  int // receive from the source
	running    int // both threads run
	connecting int // IO thread tries to connect, SQL thread runs
	lagging    int // valid, and behind by more than the policy's limit
}

func (f *facts) tally(source topology.Addr) tally {
	var t tally
	if source == f.primary {
		for _, r := range f.orphans {
			t.all++
			if r.Fresh() {
				t.valid++
			}
		}
	}
	for _, r := range f.replicasOf(source) {
		t.all++
		if !r.Fresh() {
			continue
		}
		t.valid++
		src := f.s.ChannelTo(r, source)
		if f.receives(r, source) {
			t.receiving++
		}
		if src.SQL == topology.ThreadYes && src.IO == topology.ThreadYes {
			t.running++
		}
		if src.SQL == topology.ThreadYes && src.IO == topology.ThreadConnecting {
			t.connecting++
		}
		if lag, known := f.lag(r); known && lag > f.p.Lag.Max.D() && !delayed(r.State) {
			t.lagging++
		}
	}
	return t
}
