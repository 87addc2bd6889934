package chaos_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/chaos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAShortRun plays a few faults that leave an old primary behind, on a network; `make chaos` plays all of them for half
// an hour. Without root it is skipped, and says so.
func TestAShortRun(t *testing.T) {
	lab.NetworkForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	report, err := chaos.Run(ctx, lab.ForTest(t, lab.Options{}), chaos.Options{
		T: 45 * time.Second, Seed: 4, Writers: 6, HoldFrom: 3 * time.Second, HoldTo: 5 * time.Second, Out: t.Output(),
		Only: []string{"primary killed", "primary's host cut", "minority of sidecars cut", "leader killed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report)
	for _, broken := range report.Broken {
		t.Error(broken)
	}
	files, err := report.Write(t.TempDir() + "/report")
	if err != nil || len(files) != 2 {
		t.Errorf("wrote %v: %v", files, err)
	}
}

// TestTheJudgeFindsLostWritesAndTwoWriters plays without semi-sync what nothing else guards against: a primary cut off from all
// but a proxy whose sidecar is dead. Its clients go on there, and are told so, while the others write on the next primary.
func TestTheJudgeFindsLostWritesAndTwoWriters(t *testing.T) {
	lab.NetworkForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	report, err := chaos.Run(ctx, lab.ForTest(t, lab.Options{}), chaos.Options{
		Seed: 1, Writers: 3, Rounds: 1, Async: true, HoldFrom: 8 * time.Second, HoldTo: 8 * time.Second, Out: t.Output(),
		Only: []string{"primary left to a proxy without sidecar"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report)
	if v := report.Verdict; v.Lost == 0 || v.Late == 0 || v.Forks == 0 || v.Unseen != 0 {
		t.Errorf("the judge found %+v", v)
	}
	if len(report.Broken) != 2 {
		t.Errorf("broken: %q", report.Broken)
	}
}
