package gtid

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var errPosition = errors.New("is neither domain-server-sequence nor uuid:intervals")

// addMariaDB reads one entry: domain-server-sequence, which stands for all
// numbers up to that sequence, or a range, domain-server-(first..last) or
// domain-server-(only).
func (b *builder) addMariaDB(entry string) error {
	domain, rest, err := cutPart(entry, "domain")
	if err != nil {
		return err
	}
	server, rest, err := cutPart(rest, "server")
	if err != nil {
		return err
	}
	s, err := parseSequence(rest)
	if err != nil {
		return err
	}
	b.add(origin{form: formMariaDB, hi: domain, lo: server}, s)
	return nil
}

// cutPart reads a domain or a server and the hyphen behind it.
func cutPart(s, what string) (uint64, string, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, "", errPosition
	}
	n, rest, err := cutNumber(s, math.MaxUint32)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", what, err)
	}
	if rest == "" || rest[0] != '-' {
		return 0, "", errPosition
	}
	return n, rest[1:], nil
}

func parseSequence(s string) (span, error) {
	inner, isRange := strings.CutPrefix(s, "(")
	first, rest, err := cutNumber(inner, math.MaxUint64)
	if err != nil {
		return span{}, err
	}
	last := first
	if isRange {
		if after, ok := strings.CutPrefix(rest, ".."); ok {
			if last, rest, err = cutNumber(after, math.MaxUint64); err != nil {
				return span{}, err
			}
		}
		var closed bool
		if rest, closed = strings.CutPrefix(rest, ")"); !closed {
			return span{}, errors.New("range is not closed: expected (first..last) or (only)")
		}
	}
	switch {
	case rest != "":
		return span{}, fmt.Errorf("expected a comma before %q", clip(rest))
	case first == 0:
		return span{}, errZero
	case last < first:
		return span{}, fmt.Errorf("range %d..%d runs backwards", first, last)
	case isRange:
		return span{first, last}, nil
	}
	return span{1, last}, nil
}

// appendMariaDB prints a stream.
func appendMariaDB(text []byte, s *stream) []byte {
	for _, sp := range s.spans {
		text = appendComma(text)
		text = strconv.AppendUint(text, s.hi, 10)
		text = append(text, '-')
		text = strconv.AppendUint(text, s.lo, 10)
		text = append(text, '-')
		if sp.first == 1 {
			text = strconv.AppendUint(text, sp.last, 10)
			continue
		}
		text = append(text, '(')
		text = strconv.AppendUint(text, sp.first, 10)
		if sp.last != sp.first {
			text = append(text, ".."...)
			text = strconv.AppendUint(text, sp.last, 10)
		}
		text = append(text, ')')
	}
	return text
}
