package gtid

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// String prints the set in canonical form: equal sets print alike, and Parse
// reads it back. The empty set prints as "".
//
// A MySQL set prints as the server prints it, save for the line breaks after
// commas: uuids in ascending order and lower case, the intervals without a tag
// first, then the tags in ascending order, as in uuid:1-3:5:tag:1-2.
//
// A MariaDB set prints as domain-server-sequence, ascending by domain and then
// server, as the server prints a position; a state it prints with the servers of
// a domain in no order, the last writer last. What only a difference can be, numbers that do not start at 1, prints
// as a range: 0-1-(91..100) for ten transactions, 0-1-(100) for one alone,
// 0-1-5,0-1-(91..100) for a part and another.
func (a Set) String() string { return string(a.append(nil)) }

// MarshalText gives what String prints; it never fails.
func (a Set) MarshalText() ([]byte, error) { return a.append([]byte{}), nil }

func (a Set) append(text []byte) []byte {
	text = slices.Grow(text, 48*len(a.streams)) // about a uuid and one interval each
	var prev *stream
	for i := range a.streams {
		s := &a.streams[i]
		if s.form == formMySQL {
			text = appendMySQL(text, prev, s)
		} else {
			text = appendMariaDB(text, s)
		}
		prev = s
	}
	return text
}

func appendComma(text []byte) []byte {
	if len(text) == 0 {
		return text
	}
	return append(text, ',')
}

var errZero = errors.New("number 0: transactions are numbered from 1")

// cutNumber reads a decimal number of at most limit, and gives what follows.
func cutNumber(s string, limit uint64) (uint64, string, error) {
	n, i := uint64(0), 0
	for ; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		d := uint64(s[i] - '0')
		if n > (math.MaxUint64-d)/10 || n*10+d > limit {
			return 0, "", fmt.Errorf("number %s is above %d", clip(s[:digitsLength(s)]), limit)
		}
		n = n*10 + d
	}
	switch {
	case i > 0:
		return n, s[i:], nil
	case s == "":
		return 0, "", errors.New("expected a number at the end")
	}
	return 0, "", fmt.Errorf("expected a number before %q", clip(s))
}

func digitsLength(s string) int {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return i
}

// isSpace knows the white space that the server skips.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func trimSpaceLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

func trimSpace(s string) string {
	s = trimSpaceLeft(s)
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
