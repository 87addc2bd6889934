package gtid_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/internal/gtid"
)

// law checks a statement about any three sets.
func law(t *testing.T, name string, holds func(a, b, c gtid.Set) bool) {
	t.Helper()
	t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
		a := models().Draw(t, "a").set()
		b := models().Draw(t, "b").set()
		c := models().Draw(t, "c").set()
		before := [3]string{a.String(), b.String(), c.String()}
		if !holds(a, b, c) {
			t.Fatalf("does not hold for a=%q b=%q c=%q", a, b, c)
		}
		if after := [3]string{a.String(), b.String(), c.String()}; before != after {
			t.Fatalf("operands changed: from %q to %q", before, after)
		}
	}))
}

func TestUnionIsAUnion(t *testing.T) {
	law(t, "commutative", func(a, b, _ gtid.Set) bool { return a.Union(b).Equal(b.Union(a)) })
	law(t, "associative", func(a, b, c gtid.Set) bool { return a.Union(b).Union(c).Equal(a.Union(b.Union(c))) })
	law(t, "idempotent", func(a, _, _ gtid.Set) bool { return a.Union(a).Equal(a) })
	law(t, "neutral", func(a, _, _ gtid.Set) bool { return a.Union(gtid.Set{}).Equal(a) })
	law(t, "contains both", func(a, b, _ gtid.Set) bool { return a.Union(b).Contains(a) && a.Union(b).Contains(b) })
	law(t, "is the least that does", func(a, b, c gtid.Set) bool {
		return c.Contains(a.Union(b)) == (c.Contains(a) && c.Contains(b))
	})
}

func TestIntersectIsAnIntersection(t *testing.T) {
	law(t, "commutative", func(a, b, _ gtid.Set) bool { return a.Intersect(b).Equal(b.Intersect(a)) })
	law(t, "distributes over union", func(a, b, c gtid.Set) bool {
		return a.Intersect(b.Union(c)).Equal(a.Intersect(b).Union(a.Intersect(c)))
	})
	law(t, "is the greatest within both", func(a, b, c gtid.Set) bool {
		return a.Intersect(b).Contains(c) == (a.Contains(c) && b.Contains(c))
	})
}

func TestSubtractSplits(t *testing.T) {
	law(t, "difference and intersection make the whole", func(a, b, _ gtid.Set) bool {
		return a.Subtract(b).Union(a.Intersect(b)).Equal(a)
	})
	law(t, "nothing of b is left", func(a, b, _ gtid.Set) bool { return a.Subtract(b).Intersect(b).Empty() })
	law(t, "one after the other is both at once", func(a, b, c gtid.Set) bool {
		return a.Subtract(b).Subtract(c).Equal(a.Subtract(b.Union(c)))
	})
	law(t, "empty just when contained", func(a, b, _ gtid.Set) bool { return a.Subtract(b).Empty() == b.Contains(a) })
	law(t, "three parts make the union", func(a, b, _ gtid.Set) bool {
		return a.Subtract(b).Union(b.Subtract(a)).Union(a.Intersect(b)).Equal(a.Union(b))
	})
}

func TestContainsIsAPartialOrder(t *testing.T) {
	law(t, "reflexive", func(a, _, _ gtid.Set) bool { return a.Contains(a) && a.Contains(gtid.Set{}) })
	law(t, "antisymmetric", func(a, b, _ gtid.Set) bool { return (a.Contains(b) && b.Contains(a)) == a.Equal(b) })
	law(t, "transitive", func(a, b, c gtid.Set) bool {
		ab, abc := a.Union(b), a.Union(b).Union(c) // random sets alone would seldom nest
		return abc.Contains(ab) && ab.Contains(a) && abc.Contains(a) && (!a.Contains(b) || !b.Contains(c) || a.Contains(c))
	})
	law(t, "agrees with union and intersection", func(a, b, _ gtid.Set) bool {
		return a.Contains(b) == a.Union(b).Equal(a) && a.Contains(b) == a.Intersect(b).Equal(b)
	})
}

