package gtid_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
)

// Server uuids in ascending order, for tables that read well.
const (
	u1 = "11111111-1111-1111-1111-111111111111"
	u2 = "22222222-2222-2222-2222-222222222222"
)

func TestAlgebraByExample(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		a, b                   string
		union, minus, both     string
		order                  gtid.Order
		aContainsB, bContainsA bool
	}{
		{name: "nothing and nothing",
			order: gtid.Equal, aContainsB: true, bContainsA: true},
		{name: "something and nothing", a: u1 + ":1-5", b: "",
			union: u1 + ":1-5", minus: u1 + ":1-5", order: gtid.Ahead, aContainsB: true},
		{name: "the replica lags", a: u1 + ":1-100", b: u1 + ":1-90",
			union: u1 + ":1-100", minus: u1 + ":91-100", both: u1 + ":1-90", order: gtid.Ahead, aContainsB: true},
		{name: "the replica has an errant transaction", a: u1 + ":1-100", b: u1 + ":1-100," + u2 + ":1",
			union: u1 + ":1-100," + u2 + ":1", both: u1 + ":1-100", order: gtid.Behind, bContainsA: true},
		{name: "it lags and has an errant transaction", a: u1 + ":1-100", b: u1 + ":1-90," + u2 + ":1",
			union: u1 + ":1-100," + u2 + ":1", minus: u1 + ":91-100", both: u1 + ":1-90", order: gtid.Divergent},
		{name: "a hole in the middle", a: u1 + ":1-100", b: u1 + ":1-40:60-100",
			union: u1 + ":1-100", minus: u1 + ":41-59", both: u1 + ":1-40:60-100", order: gtid.Ahead, aContainsB: true},
		{name: "combs", a: u1 + ":1-2:5-6:9-10", b: u1 + ":2-5:8-9",
			union: u1 + ":1-6:8-10", minus: u1 + ":1:6:10", both: u1 + ":2:5:9", order: gtid.Divergent},
		{name: "a tag is a stream of its own", a: u1 + ":1-5", b: u1 + ":x:1-5",
			union: u1 + ":1-5:x:1-5", minus: u1 + ":1-5", order: gtid.Divergent},

		{name: "MariaDB: the replica lags", a: "0-1-100", b: "0-1-90",
			union: "0-1-100", minus: "0-1-(91..100)", both: "0-1-90", order: gtid.Ahead, aContainsB: true},
		{name: "MariaDB: one transaction more", a: "0-1-100", b: "0-1-99",
			union: "0-1-100", minus: "0-1-(100)", both: "0-1-99", order: gtid.Ahead, aContainsB: true},
		{name: "MariaDB: bare positions of two servers do not compare", a: "0-1-100", b: "0-2-100",
			union: "0-1-100,0-2-100", minus: "0-1-100", order: gtid.Divergent},
		{name: "MariaDB: full states of the same servers do", a: "0-1-100,0-2-105", b: "0-1-100",
			union: "0-1-100,0-2-105", minus: "0-2-105", both: "0-1-100", order: gtid.Ahead, aContainsB: true},
		{name: "MariaDB: both wrote after the split", a: "0-1-100,0-2-105", b: "0-1-103",
			union: "0-1-103,0-2-105", minus: "0-2-105", both: "0-1-100", order: gtid.Divergent},
		{name: "MariaDB: domains are apart", a: "0-1-5,1-1-7", b: "0-1-5,2-1-7",
			union: "0-1-5,1-1-7,2-1-7", minus: "1-1-7", both: "0-1-5", order: gtid.Divergent},
		{name: "MariaDB: a difference and what it was taken from", a: "0-1-100", b: "0-1-(91..100)",
			union: "0-1-100", minus: "0-1-90", both: "0-1-(91..100)", order: gtid.Ahead, aContainsB: true},

		{name: "two flavors share nothing and keep everything", a: u1 + ":1-5", b: "0-1-5",
			union: u1 + ":1-5,0-1-5", minus: u1 + ":1-5", order: gtid.Divergent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := gtid.MustParse(tt.a), gtid.MustParse(tt.b)
			check := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: got %q, want %q", what, got, want)
				}
			}
			check("a ∪ b", a.Union(b).String(), tt.union)
			check("b ∪ a", b.Union(a).String(), tt.union)
			check("a ∖ b", a.Subtract(b).String(), tt.minus)
			check("a ∩ b", a.Intersect(b).String(), tt.both)
			check("a to b", a.Compare(b).String(), tt.order.String())
			if got := a.Contains(b); got != tt.aContainsB {
				t.Errorf("a ⊇ b: got %v", got)
			}
			if got := b.Contains(a); got != tt.bContainsA {
				t.Errorf("b ⊇ a: got %v", got)
			}
		})
	}
}

func TestFlavor(t *testing.T) {
	for in, want := range map[string]gtid.Flavor{
		"":                     "",
		" , ":                  "",
		u1 + ":1":              gtid.MySQL,
		"0-1-1":                gtid.MariaDB,
		"0-1-1," + u1 + ":t:1": gtid.Mixed,
	} {
		if got := gtid.MustParse(in).Flavor(); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := gtid.MustParse("0-1-1").Subtract(gtid.MustParse("0-1-1")).Flavor(); got != "" {
		t.Errorf("nothing left still has flavor %q", got)
	}
}

func TestCount(t *testing.T) {
	for in, want := range map[string]uint64{
		"":                               0,
		u1 + ":1-5:7":                    6,
		u1 + ":1-5:x:1-5," + u2 + ":9":   11,
		"0-1-100":                        100,
		"0-1-100,0-2-105":                105, // server 2 drew 101 to 105
		"0-1-100,1-1-7":                  107,
		"0-2-(101..105),0-3-(101..104)":  5,
		"0-1-(7)":                        1,
		"0-1-18446744073709551615":       math.MaxUint64,
		"0-1-18446744073709551615,1-1-5": math.MaxUint64,
	} {
		if got := gtid.MustParse(in).Count(); got != want {
			t.Errorf("%q: got %d, want %d", in, got, want)
		}
	}
}

func TestText(t *testing.T) {
	type report struct {
		Executed gtid.Set `json:"executed"`
		Errant   gtid.Set `json:"errant,omitzero"`
	}
	const text = `{"executed":"` + u1 + `:1-5:x:2"}`
	var got report
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != text {
		t.Errorf("got %s, want %s", out, text)
	}
	if err := json.Unmarshal([]byte(`{"executed":"what"}`), &got); err == nil {
		t.Error("nonsense was read without an error")
	}
	if got.Executed.String() != u1+":1-5:x:2" {
		t.Errorf("a failed reading changed the set to %q", got.Executed)
	}
}

func TestOrderPrints(t *testing.T) {
	for o, want := range map[gtid.Order]string{
		gtid.Equal: "equal", gtid.Ahead: "ahead", gtid.Behind: "behind", gtid.Divergent: "divergent", 9: "order(9)",
	} {
		if got := o.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
