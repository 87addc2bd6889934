package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// Options describe a run. The zero value is half an hour of everything.
type Options struct {
	T    time.Duration // how long faults are begun; 0 for 30 minutes
	Seed uint64        // of the order of the faults; what the machine does meanwhile it cannot repeat
	// Only names the faults to draw from; none for all.
	Only    []string
	Writers int // clients, spread over the nodes; 0 for 9
	StandIn bool
	// Async replicates without semi-sync, where writes that were acknowledged can be lost, and a proxy that is left behind
	// makes two writers: the judge has to find both.
	Async bool
	// Rounds ends the run after as many, also before T; 0 for no such end.
	Rounds int
	// HoldFrom and HoldTo bound how long a fault lasts; 0 for 5 s and 12 s.
	HoldFrom, HoldTo time.Duration
	Out              io.Writer // progress, for people; nil for none
}

// bound is how long all may take to be well again after a fault. A server whose disk was full looks for room once a minute.
const bound = 2 * time.Minute

// forever is how long a commit waits for an acknowledgement: durability fences only where it never goes on without. MySQL waits
// for 49 days at most.
const forever = 45 * 24 * time.Hour

// The sizes of each server's and each sidecar's disk: half an hour of writes fits, and beside the saved transactions that a sidecar
// keeps there are the 256 MiB that it leaves free.
const (
	serverDisk  = 512 << 20
	sidecarDisk = 384 << 20
)

// Faults names all kinds of faults, each with what it means.
func Faults() (all [][2]string) {
	for _, f := range catalogue {
		all = append(all, [2]string{f.name, f.means})
	}
	return all
}

// run is a run under way.
type run struct {
	opts   Options
	lab    *lab.Lab
	f      *fleet.Fleet
	load   *lab.Load
	logs   *logs
	random *rand.Rand
	report Report
	began  time.Time
	// since is when the operator first saw that a server cannot come back by itself.
	since map[*lab.Server]time.Time
}

// Run plays faults and judges. The error is for what is no verdict: the report holds the promises that were broken.
func Run(ctx context.Context, l *lab.Lab, opts Options) (Report, error) {
	c, err := start(ctx, l, opts)
	if err != nil {
		return Report{}, err
	}
	d, err := newDeck(rand.New(rand.NewPCG(c.opts.Seed, 1)), c.opts.Only) // of its own, so that the order is the same whatever else is drawn
	if err != nil {
		return Report{}, err
	}
	for time.Since(c.began) < c.opts.T && len(c.report.Broken) == 0 && (opts.Rounds == 0 || len(c.report.Rounds) < opts.Rounds) {
		r, err := c.round(ctx, d.draw())
		if err := errors.Join(ctx.Err(), err); err != nil {
			return c.report, err
		}
		c.report.Rounds = append(c.report.Rounds, r)
		c.say("%s", r)
		if err := hold(ctx, c.between(time.Second, 2*time.Second)); err != nil {
			return c.report, err
		}
	}
	return c.report, c.judge(ctx)
}

