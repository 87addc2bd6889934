package topology

import (
	"fmt"
	"math"
	"time"
)

// Forever is longer than anybody waits: how "infinite" is kept, and how a server's
// time-out is read that no Duration can hold.
const Forever = Duration(math.MaxInt64)

// Duration is a time.Duration that JSON and YAML spell as "250ms".
type Duration time.Duration

// D is the plain time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Endless says that a time-out is longer than any recovery or lease takes, whatever
// happens: a month at least.
func (d Duration) Endless() bool { return d >= Duration(30*24*time.Hour) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText spells the duration as Go does: "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes; a negative duration is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 250ms, 10s or 5m", text)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative; a duration here is at least 0s", text)
	}
	*d = Duration(v)
	return nil
}
