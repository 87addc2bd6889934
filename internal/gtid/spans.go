package gtid

import (
	"cmp"
	"slices"
)

// span is a run of consecutive numbers, both ends included.
//
// A list of spans is canonical when it ascends and leaves at least one number
// free between neighbors. All functions below take and give canonical lists,
// except normalizeSpans, which makes one. Numbers start at 1 and go up to
// math.MaxUint64: compare with first-1, never with last+1.
type span struct{ first, last uint64 }

func canonicalSpans(list []span) bool {
	for i := 1; i < len(list); i++ {
		if list[i].first <= list[i-1].last || list[i].first-1 == list[i-1].last {
			return false
		}
	}
	return true
}

// normalizeSpans makes any list canonical, in place.
func normalizeSpans(list []span) []span {
	if canonicalSpans(list) {
		return list
	}
	slices.SortFunc(list, func(s, t span) int { return cmp.Compare(s.first, t.first) })
	out := list[:0]
	for _, s := range list {
		out = appendSpan(out, s)
	}
	return out
}

// appendSpan adds a span that starts no lower than the last one in the list,
// melting the two where they touch.
func appendSpan(list []span, s span) []span {
	if n := len(list); n > 0 && s.first-1 <= list[n-1].last {
		list[n-1].last = max(list[n-1].last, s.last)
		return list
	}
	return append(list, s)
}

func containsSpans(a, b []span) bool {
	i := 0
	for _, s := range b {
		for i < len(a) && a[i].last < s.first {
			i++
		}
		if i == len(a) || a[i].first > s.first || a[i].last < s.last {
			return false
		}
	}
	return true
}

func unionSpans(a, b []span) []span {
	switch {
	case containsSpans(a, b):
		return a
	case containsSpans(b, a):
		return b
	}
	out := make([]span, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].first > b[0].first {
			a, b = b, a
		}
		out = appendSpan(out, a[0])
		a = a[1:]
	}
	for _, s := range a {
		out = appendSpan(out, s)
	}
	for _, s := range b {
		out = appendSpan(out, s)
	}
	return out
}

func subtractSpans(a, b []span) []span {
	var out []span
	for _, s := range a {
		first, rest := s.first, true
		for len(b) > 0 && b[0].first <= s.last {
			if b[0].first > first {
				out = append(out, span{first, b[0].first - 1})
			}
			if b[0].last >= s.last { // may reach into the next span of a: keep it
				rest = false
				break
			}
			first = max(first, b[0].last+1)
			b = b[1:]
		}
		if rest {
			out = append(out, span{first, s.last})
		}
	}
	return out
}

func intersectSpans(a, b []span) []span {
	switch {
	case containsSpans(a, b):
		return b
	case containsSpans(b, a):
		return a
	}
	var out []span
	for len(a) > 0 && len(b) > 0 {
		if first, last := max(a[0].first, b[0].first), min(a[0].last, b[0].last); first <= last {
			out = append(out, span{first, last})
		}
		if a[0].last < b[0].last {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// aboveSpans gives the numbers of the list that are greater than floor.
func aboveSpans(list []span, floor uint64) []span {
	i, _ := slices.BinarySearchFunc(list, floor, func(s span, floor uint64) int {
		if s.last <= floor {
			return -1
		}
		return 1
	})
	list = list[i:]
	if len(list) == 0 || list[0].first > floor {
		return list
	}
	list = slices.Clone(list)
	list[0].first = floor + 1
	return list
}
