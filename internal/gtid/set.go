package gtid

import (
	"cmp"
	"math"
	"slices"
)

// Flavor tells whose transactions a set names.
type Flavor string

// The flavors. The empty set has none, and fits either.
const (
	MySQL   Flavor = "mysql"
	MariaDB Flavor = "mariadb"
	// Mixed is the flavor of a union of a MySQL and a MariaDB set. No server
	// has such a set.
	Mixed Flavor = "mixed"
)

// Set is an immutable set of transactions of MySQL or of MariaDB. The zero value
// is the empty set, of either flavor. Sets are compared with Equal, not with ==.
//
// Transactions of the two flavors are never the same transaction: a non-empty
// MySQL set and a non-empty MariaDB set are disjoint, and neither contains the
// other.
type Set struct {
	streams []stream // strictly ascending by origin; none without spans
}

// stream is what a set has of one origin.
type stream struct {
	origin
	spans []span // as spans.go demands
}

// origin is whatever numbers transactions on its own: in MySQL a server uuid with
// a tag, in MariaDB a server within a domain.
type origin struct {
	form   form
	hi, lo uint64 // MySQL: the halves of the uuid; MariaDB: domain, server
	tag    string // MySQL only; lower case
}

// form is the flavor of an origin, in the order in which a mixed set prints.
type form uint8

const (
	formMySQL form = iota + 1
	formMariaDB
)

func (o *origin) compare(p *origin) int {
	switch {
	case o.form != p.form:
		return cmp.Compare(o.form, p.form)
	case o.hi != p.hi:
		return cmp.Compare(o.hi, p.hi)
	case o.lo != p.lo:
		return cmp.Compare(o.lo, p.lo)
	}
	return cmp.Compare(o.tag, p.tag)
}

// sameDomain tells whether both are origins in the same MariaDB domain.
func (o *origin) sameDomain(p *origin) bool {
	return o.form == formMariaDB && p.form == formMariaDB && o.hi == p.hi
}

// Empty tells whether the set has no transactions.
func (a Set) Empty() bool { return len(a.streams) == 0 }

// Flavor tells whose transactions these are; "" for the empty set.
func (a Set) Flavor() Flavor {
	if a.Empty() {
		return ""
	}
	// Sorted by form first, so the two ends tell.
	switch first, last := a.streams[0].form, a.streams[len(a.streams)-1].form; {
	case first != last:
		return Mixed
	case first == formMySQL:
		return MySQL
	default:
		return MariaDB
	}
}

// Count gives the number of transactions, at most math.MaxUint64.
//
// For MySQL it is exact. In MariaDB the servers of a domain draw their numbers
// from one sequence, each continuing where the last one stopped, so most of the
// numbers that an entry spans were never used by that server, and adding up the
// entries would count them again and again. Count gives the different sequence
// numbers in each domain: exact for the state of a server whose history is
// linear (gtid_strict_mode), too low where two servers used the same number.
// For a difference it counts the numbers that the difference spans, which is
// exact for Beyond on linear histories and may be too high for Subtract.
func (a Set) Count() uint64 {
	total := uint64(0)
	for rest := a.streams; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].sameDomain(&rest[0].origin) {
			n++
		}
		spans := rest[0].spans
		if n > 1 {
			spans = nil
			for _, s := range rest[:n] {
				spans = append(spans, s.spans...)
			}
			spans = normalizeSpans(spans)
		}
		for _, s := range spans {
			total = addSaturating(total, s.last-s.first)
			total = addSaturating(total, 1)
		}
		rest = rest[n:]
	}
	return total
}

func addSaturating(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// Heads gives, for MariaDB, the position that belongs to a state: of every
// domain only the entry with the highest sequence number, which in a linear
// history is the last one written, as gtid_binlog_pos prints it. Where several
// servers of a domain share the highest number, which cannot happen in a linear
// history, all of them are kept. Transactions of MySQL have no such order; they
// are all kept.
//
// See the package comment for when to compare with a position.
func (a Set) Heads() Set {
	if len(a.streams) < 2 || a.Flavor() == MySQL {
		return a
	}
	out := make([]stream, 0, len(a.streams))
	for _, s := range a.streams {
		if n := len(out); n > 0 && out[n-1].sameDomain(&s.origin) {
			switch highest := out[n-1].last(); {
			case s.last() < highest:
				continue
			case s.last() > highest:
				for len(out) > 0 && out[len(out)-1].sameDomain(&s.origin) {
					out = out[:len(out)-1]
				}
			}
		}
		out = append(out, s)
	}
	return Set{streams: out}
}

// Last gives the last position alone: for MariaDB that of Heads, for MySQL the
// highest number of each origin. What came before it is left out, so gaps further
// back do not show in a comparison with it.
func (a Set) Last() Set {
	if a.Flavor() != MySQL {
		return a.Heads()
	}
	return a.Ends()
}

// Ends gives the highest number of each origin alone, for MariaDB of each server in
// each domain. Unlike the numbers below it, which a range may only seem to hold, it
// is a transaction that exists wherever the set was read from a server.
func (a Set) Ends() Set {
	out := make([]stream, len(a.streams))
	for i, s := range a.streams {
		out[i] = stream{origin: s.origin, spans: []span{{s.last(), s.last()}}}
	}
	return Set{streams: out}
}

func (s *stream) last() uint64 { return s.spans[len(s.spans)-1].last }

// Equal tells whether both sets have the same transactions.
func (a Set) Equal(b Set) bool {
	return slices.EqualFunc(a.streams, b.streams, func(s, t stream) bool {
		return s.origin == t.origin && slices.Equal(s.spans, t.spans)
	})
}
