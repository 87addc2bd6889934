package gtid

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// maxMySQLNumber is the highest number that MySQL gives or reads.
	maxMySQLNumber = math.MaxInt64 - 1
	maxTagLength   = 32
)

// addMySQL reads one entry: uuid(:tag?(:interval)+)+.
func (b *builder) addMySQL(entry string) error {
	id, rest, err := cutUUID(entry)
	if err != nil {
		return err
	}
	wanting := "the uuid"
	for rest = trimSpaceLeft(rest); rest != ""; rest = trimSpaceLeft(rest) {
		if rest[0] != ':' {
			return fmt.Errorf("expected a colon or a comma before %q", clip(rest))
		}
		rest = trimSpaceLeft(rest[1:])
		if n := tagLength(rest); n > 0 {
			if id.tag != "" && wanting != "" {
				break
			}
			if n > maxTagLength {
				return fmt.Errorf("tag %q is longer than %d characters", clip(rest[:n]), maxTagLength)
			}
			id.tag = strings.Clone(strings.ToLower(rest[:n])) // or the whole text would stay in memory
			wanting, rest = "tag "+id.tag, rest[n:]
			continue
		}
		var s span
		if s, rest, err = cutInterval(rest); err != nil {
			return err
		}
		b.add(id, s)
		wanting = ""
	}
	if wanting != "" {
		return fmt.Errorf("%s has no interval", wanting)
	}
	return nil
}

// cutInterval reads n or n-m, and gives what follows.
func cutInterval(s string) (span, string, error) {
	first, rest, err := cutNumber(s, maxMySQLNumber)
	if err != nil {
		return span{}, "", err
	}
	if first == 0 {
		return span{}, "", errZero
	}
	dash := trimSpaceLeft(rest)
	if dash == "" || dash[0] != '-' {
		return span{first, first}, rest, nil
	}
	last, rest, err := cutNumber(trimSpaceLeft(dash[1:]), maxMySQLNumber)
	if err != nil {
		return span{}, "", err
	}
	if last < first {
		return span{}, "", fmt.Errorf("interval %d-%d runs backwards", first, last)
	}
	return span{first, last}, rest, nil
}

var errUUID = errors.New("does not start with a server uuid (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)")

// cutUUID reads a uuid in its usual writing, and gives what follows.
func cutUUID(s string) (origin, string, error) {
	const length = 36
	if len(s) < length {
		return origin{}, "", errUUID
	}
	var halves [2]uint64
	digits := 0
	for i := range length {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return origin{}, "", errUUID
			}
			continue
		}
		d, ok := hexDigit(s[i])
		if !ok {
			return origin{}, "", errUUID
		}
		half := &halves[digits/16]
		*half = *half<<4 | d
		digits++
	}
	return origin{form: formMySQL, hi: halves[0], lo: halves[1]}, s[length:], nil
}

func hexDigit(c byte) (uint64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10, true
	}
	return 0, false
}

// tagLength gives the length of the tag that s starts with, or 0.
func tagLength(s string) int {
	n := 0
	for n < len(s) {
		c := s[n]
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (n == 0 || c < '0' || c > '9') {
			break
		}
		n++
	}
	return n
}

// appendMySQL prints a stream; prev is the one printed before it, or nil.
func appendMySQL(text []byte, prev, s *stream) []byte {
	if prev == nil || prev.form != s.form || prev.hi != s.hi || prev.lo != s.lo {
		text = appendComma(text)
		text = appendUUID(text, s.hi, s.lo)
	}
	if s.tag != "" {
		text = append(text, ':')
		text = append(text, s.tag...)
	}
	for _, sp := range s.spans {
		text = append(text, ':')
		text = strconv.AppendUint(text, sp.first, 10)
		if sp.last != sp.first {
			text = append(text, '-')
			text = strconv.AppendUint(text, sp.last, 10)
		}
	}
	return text
}

func appendUUID(text []byte, hi, lo uint64) []byte {
	const digits = "0123456789abcdef"
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			text = append(text, '-')
		}
		half := hi
		if i >= 16 {
			half = lo
		}
		text = append(text, digits[half>>(60-4*(i%16))&0xf])
	}
	return text
}
