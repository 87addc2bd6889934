package mysql

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/topology"
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

// What is kept of an answer does not keep the rest of it in memory.
func TestAReadingKeepsNoAnswerInMemory(t *testing.T) {
	made := map[string]bool{"Flavor": true, "Member": true, "Filters": true} // no part of an answer, or joined of several
	answer := strings.Repeat("x", 4096)
	each := func(v reflect.Value, do func(name string, text reflect.Value)) {
		for _, part := range []reflect.Value{v, v.FieldByName("SemiSync"), v.FieldByName("ReadTo"), v.FieldByName("AppliedTo")} {
			if !part.IsValid() {
				continue
			}
			for i := range part.NumField() {
				if f := part.Field(i); f.Type() == reflect.TypeFor[string]() && !made[part.Type().Field(i).Name] {
					do(part.Type().Field(i).Name, f)
				}
			}
		}
	}
	r := &reading{state: &topology.State{Sources: make([]topology.Source, 1)}, channels: make([]channel, 1)}
	parts := []reflect.Value{reflect.ValueOf(r.state).Elem(), reflect.ValueOf(&r.state.Sources[0]).Elem(), reflect.ValueOf(&r.channels[0].Source).Elem()}
	for _, v := range parts {
		each(v, func(_ string, text reflect.Value) { text.SetString(answer[100:110]) })
	}
	r.own()
	from := uintptr(unsafe.Pointer(unsafe.StringData(answer)))
	for _, v := range parts {
		each(v, func(name string, text reflect.Value) {
			at := uintptr(unsafe.Pointer(unsafe.StringData(text.String())))
			if text.String() != answer[100:110] || from <= at && at < from+uintptr(len(answer)) {
				t.Errorf("%s of a %s is a part of the answer", name, v.Type())
			}
		})
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	columns, row := []string{"\x01", columnOf("a")}, "\x011"
	rows := func(n int) *answer {
		a, packets := &answer{}, columns
		for range n {
			packets = append(packets, row)
		}
		if got, err := take(a, answered(append(packets, "\xfe\x00\x00\x02\x00\x00\x00")...)); err != nil || len(got[0]) != n {
			t.Fatal(err)
		}
		return a
	}
	if !rows(keptRows).small() || rows(keptRows+1).small() {
		t.Error("an answer is kept for the next question by its rows or not at all")
	}
	a := &answer{took: answerMax - 20}
	if _, err := take(a, answered(columns[0], columns[1], row)); err == nil || !strings.Contains(err.Error(), "bytes in an answer") {
		t.Errorf("an answer of too many bytes: %v", err)
	}
}
