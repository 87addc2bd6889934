package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

const (
	// roundLimit bounds one round with all that it waits for.
	roundLimit = 4 * time.Minute
	// warm is how long clients write before anything happens to them.
	warm = time.Second
	// pace is the time between two writes of a client: sixteen ask for 400 writes a second, which leaves two cores some room.
	pace = 40 * time.Millisecond
)

// stage is a fleet on which rounds are played.
type stage struct {
	*Run
	f     *fleet.Fleet
	loads []*lab.Load // all that ever wrote to it
}

// rounds plays a round N times on one fleet. A round that fails is counted, told of, and followed by the next one on a fleet
// of its own; when many fail that is the end.
func (r *Run) rounds(ctx context.Context, opts fleet.Options, play func(ctx context.Context, s *stage, i int) error) error {
	opts.StandIn = r.StandIn
	opts.Topology.Server.Flavor = r.Flavor
	failed := 0
	for next := 0; next < r.N; {
		err := r.InLab(ctx, func(ctx context.Context, l *lab.Lab) error {
			s, err := r.start(ctx, l, opts)
			if err != nil {
				return err
			}
			for ; next < r.N; next++ {
				if err := s.round(ctx, next, play); err != nil {
					return err
				}
			}
			return s.verify(ctx)
		})
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return err
		}
		if next++; failed >= max(2, r.N/10) {
			return fmt.Errorf("%d rounds failed, the last one: %w", failed+1, err)
		}
		failed++
		r.Break("a round failed: %v", err)
		r.Say("a round failed: %v", err)
	}
	return nil
}

func (r *Run) start(ctx context.Context, l *lab.Lab, opts fleet.Options) (*stage, error) {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	f, err := fleet.Start(ctx, l, opts)
	if err != nil {
		return nil, err
	}
	version, err := f.DB.Primary().Row(ctx, "SELECT VERSION() AS v")
	if err != nil {
		return nil, err
	}
	r.Servers, r.Proxies = f.DB.Primary().Flavor().String()+" "+version["v"], f.ProxyKind()
	r.Say("started: %s, proxies: %s", r.Servers, r.Proxies)
	return &stage{Run: r, f: f}, nil
}

func (s *stage) round(ctx context.Context, i int, play func(context.Context, *stage, int) error) error {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	if err := play(ctx, s, i); err != nil {
		return fmt.Errorf("round %d: %w", i+1, err)
	}
	return nil
}

// clients starts writing clients, spread over all proxies. They write in one round only: what follows a round, such as the
// return of a killed server, is not measured and need not be waited for under load.
func (s *stage) clients(ctx context.Context, writers int) (*lab.Load, error) {
	load, err := s.f.Load(ctx, lab.LoadOptions{Writers: writers, Pace: pace})
	if err != nil {
		return nil, err
	}
	s.loads = append(s.loads, load)
	return load, wait(ctx, warm)
}

// note keeps what the clients saw of a scenario.
func (s *stage) note(r fleet.Result, i int) {
	s.Count("writes acknowledged", r.Acked)
	s.Count("client errors", len(r.Failures))
	s.Say("%d of %d: %s", i+1, s.N, r)
}

// verify compares all that clients were ever told with what the primary has.
func (s *stage) verify(ctx context.Context) error {
	primary, err := s.f.Primary(ctx)
	if err != nil {
		return err
	}
	lost := 0
	for _, load := range s.loads {
		v, err := load.Verify(ctx, primary.DB())
		if err != nil {
			return err
		}
		if lost += len(v.Lost); len(v.Lost) > 0 || v.Doubled > 0 {
			s.Break("acknowledged writes were lost, or written twice: %s", v)
		}
	}
	s.Count("acknowledged writes lost", lost)
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
