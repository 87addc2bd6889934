package bench

import (
	"context"
	"errors"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

const (
	writesBack   = "writes back"
	longestPause = "longest pause of a client"
)

// blow is a failure of the primary, and what may go with it.
type blow struct {
	// median and worst are what is promised of the time until writes are back, in milliseconds.
	median, worst float64
	writers       int
	fleet         func(*fleet.Options) // what is special about its fleet; nil for nothing
	// strike is the blow; what it returns is done when writes are back.
	strike func(ctx context.Context, f *fleet.Fleet, primary *lab.Server, round int) (mend func() error, err error)
}

// busy is for servers that work for minutes on end, unlike the lab's others. The smallest redo log makes them stop to write their
// pages; each flavor passes over the other's option. And the default depth of the LRU scan is more pages than the lab's pool has:
// MariaDB then evicts them all, all the time, and its statements wait for seconds, with an idle disk, for pages to be written.
var busy = []string{"--loose-innodb-log-file-size=128M", "--loose-innodb-redo-log-capacity=128M", "--innodb-lru-scan-depth=100"}

// measured is the fleet of all measurements. The primary commits what its clients send at the same time in one group, with one
// sync of the disk. A replica with few threads makes smaller groups and falls behind, and a failover, which has to wait until the
// chosen one has applied what it received, then measures that lag.
func measured() fleet.Options {
	return fleet.Options{Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, DropUnacked: true, Appliers: 16, ExtraArgs: busy}}, Policy: "anti_flap: 0s"}
}

func nothing() error { return nil }

func blows() []Measurement {
	kill := blow{median: 400, worst: 1200, writers: 16, strike: func(_ context.Context, _ *fleet.Fleet, p *lab.Server, _ int) (func() error, error) {
		return nothing, p.Kill()
	}}
	// A frozen server is killed before it returns: thawed it would hold what it had written when it froze and no replica
	// acknowledged, and would rightly be kept out.
	freeze := blow{median: 1800, writers: 16, strike: func(_ context.Context, _ *fleet.Fleet, p *lab.Server, _ int) (func() error, error) {
		return p.Kill, p.Freeze()
	}}
	leader := blow{median: 5000, writers: 16, strike: func(ctx context.Context, f *fleet.Fleet, p *lab.Server, _ int) (func() error, error) {
		dead, err := f.Leader(ctx)
		if err != nil {
			return nil, err
		}
		return func() error { return dead.Start(ctx) }, errors.Join(dead.Kill(), p.Kill())
	}}
	return []Measurement{
		{Name: "kill", About: "SIGKILL to the primary", Times: 30, Run: kill.run},
		{Name: "freeze", About: "SIGSTOP to the primary: its connections stay open and answer nothing", Times: 10, Run: freeze.run},
		{Name: "leader", About: "SIGKILL to the leader's sidecar and to the primary at once; the sidecar stays dead until writes are back", Times: 10, Run: leader.run},
	}
}

// A sidecar that cannot be reached, with its proxy, at the moment of a failover: nobody knows whether that proxy still sends
// writes to the old primary. Where durability fences, nobody has to wait for it; else its lease and the fence time are waited
// for.
func cuts() []Measurement {
	const lease = 2500 // milliseconds: the lease and the fence time
	cut := blow{worst: lease, writers: 15, strike: cutHost, fleet: func(o *fleet.Options) { o.Hosts = true }}
	withLease := blow{worst: lease + 1000, writers: 15, strike: cutHost, fleet: func(o *fleet.Options) {
		o.Hosts = true
		o.Policy += "\nsemi_sync: {timeout: 10s}" // after which commits go on without a replica: nothing to fence with
	}}
	return []Measurement{
		{Name: "cut", About: "the host of a sidecar that does not lead is cut off with its proxy and clients, and the primary gets SIGKILL, at once", Times: 10, Run: cut.run},
		{Name: "cut-lease", About: "the same with semi_sync.timeout: 10s, with which durability cannot fence", Times: 10, Run: withLease.run},
	}
}

func cutHost(ctx context.Context, f *fleet.Fleet, p *lab.Server, round int) (func() error, error) {
	leader, err := f.Leader(ctx)
	if err != nil {
		return nil, err
	}
	cut := round % len(f.Sidecars)
	if f.Sidecars[cut] == leader { // an election on top is what the measurement "leader" has
		cut = (cut + 1) % len(f.Sidecars)
	}
	node := f.Nodes[cut]
	err = errors.Join(f.Network.Cut(ctx, lab.Apart([]*lab.Host{node}, f.Network.Others(node))...), p.Kill())
	return func() error { return f.Network.Cut(ctx) }, err
}

func (b blow) run(ctx context.Context, r *Run) error {
	r.Promise(writesBack, b.median, b.worst)
	opts := measured()
	if b.fleet != nil {
		b.fleet(&opts)
	}
	return r.rounds(ctx, opts, b.round)
}

func (b blow) round(ctx context.Context, s *stage, i int) error {
	load, err := s.clients(ctx, b.writers)
	if err != nil {
		return err
	}
	defer load.Stop()
	mend := nothing
	r, err := s.f.Blow(ctx, load, s.Name, func(p *lab.Server) (err error) {
		mend, err = b.strike(ctx, s.f, p, i)
		return err
	}, func() error { return mend() })
	if err != nil {
		return err
	}
	load.Stop()
	s.AddTime(writesBack, r.Back)
	s.AddTime(longestPause, r.Pause())
	s.AddTime("the blow itself", r.Landed.Sub(r.Struck))
	s.addPhases(r.Recovery, lab.Interval{From: r.Struck, To: r.Struck.Add(r.Back)})
	s.note(r, i)
	began := time.Now()
	if _, err = s.f.Return(ctx, r.From); err != nil {
		return err
	}
	s.AddTime("old primary back", time.Since(began))
	return nil
}
