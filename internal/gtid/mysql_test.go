package gtid_test

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
)

func TestParseMySQL(t *testing.T) {
	const upper = "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE"
	lower := strings.ToLower(upper)
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"white space", " \n\t ", ""},
		{"one transaction", u1 + ":1", u1 + ":1"},
		{"as gtid_executed breaks lines", u1 + ":1-5,\n" + u2 + ":1-3", u1 + ":1-5," + u2 + ":1-3"},
		{"unsorted uuids", u2 + ":1," + u1 + ":1", u1 + ":1," + u2 + ":1"},
		{"unsorted intervals", u1 + ":9:1-3:7", u1 + ":1-3:7:9"},
		{"overlaps melt", u1 + ":1-5:3-8", u1 + ":1-8"},
		{"neighbors melt", u1 + ":1-5:6:7-8", u1 + ":1-8"},
		{"a repeated uuid merges", u1 + ":1-5," + u2 + ":1," + u1 + ":6-9:20", u1 + ":1-9:20," + u2 + ":1"},
		{"upper case", upper + ":TAG:1", lower + ":tag:1"},
		{"white space around every token", " " + u1 + " : 1 - 5 : tag : 7 \n, " + u2 + ":\t1", u1 + ":1-5:tag:7," + u2 + ":1"},
		{"stray commas", "," + u1 + ":1,," + u2 + ":1,", u1 + ":1," + u2 + ":1"},
		{"leading zeros", u1 + ":01-005", u1 + ":1-5"},
		{"a tag alone", u1 + ":tag:1-3", u1 + ":tag:1-3"},
		{"a tag after intervals", u1 + ":1-5:tag:1-3:7", u1 + ":1-5:tag:1-3:7"},
		{"tags sort behind the untagged", u1 + ":b:1:a:2," + u1 + ":3", u1 + ":3:a:2:b:1"},
		{"a repeated tag merges", u1 + ":a:1:b:5:A:2", u1 + ":a:1-2:b:5"},
		{"underscore and digits in a tag", u1 + ":_1x:1", u1 + ":_1x:1"},
		{"the longest tag", u1 + ":" + strings.Repeat("t", 32) + ":1", u1 + ":" + strings.Repeat("t", 32) + ":1"},
		{"the highest number", u1 + ":9223372036854775806", u1 + ":9223372036854775806"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, parse := range []func(string) (gtid.Set, error){gtid.ParseMySQL, gtid.Parse} {
				got, err := parse(tt.in)
				if err != nil {
					t.Fatal(err)
				}
				if got.String() != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestParseMySQLErrors(t *testing.T) {
	const e = u2 + ":1," // what stands before must not be blamed
	for _, tt := range []struct{ name, in, want string }{
		{"no uuid", e + "what", `gtid set: "what": does not start with a server uuid (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)`},
		{"a short uuid", u1[1:] + ":1", `does not start with a server uuid`},
		{"not hexadecimal", "g" + u1[1:] + ":1", `does not start with a server uuid`},
		{"no hyphens", strings.ReplaceAll(u1, "-", "") + ":1", `does not start with a server uuid`},
		{"a position of MariaDB", "0-1-100", `does not start with a server uuid`},
		{"no interval", e + u1, `gtid set: "` + u1 + `": the uuid has no interval`},
		{"no interval of a tag", u1 + ":1:tag", `tag tag has no interval`},
		{"nor of the first of two", u1 + ":a:b:1", `tag a has no interval`},
		{"a number is missing", u1 + ":", `expected a number at the end`},
		{"between colons", u1 + ":1::2", `expected a number before ":2"`},
		{"behind the hyphen", u1 + ":1-", `expected a number at the end`},
		{"before the hyphen", u1 + ":-5", `expected a number before "-5"`},
		{"number zero", u1 + ":0", `number 0: transactions are numbered from 1`},
		{"from zero", u1 + ":0-5", `number 0: transactions are numbered from 1`},
		{"backwards", e + u1 + ":1:5-3", `gtid set: "` + u1 + `:1:5-3": interval 5-3 runs backwards`},
		{"too high", u1 + ":9223372036854775807", `number 9223372036854775807 is above 9223372036854775806`},
		{"too high at the end", u1 + ":1-9223372036854775807", `number 9223372036854775807 is above 9223372036854775806`},
		{"wider than 64 bits", u1 + ":99999999999999999999999", `number 99999999999999999999999 is above`},
		{"signed", u1 + ":+1", `expected a number before "+1"`},
		{"two numbers", u1 + ":1 2", `expected a colon or a comma before "2"`},
		{"a third end", u1 + ":1-2-3", `expected a colon or a comma before "-3"`},
		{"another separator", u1 + ":1;" + u2 + ":1", `expected a colon or a comma before ";2222`},
		{"a tag that starts with a digit", u1 + ":1x:1", `expected a colon or a comma before "x:1"`},
		{"a hyphen in a tag", u1 + ":tag-1:1", `expected a colon or a comma before "-1:1"`},
		{"a tag of 33", u1 + ":" + strings.Repeat("t", 33) + ":1", `is longer than 32 characters`},
		{"another alphabet", u1 + ":é:1", `expected a number before "é:1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := gtid.ParseMySQL(tt.in)
			if err == nil {
				t.Fatalf("read as %q, want an error", got)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want it to say %q", err, tt.want)
			}
			if !got.Empty() {
				t.Errorf("an error together with %q", got)
			}
		})
	}
}

func TestErrorsQuoteLittleOfAbsurdInput(t *testing.T) {
	for _, in := range []string{
		strings.Repeat("x", 1<<20),
		u1 + strings.Repeat("1", 1<<20),
		u1 + ":" + strings.Repeat("1", 1<<20),
		u1 + ":" + strings.Repeat("t", 1<<20) + ":1",
		"0-1-" + strings.Repeat("1", 1<<20),
		strings.Repeat(":", 1<<20),
	} {
		if _, err := gtid.Parse(in); err == nil || len(err.Error()) > 500 {
			t.Errorf("%.20q…: error of %d bytes", in, len(err.Error()))
		}
	}
}
