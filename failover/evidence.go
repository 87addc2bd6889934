package failover

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// span spells a time as people say it: 0.3s, 12s, 4m10s.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func (f *facts) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(f.s.Taken.Sub(t)) + " ago"
}

var reachWords = map[topology.Reach]string{
	topology.Unknown:  "not probed",
	topology.Answered: "answered",
	topology.Denied:   "denied us",
	topology.Garbled:  "answered what makes no sense",
	topology.Refused:  "refused the connection",
	topology.TimedOut: "timed out",
}

// saw lists who saw what of an instance, and how long ago.
func (f *facts) saw(i *topology.Instance) []string {
	if i == nil {
		return nil
	}
	var lines []string
	for _, v := range i.Views {
		line := fmt.Sprintf("%s: %s %s %s", v.Observer, i.Addr, reachWords[v.Reach], f.ago(v.At))
		if v.Failures > 1 {
			line += fmt.Sprintf(" (%d times in a row)", v.Failures)
		}
		if v.Error != "" {
			line += ": " + v.Error
		}
		lines = append(lines, line)
	}
	return lines
}

// heard lists what the replicas say of their source.
func (f *facts) heard(source topology.Addr) []string {
	var lines []string
	for _, r := range f.replicasOf(source) {
		src := f.s.ChannelTo(r, source)
		switch {
		case !r.Fresh():
			lines = append(lines, fmt.Sprintf("%s: not readable (%s), last read %s", r.Addr, r.Reach, f.ago(r.ReadAt)))
		case src.Silence != nil:
			lines = append(lines, fmt.Sprintf("%s: IO thread %s, silent for %s", r.Addr, orUnknown(src.IO), span(src.Silence.D())))
		default:
			lines = append(lines, fmt.Sprintf("%s: IO thread %s", r.Addr, orUnknown(src.IO)))
		}
	}
	return lines
}

func orUnknown(t topology.Thread) string {
	if t == "" {
		return "unknown"
	}
	return string(t)
}

// blamers counts the observers whose views call an instance dead.
func (f *facts) blamers(i *topology.Instance) []string {
	var names []string
	for _, v := range i.Views {
		if f.s.Taken.Sub(v.At) <= f.p.Detection.Fresh.D() && v.Dead(f.p.Detection.Timeouts) {
			names = append(names, v.Observer)
		}
	}
	return names
}

// clip keeps a set readable in a sentence.
func clip(set gtid.Set) string {
	const limit = 120
	text := set.String()
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}

func addrs(list []*topology.Instance) []topology.Addr {
	names := make([]topology.Addr, len(list))
	for i, x := range list {
		names[i] = x.Addr
	}
	return names
}

// plural picks the form that goes with a number: "1 replica", "2 replicas".
func plural(n int, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, many)
}

func joinNames(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}
