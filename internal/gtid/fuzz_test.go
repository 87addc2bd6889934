package gtid_test

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
)

// Whatever is read, prints canonically, and the canonical text is read back.
func fuzzParser(f *testing.F, flavor gtid.Flavor, parse func(string) (gtid.Set, error), seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		set, err := parse(in)
		if err != nil {
			if !set.Empty() {
				t.Fatalf("%q: an error together with %q", in, set)
			}
			if !strings.HasPrefix(err.Error(), "gtid set: ") || len(err.Error()) > 1000 {
				t.Fatalf("%q: error %q", in, err)
			}
			return
		}
		if got := set.Flavor(); flavor != "" && got != "" && got != flavor {
			t.Fatalf("%q: flavor %q", in, got)
		}
		text := set.String()
		back, err := parse(text)
		if err != nil {
			t.Fatalf("%q printed as %q: %v", in, text, err)
		}
		if !back.Equal(set) || back.String() != text {
			t.Fatalf("%q printed as %q, read back as %q", in, text, back)
		}
		if set.Compare(back) != gtid.Equal || !set.Subtract(back).Empty() || !set.Union(back).Equal(set) {
			t.Fatalf("%q is not like itself", in)
		}
		if set.Empty() != (text == "") || set.Empty() != (set.Count() == 0) || !set.Contains(set.Heads()) {
			t.Fatalf("%q: incoherent", text)
		}
	})
}

func FuzzParse(f *testing.F) {
	fuzzParser(f, "", gtid.Parse, "", ",", u1+":1-5,0-1-5", u1+":1:a:2", "0-1-(5..9),0-1-2", u1, "0-1-2-3-4")
}

func FuzzParseMySQL(f *testing.F) {
	fuzzParser(f, gtid.MySQL, gtid.ParseMySQL, "", u1+":1-5:7", u1+":1-5:tag:1-3:7,\n"+u2+":1", u2+":9:1-3,"+u1+":A:1",
		u1+" : 1 - 5 : t : 2", u1+":9223372036854775806", u1+":5-3", u1+":0")
}

func FuzzParseMariaDB(f *testing.F) {
	fuzzParser(f, gtid.MariaDB, gtid.ParseMariaDB, "", "0-1-100", "0-1-100,0-2-105,1-1-7", " 1-1-1 , 0-1-1", "0-1-(5..9),0-1-(3)",
		"4294967295-4294967295-18446744073709551615", "0-1-(18446744073709551615),0-1-18446744073709551614", "0-1-0", "0-1-(9..5)")
}
