package proxysql

import (
	"errors"
	"fmt"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// checkRoute says why a route cannot be applied.
func checkRoute(route topology.Route, hg Hostgroups) error {
	switch {
	case route.Cluster == "":
		return errors.New("the route names no cluster")
	case route.Epoch == 0:
		return fmt.Errorf("the route of %s has no epoch", route.Cluster)
	}
	return hg.Validate()
}

// maxWeight is the largest that ProxySQL takes; a greater one would fail the
// whole update.
const maxWeight = 10_000_000

// desire is what a route wants of one row.
type desire struct {
	Status status
	Weight int // 0: as it is
}

// want lists what the route wants, one for each known instance and hostgroup.
//
// The writer is ONLINE when open, OFFLINE_SOFT when paused, and OFFLINE_HARD like
// all others when fenced. A reader is ONLINE with the route's weight. An instance
// that is no reader is OFFLINE_HARD in the reader hostgroup, for it may be dead
// and sessions must not wait for it; save the route's writer, which is alive: it
// is OFFLINE_SOFT, so that reads in progress on an instance just promoted end
// without an error.
func want(route topology.Route, hg Hostgroups) map[place]desire {
	wanted := make(map[place]desire)
	for _, a := range known(route) {
		wanted[place{hg.Writer, a}] = desire{Status: offlineHard}
		wanted[place{hg.Reader, a}] = desire{Status: offlineHard}
	}
	if w := route.Writer; w != "" {
		switch route.Mode {
		case topology.Open:
			wanted[place{hg.Writer, w}] = desire{Status: online}
			wanted[place{hg.Reader, w}] = desire{Status: offlineSoft}
		case topology.Paused:
			wanted[place{hg.Writer, w}] = desire{Status: offlineSoft}
			wanted[place{hg.Reader, w}] = desire{Status: offlineSoft}
		case topology.Fenced: // closed already
		}
	}
	for _, r := range route.Readers {
		wanted[place{hg.Reader, r.Addr}] = desire{Status: online, Weight: min(max(r.Weight, 1), maxWeight)}
	}
	return wanted
}

// known lists the route's instances: those it names, wherever it names them.
func known(route topology.Route) []topology.Addr {
	addrs := slices.Concat(route.Known, []topology.Addr{route.Writer})
	for _, r := range route.Readers {
		addrs = append(addrs, r.Addr)
	}
	return topology.SortAddrs(addrs)
}

// wantRows are the rows that memory shall hold: those that it has with status
// and weight as wanted, and the missing ones. Rows of servers that the route does
// not know are OFFLINE_HARD. The rows of `inform` (runtime's) are copied from where
// memory has nothing to tell of a server.
func wantRows(have, inform []row, wanted map[place]desire, hg Hostgroups) []row {
	var rows []row
	found := index(have)
	for _, r := range have {
		d, ok := wanted[r.place()]
		if !ok || found[r.place()].Host != r.Host {
			d = desire{Status: offlineHard}
		}
		r.Status = d.Status
		if d.Weight > 0 {
			r.Weight = d.Weight
		}
		rows = append(rows, r)
	}
	for p, d := range wanted {
		if _, ok := found[p]; ok {
			continue
		}
		r := newRow(p, have, inform, hg)
		r.Status = d.Status
		if d.Weight > 0 {
			r.Weight = d.Weight
		}
		rows = append(rows, r)
	}
	return sortRows(rows)
}

// newRow makes the row of a server that a hostgroup lacks. What is the server's
// own (TLS, compression, GTID port, comment) is copied from its row in the other
// hostgroup; what is the hostgroup's (limits, weight) from another server's row
// beside it; each from the other source where its own is missing.
func newRow(p place, have, inform []row, hg Hostgroups) row {
	r := row{Hostgroup: p.Hostgroup, Host: p.Addr.Host(), Port: p.Addr.Port(), Weight: 1, attributes: defaults()}
	other := hg.Writer + hg.Reader - p.Hostgroup
	if was, ok := index(inform)[p]; ok {
		was.Status = ""
		return was
	}
	twin, hasTwin := index(have)[place{other, p.Addr}]
	if !hasTwin {
		twin, hasTwin = index(inform)[place{other, p.Addr}]
	}
	sibling, hasSibling := firstIn(have, p.Hostgroup)
	switch {
	case hasTwin && hasSibling:
		r.attributes = twin.attributes
		r.MaxConnections, r.MaxReplicationLag = sibling.MaxConnections, sibling.MaxReplicationLag
		r.MaxLatencyMS = sibling.MaxLatencyMS
	case hasTwin:
		r.attributes = twin.attributes
		r.MaxReplicationLag = 0 // of readers; a writer has none, and 0 asks for nothing
	case hasSibling:
		r.attributes = sibling.attributes
		r.Comment, r.GTIDPort = "", 0
	}
	if hasSibling && sibling.Weight > 0 {
		r.Weight = sibling.Weight
	}
	if r.GTIDPort == r.Port {
		r.GTIDPort = 0 // ProxySQL would refuse the row
	}
	return r
}

// firstIn finds the first row of a hostgroup, those in use first.
func firstIn(rows []row, hostgroup int) (row, bool) {
	var best row
	ok := false
	for _, r := range rows {
		if r.Hostgroup != hostgroup {
			continue
		}
		if !ok || r.Status.routed() && !best.Status.routed() ||
			r.Status.routed() == best.Status.routed() && compareRows(r, best) < 0 {
			best, ok = r, true
		}
	}
	return best, ok
}
