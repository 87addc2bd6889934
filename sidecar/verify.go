package sidecar

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// quorumAge is how old the quorum round may be on which a statement is sent to a
// server. An act takes milliseconds; a process that was stopped in the middle of
// one, or a machine that was suspended, finds it older.
const quorumAge = 100 * time.Millisecond

// Confirmed makes sure, before each statement of an act, that this node leads: by
// a quorum round that began within quorumAge, a new one where need be.
func Confirmed(ports *Ports) func(context.Context) error {
	var last atomic.Int64 // when the newest round that succeeded began
	last.Store(int64(-quorumAge))
	return func(ctx context.Context) error {
		now := ports.Clock().Boot
		if now-time.Duration(last.Load()) < quorumAge {
			return nil
		}
		if err := ports.Consensus.Verify(ctx); err != nil {
			return fmt.Errorf("this node may not lead any more: %w", err)
		}
		last.Store(int64(now))
		return nil
	}
}
