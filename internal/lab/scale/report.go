package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is what was measured.
type Report struct {
	Name      string    `json:"name"`
	Taken     time.Time `json:"taken"`
	CPUs      int       `json:"cpus"`
	Load      string    `json:"load"` // the machine's, when the measurement began
	Clusters  int       `json:"clusters"`
	Instances int       `json:"instances"`
	Sidecars  int       `json:"sidecars"`
	Interval  string    `json:"interval"`
	Proxies   string    `json:"proxies,omitempty"`
	Figures   []Figure  `json:"figures"`
	// Unknown are statements that no endpoint understood: there should be none.
	Unknown []string `json:"unknown,omitempty"`
}

// Figure is one number, or the spread of several: then Value is the median.
type Figure struct {
	Part  string  `json:"part"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Times *Spread `json:"times,omitempty"`
}

// Spread is of times in milliseconds.
type Spread struct {
	N      int       `json:"n"`
	Min    float64   `json:"min"`
	Median float64   `json:"median"`
	P90    float64   `json:"p90"`
	Max    float64   `json:"max"`
	All    []float64 `json:"all"`
}

func newReport(name string, o Options) *Report {
	return &Report{
		Name: name, Taken: time.Now(), CPUs: runtime.NumCPU(), Load: load(),
		Clusters: o.Clusters, Instances: o.Instances, Sidecars: o.Sidecars, Interval: o.Interval.String(),
	}
}

func (r *Report) add(part, name string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{Part: part, Name: name, Value: value, Unit: unit})
}

func (r *Report) addTimes(part, name string, times []time.Duration) {
	if len(times) == 0 {
		return
	}
	all := make([]float64, len(times))
	for i, d := range times {
		all[i] = float64(d.Microseconds()) / 1000
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[min(len(all)-1, int(q*float64(len(all))))] }
	s := &Spread{N: len(all), Min: all[0], Median: at(0.5), P90: at(0.9), Max: all[len(all)-1], All: all}
	r.Figures = append(r.Figures, Figure{Part: part, Name: name, Value: s.Median, Unit: "ms", Times: s})
}

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	proxies := "no proxies"
	if r.Proxies != "" {
		proxies = "proxies: " + r.Proxies
	}
	fmt.Fprintf(&b, "%s: %d instances in %d clusters, %d sidecars, every %s, %s; %d CPUs, load %s at the beginning\n",
		r.Name, r.Instances, r.Clusters, r.Sidecars, r.Interval, proxies, r.CPUs, r.Load)
	for _, f := range r.Figures {
		if t := f.Times; t != nil {
			fmt.Fprintf(&b, "  %-8s %-58s n=%d min %.0f ms, median %.0f ms, p90 %.0f ms, max %.0f ms\n", f.Part, f.Name, t.N, t.Min, t.Median, t.P90, t.Max)
			continue
		}
		fmt.Fprintf(&b, "  %-8s %-58s %s %s\n", f.Part, f.Name, number(f.Value), f.Unit)
	}
	for _, text := range r.Unknown {
		fmt.Fprintf(&b, "  no endpoint understood: %s\n", text)
	}
	return b.String()
}

func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.4f", v)
	}
}

// Write writes reports as JSON.
func Write(file string, reports []*Report) error {
	raw, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
