package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Schedule is a world and what goes wrong in it. The seed makes all of it.
type Schedule struct {
	Seed     uint64
	Servers  int
	SemiSync bool
	Ladder   bool
	Hold     bool
	Share    int
	Faults   []Fault
}

// faultsFrom and faultsUntil bound when faults begin; all have ended at healed.
const (
	faultsFrom  = 2 * time.Second
	faultsUntil = 10 * time.Second
	healed      = 14 * time.Second
)

// NewSchedule draws one from a seed.
func NewSchedule(seed uint64) Schedule {
	r := draws(seed, 0)
	s := Schedule{Seed: seed, Servers: pick(r, 3, 3, 3, 4, 5), SemiSync: r.IntN(2) == 0, Ladder: r.IntN(2) == 0, Hold: r.IntN(6) == 0}
	if share := draws(seed, 2).IntN(6); share <= len(nodeNames) {
		s.Share = share
	}
	d := drawer{r: r, s: &s}
	first := faultsFrom + time.Duration(r.Int64N(int64(3*time.Second)))
	for i := range 1 + r.IntN(5) {
		at := first
		switch {
		case i == 0:
		case r.IntN(3) > 0: // in the middle of what the first one began
			at += time.Duration(r.Int64N(int64(3 * time.Second)))
		default:
			at = faultsFrom + time.Duration(r.Int64N(int64(faultsUntil-faultsFrom)))
		}
		f := d.fault(i)
		f.At = at.Round(time.Millisecond)
		f.For = min(f.For.Round(time.Millisecond), healed-f.At)
		s.Faults = append(s.Faults, f)
	}
	switch r.IntN(20) {
	case 0, 1:
		s.Faults = append(s.Faults, d.latecomer(first)...)
	case 4, 5:
		s.Faults = append(s.Faults, d.deaf(first)...)
	case 2, 3:
		s.Faults = append(s.Faults, fork(first)...)
	}
	s.mild()
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return s
}

// mild takes out what nobody promises to survive: a ProxySQL that hangs while its
// sidecar is dead or frozen is closed by nobody but the watchdog, which is no part
// of the world; one whose sidecar is cut off, only by a ladder; and against one hand
// that opens a server while another routes to it there is nothing but to undo both.
func (s *Schedule) mild() {
	edited := slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Kind == EditProxy })
	kinds := []FaultKind{Kill, FreezeNode, KillHost, HangDisk, Suspend}
	if !s.Ladder {
		kinds = append(kinds, Partition, Slow)
	}
	sidecars := slices.ContainsFunc(s.Faults, func(f Fault) bool { return slices.Contains(kinds, f.Kind) })
	for i := range s.Faults {
		if f := &s.Faults[i]; sidecars && f.Kind == FreezeProxy {
			f.Kind = KillProxy
		}
		if f := &s.Faults[i]; edited && f.Kind == OpenServer {
			f.Kind = CloseServer
		}
	}
}

// latecomer is a node that misses what the first fault begins, and whose ledger is
// slow to catch up when it comes back.
func (d *drawer) latecomer(first time.Duration) []Fault {
	n := d.r.IntN(len(nodeNames))
	others := slices.Delete(slices.Clone(nodeNames), n, n+1)
	at := max(faultsFrom, first-time.Second/2).Round(time.Millisecond)
	delay := 50*time.Millisecond + time.Duration(d.r.Int64N(int64(250*time.Millisecond)))
	return []Fault{
		{At: at, For: 4 * time.Second, Kind: KillHost, Who: []string{nodeNames[n]}},
		{At: at, For: 8 * time.Second, Kind: Slow, Who: []string{nodeNames[n]}, Whom: others, Delay: delay.Round(time.Millisecond)},
	}
}

// deaf is a node that gets leases and no ledger, and whose proxy restarts then.
func (d *drawer) deaf(first time.Duration) []Fault {
	n := d.r.IntN(len(nodeNames))
	others := slices.Delete(slices.Clone(nodeNames), n, n+1)
	first = first.Round(time.Millisecond)
	return []Fault{
		{At: first - time.Second/2, For: 8 * time.Second, Kind: Partition, Who: []string{nodeNames[n]}, Whom: others, Traffic: RaftPort},
		{At: first + 4500*time.Millisecond, For: time.Second / 2, Kind: KillProxy, Who: []string{nodeNames[n]}},
	}
}

// fork is a replica that goes a way of its own, and then the death of the primary.
func fork(first time.Duration) []Fault {
	first = first.Round(time.Millisecond)
	return []Fault{
		{At: first, For: 7 * time.Second, Kind: Partition, Who: []string{"a"}, Whom: []string{"b"}, Traffic: SQLPort},
		{At: first + 200*time.Millisecond, Kind: Errant, Who: []string{"b"}},
		{At: first + 4*time.Second, For: 4 * time.Second, Kind: Crash, Who: []string{"a"}},
	}
}

