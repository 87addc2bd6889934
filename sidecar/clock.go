package sidecar

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Instant is one reading of a machine's clocks.
type Instant struct {
	// Boot is the time since the machine started, suspends included. Leases are
	// counted on it, by who holds and by who grants them.
	Boot time.Duration
	// Mono is the same without the suspends. Go's timers run on it: they are late
	// after a suspend.
	Mono time.Duration
	// Wall is the time of day, which anybody may set.
	Wall time.Time
}

// Clock reads the clocks. It may be called from any goroutine.
type Clock func() Instant

// systemClock is the kernel's. Go's own monotonic clock stands still while the
// machine is suspended, so no lease is counted on it.
func systemClock() Instant {
	read := func(id int32) time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(id, &ts); err != nil {
			panic(fmt.Sprintf("read clock %d: %v", id, err)) // every Linux since 2.6.39 has both
		}
		return time.Duration(ts.Nano())
	}
	return Instant{Mono: read(unix.CLOCK_MONOTONIC), Boot: read(unix.CLOCK_BOOTTIME), Wall: time.Now().Round(0)}
}

// goClock is Go's, which a test's bubble makes virtual; no machine is suspended there.
func goClock() Clock {
	start := time.Now()
	return func() Instant {
		now := time.Now()
		ran := now.Sub(start)
		return Instant{Boot: ran, Mono: ran, Wall: now.Round(0)}
	}
}

// jumpBound is how far two clocks may run apart between two readings. Time
// servers slew by less than a thousandth; what they step is a jump.
const jumpBound = 500 * time.Millisecond

// jumped says what happened to the clocks between two readings; "" is nothing. A
// machine that was suspended, or restored from an image, does not know what was
// agreed meanwhile; of an image only the time of day may tell.
func jumped(before, now Instant) string {
	ran := now.Boot - before.Boot
	if slept := ran - (now.Mono - before.Mono); slept.Abs() > jumpBound {
		return fmt.Sprintf("the machine was suspended for %s", slept.Round(time.Millisecond))
	}
	switch set := now.Wall.Sub(before.Wall) - ran; {
	case set > jumpBound:
		return fmt.Sprintf("the time of day jumped ahead by %s", set.Round(time.Millisecond))
	case set < -jumpBound:
		return fmt.Sprintf("the time of day jumped back by %s", (-set).Round(time.Millisecond))
	}
	return ""
}
