package gtid

import "strconv"

// Order is how one set stands to another by inclusion.
type Order int

// The four ways in which two sets can stand to each other.
const (
	Equal     Order = iota // the same transactions
	Ahead                  // all of the other's, and more
	Behind                 // some of the other's, and nothing else
	Divergent              // each has transactions that the other lacks
)

// String gives the word in lower case: equal, ahead, behind, divergent.
func (o Order) String() string {
	switch o {
	case Equal:
		return "equal"
	case Ahead:
		return "ahead"
	case Behind:
		return "behind"
	case Divergent:
		return "divergent"
	}
	return "order(" + strconv.Itoa(int(o)) + ")"
}

// Compare tells how a stands to b: Ahead when a strictly contains b. The order
// is partial; Divergent sets are not ranked, and must not be.
func (a Set) Compare(b Set) Order { return OrderOf(a.Contains(b), b.Contains(a)) }

// OrderOf is how one stands to another: `more` says that it has all of the other's,
// `less` that the other has all of its own.
func OrderOf(more, less bool) Order {
	switch {
	case more && less:
		return Equal
	case more:
		return Ahead
	case less:
		return Behind
	}
	return Divergent
}
