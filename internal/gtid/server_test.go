package gtid_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/gtid"
)

// The table of answers. To ask a server again whether they still hold:
//
//	REMORA_MYSQL_DSN='root@tcp(127.0.0.1:3306)/' go test -run TestLiveMySQL ./internal/gtid
//
// With -record the table is generated and written anew from that server.
const answersFile = "testdata/mysql-9.7-gtid-functions.json"

var record = flag.Bool("record", false, "write "+answersFile+" anew from the server of REMORA_MYSQL_DSN")

// answers are what a real server said.
type answers struct {
	Server string    `json:"server"` // SELECT CONCAT(@@version_comment, ' ', @@version)
	Pairs  []pair    `json:"pairs"`
	Texts  []reading `json:"texts"`
}

type pair struct {
	A        string `json:"a"`
	B        string `json:"b"`
	Subset   bool   `json:"subset"`   // GTID_SUBSET(a, b)
	Subtract string `json:"subtract"` // GTID_SUBTRACT(a, b)
	Union    string `json:"union"`    // GTID_SUBTRACT(CONCAT(a, ',', b), '')
}

type reading struct {
	In    string `json:"in"`
	Out   string `json:"out"`             // GTID_SUBTRACT(in, '')
	Error string `json:"error,omitempty"` // instead of Out
}

// stricter are the texts that the server reads, by dropping a part, and this
// package refuses, as ParseMySQL says.
var stricter = map[string]bool{
	u1:                                   true,
	u1 + ":a":                            true,
	u1 + ":1:a":                          true,
	u1 + ":5-3":                          true,
	u1 + ":5-4":                          true,
	u1 + ":5-3:7":                        true,
	u1 + ":a:5-3":                        true,
	"{" + u1 + "}:1":                     true,
	"11111111111111111111111111111111:1": true,
}

func TestAgreesWithTheRecordedServer(t *testing.T) {
	recorded := readAnswers(t)
	if len(recorded.Pairs) < 300 || len(recorded.Texts) < 60 {
		t.Fatalf("only %d pairs and %d texts are recorded", len(recorded.Pairs), len(recorded.Texts))
	}
	for _, p := range recorded.Pairs {
		a, b := mustParseMySQL(t, p.A), mustParseMySQL(t, p.B)
		if got := b.Contains(a); got != p.Subset {
			t.Errorf("subset %q of %q: got %v, the server says %v", p.A, p.B, got, p.Subset)
		}
		if got := a.Subtract(b).String(); got != oneLine(p.Subtract) {
			t.Errorf("%q less %q: got %q, the server says %q", p.A, p.B, got, p.Subtract)
		}
		if got := a.Union(b).String(); got != oneLine(p.Union) {
			t.Errorf("%q and %q: got %q, the server says %q", p.A, p.B, got, p.Union)
		}
	}
	for _, r := range recorded.Texts {
		got, err := gtid.ParseMySQL(r.In)
		switch {
		case r.Error != "" || stricter[r.In]:
			if err == nil {
				t.Errorf("%q: read as %q, the server says %q", r.In, got, r.Error)
			}
		case err != nil:
			t.Errorf("%q: %v, the server reads %q", r.In, err, r.Out)
		case got.String() != oneLine(r.Out):
			t.Errorf("%q: got %q, the server says %q", r.In, got, r.Out)
		}
	}
}

func TestLiveMySQL(t *testing.T) {
	dsn := os.Getenv("REMORA_MYSQL_DSN")
	if dsn == "" {
		t.Skip("REMORA_MYSQL_DSN is not set: the table is not checked against a living server")
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()

	questions := readAnswers
	if *record {
		questions = func(testing.TB) answers { return generateQuestions() }
	}
	want := questions(t)
	got := ask(t, db, want)
	if *record {
		writeAnswers(t, got)
		return
	}
	got.Server = want.Server // another version may answer, but must agree
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the server answers differently (-recorded +now):\n%s", diff)
	}
}

func ask(t *testing.T, db *sql.DB, questions answers) answers {
	t.Helper()
	var out answers
	if err := db.QueryRow("SELECT CONCAT(@@version_comment, ' ', @@version)").Scan(&out.Server); err != nil {
		t.Fatal(err)
	}
	for _, p := range questions.Pairs {
		err := db.QueryRow("SELECT GTID_SUBSET(?, ?), GTID_SUBTRACT(?, ?), GTID_SUBTRACT(CONCAT(?, ',', ?), '')",
			p.A, p.B, p.A, p.B, p.A, p.B).Scan(&p.Subset, &p.Subtract, &p.Union)
		if err != nil {
			t.Fatalf("%q, %q: %v", p.A, p.B, err)
		}
		out.Pairs = append(out.Pairs, p)
	}
	for _, r := range questions.Texts {
		r.Out, r.Error = "", ""
		if err := db.QueryRow("SELECT GTID_SUBTRACT(?, '')", r.In).Scan(&r.Out); err != nil {
			r.Error = err.Error()
		}
		out.Texts = append(out.Texts, r)
	}
	return out
}

// generateQuestions gives the hand-picked texts and pairs and, from a fixed seed,
// many more.
func generateQuestions() answers {
	var out answers
	for _, text := range append(handPickedTexts(), slices.Sorted(maps.Keys(stricter))...) {
		out.Texts = append(out.Texts, reading{In: text})
	}
	for _, p := range handPickedPairs() {
		out.Pairs = append(out.Pairs, pair{A: p[0], B: p[1]}, pair{A: p[1], B: p[0]})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		a, b := randomMySQL(r), randomMySQL(r)
		out.Pairs = append(out.Pairs, pair{A: a, B: b})
		// A pair that is sure to be nested.
		out.Pairs = append(out.Pairs, pair{A: a, B: b + "," + a})
	}
	return out
}

