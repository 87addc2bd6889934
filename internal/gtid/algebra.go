package gtid

// Union gives the transactions that are in either set. The union of two flavors
// keeps both and has the flavor Mixed.
func (a Set) Union(b Set) Set {
	switch {
	case a.Empty():
		return b
	case b.Empty():
		return a
	}
	out := make([]stream, 0, max(len(a.streams), len(b.streams)))
	walk(a, b, func(s, t *stream) bool {
		switch {
		case t == nil:
			out = append(out, *s)
		case s == nil:
			out = append(out, *t)
		default:
			out = append(out, stream{s.origin, unionSpans(s.spans, t.spans)})
		}
		return true
	})
	return Set{streams: out}
}

// Intersect gives the transactions that are in both sets.
func (a Set) Intersect(b Set) Set {
	var out []stream
	walk(a, b, func(s, t *stream) bool {
		if s != nil && t != nil {
			if spans := intersectSpans(s.spans, t.spans); len(spans) > 0 {
				out = append(out, stream{s.origin, spans})
			}
		}
		return true
	})
	return Set{streams: out}
}

// Subtract gives the transactions that are in the first set and not in the
// second, as GTID_SUBTRACT does: what names errant transactions.
//
// The difference of two MariaDB states is as exact, per domain and server:
// 0-1-100 less 0-1-90 is 0-1-(91..100), see String. But where b has no entry at
// all of a server that wrote in a, the difference starts at 1, although that
// server drew its first number much later. Beyond gives the shorter answer.
func (a Set) Subtract(b Set) Set {
	var out []stream
	walk(a, b, func(s, t *stream) bool {
		switch {
		case s == nil:
		case t == nil:
			out = append(out, *s)
		default:
			if spans := subtractSpans(s.spans, t.spans); len(spans) > 0 {
				out = append(out, stream{s.origin, spans})
			}
		}
		return true
	})
	return Set{streams: out}
}

// Contains tells whether every transaction of b is in a, as GTID_SUBSET(b, a)
// does. Every set contains the empty set.
func (a Set) Contains(b Set) bool {
	if len(b.streams) > len(a.streams) {
		return false
	}
	contained := true
	walk(a, b, func(s, t *stream) bool {
		if t != nil {
			contained = s != nil && containsSpans(s.spans, t.spans)
		}
		return contained
	})
	return contained
}

// Beyond gives what a has beyond the history that it shares with b, for people
// to read. It is Subtract, save that in a MariaDB domain the numbers up to the
// last shared transaction are left out, since a linear history that shares one
// transaction shares all before it: of 0-1-100,0-2-105 against 0-1-100 it names
// 0-2-(101..105), where Subtract names 0-2-(1..105).
//
// It is empty only when Subtract is. Where leaving out would leave nothing of
// an entry, the histories are not linear, and the domain is answered as Subtract
// does.
func (a Set) Beyond(b Set) Set {
	diff := a.Subtract(b)
	if len(diff.streams) == 0 || diff.streams[len(diff.streams)-1].form != formMariaDB {
		return diff
	}
	shared := a.Intersect(b).streams
	out := make([]stream, 0, len(diff.streams))
	for rest := diff.streams; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].sameDomain(&rest[0].origin) {
			n++
		}
		fork := uint64(0)
		for len(shared) > 0 && shared[0].form <= rest[0].form && !after(&shared[0], &rest[0]) {
			if shared[0].sameDomain(&rest[0].origin) {
				fork = max(fork, shared[0].last())
			}
			shared = shared[1:]
		}
		out = appendAbove(out, rest[:n], fork)
		rest = rest[n:]
	}
	return Set{streams: out}
}

// after tells whether s is of a later domain than t.
func after(s, t *stream) bool { return s.form == t.form && s.hi > t.hi }

// appendAbove adds what the streams of one domain have above the fork, or all
// they have when one of them ends at or below it.
func appendAbove(out, domain []stream, fork uint64) []stream {
	for i := range domain {
		if domain[i].last() <= fork {
			return append(out, domain...)
		}
	}
	for _, s := range domain {
		out = append(out, stream{s.origin, aboveSpans(s.spans, fork)})
	}
	return out
}

// walk visits the origins of both sets in order, each once, with what either
// set has of it or nil, until visit returns false.
func walk(a, b Set, visit func(s, t *stream) bool) {
	i, j := 0, 0
	for i < len(a.streams) || j < len(b.streams) {
		order := 0
		switch {
		case i == len(a.streams):
			order = 1
		case j == len(b.streams):
			order = -1
		default:
			order = a.streams[i].compare(&b.streams[j].origin)
		}
		var s, t *stream
		if order <= 0 {
			s = &a.streams[i]
			i++
		}
		if order >= 0 {
			t = &b.streams[j]
			j++
		}
		if !visit(s, t) {
			return
		}
	}
}