// draws are what a seed gives, in several streams.
func draws(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // a schedule is to be drawn again
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// drawer draws faults.
type drawer struct {
	r     *rand.Rand
	s     *Schedule
	loses bool // a disk or what was not synced: no second such fault beside it
}

// fault draws one; the first is mostly one that calls for a recovery.
func (d *drawer) fault(i int) Fault {
	r := d.r
	f := Fault{For: time.Second/2 + time.Duration(r.Int64N(int64(7*time.Second)))}
	if i == 0 && r.IntN(4) > 0 {
		f.Kind = pick(r, Crash, Crash, Freeze, Partition, Partition, Switchover, Switchover, PowerLoss)
	} else {
		f.Kind = pick(r, Crash, Freeze, Lag, Nonsense, Crowded, FailActs, Kill, Kill, FreezeNode, FreezeNode, Suspend, SetClock, HangDisk, KillProxy, KillProxy,
			FreezeProxy, FreezeProxy, KillHost, Partition, Partition, Partition, Slow, Switchover, CloseServer, OpenServer, StopReplica, Errant,
			EditProxy, LoseDisk, PowerLoss)
	}
	if f.Kind == PowerLoss || f.Kind == LoseDisk {
		if d.loses {
			f.Kind = Crash
		}
		d.loses = true
	}
	switch f.Kind {
	case Crash, PowerLoss, Freeze, Nonsense, Crowded, FailActs, CloseServer:
		f.Who = []string{d.server(true)}
	case Lag, StopReplica, Errant, Switchover, LoseDisk, OpenServer:
		f.Who = []string{d.server(false)}
	case Kill, FreezeNode, Suspend, SetClock, HangDisk, KillHost:
		f.Who = []string{pick(r, "leader", "leader", "n1", "n2", "n3")}
	case KillProxy, FreezeProxy:
		f.Who = []string{pick(r, nodeNames...)}
	case EditProxy:
		f.Who, f.Whom = []string{pick(r, nodeNames...)}, []string{d.server(false)}
	case Partition:
		d.partition(&f)
	case Slow:
		f.Who, f.Whom = d.split()
		f.Delay, f.Loss = time.Duration(r.Int64N(int64(300*time.Millisecond))).Round(time.Millisecond), float64(r.IntN(3))/10
	}
	if f.Kind == SetClock {
		f.Delay = time.Duration(r.Int64N(int64(20*time.Second)) - int64(10*time.Second)).Round(time.Millisecond)
	}
	if f.Kind == PowerLoss {
		f.For = max(f.For, 6*time.Second) // shorter, and old GTIDs would name new transactions: no set can show that
	}
	switch f.Kind {
	case Switchover, CloseServer, OpenServer, StopReplica, Errant, EditProxy, SetClock:
		f.For = 0
	}
	return f
}

// server draws one; the primary as often as all others together, where it may be.
func (d *drawer) server(primary bool) string {
	if primary && d.r.IntN(2) == 0 {
		return "primary"
	}
	return string(rune('a' + d.r.IntN(d.s.Servers)))
}

// partition draws who is cut off from whom: a side with the primary mostly, or
// one pair; both ways or one; all traffic or one kind.
func (d *drawer) partition(f *Fault) {
	f.Who, f.Whom = d.split()
	if d.r.IntN(3) == 0 {
		f.Who, f.Whom = []string{pick(d.r, f.Who...)}, []string{pick(d.r, f.Whom...)}
	}
	f.OneWay = d.r.IntN(4) == 0
	if d.r.IntN(4) == 0 {
		f.Traffic = pick(d.r, RaftPort, APIPort, SQLPort)
	}
}

// split puts everybody on one of two sides: with the primary none or some of the
// nodes and seldom a replica.
func (d *drawer) split() (one, other []string) {
	one = []string{"a"}
	for _, n := range nodeNames {
		if d.r.IntN(3) == 0 {
			one = append(one, n)
		} else {
			other = append(other, n)
		}
	}
	for i := 1; i < d.s.Servers; i++ {
		name := string(rune('a' + i))
		if d.r.IntN(5) == 0 {
			one = append(one, name)
		} else {
			other = append(other, name)
		}
	}
	if len(other) == 0 {
		one, other = one[1:], one[:1]
	}
	return one, other
}

// String is the schedule in lines.
func (s Schedule) String() string {
	var b strings.Builder
	durability := "async"
	if s.SemiSync {
		durability = "semi_sync"
	}
	if s.Ladder {
		durability += ", with a ladder"
	}
	if s.Hold {
		durability += ", on_lease_loss: hold"
	}
	if s.Share > 0 {
		durability += fmt.Sprintf(", the primary watched by %d", s.Share)
	}
	fmt.Fprintf(&b, "seed %d: %d servers, %s\n", s.Seed, s.Servers, durability)
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

// Outcome is how a schedule ended.
type Outcome struct {
	Failures []string // invariants that broke, in sentences
	Trace    []string // what happened, a line each
	Writes   int
	Acked    int
	Virtual  time.Duration
}

// Run plays the schedule in a new world. It must be called in a bubble of
// testing/synctest.
func (s Schedule) Run(o Options) Outcome {
	o.Seed, o.Servers, o.SemiSync, o.Ladder, o.Hold, o.Share = s.Seed, s.Servers, s.SemiSync, s.Ladder, s.Hold, s.Share
	w := New(o)
	if err := w.Start(); err != nil {
		w.fail("%v", err)
	} else {
		w.play(s.Faults)
		w.Finish()
	}
	out := Outcome{Writes: len(w.history.attempts), Acked: w.history.acknowledged(), Virtual: time.Since(w.began)}
	w.Close()
	out.Failures, out.Trace = w.failures, w.trace
	return out
}

// play lets all faults happen and waits until the last has ended.
func (w *World) play(faults []Fault) {
	var all sync.WaitGroup
	for n, f := range faults {
		all.Go(func() {
			time.Sleep(f.At - time.Since(w.began))
			end := w.strike(f, n)
			time.Sleep(f.For)
			end()
		})
	}
	all.Wait()
	w.event("all faults have ended")
}
