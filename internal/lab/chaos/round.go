package chaos

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// Round is one fault, or two at once, from the blow until all was well again.
type Round struct {
	Fault      string    `json:"fault"`
	Detail     string    `json:"detail"`
	Struck     time.Time `json:"struck"`
	Healed     time.Time `json:"healed"`
	Well       time.Time `json:"well"`
	From       string    `json:"primary_before"`
	To         string    `json:"primary_after"`
	Switchover string    `json:"switchover,omitempty"` // how the one that was under way ended
	// Backs are, for each client that the fault did not take away, the milliseconds from the blow to its first acknowledged
	// write that was sent after it; Pauses are the longest that it waited between two acknowledgements.
	Backs  []float64 `json:"back_ms"`
	Pauses []float64 `json:"pause_ms"`
	// Operator is what had to be done by hand besides starting what the fault had killed.
	Operator []string `json:"operator,omitempty"`
	State    string   `json:"state,omitempty"` // what was not well in the end
}

// Converged is the time from the healing until all was well.
func (r Round) Converged() time.Duration { return r.Well.Sub(r.Healed) }

func (r Round) String() string {
	s := r.Struck.Format(time.TimeOnly) + "  " + r.Fault
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	s += "; held " + r.Healed.Sub(r.Struck).Round(100*time.Millisecond).String()
	if len(r.Backs) > 0 {
		s += "; writes back after " + spread(r.Backs) + ", longest pause " + spread(r.Pauses)
	}
	if r.State != "" {
		return s + "; NOT WELL: " + r.State
	}
	s += "; well " + r.Converged().Round(10*time.Millisecond).String() + " after the end"
	if r.From != r.To {
		s += "; " + r.From + " → " + r.To
	}
	if r.Switchover != "" {
		s += "; the switchover " + r.Switchover
	}
	if len(r.Operator) > 0 {
		s += "; by hand: " + strings.Join(r.Operator, ", ")
	}
	return s
}

// round plays one hand.
func (c *run) round(ctx context.Context, h hand) (Round, error) {
	s, err := c.scene(ctx)
	if err != nil {
		return Round{}, err
	}
	var blows []blow
	for _, f := range h.faults {
		blows = append(blows, f.make(s))
	}
	b := together(blows...)
	r := Round{Fault: h.String(), Detail: b.detail, From: c.f.DB.Servers[s.primary].Name}
	var switched <-chan string
	if h.switchover {
		switched = c.switchover(ctx, s)
		if err := hold(ctx, c.between(0, 300*time.Millisecond)); err != nil {
			return r, err
		}
	}
	r.Struck = time.Now()
	if err := c.f.Network.Cut(ctx, b.cuts...); err != nil {
		return r, err
	}
	if err := b.strike(); err != nil {
		return r, fmt.Errorf("%s: %w", r.Detail, err)
	}
	landed := time.Now() // what was sent before may have been faster than the blow
	if err := hold(ctx, c.between(c.opts.HoldFrom, c.opts.HoldTo)); err != nil {
		return r, err
	}
	if err := c.heal(ctx, b); err != nil {
		r.Operator = append(r.Operator, err.Error())
	}
	r.Healed = time.Now()
	operator, err := c.settle(ctx)
	r.Operator = append(r.Operator, operator...)
	r.Well = time.Now()
	if switched != nil {
		r.Switchover = <-switched
	}
	c.measure(&r, landed, b.away)
	if err != nil {
		r.State = err.Error()
		c.report.Broken = append(c.report.Broken, fmt.Sprintf("after %q (%s) not all was well again within %s: %v", r.Fault, r.Detail, bound, err))
		return r, ctx.Err()
	}
	if primary, _, err := c.writer(ctx); err == nil {
		r.To = primary.Name
	}
	return r, nil
}

// heal ends a fault: the network first, so that what is started finds the others.
func (c *run) heal(ctx context.Context, b blow) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.f.Network.Cut(ctx); err != nil {
		return err
	}
	return b.heal(ctx)
}

// scene looks who is who.
func (c *run) scene(ctx context.Context) (*scene, error) {
	s := &scene{f: c.f, random: c.random}
	primary, _, err := c.writer(ctx)
	if err != nil {
		return nil, err
	}
	s.primary = slices.Index(c.f.DB.Servers, primary)
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return s, lab.Eventually(bounded, "a leader", 50*time.Millisecond, func() (bool, string) {
		leader, err := c.f.Leader(bounded)
		s.leader = slices.Index(c.f.Sidecars, leader)
		return err == nil && s.leader >= 0, fmt.Sprint(err)
	})
}

// switchover asks for one, of any node, and tells how it ended.
func (c *run) switchover(ctx context.Context, s *scene) <-chan string {
	ended := make(chan string, 1)
	id := rand.Text()
	client := c.f.Client(s.anyNode())
	bounded, cancel := context.WithTimeout(ctx, bound)
	go func() {
		defer cancel()
		request := api.RecoveryRequest{Request: failover.Request{ID: id, Kind: failover.KindSwitchover, By: "chaos"}}
		if _, err := client.Recover(bounded, fleet.Cluster, request); err != nil {
			ended <- "was not taken: " + err.Error()
			return
		}
		outcome := "is not on record"
		_ = lab.Eventually(bounded, "the switchover", 50*time.Millisecond, func() (bool, string) {
			list, err := c.f.Recoveries(bounded)
			if err != nil {
				return false, err.Error()
			}
			for _, rec := range list {
				if rec.Intent.ID == id {
					outcome = string(rec.Outcome)
				}
			}
			return outcome != "is not on record" && outcome != string(failover.InProgress), outcome
		})
		ended <- outcome
	}()
	return ended
}

// measure takes what each client saw that the fault left its way.
func (c *run) measure(r *Round, landed time.Time, away []int) {
	w := c.load.Window(r.Struck.Add(-300*time.Millisecond), r.Well)
	for i, back := range c.load.Backs(landed) {
		if slices.Contains(away, i%len(c.f.Nodes)) || back.IsZero() {
			continue
		}
		r.Backs = append(r.Backs, ms(back.Sub(r.Struck)))
		r.Pauses = append(r.Pauses, ms(w.Gaps[i]))
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
