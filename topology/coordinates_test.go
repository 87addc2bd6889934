package topology

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
)

func TestCoordinatesAreOrderedWithinOneLog(t *testing.T) {
	for _, tt := range []struct {
		a, b Coordinates
		want gtid.Order
	}{
		{Coordinates{"binlog.000002", 4}, Coordinates{"binlog.000002", 4}, gtid.Equal},
		{Coordinates{"binlog.000002", 5}, Coordinates{"binlog.000002", 4}, gtid.Ahead},
		{Coordinates{"binlog.000010", 4}, Coordinates{"binlog.000009", 999}, gtid.Ahead},
		{Coordinates{"binlog.999999", 4}, Coordinates{"binlog.1000000", 4}, gtid.Behind},
		{Coordinates{"my.log.000002", 5}, Coordinates{"my.log.000002", 6}, gtid.Behind},
		{Coordinates{"binlog.000002", 4}, Coordinates{"mysql-bin.000002", 4}, gtid.Divergent},
		{Coordinates{"binlog", 4}, Coordinates{"binlog", 4}, gtid.Divergent},
		{Coordinates{}, Coordinates{}, gtid.Divergent},
		{Coordinates{"binlog.000002", 4}, Coordinates{}, gtid.Divergent},
	} {
		if got := tt.a.Compare(tt.b); got != tt.want {
			t.Errorf("%s to %s is %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestCoordinatesAreATotalOrderWithinOneLog(t *testing.T) {
	draw := func(t *rapid.T, name string) Coordinates {
		return Coordinates{rapid.SampledFrom([]string{"b.9", "b.10", "b.000011"}).Draw(t, name), rapid.Uint64Range(4, 6).Draw(t, name+" pos")}
	}
	opposite := map[gtid.Order]gtid.Order{gtid.Equal: gtid.Equal, gtid.Ahead: gtid.Behind, gtid.Behind: gtid.Ahead}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw(t, "a"), draw(t, "b"), draw(t, "c")
		if a.Compare(b) != opposite[b.Compare(a)] {
			t.Fatalf("%s and %s", a, b)
		}
		if a.Compare(b) == gtid.Ahead && b.Compare(c) == gtid.Ahead && a.Compare(c) != gtid.Ahead {
			t.Fatalf("%s, %s and %s", a, b, c)
		}
	})
}
