package lab

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Window is what the clients of a load saw from one instant to another.
type Window struct {
	From, To time.Time
	// Acked counts the acknowledged writes, First and Last are the times of the outermost; zero when there was none.
	Acked       int
	First, Last time.Time
	// Gaps are the longest times that each writer had to wait from one acknowledgement to the next, the pace included.
	Gaps []time.Duration
	// Longest is when the writer waited who waited longest.
	Longest Interval
	// Outage is the longest time in which no writer at all was acknowledged.
	Outage Interval
	// Failures are the errors that clients saw.
	Failures []Failure
}

// Interval is a time with its bounds.
type Interval struct{ From, To time.Time }

// Duration is its length.
func (i Interval) Duration() time.Duration { return i.To.Sub(i.From) }

// Window reports on the time between two instants. Gaps are cut at its bounds, so it should begin before what is
// measured does, and end after writes are back.
func (ld *Load) Window(from, to time.Time) Window {
	w := Window{From: from, To: to}
	begin, end := from.Sub(ld.begin), to.Sub(ld.begin)
	var all []time.Duration
	for _, writer := range ld.writers {
		acked := writer.snapshot().acked
		low := sort.Search(len(acked), func(i int) bool { return acked[i].at >= begin })
		high := sort.Search(len(acked), func(i int) bool { return acked[i].at > end })
		own := make([]time.Duration, 0, high-low)
		for _, a := range acked[low:max(low, high)] {
			own = append(own, a.at)
		}
		gapFrom, gapTo := longestGap(own, begin, end)
		w.Gaps = append(w.Gaps, gapTo-gapFrom)
		if gapTo-gapFrom > w.Longest.Duration() {
			w.Longest = Interval{From: ld.begin.Add(gapFrom), To: ld.begin.Add(gapTo)}
		}
		all = append(all, own...)
	}
	slices.Sort(all)
	if w.Acked = len(all); w.Acked > 0 {
		w.First, w.Last = ld.begin.Add(all[0]), ld.begin.Add(all[len(all)-1])
	}
	gapFrom, gapTo := longestGap(all, begin, end)
	w.Outage = Interval{From: ld.begin.Add(gapFrom), To: ld.begin.Add(gapTo)}
	ld.mu.Lock()
	defer ld.mu.Unlock()
	for _, f := range ld.failures {
		if !f.At.Before(from) && !f.At.After(to) {
			w.Failures = append(w.Failures, f)
		}
	}
	return w
}

// longestGap finds the longest interval between neighbours among begin, the sorted instants, and end.
func longestGap(instants []time.Duration, begin, end time.Duration) (from, to time.Duration) {
	from, to = begin, begin
	last := begin
	for _, at := range append(slices.Clip(instants), end) {
		if at-last > to-from {
			from, to = last, at
		}
		last = at
	}
	return from, to
}

// LongestGap is that of the writer who waited longest.
func (w Window) LongestGap() time.Duration { return w.Longest.Duration() }

// MedianGap is the median over the writers of their longest gaps.
func (w Window) MedianGap() time.Duration { return Median(w.Gaps) }

// Count counts the failures of a class.
func (w Window) Count(class Class) int {
	n := 0
	for _, f := range w.Failures {
		if f.Class == class {
			n++
		}
	}
	return n
}

// Samples describes the kinds of failures, most frequent first, each with its count; at most n of them.
func (w Window) Samples(n int) []string {
	counts := map[string]int{}
	for _, f := range w.Failures {
		counts[fmt.Sprintf("%s: %v", f.Class, f.Err)]++
	}
	kinds := make([]string, 0, len(counts))
	for kind := range counts {
		kinds = append(kinds, kind)
	}
	sort.Slice(kinds, func(i, j int) bool {
		if counts[kinds[i]] != counts[kinds[j]] {
			return counts[kinds[i]] > counts[kinds[j]]
		}
		return kinds[i] < kinds[j]
	})
	kinds = kinds[:min(n, len(kinds))]
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d × %s", counts[kind], kind)
	}
	return kinds
}

// String is one readable line.
func (w Window) String() string {
	s := fmt.Sprintf("%d writes acknowledged in %v, longest pause of a client %v (median over clients %v), no write at all for %v, %d errors",
		w.Acked, w.To.Sub(w.From).Round(time.Millisecond), w.LongestGap().Round(time.Millisecond),
		w.MedianGap().Round(time.Millisecond), w.Outage.Duration().Round(time.Millisecond), len(w.Failures))
	if samples := w.Samples(3); len(samples) > 0 {
		s += " (" + strings.Join(samples, "; ") + ")"
	}
	return s
}

// Median is the middle one of some durations, the lower of two; 0 for none.
func Median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return d[(len(d)-1)/2]
}
