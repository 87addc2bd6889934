package scale

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/endpoints"
	"github.com/remora-ha/remora/topology"
)

// settling is waited after the start, which costs more than the rest.
const settling = 10 * time.Second

// Watch measures what a fleet costs at rest and how long a death takes to be found.
func Watch(ctx context.Context, l *lab.Lab, opts Options) (r *Report, err error) {
	opts = opts.withDefaults(3000, 10_000)
	in, err := start(ctx, l, opts, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	r = newReport("watch", opts)
	r.add("start", "all clusters routed after", in.routedIn.Seconds(), "s")
	if err := pause(ctx, settling); err != nil {
		return nil, err
	}
	if err := in.rest(ctx, r); err != nil {
		return nil, err
	}
	if err := in.deaths(ctx, r); err != nil {
		return nil, err
	}
	if err := in.restart(ctx, r); err != nil {
		return nil, err
	}
	r.Unknown = in.db.Unknown()
	return r, nil
}

// mark is all counters at one instant.
type mark struct {
	at     time.Time
	counts endpoints.Counts
	own    usage
	each   []usage
	index  uint64
	disk   int64
}

func (in *install) mark(ctx context.Context) (m mark, err error) {
	m.at, m.counts = time.Now(), in.db.Counts()
	if m.own, err = usageOf(os.Getpid()); err != nil {
		return m, err
	}
	for _, p := range in.sidecars {
		u, err := usageOf(p.PID())
		if err != nil {
			return m, fmt.Errorf("%s: %w", p.Name, err)
		}
		m.each = append(m.each, u)
	}
	// Last, for the answer takes the leader megabytes that it gives back in its own time.
	s, leader, err := in.settledStatus(ctx)
	if err != nil {
		return m, err
	}
	m.index, m.disk = s.Index, sizeOf(in.dataDir(leader))
	return m, nil
}

// rest measures while nothing happens.
func (in *install) rest(ctx context.Context, r *Report) error {
	in.opts.say("at rest for %s", in.opts.For)
	before, err := in.mark(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, in.opts.For); err != nil {
		return err
	}
	after, err := in.mark(ctx)
	if err != nil {
		return err
	}
	span := after.at.Sub(before.at).Seconds()
	cores := func(a, b usage) float64 { return (b.cpu - a.cpu).Seconds() / span }
	readings := float64(after.counts.Readings - before.counts.Readings)
	all, most := 0.0, int64(0)
	var resident int64
	for i := range before.each {
		c := cores(before.each[i], after.each[i])
		all += c
		resident += after.each[i].resident
		most = max(most, after.each[i].resident)
		r.add("rest", "CPU of "+in.sidecars[i].Name, c, "cores")
		r.add("rest", "memory of "+in.sidecars[i].Name, megabytes(after.each[i].resident), "MB")
		r.add("rest", "open files of "+in.sidecars[i].Name, float64(after.each[i].files), "")
	}
	rate := readings / span
	r.add("rest", "CPU of all sidecars", all, "cores")
	r.add("rest", "memory of the largest sidecar", megabytes(most), "MB")
	r.add("rest", "readings", rate, "/s")
	pings := float64(after.counts.Pings-before.counts.Pings) / span
	r.add("rest", "pings", pings, "/s")
	r.add("rest", "CPU per 1,000 readings and pings a second", all/(rate+pings)*1000, "cores")
	r.add("rest", "memory per 1,000 instances, all sidecars", megabytes(resident)/float64(in.opts.Instances)*1000, "MB")
	r.add("rest", "bytes on the wire per reading, with pings", float64(after.counts.In-before.counts.In+after.counts.Out-before.counts.Out)/max(readings, 1), "B")
	r.add("rest", "log-ins", float64(after.counts.Logins-before.counts.Logins), "")
	r.add("rest", "raft entries per day", float64(after.index-before.index)/span*86400, "")
	r.add("rest", "raft data of the leader per day", megabytes(after.disk-before.disk)/span*86400, "MB")
	r.add("rest", "CPU of the endpoints and of this harness", cores(before.own, after.own), "cores")
	return nil
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// deaths kills one instance after the other, primaries and replicas, and waits each time until the leader's own snapshot
// says so; each returns before the next.
func (in *install) deaths(ctx context.Context, r *Report) error {
	_, leader, err := in.settledStatus(ctx)
	if err != nil {
		return err
	}
	in.opts.say("%d deaths, one after the other", in.opts.Kills)
	var replicas, primaries []time.Duration
	for i := range in.opts.Kills {
		c := in.db.Clusters()[rand.IntN(in.opts.Clusters)]
		dead := c.Instances[0]
		if i%2 == 0 {
			dead = c.Instances[len(c.Instances)-1]
		}
		took, err := in.death(ctx, leader, c.Name, dead)
		if err != nil {
			return err
		}
		if i%2 == 0 {
			replicas = append(replicas, took)
		} else {
			primaries = append(primaries, took)
		}
		dead.Revive()
	}
	r.addTimes("deaths", "a replica's, until the leader finds it", replicas)
	r.addTimes("deaths", "a primary's, until the leader finds it", primaries)
	return nil
}

// death times how long the leader takes to find something about an instance that was killed.
func (in *install) death(ctx context.Context, leader int, cluster string, dead *endpoints.Instance) (time.Duration, error) {
	struck := time.Now()
	dead.Kill()
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var took time.Duration
	err := lab.Eventually(bounded, "the death of "+dead.Addr+" is found", 10*time.Millisecond, func() (bool, string) {
		c, err := in.clients[leader].Snapshot(bounded, cluster)
		if err != nil {
			return false, err.Error()
		}
		took = time.Since(struck)
		return found(&c, topology.Addr(dead.Addr)), "it is not found"
	})
	return took, err
}

// found says whether the snapshot has a finding about an instance, or a recovery from it that has begun.
func found(c *failover.Case, dead topology.Addr) bool {
	if c.Intent != nil && c.Intent.From == dead {
		return true
	}
	for _, f := range failover.Examine(c).Findings {
		if f.Instance == dead {
			return true
		}
	}
	return c.Last != nil && c.Last.Intent.From == dead
}

// restart ends a sidecar that does not lead and times its return: until it answers, and until it has all of the ledger.
func (in *install) restart(ctx context.Context, r *Report) error {
	s, leader, err := in.settledStatus(ctx)
	if err != nil {
		return err
	}
	i := (leader + 1) % len(in.sidecars)
	p := in.sidecars[i]
	in.opts.say("%s is killed and started again", p.Name)
	if err := p.Kill(); err != nil {
		return err
	}
	began := time.Now()
	if err := p.Start(ctx); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = lab.Eventually(bounded, p.Name+" has the ledger again", 20*time.Millisecond, func() (bool, string) {
		local, err := in.clients[i].Status(bounded)
		if err != nil {
			return false, err.Error()
		}
		return local.Index >= s.Index && local.Leader != "", fmt.Sprintf("index %d of %d", local.Index, s.Index)
	})
	if err != nil {
		return err
	}
	r.add("restart", "a sidecar killed: until it serves with all of the ledger", time.Since(began).Seconds(), "s")
	r.add("restart", "its data on disk", megabytes(sizeOf(in.dataDir(i))), "MB")
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
