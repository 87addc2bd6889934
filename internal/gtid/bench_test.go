package gtid_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
)

// benchPair is the set of a primary and that of a replica that lags a little.
type benchPair struct {
	name             string
	primary, replica string
}

func benchPairs() []benchPair {
	return []benchPair{
		{"mysql_3_uuids", mysqlText(3, 1, 1000), mysqlText(3, 1, 990)},
		{"mysql_30_uuids", mysqlText(30, 1, 1000), mysqlText(30, 1, 990)},
		{"mysql_10_uuids_10000_intervals", mysqlText(10, 1000, 1000), mysqlText(10, 1000, 990)},
		{"mariadb_5_entries", mariadbText(1, 5, 1000), mariadbText(1, 5, 990)},
		{"mariadb_1000_entries", mariadbText(100, 10, 1000), mariadbText(100, 10, 990)},
	}
}

func mysqlText(uuids, intervals, last int) string {
	var text strings.Builder
	for u := range uuids {
		if u > 0 {
			text.WriteString(",\n")
		}
		fmt.Fprintf(&text, "%08x-71ca-11e1-9e33-c80aa9429562", u*7919)
		for i := range intervals {
			fmt.Fprintf(&text, ":%d-%d", i*2000+1, i*2000+last)
		}
	}
	return text.String()
}

func mariadbText(domains, servers, last int) string {
	var entries []string
	for d := range domains {
		for s := range servers {
			entries = append(entries, fmt.Sprintf("%d-%d-%d", d, s+1, last+s))
		}
	}
	return strings.Join(entries, ",")
}

func BenchmarkParse(b *testing.B) {
	for _, p := range benchPairs() {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(p.primary)))
			for b.Loop() {
				if _, err := gtid.Parse(p.primary); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Intervals in falling order, the worst case for the sort.
func BenchmarkParseUnsorted(b *testing.B) {
	var text strings.Builder
	text.WriteString(u1)
	for i := 10_000; i > 0; i-- {
		fmt.Fprintf(&text, ":%d", 2*i)
	}
	b.ReportAllocs()
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		gtid.MustParse(text.String())
	}
}

func benchBoth(b *testing.B, run func(primary, replica gtid.Set)) {
	for _, p := range benchPairs() {
		b.Run(p.name, func(b *testing.B) {
			primary, replica := gtid.MustParse(p.primary), gtid.MustParse(p.replica)
			b.ReportAllocs()
			for b.Loop() {
				run(primary, replica)
			}
		})
	}
}

func BenchmarkContains(b *testing.B) {
	benchBoth(b, func(primary, replica gtid.Set) { primary.Contains(replica) })
}

func BenchmarkCompare(b *testing.B) {
	benchBoth(b, func(primary, replica gtid.Set) { primary.Compare(replica) })
}

func BenchmarkSubtract(b *testing.B) {
	benchBoth(b, func(primary, replica gtid.Set) { primary.Subtract(replica) })
}

func BenchmarkUnion(b *testing.B) {
	benchBoth(b, func(primary, replica gtid.Set) { primary.Union(replica) })
}

func BenchmarkString(b *testing.B) {
	benchBoth(b, func(primary, _ gtid.Set) { _ = primary.String() })
}
