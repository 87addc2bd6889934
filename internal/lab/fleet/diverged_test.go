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
		must(t, s.Exec(ctx, "STOP SLAVE IO_THREAD"))
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
	old := diverge(t, ctx, f, "INSERT INTO lab.writes VALUES (900, 1), (900, 2)", "UPDATE lab.writes SET seq=3 WHERE writer=900 AND seq=2")

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
		"UPDATE `lab`.`writes` SET `seq`=3 WHERE `writer`=900 AND `seq`=2 LIMIT 1", old.Addr, "2 transactions, 3 changes",
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
}
