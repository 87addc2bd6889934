package gtid_test

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
)

func TestParseMariaDB(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"a position", "0-1-100", "0-1-100"},
		{"several domains", "2-1-5,0-1-100,1-7-3", "0-1-100,1-7-3,2-1-5"},
		{"a state, with several servers in a domain", "0-2-105,0-1-100", "0-1-100,0-2-105"},
		{"numbers sort as numbers", "10-1-1,9-10-1,9-9-1", "9-9-1,9-10-1,10-1-1"},
		{"white space around entries", " 0-1-100 ,\n1-1-5\n", "0-1-100,1-1-5"},
		{"a repeated server merges", "0-1-5,0-1-9", "0-1-9"},
		{"the highest of everything", "4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615"},
		{"server 0", "0-0-1", "0-0-1"},
		{"a range", "0-1-(91..100)", "0-1-(91..100)"},
		{"a range of one", "0-1-(7..7)", "0-1-(7)"},
		{"a range from the start", "0-1-(1..7)", "0-1-7"},
		{"only the first", "0-1-(1)", "0-1-1"},
		{"ranges melt", "0-1-(5..9),0-1-(10..12)", "0-1-(5..12)"},
		{"a part and another", "0-1-(9..12),0-1-5", "0-1-5,0-1-(9..12)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, parse := range []func(string) (gtid.Set, error){gtid.ParseMariaDB, gtid.Parse} {
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

func TestParseMariaDBErrors(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a word", "0-1-1,what", `gtid set: "what": is neither domain-server-sequence nor uuid:intervals`},
		{"two parts", "0-1", `is neither domain-server-sequence`},
		{"a hyphen too many", "0-1-2-3", `expected a comma before "-3"`},
		{"no sequence", "0-1-", `expected a number at the end`},
		{"no domain", "-1-5", `is neither domain-server-sequence`},
		{"no server", "0--5", `is neither domain-server-sequence`},
		{"a wide domain", "4294967296-1-1", `domain: number 4294967296 is above 4294967295`},
		{"a wide server", "1-4294967296-1", `server: number 4294967296 is above 4294967295`},
		{"a wide sequence", "0-1-18446744073709551616", `number 18446744073709551616 is above 18446744073709551615`},
		{"sequence zero", "0-1-0", `"0-1-0": number 0: transactions are numbered from 1`},
		{"a negative sequence", "0-1--5", `expected a number before "-5"`},
		{"white space inside", "0 - 1 - 5", `is neither domain-server-sequence`},
		{"a range backwards", "0-1-(9..5)", `"0-1-(9..5)": range 9..5 runs backwards`},
		{"a range from zero", "0-1-(0..5)", `number 0: transactions are numbered from 1`},
		{"an open range", "0-1-(5..9", `range is not closed`},
		{"a range without end", "0-1-(5..)", `expected a number before ")"`},
		{"a range without brackets", "0-1-5..9", `expected a comma before "..9"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, parse := range []func(string) (gtid.Set, error){gtid.ParseMariaDB, gtid.Parse} {
				got, err := parse(tt.in)
				if err == nil {
					t.Fatalf("read as %q, want an error", got)
				}
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %q, want it to say %q", err, tt.want)
				}
			}
		})
	}
}

func TestHeads(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"a position is its own head", "0-1-100", "0-1-100"},
		{"the last writer of the domain", "0-1-100,0-2-105", "0-2-105"},
		{"whichever server id it has", "0-1-100,0-2-50,0-3-99", "0-1-100"},
		{"of each domain", "0-1-100,0-2-105,1-1-7,1-2-3", "0-2-105,1-1-7"},
		{"a tie hides no one", "0-1-99,0-2-100,0-3-100,1-1-5", "0-2-100,0-3-100,1-1-5"},
		{"a tie that is overtaken", "0-2-100,0-3-100,0-4-101", "0-4-101"},
		{"MySQL has no head", u1 + ":1-5," + u2 + ":1-9", u1 + ":1-5," + u2 + ":1-9"},
		{"both flavors", u1 + ":1-5,0-1-5,0-2-6", u1 + ":1-5,0-2-6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := gtid.MustParse(tt.in).Heads().String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The rule of the package comment: under gtid_strict_mode, whoever holds the head
// of a state holds all of it.
func TestHoldingTheHeadIsHoldingTheState(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		want       bool
	}{
		{"the replica lags", "0-1-100,0-2-105", "0-1-100", true},
		{"the replica was built from a backup and never saw server 1 write", "0-2-105", "0-1-100,0-2-103", true},
		{"the old primary wrote on after the failover", "0-1-100,0-2-105", "0-1-103", false},
		{"the old primary has not caught up with a new one", "0-1-103", "0-1-100,0-2-105", false},
		{"a domain is missing", "0-1-100", "0-1-100,1-1-1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := gtid.MustParse(tt.a).Contains(gtid.MustParse(tt.b).Heads()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBeyond(t *testing.T) {
	for _, tt := range []struct{ name, a, b, want string }{
		{"MySQL: as Subtract", u1 + ":1-100," + u2 + ":3", u1 + ":1-90", u1 + ":91-100," + u2 + ":3"},
		{"nothing", "0-1-100", "0-1-100,0-2-105", ""},
		{"the old primary wrote on", "0-1-103", "0-1-100,0-2-105", "0-1-(101..103)"},
		{"a server that b never heard of", "0-1-100,0-2-105", "0-1-100", "0-2-(101..105)"},
		{"two of them, taking turns", "0-1-100,0-2-105,0-3-104", "0-1-100", "0-2-(101..105),0-3-(101..104)"},
		{"both went on after the split", "0-1-100,0-2-105", "0-1-100,0-3-110", "0-2-(101..105)"},
		{"domain by domain", "0-1-100,0-2-105,1-2-9", "0-1-100,1-1-7", "0-2-(101..105),1-2-9"},
		{"nothing shared", "0-2-105", "0-1-100", "0-2-105"},
		{"histories that are not linear hide nothing", "0-1-100,0-2-50", "0-1-100", "0-2-50"},
		{"both flavors", u1 + ":3,0-1-100,0-2-105", u1 + ":1,0-1-100", u1 + ":3,0-2-(101..105)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := gtid.MustParse(tt.a).Beyond(gtid.MustParse(tt.b)).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What mariadbd 10.11.19 printed as @@gtid_binlog_state and @@gtid_binlog_pos while
// servers took turns in writing.
func TestHeadsAgreesWithMariaDB(t *testing.T) {
	for _, tt := range []struct{ state, pos, canonical string }{
		{"0-1-2", "0-1-2", "0-1-2"},
		{"0-1-2,0-10-4", "0-10-4", "0-1-2,0-10-4"},
		{"0-1-6,0-3-5,0-10-4,0-200-7", "0-200-7", "0-1-6,0-3-5,0-10-4,0-200-7"},
		{"0-200-7,0-3-5,0-10-4,0-1-8,3-4-1,7-200-1,7-4-2", "0-1-8,3-4-1,7-4-2", "0-1-8,0-3-5,0-10-4,0-200-7,3-4-1,7-4-2,7-200-1"},
	} {
		state := gtid.MustParse(tt.state)
		if got := state.Heads().String(); got != tt.pos {
			t.Errorf("%s: head %s, the server says %s", tt.state, got, tt.pos)
		}
		if got := state.String(); got != tt.canonical {
			t.Errorf("%s: prints as %s, want %s", tt.state, got, tt.canonical)
		}
	}
}
