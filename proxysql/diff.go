package proxysql

import (
	"fmt"
	"slices"
)

// change is one difference between what a table has and what is wanted.
type change struct {
	Row  row    // as wanted
	Have *row   // nil: missing
	Why  string // "status ONLINE, want OFFLINE_HARD"
}

// String names row and difference for a human.
func (c change) String() string {
	return fmt.Sprintf("%s in hostgroup %d: %s", c.Row.addr(), c.Row.Hostgroup, c.Why)
}

// rowKey is a row's primary key.
type rowKey struct {
	Hostgroup int
	Host      string
	Port      int
}

func (r row) key() rowKey { return rowKey{r.Hostgroup, r.Host, r.Port} }

func byKey(rows []row) map[rowKey]row {
	m := make(map[rowKey]row, len(rows))
	for _, r := range rows {
		m[r.key()] = r
	}
	return m
}

// diff lists what must change in memory to have `want`; both hold rows of the
// managed hostgroups, and every row of have is in want.
func diff(have, want []row) []change {
	var changes []change
	has := byKey(have)
	for _, w := range want {
		h, ok := has[w.key()]
		if !ok {
			changes = append(changes, change{Row: w, Why: fmt.Sprintf("missing, want %s", w.Status)})
			continue
		}
		if why := compare(h, w); why != "" {
			changes = append(changes, change{Row: w, Have: &h, Why: why})
		}
	}
	return changes
}

// diffRuntime lists where runtime does not do what memory `want`s once it is
// loaded. There OFFLINE_HARD is the same as no row, SHUNNED is ProxySQL's own view
// of an ONLINE server, and a server that serves nothing has no weight. The weight
// of writers is the operator's, also when it is to be loaded.
func diffRuntime(have, want []row, hg Hostgroups) []change {
	var changes []change
	has, wanted := byKey(have), byKey(want)
	for _, w := range want {
		h, ok := has[w.key()]
		if !ok {
			if w.Status == online || w.Status == offlineSoft {
				changes = append(changes, change{Row: w, Why: fmt.Sprintf("absent, want %s", w.Status)})
			}
			continue
		}
		if h.Status == shunned && w.Status == online {
			h.Status = online
		}
		if w.Status != online || w.Hostgroup != hg.Reader {
			h.Weight = w.Weight
		}
		if why := compare(h, w); why != "" {
			changes = append(changes, change{Row: w, Have: &h, Why: why})
		}
	}
	for _, h := range have {
		if _, ok := wanted[h.key()]; !ok && h.Status != offlineHard {
			w := h
			w.Status = offlineHard
			changes = append(changes, change{Row: w, Have: &h, Why: fmt.Sprintf("status %s, want no row", h.Status)})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return compareRows(a.Row, b.Row) })
	return changes
}

func compare(have, want row) string {
	if have.Status != want.Status {
		return fmt.Sprintf("status %s, want %s", have.Status, want.Status)
	}
	if have.Weight != want.Weight {
		return fmt.Sprintf("weight %d, want %d", have.Weight, want.Weight)
	}
	return ""
}
