package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

func TestWhatAFailoverLostIsNamed(t *testing.T) {
	promoted := func(b *build) *build {
		return b.kill("a").begin().change("b", func(st *topology.State) {
			st.Executed, st.Sources, st.ReadOnly = gtid.MustParse("0-1-95,0-2-120"), nil, false
		})
	}
	three := func() *build {
		return primary("a").replica("b", has("0-1-95", "0-1-95")).replica("c", has("0-1-90", "0-1-90"))
	}
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"async: the known and the unknown", promoted(three()), []string{"5 transactions of a:3306", "what a:3306 wrote after it was read last"}},
		{"semi-sync: nobody was told of them", promoted(three().semiSync(1)), []string{"no replica had acknowledged them"}},
		{"never read", func() *build {
			b := promoted(three())
			b.inst("a").State = nil
			return b
		}(), []string{"it was never read"}},
		{"it has restarted, and may have lost what it had not synced", func() *build {
			b := promoted(three())
			a := b.inst("a")
			a.Reach, a.ReadAt, a.State.Executed = topology.Up, b.c.Snapshot.Taken, gtid.MustParse("0-1-95")
			b.c.Intent.At = a.ReadAt.Add(-a.State.Uptime.D() - time.Second)
			return b
		}(), []string{"had not synced"}},
		{"a replica that was read later than the new primary", promoted(three()).change("c", func(st *topology.State) { st.Executed = gtid.MustParse("0-1-95,0-2-140") }), []string{"5 transactions of a:3306", "cannot be known"}},
		{"a replica that has more", promoted(three()).change("c", func(st *topology.State) { st.Executed = gtid.MustParse("0-1-97") }), []string{"5 transactions of a:3306", "2 transactions of c:3306", "cannot be known"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lost := Lost(&tt.b.c)
			if len(lost) != len(tt.want) {
				t.Fatalf("lost is %q, want %q", lost, tt.want)
			}
			for n, want := range tt.want {
				if !strings.Contains(lost[n], want) {
					t.Errorf("%q does not say %q", lost[n], want)
				}
			}
		})
	}
	turned := promoted(three())
	turned.c.Intent.Kind = KindSwitchover
	if lost := Lost(&turned.c); len(lost) != 2 || !strings.Contains(lost[1], "cannot be known") {
		t.Errorf("of a switchover whose primary died before it was closed %q is lost", lost)
	}
	turned.inst("a").State.ReadOnly = true
	turned.inst("b").State.Executed = turned.inst("a").State.Executed
	if lost := Lost(&turned.c); lost != nil {
		t.Errorf("of a switchover whose primary died when it was handed over %q is lost", lost)
	}
	if lost := Lost(&primary("a").replica("b").ask(Request{Kind: KindSwitchover, ID: "x"}).pass(time.Second).c); lost != nil {
		t.Errorf("without an intent %q is lost", lost)
	}
}
