package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// span spells a time as people say it.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 ms"
	case d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	default:
		return d.Truncate(time.Second).String()
	}
}

// spanOf is span of a time that may be unknown.
func spanOf(d *topology.Duration) string {
	if d == nil {
		return ""
	}
	return span(d.D())
}

func orNobody(a topology.Addr) string {
	if a == "" {
		return "nobody"
	}
	return string(a)
}

// count spells a number with its noun: "1 finding", "2 findings".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// joined puts what is not empty together.
func joined(sep string, parts ...string) string {
	kept := parts[:0]
	for _, s := range parts {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, sep)
}

// fromTo spells a change of primary.
func fromTo(in *failover.Intent, to topology.Addr) string {
	if to == "" || to == in.From {
		to = in.To
	}
	return fmt.Sprintf("%s → %s", orNobody(in.From), orNobody(to))
}
