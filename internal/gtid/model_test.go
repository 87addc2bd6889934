package gtid_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
)

// model is the naive set that the real one is measured against: every single
// transaction by name.
type model map[transaction]bool

type transaction struct {
	origin string // uuid, uuid:tag or domain-server
	number int
}

func (m model) union(n model) model {
	out := maps.Clone(m)
	maps.Copy(out, n)
	return out
}

func (m model) filter(n model, keep bool) model {
	out := model{}
	for tx := range m {
		if n[tx] == keep {
			out[tx] = true
		}
	}
	return out
}

func (m model) subtract(n model) model  { return m.filter(n, false) }
func (m model) intersect(n model) model { return m.filter(n, true) }
func (m model) contains(n model) bool   { return len(n.subtract(m)) == 0 }

// set writes the model one transaction at a time, in the random order of a map,
// and has that parsed.
func (m model) set() gtid.Set {
	var entries []string
	for tx := range m {
		if strings.Count(tx.origin, "-") == 1 {
			entries = append(entries, fmt.Sprintf("%s-(%d)", tx.origin, tx.number))
		} else {
			entries = append(entries, fmt.Sprintf("%s:%d", tx.origin, tx.number))
		}
	}
	return gtid.MustParse(strings.Join(entries, ","))
}

// modelOf reads a canonical text by means of its own.
func modelOf(t *rapid.T, set gtid.Set) model {
	m := model{}
	for entry := range strings.SplitSeq(set.String(), ",") {
		if entry == "" {
			continue
		}
		uuid, rest, isMySQL := strings.Cut(entry, ":")
		if !isMySQL {
			parts := strings.SplitN(entry, "-", 3)
			numbers := parts[2]
			if inner, isRange := strings.CutPrefix(numbers, "("); isRange {
				numbers = strings.Replace(strings.TrimSuffix(inner, ")"), "..", "-", 1)
			} else {
				numbers = "1-" + numbers
			}
			m.addRange(t, parts[0]+"-"+parts[1], numbers)
			continue
		}
		origin := uuid
		for token := range strings.SplitSeq(rest, ":") {
			if token[0] > '9' {
				origin = uuid + ":" + token
				continue
			}
			m.addRange(t, origin, token)
		}
	}
	return m
}

func (m model) addRange(t *rapid.T, origin, numbers string) {
	from, to, isRange := strings.Cut(numbers, "-")
	if !isRange {
		to = from
	}
	first, err := strconv.Atoi(from)
	if err != nil {
		t.Fatal(err)
	}
	last, err := strconv.Atoi(to)
	if err != nil {
		t.Fatal(err)
	}
	for n := first; n <= last; n++ {
		m[transaction{origin, n}] = true
	}
}

var (
	mysqlOrigins   = []string{u1, u1 + ":a", u1 + ":b", u2, u2 + ":a"}
	mariadbOrigins = []string{"0-1", "0-2", "0-10", "1-1", "1-2"}
	anyOrigins     = append(append([]string(nil), mysqlOrigins...), mariadbOrigins...)
)

// models draws sets of few origins and low numbers, so that two of them overlap,
// touch and nest often.
func models() *rapid.Generator[model] {
	return rapid.Custom(func(t *rapid.T) model {
		origins := rapid.SampledFrom([][]string{mysqlOrigins, mysqlOrigins, mariadbOrigins, mariadbOrigins, anyOrigins}).Draw(t, "origins")
		m := model{}
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			origin := rapid.SampledFrom(origins).Draw(t, "origin")
			first := rapid.IntRange(1, 12).Draw(t, "first")
			for n := range rapid.IntRange(1, 6).Draw(t, "length") {
				m[transaction{origin, first + n}] = true
			}
		}
		return m
	})
}

func TestSetsBehaveAsTheNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ma, mb := models().Draw(t, "a"), models().Draw(t, "b")
		a, b := ma.set(), mb.set()
		same := func(what string, got gtid.Set, want model) {
			if !maps.Equal(modelOf(t, got), want) {
				t.Fatalf("%s of %q and %q: got %q, want %q", what, a, b, got, want.set())
			}
			if got.Empty() != (len(want) == 0) {
				t.Fatalf("%s: %q is empty: %v", what, got, got.Empty())
			}
		}
		same("first", a, ma)
		same("union", a.Union(b), ma.union(mb))
		same("difference", a.Subtract(b), ma.subtract(mb))
		same("intersection", a.Intersect(b), ma.intersect(mb))
		if got, want := a.Contains(b), ma.contains(mb); got != want {
			t.Fatalf("%q contains %q: got %v", a, b, got)
		}
		if got, want := a.Equal(b), maps.Equal(ma, mb); got != want {
			t.Fatalf("%q equals %q: got %v", a, b, got)
		}
		numbers := map[transaction]bool{}
		for tx := range ma {
			if domain, _, isMariaDB := strings.Cut(tx.origin, "-"); isMariaDB && len(tx.origin) < 8 {
				tx.origin = domain
			}
			numbers[tx] = true
		}
		if got := a.Count(); got != uint64(len(numbers)) {
			t.Fatalf("count of %q: got %d, want %d", a, got, len(numbers))
		}
	})
}