// randomMySQL writes a text of few uuids, tags and numbers, that pairs may
// overlap, in no order.
func randomMySQL(r *rand.Rand) string {
	var text strings.Builder
	for i := range r.IntN(4) {
		if i > 0 {
			text.WriteString([]string{",", ", ", ",\n"}[r.IntN(3)])
		}
		text.WriteString([]string{u1, u2, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee"}[r.IntN(4)])
		for range 1 + r.IntN(3) {
			text.WriteString([]string{"", "", "", ":a", ":b", ":A", ":a_1", ":_x"}[r.IntN(8)])
			for range 1 + r.IntN(3) {
				first := 1 + r.IntN(20)
				fmt.Fprintf(&text, ":%d", first)
				if r.IntN(2) == 0 {
					fmt.Fprintf(&text, "-%d", first+r.IntN(8))
				}
			}
		}
	}
	return text.String()
}

func handPickedPairs() [][2]string {
	const top = "9223372036854775806"
	return [][2]string{
		{"", ""},
		{u1 + ":1", ""},
		{u1 + ":1-100", u1 + ":1-90"},
		{u1 + ":1-100", u1 + ":1-90," + u2 + ":1"},
		{u1 + ":1-100", u1 + ":50"},
		{u1 + ":1-100", u1 + ":1:100"},
		{u1 + ":1-10:20-30:40-50", u1 + ":5-45"},
		{u1 + ":1-10:20-30:40-50", u1 + ":10:20:30:40"},
		{u1 + ":1:3:5:7:9", u1 + ":2:4:6:8"},
		{u1 + ":1-" + top, u1 + ":" + top},
		{u1 + ":1-" + top, u1 + ":2"},
		{u1 + ":1-5:x:1-5", u1 + ":1-5"},
		{u1 + ":1-5:x:1-5", u1 + ":x:2-3"},
		{u1 + ":x:1-5:y:1-5", u1 + ":y:1-5:z:1"},
		{u1 + ":x:1-5", u1 + ":X:1-5"},
		{u1 + ":x:1-5," + u2 + ":x:1-5", u2 + ":x:1-5"},
		{u1 + ":a:1:a_b:1:ab:1:a1:1:_a:1:b:1", u1 + ":a1:1:c:1"},
	}
}

func handPickedTexts() []string {
	tag := strings.Repeat("t", 32)
	texts := []string{"", " ", ",", ",,", "x", "0-1-100", u1 + "-", "111111 11" + u1[8:] + ":1", u1[:23] + u1[24:] + ":1",
		u1 + ":1," + u2 + ":1", u2 + ":1," + u1 + ":1", u1 + ":1,," + u2 + ":1", "," + u1 + ":1,", "\n" + u1 + ":1-5,\n" + u2 + ":1\n",
		u1 + ":1;" + u2 + ":1", u1 + ":1 " + u2 + ":1", u1 + ":1-5," + u1 + ":6", "aBcDeF01-2345-6789-ABCD-ef0123456789:1"}
	for _, tail := range []string{"", "1", "0", "0-5", "1:0", "1-", "-5", "1:", "1-5", "5-5", "1-5:3-8:9", "1:1:1", "1:3:2", "01-005", "+1",
		"1--2", "1-2-3", ":1", "1::2", "1 2", "1 -3", " 1 - 5 : 7 ", "\t1\n-\v5\f:\r7", "1:a:1", "a:1", "A:1", "a 1", " a : 1", "a b:1",
		"a:1:b:2:3:4-6", "b:1:a:2", "b:1:a:2:1", "a:", "1:a:", "A:1:a:2:B:3", "tag-1:1", "1x:1", "_x:1", "é:1", "a:1:1x:1",
		tag + ":1", tag + "t:1", "a_b:1:ab:1:a:1:a1:1:_:1", "9223372036854775806", "9223372036854775807", "1-9223372036854775807",
		"9223372036854775808", "18446744073709551616", "99999999999999999999999"} {
		texts = append(texts, u1+":"+tail)
	}
	return texts
}

func readAnswers(t testing.TB) answers {
	t.Helper()
	text, err := os.ReadFile(answersFile)
	if err != nil {
		t.Fatal(err)
	}
	var out answers
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func writeAnswers(t *testing.T, a answers) {
	t.Helper()
	// A line for each question, so that a changed answer is a changed line.
	var text bytes.Buffer
	line := func(v any, end string) {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(encoded)
		text.WriteString(end)
	}
	text.WriteString(`{"server": `)
	line(a.Server, ",\n\"pairs\": [\n")
	for i, p := range a.Pairs {
		line(p, separator(i, len(a.Pairs)))
	}
	text.WriteString("],\n\"texts\": [\n")
	for i, r := range a.Texts {
		line(r, separator(i, len(a.Texts)))
	}
	text.WriteString("]}\n")
	if err := os.WriteFile(answersFile, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func separator(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return ",\n"
}

func mustParseMySQL(t *testing.T, s string) gtid.Set {
	t.Helper()
	set, err := gtid.ParseMySQL(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// oneLine takes out the line breaks that the server puts after commas.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "") }
