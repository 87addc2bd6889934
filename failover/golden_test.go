package failover

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/topology"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// TestTranscripts keeps, for a reader, what Examine says of typical situations.
func TestTranscripts(t *testing.T) {
	drill := func() *build {
		return primary("a").replica("b", has("0-1-100", "0-1-97")).replica("c", has("0-1-98", "0-1-98")).replica("d", delay(time.Hour))
	}
	cases := map[string]*build{
		"healthy":               primary("a").replica("b").replica("c"),
		"killed-primary":        drill().kill("a"),
		"killed-primary-fenced": fenced(drill().kill("a").begin()),
		"unreachable-primary":   primary("a").replica("b", silent(0)).replica("c", threads("yes", "no")).freeze("a", 300*time.Millisecond),
		"donor":                 primary("a").replica("b", has("0-1-90", "0-1-90")).replica("c").rule("c", ServerRule{Promotion: MustNot}).kill("a"),
		"diverged":              primary("a").replica("b", has("0-1-101,1-1-5", "0-1-101,1-1-5")).replica("c", has("0-1-100,1-1-6", "0-1-100,1-1-6")).kill("a"),
		"semi-sync":             primary("a").replica("b").replica("c").replica("d").semiSync(1).kill("a"),
		"switchover":            primary("a").replica("b").replica("c").ask(Request{ID: "r1", Kind: KindSwitchover, To: at("b"), By: "ann", Reason: "kernel update"}),
		"switchover-refused":    primary("a").replica("b", lag(time.Minute)).replica("c").ask(Request{ID: "r1", Kind: KindSwitchover, To: at("b"), By: "ann"}),
		"switchover-late":       rollback(2),
		"forced":                primary("a").replica("b", has("0-1-90", "0-1-90")).kill("a").last(ended(time.Minute, KindFailover, false)).ask(Request{ID: "r1", Kind: KindFailover, Force: true, By: "ann"}),
		"anti-flap":             primary("a").replica("b").kill("a").last(ended(time.Minute, KindFailover, false)),
		"old-primary-returns":   primary("b").replica("c").orphan("a"),
		"old-primary-diverged":  primary("b").replica("c").orphan("a", has("", "0-1-105")),
		"data-centre-lost":      primary("a").replica("b").replica("c").kill("a", "b", "c"),
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			got := transcript(&b.c)
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func fenced(b *build) *build { b.perform(Remaining(&b.c)[0]); return b }

func transcript(c *Case) string {
	var w strings.Builder
	v := Examine(c)
	for _, l := range topology.Lines(&c.Snapshot) {
		fmt.Fprintln(&w, l)
	}
	fmt.Fprintln(&w, "\n"+v.Decision.Sentence)
	section(&w, "findings", v.Findings, func(x Finding) string {
		return fmt.Sprintf("%d %s: %s", x.Priority, x.Code, x.Sentence) + "\n" + indented(x.Evidence)
	})
	section(&w, "candidates", v.Decision.Candidates, func(x Candidate) string {
		if !x.Fit {
			return fmt.Sprintf("- %s\n", x.Addr)
		}
		return fmt.Sprintf("+ %s: %s\n", x.Addr, strings.Join(x.Rank, "; "))
	})
	section(&w, "refusals", v.Decision.Refusals, func(r Refusal) string { return fmt.Sprintf("%s: %s\n", r.Rule, r) })
	section(&w, "checks", v.Decision.Checks, func(x Check) string { return fmt.Sprintf("%v %s: %s\n", x.OK, x.Name, x.Sentence) })
	section(&w, "loss", v.Decision.Loss, func(s string) string { return s + "\n" })
	section(&w, "plan", v.Plan, func(s Stage) string { return stepLines(s) })
	section(&w, "repairs", v.Repairs, func(s Step) string { return stepLines(Stage{s}) })
	return w.String()
}

func section[T any](w *strings.Builder, name string, list []T, line func(T) string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", name)
	for _, x := range list {
		w.WriteString("  " + line(x))
	}
}

func indented(lines []string) string {
	text := ""
	for _, l := range lines {
		text += "      " + l + "\n"
	}
	return text
}

func stepLines(s Stage) string {
	var lines []string
	for _, step := range s {
		line := step.String()
		if !step.Until.Empty() {
			line += " until " + step.Until.String()
		}
		if step.SemiSync != nil {
			line += fmt.Sprintf(" (semi-sync source %v, replica %v, wait count %d)", step.SemiSync.Source, step.SemiSync.Replica, step.SemiSync.WaitCount)
		}
		if step.Optional {
			line += " [optional]"
		}
		lines = append(lines, line+": "+step.Why+"\n")
	}
	return strings.Join(lines, "  & ")
}
