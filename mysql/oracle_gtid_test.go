package mysql

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// TestATaggedTransactionGoesTheWholeWay: GTIDs with tags (8.3 and later) are written, replicated, compared, applied before a
// promotion, found errant on an old primary, saved, and taken back.
func TestATaggedTransactionGoesTheWholeWay(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	top := replication(t, lab.Spec{Servers: 3})
	if !isOf(t, top.Servers[0], tagsSince) {
		t.Skip("its GTIDs have no tags")
	}
	s := servers(t, testConfig())
	old, next, third := top.Servers[0], top.Servers[1], top.Servers[2]
	tagged := func(on *lab.Server, tag string, seq int) {
		t.Helper()
		must(t, on.Exec(testContext(t), "SET SESSION gtid_next='AUTOMATIC:"+tag+"'",
			fmt.Sprintf("INSERT INTO lab.writes VALUES (1, %d)", seq), "SET SESSION gtid_next='AUTOMATIC'"))
	}
	uuid := look(t, old).ServerUUID
	tagged(old, "billing", 1)
	tagged(old, "billing", 2)
	write(t, old, 3)
	until := look(t, old).Executed
	if !until.Contains(gtid.MustParse(uuid + ":billing:1-2")) {
		t.Fatalf("the tag is not read: %s", until)
	}
	must(t, s.Do(testContext(t), failover.Step{Do: failover.CatchUp, Target: addr(third), Until: until}))

	// What is received and not applied counts, and is applied before a promotion.
	must(t, s.Do(testContext(t), failover.Step{Do: failover.CatchUp, Target: addr(next), Until: until}))
	must(t, next.StopApplier(testContext(t)))
	tagged(old, "orders", 4)
	late := gtid.MustParse(uuid + ":orders:1")
	eventually(t, "the tagged transaction to be received", func() (bool, string) {
		st := look(t, next)
		return st.Received().Contains(late) && !st.Executed.Contains(late), st.Received().String()
	})
	must(t, third.StopReceiver(testContext(t)))
	must(t, next.StopReceiver(testContext(t)))
	tagged(old, "billing", 5) // nobody has it
	must(t, old.Kill())
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(next)}))
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(next)}))
	must(t, s.Do(testContext(t), failover.Step{Do: failover.Repoint, Target: addr(third), Source: addr(next)}))
	tagged(next, "billing", 6)
	hasWritten(t, third, 6)
	if st := look(t, third); !st.Executed.Contains(late) || !look(t, next).Covers(st) {
		t.Errorf("the third has %s", st.Executed)
	}

	must(t, old.Start(testContext(t)))
	st := look(t, old)
	extra := st.Executed.Subtract(look(t, next).Executed)
	if want := gtid.MustParse(uuid + ":billing:3"); !extra.Equal(want) || look(t, next).Covers(st) {
		t.Fatalf("what the old primary alone has: %s, want %s", extra, want)
	}
	var saved strings.Builder
	got, err := s.SaveTransactions(testContext(t), addr(old), extra, &saved, 1<<20)
	if err != nil || got.Transactions != 1 || !strings.Contains(saved.String(), uuid+":billing:3") || !strings.Contains(saved.String(), "5") {
		t.Errorf("saved %+v, %v:\n%s", got, err, saved.String())
	}
	if _, err := s.Discard(testContext(t), addr(old), extra, true); err == nil || !strings.Contains(err.Error(), "TRANSACTION_GTID_TAG") {
		t.Errorf("without the privilege: %v", err)
	}
	for _, server := range []*lab.Server{old, next} {
		unlogged(t, server, TagGrants()...)
	}
	back, err := s.Discard(testContext(t), addr(old), extra, false)
	if err != nil || back.Rows != 1 || !back.From.Equal(st.Executed.Subtract(extra)) {
		t.Fatalf("%+v, %v", back, err)
	}
	twice(t, s, failover.Step{Do: failover.Repoint, Target: addr(old), Source: addr(next)})
	hasWritten(t, old, 6)

	// An errant one with a tag is injected as an empty transaction.
	must(t, third.StopReplication(testContext(t)))
	errant := gtid.MustParse(look(t, third).ServerUUID + ":adhoc:1-2")
	whileOpen(t, third, "SET SESSION gtid_next='AUTOMATIC:adhoc'", "INSERT INTO lab.writes VALUES (9, 1)", "INSERT INTO lab.writes VALUES (9, 2)",
		"SET SESSION gtid_next='AUTOMATIC'")
	twice(t, s, failover.Step{Do: failover.Inject, Target: addr(next), Until: errant})
	if !look(t, next).Executed.Contains(errant) {
		t.Error("the errant ones were not injected")
	}
}

