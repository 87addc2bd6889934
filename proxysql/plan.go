package proxysql

import (
	"fmt"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// plan is what makes a proxy do as a route says, computed from one state.
type plan struct {
	rows    []row    // the managed rows that memory shall hold
	memory  []change // what memory lacks of them
	runtime []change // what runtime does otherwise
	limit   bool     // max_num_online_servers must be set in memory
	publish bool     // runtime lacks something that LOAD brings
}

// makePlan compares a state with a route.
func makePlan(s *state, route topology.Route, hg Hostgroups, hasAttributes bool) plan {
	p := plan{rows: wantRows(s.memory, s.runtime, want(route, hg), hg)}
	p.memory = diff(s.memory, p.rows)
	p.runtime = diffRuntime(s.runtime, p.rows, hg)
	p.limit = hasAttributes && s.limit != 1
	p.publish = len(p.runtime) > 0 || hasAttributes && s.runtimeLimit != 1
	for _, c := range s.claims {
		p.publish = p.publish || isRuntime(c.table)
	}
	return p
}

// settled says that nothing is left to do at the epoch.
func (p plan) settled(s *state, epoch uint64) bool {
	return s.epoch == epoch && len(p.memory) == 0 && !p.limit && !p.publish && len(s.claims) == 0
}

// drift lists what another hand changed in a proxy that had applied the route.
func (p plan) drift(s *state, hg Hostgroups) []string {
	var list []string
	seen := map[place]bool{}
	for _, c := range p.runtime {
		list = append(list, c.String())
		seen[c.Row.place()] = true
	}
	for _, c := range p.memory {
		if !seen[c.Row.place()] {
			list = append(list, c.String()+" (in memory, not loaded)")
		}
	}
	if p.limit || p.publish && len(p.runtime) == 0 && len(s.claims) == 0 {
		list = append(list, fmt.Sprintf("hostgroup %d: max_num_online_servers is not 1", hg.Writer))
	}
	return list
}

// warnings lists what an operator should see to: it is not ours to mend.
func warnings(s *state, hg Hostgroups) []string {
	list := slices.Clone(s.pending)
	for _, r := range s.memory {
		if r.Hostgroup == hg.Writer && r.Status == online && r.Weight == 0 {
			list = append(list, fmt.Sprintf("%s in hostgroup %d: weight 0, so that the writer gets no statement", r.addr(), r.Hostgroup))
		}
	}
	return list
}

// exposed says that runtime sends more to the writer hostgroup than the route
// allows: such a proxy does not hold the route's epoch.
func exposed(s *state, route topology.Route, hg Hostgroups) bool {
	for _, r := range s.runtime {
		if r.Hostgroup != hg.Writer || r.Status == offlineHard {
			continue
		}
		mine := route.Writer != "" && r.addr() == route.Writer
		switch {
		case !mine, route.Mode == topology.Fenced:
			return true
		case route.Mode == topology.Paused && r.Status.routed():
			return true
		}
	}
	return false
}

// drained says that no connection to the route's writer is in use and none will
// be; for a route without an open or paused writer, to no server of the writer
// hostgroup.
func drained(s *state, route topology.Route, hg Hostgroups) bool {
	if s.used == nil {
		return false
	}
	mine := func(p place) bool {
		return p.Hostgroup == hg.Writer && (route.Writer == "" || route.Mode == topology.Fenced || p.Addr == route.Writer)
	}
	for _, r := range s.runtime {
		if mine(r.place()) && r.Status.routed() {
			return false
		}
	}
	for at, n := range s.used {
		if mine(at) && n > 0 {
			return false
		}
	}
	return true
}

// missing are the rows that memory lacks.
func (p plan) missing() []row {
	var rows []row
	for _, c := range p.memory {
		if c.Have == nil {
			rows = append(rows, c.Row)
		}
	}
	return rows
}
