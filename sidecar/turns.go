package sidecar

import (
	"context"
	"time"
)

// turns bounds how many of thousands do something at once. Who waits for a turn is not in the runtime's own queue: what
// must be quick, as the consensus and the heartbeats, is then not behind thousands. Nil bounds nothing.
type turns chan struct{}

// turnTime is when a turn is over at the latest: what takes longer waits for a server that does not answer, which costs
// nothing here.
const turnTime = 50 * time.Millisecond

// take waits for a turn, which end ends; ok is false when ctx ended first.
func (t turns) take(ctx context.Context) (end func(), ok bool) {
	if t == nil {
		return func() {}, true
	}
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	late := time.AfterFunc(turnTime, func() { <-t })
	return func() {
		if late.Stop() {
			<-t
		}
	}, true
}
