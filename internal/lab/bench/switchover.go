package bench

import (
	"context"
)

const switchoverWriters = 16

func switchovers() []Measurement {
	return []Measurement{
		{Name: "switchover", About: "a planned change, asked of another node each time, under clients of our own", Times: 20, Run: switchover},
		{Name: "switchover-sysbench", About: "a planned change under 32 sysbench threads", Times: 10, Run: sysbenchSwitchover},
	}
}

func switchover(ctx context.Context, r *Run) error {
	r.Promise(longestPause, 300, 0)
	return r.rounds(ctx, measured(), func(ctx context.Context, s *stage, i int) error {
		load, err := s.clients(ctx, switchoverWriters)
		if err != nil {
			return err
		}
		defer load.Stop()
		res, err := s.f.Switchover(ctx, load, i%len(s.f.Sidecars), "")
		if err != nil {
			return err
		}
		load.Stop()
		s.AddTime(longestPause, res.Pause())
		s.addPhases(res.Recovery, res.Paused)
		s.note(res, i)
		for _, e := range res.Failures {
			s.Break("a client got an error: %s", e)
		}
		return nil
	})
}
