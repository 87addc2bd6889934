package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// promise is what a scene may cost at most. No acknowledged write is ever to be lost.
type promise struct {
	pause    time.Duration
	noErrors bool
}

// step is one scene in the report.
type step struct {
	Name         string  `json:"name"`
	Path         string  `json:"path"` // how the clients reach the primary
	PauseMS      float64 `json:"pause_ms"`
	ClientErrors int     `json:"client_errors"`
	Acked        int     `json:"acked"`
	Lost         int     `json:"lost"`

	result fleet.Result
	broken string
}

func newStep(path string, r fleet.Result, v lab.Verdict, p promise) step {
	pause := r.Pause()
	if r.Back > 0 {
		pause = r.Back // from the blow to the first write that was sent after it
	}
	s := step{
		Name: r.Scenario, Path: path, PauseMS: float64(pause.Microseconds()) / 1000,
		ClientErrors: len(r.Failures), Acked: r.Acked, Lost: len(v.Lost), result: r,
	}
	switch {
	case s.Lost > 0:
		s.broken = fmt.Sprintf("%d acknowledged writes are lost", s.Lost)
	case v.Doubled > 0:
		s.broken = fmt.Sprintf("%d writes were executed twice", v.Doubled)
	case pause > p.pause:
		s.broken = fmt.Sprintf("more than %s", p.pause)
	case p.noErrors && s.ClientErrors > 0:
		s.broken = fmt.Sprintf("clients saw errors: %s", r.Failures[0])
	}
	return s
}

func writeReport(path, proxy, flavor string, steps []step, ok bool) error {
	raw, err := json.MarshalIndent(map[string]any{"proxysql": proxy, "flavor": flavor, "steps": steps, "ok": ok}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

// flavor names the database servers.
func flavor(ctx context.Context, f *fleet.Fleet) (string, error) {
	row, err := f.DB.Primary().Row(ctx, "SELECT VERSION() AS v")
	if err != nil {
		return "", err
	}
	return f.DB.Primary().Flavor().String() + " " + row["v"], nil
}

func describe(kind string) string {
	if kind == lab.StandIn {
		return "the stand-in (no proxysql on PATH or in PROXYSQL_BIN)"
	}
	return "ProxySQL " + kind
}
