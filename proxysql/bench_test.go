package proxysql

import (
	"testing"

	"github.com/remora-ha/remora/topology"
)

// BenchmarkDiff is what a route wants of a proxy whose rows are in line with it.
func BenchmarkDiff(b *testing.B) {
	hg := Hostgroups{Writer: 10, Reader: 11}
	route := topology.Route{
		Cluster: "main", Epoch: 7, Known: addrs, Writer: addrs[0], Mode: topology.Open,
		Readers: []topology.Reader{{Addr: addrs[1], Weight: 1}, {Addr: addrs[2], Weight: 1}},
	}
	have := wantRows(nil, nil, want(route, hg), hg)
	b.ReportAllocs()
	for b.Loop() {
		if changes := diff(have, wantRows(have, have, want(route, hg), hg)); len(changes) > 0 {
			b.Fatal(changes)
		}
	}
}
