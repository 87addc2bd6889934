package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Report is all that was measured, one result after the other.
type Report struct {
	Machine string    `json:"machine"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Results []*Result `json:"results"`
}

// Kept says that everything was measured and every promise kept.
func (r *Report) Kept() bool {
	for _, res := range r.Results {
		if len(res.Broken) > 0 || res.Error != "" {
			return false
		}
	}
	return true
}

// Write writes the report as JSON and its plot as SVG, with the same name.
func (r *Report) Write(name string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".json", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	f, err := os.Create(name + ".svg")
	if err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	defer f.Close()
	if err := newPlot(r).draw(f); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	return nil
}

// machine describes what everything runs on, as far as Linux tells.
func machine() string {
	words := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		words[0] += " of an " + model
	}
	var kB int
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d kB", &kB); err == nil {
		words = append(words, fmt.Sprintf("%d GB", kB>>20))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		words = append(words, "Linux "+strings.TrimSpace(string(release)))
	}
	return strings.Join(append(words, runtime.Version()), ", ")
}

// field is the first value of a name in a file of "name: value" lines.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is that of the last 1, 5 and 15 minutes.
func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	words := strings.Fields(string(raw))
	return strings.Join(words[:min(3, len(words))], " ")
}
