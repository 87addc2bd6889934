package topology

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
)

// Coordinates are a place in a server's binary log: a file and how much of it, in
// bytes. They mean something for that one server's log only. The zero value is no
// place.
type Coordinates struct {
	File string `json:"file"`
	Pos  uint64 `json:"pos"`
}

// IsZero says that the place is not known.
func (c Coordinates) IsZero() bool { return c.File == "" }

// String is the place in a sentence, "binlog.000003:4711".
func (c Coordinates) String() string {
	if c.IsZero() {
		return "an unknown position"
	}
	return fmt.Sprintf("%s:%d", c.File, c.Pos)
}

// Compare orders two places in one log. Files are ordered by the number that ends
// their names; where the names differ in anything else, or have no number, nothing
// can be said: that is [gtid.Divergent].
func (c Coordinates) Compare(o Coordinates) gtid.Order {
	name, number, ok := c.file()
	otherName, otherNumber, otherOK := o.file()
	if !ok || !otherOK || name != otherName {
		return gtid.Divergent
	}
	order := cmp.Or(cmp.Compare(number, otherNumber), cmp.Compare(c.Pos, o.Pos))
	return gtid.OrderOf(order >= 0, order <= 0)
}

// file splits "binlog.000003" into its name and number.
func (c Coordinates) file() (name string, number uint64, ok bool) {
	dot := strings.LastIndexByte(c.File, '.')
	if dot < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(c.File[dot+1:], 10, 64)
	return c.File[:dot], number, err == nil
}

// Held is how much of its source's log a replica without GTID positioning has got,
// applied or waiting in its relay log. The last part of it may be one of a
// transaction that never came to its end.
func (s *Source) Held() Coordinates {
	if s.ReadTo.Compare(s.AppliedTo) == gtid.Ahead || s.AppliedTo.IsZero() {
		return s.ReadTo
	}
	return s.AppliedTo
}
