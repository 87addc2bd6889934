package fleet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// diverge makes the primary write what no replica receives, lets it die and be replaced, and brings it back. It gives
// the old primary.
func diverge(t *testing.T, ctx context.Context, f *fleet.Fleet, writes ...string) *lab.Server {
	t.Helper()
	old, err := f.Primary(ctx)
	must(t, err)
	others, err := replicas(ctx, f)
	must(t, err)
	for _, s := range others {
		must(t, s.StopReceiver(ctx))
	}
	must(t, old.Exec(ctx, writes...))
	must(t, old.Kill())
	eventually(t, ctx, "another primary", func() (bool, string) {
		now, err := f.Primary(ctx)
		return err == nil && now != old, fmt.Sprint(err)
	})
	must(t, old.Start(ctx))
	return old
}

var savedIn = regexp.MustCompile(`saved as SQL in (\S+) on node`)

func TestADivergedPrimaryIsSavedAndTakenBack(t *testing.T) {
	ctx, f, load := start(t, fleet.Options{Policy: "anti_flap: 0s"}, lab.LoadOptions{Writers: 1, Pace: 10 * time.Millisecond})
	load.Stop()
	must(t, f.Converged(ctx))
	old := diverge(t, ctx, f, "INSERT INTO lab.writes VALUES (900, 1), (900, 2)", "UPDATE lab.writes SET seq=3 WHERE writer=900 AND seq=2", "INSERT INTO lab.writes VALUES (900, 9)")

	var diverged failover.Finding
	eventually(t, ctx, "its transactions to be saved", func() (bool, string) {
		diverged = found(t, ctx, f, "OldPrimaryDiverged", old.Addr)
		return savedIn.MatchString(diverged.Sentence), diverged.Sentence
	})
	file := savedIn.FindStringSubmatch(diverged.Sentence)[1]
	text, err := os.ReadFile(file)
	must(t, err)
	for _, want := range []string{
		"INSERT INTO `lab`.`writes` (`writer`, `seq`) VALUES (900, 1)", "INSERT INTO `lab`.`writes` (`writer`, `seq`) VALUES (900, 2)",
		"UPDATE `lab`.`writes` SET `writer`=900, `seq`=3 WHERE `writer`=900 AND `seq`=2 LIMIT 1", old.Addr, "3 transactions, 4 changes",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.part")); len(left) > 0 {
		t.Errorf("parts are left over: %q", left)
	}
	if rec := newest(t, ctx, f); len(rec.Lost) == 0 || !strings.Contains(rec.Lost[len(rec.Lost)-1], file) {
		t.Errorf("the history does not name the file: %q", rec.Lost)
	}
	rejoinByDiscard(t, ctx, f, old)
}

// rejoinByDiscard is the way back: refused without a word how, said first, then exact.
func rejoinByDiscard(t *testing.T, ctx context.Context, f *fleet.Fleet, old *lab.Server) {
	t.Helper()
	remora(t, ctx, f, "", "rejoin", fleet.Cluster, old.Addr).want(t, 3, "3 transactions", "--discard", "--clone", "saved as SQL")
	remora(t, ctx, f, "", "rejoin", fleet.Cluster, old.Addr, "--discard", "--dry-run").want(t, 0, "4 row changes would be undone", "discard "+old.Addr)
	remora(t, ctx, f, "", "rejoin", fleet.Cluster, old.Addr, "--discard").want(t, 3, "add --yes")
	if row, err := old.Row(ctx, "SELECT COUNT(*) AS n FROM lab.writes WHERE writer=900"); err != nil || row["n"] != "3" {
		t.Errorf("without --yes its rows are %v (%v)", row, err)
	}
	remora(t, ctx, f, "", "rejoin", fleet.Cluster, old.Addr, "--discard", "--yes").want(t, 0, old.Addr+" follows the primary again")
	must(t, f.Converged(ctx))
	primary, err := f.Primary(ctx)
	must(t, err)
	must(t, primary.Exec(ctx, "INSERT INTO lab.writes VALUES (901, 1)"))
	eventually(t, ctx, "the old primary to have the primary's rows and no others", func() (bool, string) {
		const sum = "SELECT GROUP_CONCAT(writer, '/', seq ORDER BY writer, seq) AS rows_ FROM lab.writes WHERE writer >= 900"
		a, err := primary.Row(ctx, sum)
		if err != nil {
			return false, err.Error()
		}
		b, err := old.Row(ctx, sum)
		return err == nil && a["rows_"] == b["rows_"] && b["rows_"] == "901/1", fmt.Sprint(a, b, err)
	})
}
