package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the outcome of a run.
type Report struct {
	Seed    uint64    `json:"seed"`
	Servers string    `json:"servers"`
	Proxies string    `json:"proxies"` // a version of ProxySQL, or "stand-in"
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Rounds  []Round   `json:"rounds"`
	Rebuilt int       `json:"rebuilt"` // servers that the operator made anew
	Verdict Verdict   `json:"verdict"`
	Kinds   []Kind    `json:"kinds"`
	Broken  []string  `json:"broken"` // a sentence for each promise that was not kept

	timeline timeline
}

// Kind sums the rounds of one fault up; durations are in milliseconds.
type Kind struct {
	Fault     string  `json:"fault"`
	Rounds    int     `json:"rounds"`
	Clients   int     `json:"clients"`
	Back      Summary `json:"back_ms"`
	Pause     Summary `json:"pause_ms"`
	Converged Summary `json:"converged_ms"`
}

// Summary of some figures; zero for none.
type Summary struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func summary(figures []float64) Summary {
	if len(figures) == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(figures))
	return Summary{Min: s[0], Median: s[(len(s)-1)/2], Max: s[len(s)-1]}
}

func (s Summary) String() string {
	at := func(v float64) string { return fmt.Sprintf("%.2f", v/1000) }
	return at(s.Min) + " / " + at(s.Median) + " / " + at(s.Max)
}

// spread is a median with the extremes, for a line of text.
func spread(figures []float64) string {
	s := summary(figures)
	return fmt.Sprintf("%.2f s (%.2f to %.2f)", s.Median/1000, s.Min/1000, s.Max/1000)
}

// judge ends the load, reads every server's logs and compares.
func (c *run) judge(ctx context.Context) error {
	c.load.Stop()
	c.report.Ended = time.Now()
	c.report.Kinds = kinds(c.report.Rounds)
	primary, _, err := c.writer(ctx)
	if err != nil {
		c.report.Broken = append(c.report.Broken, "there is no verdict on lost writes, for there is no primary: "+err.Error())
		return nil
	}
	for _, s := range c.f.DB.Servers {
		if err := c.logs.read(ctx, s); err != nil {
			return fmt.Errorf("judge: %w", err)
		}
	}
	survived := map[row]struct{}{}
	rows, err := primary.DB().QueryContext(ctx, "SELECT writer, seq FROM lab.writes")
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.writer, &r.seq); err != nil {
			return fmt.Errorf("judge: %w", err)
		}
		survived[r] = struct{}{}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	check, err := c.load.Verify(ctx, primary.DB())
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	acked := c.load.Acked()
	var reigns []reign
	c.report.Verdict, reigns = judge(acked, survived, c.logs)
	c.report.Verdict.Errors, c.report.Verdict.Present = check.Unknown, check.Present
	c.report.Broken = append(c.report.Broken, c.report.Verdict.broken(c.logs.foreign)...)
	c.report.timeline = newTimeline(&c.report, acked, reigns, c.f)
	return nil
}

// broken are the promises that a verdict denies, and what makes it no verdict.
func (v Verdict) broken(foreign int) (all []string) {
	say := func(n int, format string) {
		if n > 0 {
			all = append(all, fmt.Sprintf(format, n))
		}
	}
	say(v.Lost, "%d acknowledged writes are lost")
	if v.Late > 0 {
		all = append(all, fmt.Sprintf("two writers: %d acknowledged writes were executed after the first one of the next primary, up to %s after", v.Late, v.Overlap))
	}
	say(v.Unseen, "the measurement is not whole: %d rows of the final primary are in no binary log")
	say(foreign, "the measurement is not whole: %d rows name another server than their GTID, or have not the same place in all logs")
	if v.Acked == 0 {
		all = append(all, "nothing was ever acknowledged")
	}
	return all
}

func kinds(rounds []Round) []Kind {
	grouped := map[string][]Round{}
	for _, r := range rounds {
		grouped[r.Fault] = append(grouped[r.Fault], r)
	}
	var all []Kind
	for name, rounds := range grouped {
		k := Kind{Fault: name, Rounds: len(rounds)}
		var backs, pauses, converged []float64
		for _, r := range rounds {
			backs, pauses = append(backs, r.Backs...), append(pauses, r.Pauses...)
			if r.State == "" {
				converged = append(converged, ms(r.Converged()))
			}
		}
		k.Clients, k.Back, k.Pause, k.Converged = len(backs), summary(backs), summary(pauses), summary(converged)
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Kind) int { return strings.Compare(a.Fault, b.Fault) })
	return all
}

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "fault\trounds\tclients\twrites back, s\tlongest pause, s\twell again, s")
	for _, k := range r.Kinds {
		back, pause := "-", "-"
		if k.Clients > 0 {
			back, pause = k.Back.String(), k.Pause.String()
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\n", k.Fault, k.Rounds, k.Clients, back, pause, k.Converged)
	}
	t.Flush()
	v := r.Verdict
	fmt.Fprintf(&b, "min / median / max over the clients whose own host the fault left alone; well again: after the end of the fault\n\n")
	fmt.Fprintf(&b, "seed %d, %s, proxies: %s, %d rounds in %s\n", r.Seed, r.Servers, ProxyName(r.Proxies), len(r.Rounds), r.Ended.Sub(r.Began).Round(time.Second))
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range []struct {
		n    int
		what string
	}{
		{v.Acked, "writes acknowledged"},
		{v.Lost, "of them lost"},
		{v.Late, "of them executed after the next primary's first: two writers"},
		{v.Errors, "writes that ended in an error"},
		{v.Present, "of them there all the same"},
		{v.Extra, "transactions that nobody was told of, thrown away with old primaries"},
		{v.Forks, "sequence numbers that two servers used"},
		{r.Rebuilt, "servers made anew by the operator"},
	} {
		fmt.Fprintf(t, "%d\t  %s\n", line.n, line.what)
	}
	t.Flush()
	for _, s := range v.Samples {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	for _, s := range r.Broken {
		fmt.Fprintf(&b, "BROKEN: %s\n", s)
	}
	if len(r.Broken) == 0 {
		fmt.Fprintln(&b, "Every promise was kept.")
	}
	return b.String()
}

// Write writes the report as JSON and the timeline as SVG, with the same name.
func (r Report) Write(name string) (files []string, err error) {
	if r.Broken == nil {
		r.Broken = []string{}
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(name+".json", append(raw, '\n'), 0o644); err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	files = append(files, name+".json")
	if r.timeline.empty() {
		return files, nil
	}
	f, err := os.Create(name + ".svg")
	if err != nil {
		return files, fmt.Errorf("write the timeline: %w", err)
	}
	defer f.Close()
	if err := r.timeline.draw(f); err != nil {
		return files, fmt.Errorf("write the timeline: %w", err)
	}
	return append(files, name+".svg"), nil
}