func start(ctx context.Context, l *lab.Lab, opts Options) (*run, error) {
	if opts.T == 0 {
		opts.T = 30 * time.Minute
	}
	if opts.Writers == 0 {
		opts.Writers = 9
	}
	if opts.HoldTo == 0 {
		opts.HoldFrom, opts.HoldTo = 5*time.Second, 12*time.Second
	}
	if opts.Out == nil {
		opts.Out = io.Discard
	}
	c := &run{
		opts: opts, lab: l, logs: newLogs(), random: rand.New(rand.NewPCG(opts.Seed, 0)),
		since: map[*lab.Server]time.Time{}, report: Report{Seed: opts.Seed},
	}
	var err error
	c.f, err = fleet.Start(ctx, l, fleet.Options{
		Hosts: true, Disk: sidecarDisk, StandIn: opts.StandIn,
		// A recovery every half minute is what this is for; and where a failover is refused, the primary that returns is to go on.
		Policy: "anti_flap: 0s\nlag: {when_all: promote}",
		Topology: lab.Spec{Server: lab.ServerOptions{
			SemiSync: !opts.Async, SemiSyncTimeout: forever, Appliers: 4, Disk: serverDisk, Resumes: true,
		}},
	})
	if err != nil {
		return nil, err
	}
	primary := c.f.DB.Primary()
	if err := primary.Exec(ctx, addOrigin...); err != nil {
		return nil, err
	}
	if primary.Flavor() == lab.MySQL {
		if err := primary.Exec(ctx, "GRANT CLONE_ADMIN, BACKUP_ADMIN ON *.* TO "+lab.RemoraUser.Name+"@'%'"); err != nil {
			return nil, err
		}
	}
	row, err := primary.Row(ctx, "SELECT VERSION() AS v")
	if err != nil {
		return nil, err
	}
	c.report.Servers, c.report.Proxies = primary.Flavor().String()+" "+row["v"], c.f.ProxyKind()
	if c.load, err = c.f.Load(ctx, lab.LoadOptions{
		Writers: opts.Writers, Pace: 50 * time.Millisecond,
		// Half of them give up, as applications do, just while commits stand still: that must not acknowledge anything.
		Timeouts: []time.Duration{15 * time.Second, 3 * time.Second},
	}); err != nil {
		return nil, err
	}
	c.began = time.Now()
	c.report.Began = c.began
	if _, err := c.settle(ctx); err != nil {
		return nil, fmt.Errorf("before the first fault: %w", err)
	}
	c.say("chaos: seed %d, %s, proxies: %s; %d clients; %d kinds of faults", opts.Seed, c.report.Servers, ProxyName(c.report.Proxies), opts.Writers, len(catalogue))
	return c, nil
}

// ProxyName says what the proxies are.
func ProxyName(kind string) string {
	if kind == lab.StandIn {
		return "the stand-in (no proxysql on PATH or in PROXYSQL_BIN)"
	}
	return "ProxySQL " + kind
}

func (c *run) say(format string, args ...any) { fmt.Fprintf(c.opts.Out, format+"\n", args...) }

func (c *run) between(low, high time.Duration) time.Duration {
	return low + time.Duration(c.random.Int64N(int64(high-low)+1))
}

func hold(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// hand is what one round plays.
type hand struct {
	faults     []fault
	switchover bool // the faults come in the middle of one
}

func (h hand) String() string {
	var names []string
	for _, f := range h.faults {
		names = append(names, f.name)
	}
	s := strings.Join(names, " + ")
	switch {
	case h.switchover && s == "":
		return "switchover"
	case h.switchover:
		return s + " in a switchover"
	default:
		return s
	}
}

// deck deals every kind once, with rounds of two faults and of faults in switchovers among them, before it begins anew.
type deck struct {
	random *rand.Rand
	from   []fault
	cards  []hand
}

func newDeck(random *rand.Rand, only []string) (*deck, error) {
	d := &deck{random: random}
	for _, name := range only {
		if !slices.ContainsFunc(catalogue, func(f fault) bool { return f.name == name }) {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
	}
	for _, f := range catalogue {
		if len(only) == 0 || slices.Contains(only, f.name) {
			d.from = append(d.from, f)
		}
	}
	return d, nil
}

func (d *deck) draw() hand {
	if len(d.cards) == 0 {
		d.shuffle()
	}
	h := d.cards[0]
	d.cards = d.cards[1:]
	return h
}

func (d *deck) shuffle() {
	var several []fault
	for _, f := range d.from {
		d.cards = append(d.cards, hand{faults: []fault{f}})
		if !f.alone {
			several = append(several, f)
		}
	}
	if len(several) > 1 {
		for range max(1, len(d.from)/5) {
			i, j := d.random.IntN(len(several)), d.random.IntN(len(several)-1)
			if j >= i {
				j++
			}
			d.cards = append(d.cards, hand{faults: []fault{several[i], several[j]}},
				hand{faults: []fault{several[d.random.IntN(len(several))]}, switchover: true})
		}
		d.cards = append(d.cards, hand{switchover: true})
	}
	d.random.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
}
