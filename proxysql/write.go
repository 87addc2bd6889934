package proxysql

import (
	"context"
	"slices"
)

// part is what is to be written for one cluster.
type part struct {
	guard
	state *state
	plan  plan
}

// statements are those of several plans, in order; each is one for all clusters that need
// it. Until the LOAD, clients notice nothing.
func statements(parts []part) []statement {
	var list []statement
	if len(parts) > 0 && !parts[0].state.hasTable {
		list = append(list, statement{"create remora_epoch", createTable})
	}
	list = append(list, guardsOf(parts, func(part) bool { return true }).raise())
	list = append(list, releases(parts)...)
	var missing, rows []row
	var lacking guards
	for _, p := range parts {
		added := p.plan.missing()
		if len(added) > 0 {
			missing, lacking = append(missing, added...), append(lacking, p.guard)
		}
		if len(p.plan.memory) > 0 {
			rows = append(rows, p.plan.rows...)
		}
	}
	if len(missing) > 0 {
		list = append(list, lacking.insert(missing))
	}
	for _, without := range []bool{true, false} {
		if gs := guardsOf(parts, func(p part) bool { return p.plan.limit && (p.state.limit < 0) == without }); len(gs) > 0 {
			list = append(list, gs.limitWriters(without))
		}
	}
	if gs := guardsOf(parts, func(p part) bool { return len(p.plan.memory) > 0 }); len(gs) > 0 {
		list = append(list, gs.update(rows))
	}
	if gs := guardsOf(parts, func(p part) bool { return p.plan.publish || len(p.state.claims) > 0 }); len(gs) > 0 {
		list = append(list, statement{"load servers", loadServers})
	}
	return list
}

// releases delete what claims hostgroups.
func releases(parts []part) []statement {
	var list []statement
	for _, c := range claimants {
		gs := guardsOf(parts, func(p part) bool { return p.hg.TakeOver && p.state.claimedBy(c.table) })
		if len(gs) > 0 {
			list = append(list, gs.release(c.table, c.hg))
		}
	}
	return list
}

func guardsOf(parts []part, which func(part) bool) guards {
	var gs guards
	for _, p := range parts {
		if which(p) {
			gs = append(gs, p.guard)
		}
	}
	return gs
}

// write executes the plans of tasks that were found not to be settled. Afterwards they
// are to be read again. Two tasks of one cluster, or of one hostgroup, are never written
// together: the second is left as it is, and read again.
func (a *Admin) write(ctx context.Context, tasks []*task) {
	var parts []part
	var now []*task
	ticket := a.ticket()
	taken, groups := map[string]bool{}, map[int]bool{}
	for _, t := range tasks {
		t.kind = looking
		if taken[t.cluster] || groups[t.hg.Writer] || groups[t.hg.Reader] {
			continue
		}
		taken[t.cluster], groups[t.hg.Writer], groups[t.hg.Reader] = true, true, true
		t.written++
		now = append(now, t)
		parts = append(parts, part{guard{t.subject, t.route.Epoch, ticket}, t.state, t.plan})
	}
	for _, st := range statements(parts) {
		if slices.ContainsFunc(now, (*task).gone) {
			for _, t := range now { // nothing is opened for who went away; the others begin again, after who fences
				t.written--
			}
			return
		}
		if err := a.exec(ctx, st); err != nil {
			a.fail(now, err)
			return
		}
	}
	a.tables["remora_epoch"] = true
}