func TestCompareIsCoherent(t *testing.T) {
	mirror := map[gtid.Order]gtid.Order{
		gtid.Equal: gtid.Equal, gtid.Ahead: gtid.Behind, gtid.Behind: gtid.Ahead, gtid.Divergent: gtid.Divergent,
	}
	law(t, "mirrored", func(a, b, _ gtid.Set) bool { return a.Compare(b) == mirror[b.Compare(a)] })
	law(t, "agrees with the differences", func(a, b, _ gtid.Set) bool {
		more, less := !a.Subtract(b).Empty(), !b.Subtract(a).Empty()
		want := map[[2]bool]gtid.Order{
			{false, false}: gtid.Equal, {true, false}: gtid.Ahead, {false, true}: gtid.Behind, {true, true}: gtid.Divergent,
		}[[2]bool{more, less}]
		return a.Compare(b) == want && a.Union(b).Compare(a) == map[bool]gtid.Order{true: gtid.Ahead, false: gtid.Equal}[less]
	})
}

func TestPrintAndParseAreInverse(t *testing.T) {
	law(t, "parse after print", func(a, _, _ gtid.Set) bool {
		back, err := gtid.Parse(a.String())
		return err == nil && back.Equal(a) && back.String() == a.String()
	})
	law(t, "equal sets print alike", func(a, b, _ gtid.Set) bool { return a.Equal(b) == (a.String() == b.String()) })
	law(t, "each flavor by its own parser", func(a, _, _ gtid.Set) bool {
		switch a.Flavor() {
		case gtid.MySQL:
			back, err := gtid.ParseMySQL(a.String())
			return err == nil && back.Equal(a)
		case gtid.MariaDB:
			back, err := gtid.ParseMariaDB(a.String())
			return err == nil && back.Equal(a)
		}
		return true
	})
}

func TestHeadsAndBeyondKeepTheirWord(t *testing.T) {
	law(t, "heads are part of the set", func(a, _, _ gtid.Set) bool {
		return a.Contains(a.Heads()) && a.Heads().Heads().Equal(a.Heads()) && a.Heads().Empty() == a.Empty()
	})
	law(t, "beyond is part of the difference", func(a, b, _ gtid.Set) bool { return a.Subtract(b).Contains(a.Beyond(b)) })
	law(t, "beyond hides no difference", func(a, b, _ gtid.Set) bool { return a.Beyond(b).Empty() == b.Contains(a) })
	law(t, "beyond names the last of every server that differs", func(a, b, _ gtid.Set) bool {
		rest := a.Subtract(b).Subtract(a.Beyond(b)) // what was left out must lie below what was named
		return rest.Flavor() != gtid.MySQL && rest.Union(a.Beyond(b)).Heads().Equal(a.Subtract(b).Heads())
	})
}

// Histories as gtid_strict_mode makes them: one primary at a time, numbers in one
// line. There Beyond and Count are exact.
func TestBeyondIsExactOnLinearHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		write := func(history []int, server *rapid.Generator[int], most int, label string) []int {
			n := rapid.IntRange(0, most).Draw(t, label)
			history = append([]int(nil), history...)
			for range n {
				history = append(history, server.Draw(t, "writer"))
			}
			return history
		}
		shared := write([]int{1}, rapid.IntRange(1, 3), 10, "shared")
		a := write(shared, rapid.SampledFrom([]int{1, 2}), 5, "a alone")
		b := write(shared, rapid.SampledFrom([]int{3, 4}), 5, "b alone")
		state := func(history []int) (set gtid.Set) {
			for i, server := range history {
				set = set.Union(gtid.MustParse(fmt.Sprintf("0-%d-%d", server, i+1)))
			}
			return set
		}
		left := state(a).Beyond(state(b))
		if got, want := left.Count(), uint64(len(a)-len(shared)); got != want {
			t.Fatalf("a=%v b=%v: %q names %d, want %d", state(a), state(b), left, got, want)
		}
	})
}
