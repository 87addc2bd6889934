package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

// play plays measurements of a test and reads the report that was written.
func play(t *testing.T, ctx context.Context, n int, what ...Measurement) (report Report, printed string) {
	t.Helper()
	var out bytes.Buffer
	name := filepath.Join(t.TempDir(), "report")
	played, err := Play(ctx, Options{What: what, N: n, Out: &out, Name: name})
	if err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if len(played.Results) == 0 {
		return *played, out.String()
	}
	raw, err := os.ReadFile(name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for svg := xml.NewDecoder(f); ; {
		if _, err := svg.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	return report, out.String()
}

func TestAReportJudgesAndAFailureKeepsWhatWasMeasured(t *testing.T) {
	slow := Measurement{Name: "slow", Times: 3, NoServers: true, Run: func(_ context.Context, r *Run) error {
		r.Promise("time", 10, 25)
		r.Promise("size", 5, 0)
		for i := range r.N {
			r.AddTime("time", time.Duration(i+1)*10*time.Millisecond)
		}
		r.Add("size", "MB", 5)
		r.Count("errors", 0)
		return nil
	}}
	failing := Measurement{Name: "failing", NoServers: true, Run: func(_ context.Context, r *Run) error {
		r.Add("size", "MB", 7)
		return errors.New("the disk is full")
	}}
	report, printed := play(t, t.Context(), 0, failing, slow)
	if report.Kept() || len(report.Results) != 2 {
		t.Fatalf("the report has %d results, want 2, and promises that were not kept", len(report.Results))
	}
	if r := report.Results[0]; r.Error != "the disk is full" || len(r.Figures) != 1 || r.Figures[0].Values[0] != 7 {
		t.Errorf("what failed has the error %q and %d figures; want what was measured before", r.Error, len(r.Figures))
	}
	r := report.Results[1]
	if want := (Summary{Min: 10, Median: 20, P90: 30, Max: 30}); r.Figures[0].Summary != want {
		t.Errorf("the summary is %+v, want %+v", r.Figures[0].Summary, want)
	}
	if len(r.Broken) != 2 || !strings.Contains(r.Broken[0], "the median is 20 ms; the promise is 10 ms") || !strings.Contains(r.Broken[1], "the worst is 30 ms; the promise is 25 ms") {
		t.Errorf("broken promises: %q", r.Broken)
	}
	for _, word := range []string{"ENDED EARLY: the disk is full", "BROKEN: time: the median", "0 errors"} {
		if !strings.Contains(printed, word) {
			t.Errorf("%q was not printed:\n%s", word, printed)
		}
	}
}

func TestAnInterruptedRunIsReported(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	never := Measurement{Name: "never", NoServers: true, Run: func(context.Context, *Run) error { t.Error("played after the interruption"); return nil }}
	report, _ := play(t, ctx, 0, Measurement{Name: "long", NoServers: true, Run: func(ctx context.Context, r *Run) error {
		r.Add("size", "MB", 7)
		interrupt()
		<-ctx.Done()
		return ctx.Err()
	}}, never)
	if len(report.Results) != 1 || report.Results[0].Error != "interrupted" || len(report.Results[0].Figures) != 1 {
		t.Errorf("the report after an interruption: %+v", report.Results)
	}
}

func TestMeasurementsAreSelectedByName(t *testing.T) {
	all, err := Select(nil)
	if err != nil || len(all) != len(Measurements()) {
		t.Errorf("%d measurements, %v; want all", len(all), err)
	}
	some, err := Select([]string{"switchover", "kill"})
	if err != nil || len(some) != 2 || some[0].Name != "kill" {
		t.Errorf("selected %v, %v", some, err)
	}
	if _, err := Select([]string{"kil"}); err == nil || !strings.Contains(err.Error(), `no measurement "kil"; there are kill, freeze`) {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestTheLongestStallIsBetweenTwoCommitsOfAnyThreads(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	list := []transaction{{at(0), at(10)}, {at(0), at(12)}, {at(11), at(52)}, {at(12), at(60)}}
	if got := longestStall(list); got.From != at(12) || got.To != at(52) {
		t.Errorf("the longest stall is %v", got)
	}
	if got := longestStall(nil); got.Duration() != 0 {
		t.Errorf("a stall of nothing: %v", got)
	}
}

// TestAKillIsMeasured is a small run of the real thing: its phases are all there and make up the outage.
func TestAKillIsMeasured(t *testing.T) {
	lab.ForTest(t, lab.Options{}) // skips where there are no servers
	kill, err := Select([]string{"kill"})
	if err != nil {
		t.Fatal(err)
	}
	report, printed := play(t, t.Context(), 1, kill...)
	r := report.Results[0]
	if r.Error != "" || len(r.Figures) == 0 || len(r.Figures[0].Values) != 1 || len(r.Phases) != 9 {
		t.Fatalf("the report of one kill:\n%s", printed)
	}
	sum := 0.0
	for _, f := range r.Phases {
		sum += f.Values[0]
	}
	back := r.Figures[0]
	if diff := sum - back.Values[0]; back.Name != "writes back" || diff > 0.1 || diff < -0.1 {
		t.Errorf("%s took %.1f ms and the phases %.1f ms", back.Name, back.Values[0], sum)
	}
	for _, name := range []string{"detect", "fence", "promote", "route"} {
		for _, f := range r.Phases {
			if f.Name == name && f.Values[0] == 0 {
				t.Errorf("the record has no time for %s", name)
			}
		}
	}
}
