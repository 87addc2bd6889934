package world

import (
	"context"
	"time"

	"github.com/remora-ha/remora/sidecar"
	"github.com/remora-ha/remora/topology"
)

// ladder is the one rung that the world knows: a proxy that hangs is killed, and
// its angel starts it again.
type ladder struct{ admin }

// ladder is nil in a world without one.
func (w *World) ladder(p *process) sidecar.Ladder {
	if !w.options.Ladder {
		return nil
	}
	return ladder{admin{p, p.node.proxy}}
}

// angelTime is how long the angel takes.
const angelTime = time.Second

// Cut implements sidecar.Ladder.
func (l ladder) Cut(ctx context.Context, _ string, _ []topology.Addr) (sidecar.Cut, error) {
	if err := l.p.enter(ctx); err != nil {
		return sidecar.Cut{}, err
	}
	l.x.w.event("%s: cuts its proxy off", l.x.name)
	l.x.crash()
	l.x.unfreeze()
	time.AfterFunc(angelTime, l.x.restart)
	return sidecar.Cut{How: "stopped"}, nil
}

// Release implements sidecar.Ladder.
func (ladder) Release(context.Context, string) error { return nil }
