package ledger

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
)

func TestWhatWasSavedIsRecordedAndInTheHistory(t *testing.T) {
	bk := succeeded(t) // a failover from a to b
	held := bk.main().Recoveries
	saved := failover.Rescued{Instance: a, Set: gtid.MustParse("0-1-(101..105)"), Node: "n1", File: "/r/x.sql", Transactions: 5, Changes: 7}
	bk.must(&Rescue{Cluster: "main", Rescued: saved})
	got := bk.main().Rescued
	if len(got) != 1 || got[0].File != saved.File || got[0].At.IsZero() {
		t.Errorf("recorded are %+v", got)
	}
	lost := bk.main().Last().Lost
	if want := "0-1-(101..105) of a:3306 were saved as SQL in /r/x.sql on n1 (5 transactions, 7 changes)"; len(lost) == 0 || lost[len(lost)-1] != want {
		t.Errorf("the history says %q, want %q", lost, want)
	}
	if len(held[len(held)-1].Lost) == len(lost) {
		t.Error("a history that a reader holds has changed")
	}

	saved.Instance = c // no recovery took its place
	bk.must(&Rescue{Cluster: "main", Rescued: saved})
	if n := len(bk.main().Last().Lost); n != len(lost) {
		t.Errorf("the history has %d losses", n)
	}
	for range KeptRescues {
		bk.must(&Rescue{Cluster: "main", Rescued: saved})
	}
	if n := len(bk.main().Rescued); n != KeptRescues {
		t.Errorf("%d are kept", n)
	}
	saved.Instance = x
	bk.refuses(&Rescue{Cluster: "main", Rescued: saved}, RuleUnknown, "recording what was saved of x:3306 is refused: cluster main does not know it; known are a:3306, b:3306 and c:3306")
	saved.Instance, saved.File = a, ""
	bk.refuses(&Rescue{Cluster: "main", Rescued: saved}, RuleCommand, "recording what was saved of a:3306 is refused: it names no transactions or no file")
	if strings.Contains(saved.String(), ";") {
		t.Errorf("without a note it says %q", saved)
	}
}
