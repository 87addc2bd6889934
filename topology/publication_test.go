package topology

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whoever can write a key must not be able to flood the logs with it.
func TestAChangeClipsItsValues(t *testing.T) {
	long := strings.Repeat("ü", 5000)
	for _, c := range []Change{{Key: "k", Have: long, Want: "w"}, {Key: "k", Have: "h", Want: long}, {Key: "k", Missing: true, Want: long}} {
		s := c.String()
		if n := utf8.RuneCountInString(s); n > 200 || !strings.Contains(s, strings.Repeat("ü", changeLimit)+"…") {
			t.Errorf("%d characters: %.300s", n, s)
		}
	}
	if s := (Change{Key: "k", Have: "h\n", Want: "w"}).String(); s != `k is "h\n", want "w"` {
		t.Errorf("short values: %s", s)
	}
}