// TestParallelAppliersLeaveNoGaps: whether workers commit in the source's order or not, and also where the replica was killed
// amid its work, a promotion waits for all and finds no gap.
func TestParallelAppliersLeaveNoGaps(t *testing.T) {
	only(t, lab.MySQL, "MariaDB's parallel appliers keep the order")
	for _, order := range []string{"ON", "OFF"} {
		t.Run("replica_preserve_commit_order="+order, func(t *testing.T) {
			top := replication(t, lab.Spec{Servers: 2, Server: lab.ServerOptions{Appliers: 4},
				ServerArgs: map[int][]string{1: {"--replica-preserve-commit-order=" + order}}})
			source, replica := top.Servers[0], top.Servers[1]
			s := servers(t, testConfig())
			must(t, replica.StopApplier(testContext(t)))
			const writers, each = 8, 60
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for seq := range each {
						if err := source.Exec(context.Background(), fmt.Sprintf("INSERT INTO lab.writes VALUES (%d, %d)", 100+w, seq)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			want := look(t, source).Executed
			eventually(t, "all to be received", func() (bool, string) {
				st := look(t, replica)
				return st.Received().Contains(want), st.Received().String()
			})
			must(t, source.Kill())
			must(t, replica.StartApplier(testContext(t)))
			before := look(t, replica).Executed
			eventually(t, "a part to be applied", func() (bool, string) {
				return look(t, replica).Executed.Beyond(before).Count() > 20, ""
			})
			must(t, replica.Kill())
			must(t, replica.Start(testContext(t)))
			t.Logf("after the crash it has %s", look(t, replica).Executed)
			must(t, s.Do(testContext(t), failover.Step{Do: failover.Drain, Target: addr(replica)}))
			must(t, s.Do(testContext(t), failover.Step{Do: failover.Promote, Target: addr(replica)}))
			st := look(t, replica)
			row, err := replica.Row(testContext(t), "SELECT COUNT(*) AS n FROM lab.writes WHERE writer >= 100")
			must(t, err)
			if !st.Writable() || !st.Executed.Equal(want) || row["n"] != fmt.Sprint(writers*each) {
				t.Errorf("%s rows of %d; executed %s, want %s", row["n"], writers*each, st.Executed, want)
			}
		})
	}
}

// TestAFrozenSourceIsSilent: replication_connection_status counts heartbeats, so that a source which answers nobody, and whose
// connections stand, is told from one that has nothing to say.
func TestAFrozenSourceIsSilent(t *testing.T) {
	only(t, lab.MySQL, "MariaDB counts heartbeats in the state of replication")
	top := replication(t, lab.Spec{Servers: 2})
	p, _ := prober(t, addr(top.Servers[1]), testConfig())
	quiet := func() (topology.Thread, float64) {
		src := probeWithin(t, p, testLimit).State.Source()
		if src.Silence == nil {
			return src.IO, -1
		}
		return src.IO, src.Silence.D().Seconds()
	}
	eventually(t, "heartbeats of an idle source", func() (bool, string) {
		_, silence := quiet()
		return silence >= 0 && silence < 1.5, fmt.Sprint(silence)
	})
	must(t, top.Servers[0].Freeze())
	eventually(t, "silence, on a connection that stands", func() (bool, string) {
		io, silence := quiet()
		return io == topology.ThreadYes && silence > 2, fmt.Sprint(io, silence)
	})
	must(t, top.Servers[0].Thaw())
	eventually(t, "heartbeats again", func() (bool, string) {
		_, silence := quiet()
		return silence >= 0 && silence < 1.5, fmt.Sprint(silence)
	})
}
