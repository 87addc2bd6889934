package gtid

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads a set of either flavor and tells which from the form of its
// entries: uuid:… is MySQL's, domain-server-sequence MariaDB's. It takes what
// ParseMySQL and ParseMariaDB take, and whatever String prints. The error names
// the entry that cannot be read and why.
func Parse(s string) (Set, error) {
	return parse(s, func(b *builder, entry string) error {
		// A lone uuid is told from a position, that the error may be apt.
		if strings.IndexByte(entry, ':') >= 0 || strings.Count(entry, "-") == 4 {
			return b.addMySQL(entry)
		}
		return b.addMariaDB(entry)
	})
}

// MustParse is Parse for texts known to be right, as in tests. It panics where
// Parse gives an error.
func MustParse(s string) Set {
	set, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return set
}

// ParseMySQL reads a set of MySQL as gtid_executed and its like print it:
// entries of a server uuid and intervals, uuid:1-5:7, and since 8.3 tags with
// intervals of their own, uuid:1-5:tag:1-3:7 or uuid:tag:1-3. The order of
// uuids, tags and intervals, overlaps, repetitions, letter case, white space
// around every token and stray commas do not matter. The empty text is the empty
// set.
//
// It is stricter than the server in what no server prints: an interval must not
// run backwards (the server drops it), a uuid and a tag must have an interval
// (the server drops them), and a uuid is written with its hyphens and no braces.
// Numbers go from 1 to 9223372036854775806.
func ParseMySQL(s string) (Set, error) { return parse(s, (*builder).addMySQL) }

// ParseMariaDB reads a position or a state of MariaDB as gtid_current_pos or
// gtid_binlog_state print it: entries domain-server-sequence, of several domains
// and of several servers in a domain, in any order, with white space around
// entries. It also reads the ranges that String prints. The empty text is the
// empty set.
//
// Domain and server are 32 bits wide, the sequence number goes from 1 to
// 18446744073709551615.
func ParseMariaDB(s string) (Set, error) { return parse(s, (*builder).addMariaDB) }

// UnmarshalText reads what Parse reads.
func (a *Set) UnmarshalText(text []byte) error {
	set, err := Parse(string(text))
	if err != nil {
		return err
	}
	*a = set
	return nil
}

func parse(s string, add func(b *builder, entry string) error) (Set, error) {
	entries := min(strings.Count(s, ",")+1, 1024) // a guess: absurd input must not reserve memory
	b := builder{parts: make([]part, 0, entries), spans: make([]span, 0, entries)}
	for more := true; more; {
		var entry string
		entry, s, more = strings.Cut(s, ",")
		entry = trimSpace(entry)
		if entry == "" {
			continue // as the server does
		}
		if err := add(&b, entry); err != nil {
			return Set{}, fmt.Errorf("gtid set: %q: %w", clip(entry), err)
		}
	}
	return b.set(), nil
}

// clip shortens what an error quotes of absurd input.
func clip(s string) string {
	const limit = 100
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}

// builder collects spans in the order of the text.
type builder struct {
	parts []part
	spans []span
}

// part is a run of builder.spans of one origin.
type part struct {
	origin
	from, to int
}

func (b *builder) add(o origin, s span) {
	if n := len(b.parts); n == 0 || b.parts[n-1].origin != o {
		b.parts = append(b.parts, part{o, len(b.spans), len(b.spans)})
	}
	b.spans = append(b.spans, s)
	b.parts[len(b.parts)-1].to++
}

// set brings what was collected into canonical form; it costs a sort only where
// the text was not canonical.
func (b *builder) set() Set {
	if len(b.parts) == 0 {
		return Set{}
	}
	streams, sorted := make([]stream, len(b.parts)), true
	for i, p := range b.parts {
		streams[i] = stream{p.origin, normalizeSpans(b.spans[p.from:p.to:p.to])}
		sorted = sorted && (i == 0 || streams[i-1].compare(&p.origin) < 0)
	}
	if sorted {
		return Set{streams: streams}
	}
	slices.SortStableFunc(streams, func(s, t stream) int { return s.compare(&t.origin) })
	out := streams[:0]
	for rest := streams; len(rest) > 0; {
		n, spans := 1, rest[0].spans
		for n < len(rest) && rest[n].origin == rest[0].origin {
			spans = append(spans, rest[n].spans...) // copies: capacities are clipped
			n++
		}
		out = append(out, stream{rest[0].origin, normalizeSpans(spans)})
		rest = rest[n:]
	}
	return Set{streams: out}
}
