package bench

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/remora-ha/remora/failover"
)

// Result is what one measurement found.
type Result struct {
	Name    string    `json:"name"`
	About   string    `json:"about"`
	Servers string    `json:"servers,omitempty"` // "MariaDB 10.11.19"
	Proxies string    `json:"proxies,omitempty"` // a version of ProxySQL, or "stand-in"
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	// Load is the machine's load average before it began.
	Load string `json:"load_before"`
	// Figures were taken once a round; the first is what the measurement is for.
	Figures []*Figure `json:"figures"`
	// Phases are what the first figure is made up of, in their order: they add up to it in each round.
	Phases []*Figure `json:"phases,omitempty"`
	// Recoveries are the records that the phases come from, one a round.
	Recoveries []failover.Recovery `json:"recoveries,omitempty"`
	// Counts are sums over all rounds, such as client errors.
	Counts []Count `json:"counts,omitempty"`
	// Notes are what happened beside the figures, such as a client's error or a round that had to be repeated.
	Notes []string `json:"notes,omitempty"`
	// Broken is a sentence for each promise that was not kept.
	Broken []string `json:"broken"`
	// Error says why it ended early.
	Error string `json:"error,omitempty"`

	promises []promise
}

// Figure is something that was measured once a round.
type Figure struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Values  []float64 `json:"values"`
	Summary Summary   `json:"summary"`
	// Limit is what the median is promised to be at most; 0 for no promise.
	Limit float64 `json:"limit,omitempty"`
}

// Count is a sum.
type Count struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// Summary of some figures; zero for none.
type Summary struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"` // the lower of two
	P90    float64 `json:"p90"`
	Max    float64 `json:"max"`
}

func summarise(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(values))
	// The least value that nine tenths do not exceed.
	p90 := s[(9*len(s)+9)/10-1]
	return Summary{Min: s[0], Median: s[(len(s)-1)/2], P90: p90, Max: s[len(s)-1]}
}

// promise is a bound on a figure: of its median, and of its worst value; 0 for none.
type promise struct {
	figure        string
	median, worst float64
}

// Add notes a round's value of a figure.
func (r *Result) Add(figure, unit string, value float64) { add(&r.Figures, figure, unit, value) }

// AddTime notes a round's value of a figure that is a time.
func (r *Result) AddTime(figure string, d time.Duration) { r.Add(figure, "ms", ms(d)) }

// Count adds to a sum; n may be 0, so that it is shown.
func (r *Result) Count(name string, n int) {
	i := slices.IndexFunc(r.Counts, func(c Count) bool { return c.Name == name })
	if i < 0 {
		r.Counts, i = append(r.Counts, Count{Name: name}), len(r.Counts)
	}
	r.Counts[i].N += n
}

// Promise bounds a figure's median and its worst value, in its unit; 0 for no bound. It is judged at the end.
func (r *Result) Promise(figure string, median, worst float64) {
	r.promises = append(r.promises, promise{figure, median, worst})
}

// Break notes that a promise was not kept.
func (r *Result) Break(format string, args ...any) {
	r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
}

// maxNotes is how many notes a result keeps.
const maxNotes = 30

// Note keeps what happened beside the figures.
func (r *Result) Note(format string, args ...any) {
	if len(r.Notes) < maxNotes {
		r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	}
}

func add(to *[]*Figure, name, unit string, value float64) {
	i := slices.IndexFunc(*to, func(f *Figure) bool { return f.Name == name })
	if i < 0 {
		*to, i = append(*to, &Figure{Name: name, Unit: unit}), len(*to)
	}
	(*to)[i].Values = append((*to)[i].Values, value)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// end sums up and judges.
func (r *Result) end() {
	r.Ended = time.Now()
	for _, f := range slices.Concat(r.Figures, r.Phases) {
		f.Summary = summarise(f.Values)
	}
	for _, p := range r.promises {
		i := slices.IndexFunc(r.Figures, func(f *Figure) bool { return f.Name == p.figure })
		if i < 0 {
			r.Break("%s was never measured", p.figure)
			continue
		}
		f := r.Figures[i]
		f.Limit = p.median
		if p.median > 0 && f.Summary.Median > p.median {
			r.Break("%s: the median is %.0f %s; the promise is %.0f %s", f.Name, f.Summary.Median, f.Unit, p.median, f.Unit)
		}
		if p.worst > 0 && f.Summary.Max > p.worst {
			r.Break("%s: the worst is %.0f %s; the promise is %.0f %s", f.Name, f.Summary.Max, f.Unit, p.worst, f.Unit)
		}
	}
	if r.Broken == nil {
		r.Broken = []string{}
	}
}

// On names what it was measured on: ", MariaDB 10.11.19, ProxySQL 2.7.1"; empty for nothing of that.
func (r *Result) On() string {
	var on string
	for _, part := range []string{r.Servers, proxyName(r.Proxies)} {
		if part != "" {
			on += ", " + part
		}
	}
	return on
}

func proxyName(kind string) string {
	if kind == "" || kind == "stand-in" {
		return kind
	}
	return "ProxySQL " + kind
}

// String is the result for people.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s%s: %s\n", r.Name, r.On(), r.About)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tn\tmin\tmedian\tp90\tmax\t")
	for _, f := range r.Figures {
		f.line(t, f.Name)
	}
	for _, f := range r.Phases {
		f.line(t, "· "+f.Name)
	}
	t.Flush()
	for i, c := range r.Counts {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%d %s", c.N, c.Name)
	}
	fmt.Fprintf(&b, "\nload average before: %s; it took %s\n", r.Load, r.Ended.Sub(r.Began).Round(time.Second))
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	for _, s := range r.Broken {
		fmt.Fprintf(&b, "BROKEN: %s\n", s)
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "ENDED EARLY: %s\n", r.Error)
	}
	return b.String()
}

func (f *Figure) line(t *tabwriter.Writer, name string) {
	at := func(v float64) string {
		if v < 10 && v != 0 {
			return fmt.Sprintf("%.1f %s", v, f.Unit)
		}
		return fmt.Sprintf("%.0f %s", v, f.Unit)
	}
	s := f.Summary
	fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t\n", name, len(f.Values), at(s.Min), at(s.Median), at(s.P90), at(s.Max))
}
