package mysql

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// columnOf is a column's packet.
func columnOf(name string) string {
	return "\x03def\x00\x00\x00" + string(rune(len(name))) + name + "\x00\x0c\x21\x00\x0f\x00\x00\x00\xfd\x01\x00\x1f\x00\x00"
}

// answered puts packets into a row, numbered from 1.
func answered(payloads ...string) io.Reader {
	var b strings.Builder
	for i, p := range payloads {
		b.Write(packet(byte(i+1), p))
	}
	return strings.NewReader(b.String())
}

func TestAnAnswerIsTakenApart(t *testing.T) {
	const (
		eof, eofMore = "\xfe\x00\x00\x02\x00", "\xfe\x00\x00\x0a\x00"
		end, endMore = "\xfe\x00\x00\x02\x00\x00\x00", "\xfe\x00\x00\x0a\x00\x00\x00"
	)
	long := strings.Repeat("x", 300)
	for _, tc := range []struct {
		name   string
		old    bool
		answer io.Reader
		want   []result
		fails  string
	}{
		{"in the new way, with NULL and a long value", false,
			answered("\x02", columnOf("a"), columnOf("b"), "\xfb\xfc\x2c\x01"+long, endMore, "\x01", columnOf("c"), end),
			[]result{{{"b": long}}, {}}, ""},
		{"in the old way", true, answered("\x01", columnOf("a"), eof, "\x011", "\x00", eofMore, "\x00\x00\x00\x02\x00\x00\x00"),
			[]result{{{"a": "1"}, {"a": ""}}}, ""},
		{"a refusal", false, answered("\x01", columnOf("a"), "\xff\xcb\x04#42000no"), nil, "Error 1227 (42000): no"},
		{"a refusal of the second statement", false, answered("\x01", columnOf("a"), endMore, "\xff\xcb\x04#42000no"), []result{{}}, "Error 1227 (42000): no"},
		{"a row that is too short", false, answered("\x02", columnOf("a"), columnOf("b"), "\x011", end), nil, "a row that ends before b"},
		{"a column without a name", false, answered("\x01", "\x03def"), nil, "a column without a name"},
		{"no columns", false, answered("\xfb"), nil, "a result of 0 columns"},
		{"an end without a status", false, answered("\x01", columnOf("a"), "\xfe\x00\x00"), nil, "ends without a status"},
		{"a packet out of order", false, strings.NewReader(string(packet(7, "\x01"))), nil, "number 7 in place of 1"},
		{"an empty packet", false, answered(""), nil, "a packet of 0 bytes"},
		{"the end of the connection", false, answered("\x01", columnOf("a")), nil, io.EOF.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &answer{old: tc.old}
			// Twice: what the first left must not be seen in the second.
			first, err := take(a, answered("\x02", columnOf("b"), columnOf("z"), "\x019\x018", "\x017\x016", eofIf(tc.old, eof, end)))
			if err == nil && len(first) != 1 || err != nil && !tc.old {
				t.Fatal(first, err)
			}
			got, err := take(a, tc.answer)
			if tc.fails == "" && err != nil || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
				t.Fatalf("error %v, want %q", err, tc.fails)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// eofIf is the end of a result in the one way or the other.
func eofIf(old bool, eof, end string) string {
	if old {
		return eof
	}
	return end
}

// take reads all results of an answer.
func take(a *answer, r io.Reader) (results []result, err error) {
	a.buf, a.from, a.seq = a.buf[:0], 0, 1
	for {
		res, more, err := a.result(r, len(results))
		if err != nil {
			return results, err
		}
		if res != nil {
			results = append(results, res)
		}
		if !more {
			return results, nil
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(packet(1, "\x01"), true)
	f.Fuzz(func(t *testing.T, b []byte, old bool) {
		a := &answer{old: old}
		for range 2 {
			if _, err := take(a, strings.NewReader(string(b))); err != nil && !errors.Is(err, errGarbled) && !errors.Is(err, io.EOF) && Number(err) == 0 && err.Error() == "" {
				t.Fatal(err)
			}
		}
	})
}
