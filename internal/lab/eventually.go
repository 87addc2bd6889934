package lab

import (
	"context"
	"fmt"
	"time"
)

// Eventually asks fn at once and then every so often until it is done. When ctx ends first, the error says what was
// awaited, for how long, and the last state that fn described.
func Eventually(ctx context.Context, what string, every time.Duration, fn func() (done bool, state string)) error {
	start := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		done, state := fn()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s; last state: %s: %w",
				time.Since(start).Round(time.Millisecond), what, state, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
