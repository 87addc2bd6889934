package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestAFleetThroughItsTroubles plays, on one fleet and under load, what happens to an installation over the years. Each
// part leaves the fleet well.
func TestAFleetThroughItsTroubles(t *testing.T) {
	ctx, f, load := start(t, measured, lab.LoadOptions{Writers: 6, Pace: 10 * time.Millisecond})
	for _, trouble := range []struct {
		name string
		play func(*testing.T, context.Context, *fleet.Fleet, *lab.Load)
	}{
		{"a switchover that cannot finish puts everything back", switchoverFails},
		{"a writer changed by another hand is put back", anotherHand},
		{"a restarted proxy comes back closed, and is opened", proxyRestarts},
		{"a leader killed in the middle of a failover", leaderDiesAtWork},
		{"an operator at the command line", operator},
	} {
		t.Run(trouble.name, func(t *testing.T) { trouble.play(t, ctx, f, load) })
	}
	nothingLost(t, ctx, f, load)
}

// switchoverFails: the target cannot apply what it receives, so it cannot catch up.
func switchoverFails(t *testing.T, ctx context.Context, f *fleet.Fleet, load *lab.Load) {
	primary, err := f.Primary(ctx)
	must(t, err)
	others, err := replicas(ctx, f)
	must(t, err)
	target := others[0]
	lock, err := target.DB().Conn(ctx)
	must(t, err)
	defer lock.Close()
	_, err = lock.ExecContext(ctx, "LOCK TABLES lab.writes READ")
	must(t, err)

	began := time.Now()
	out := remora(t, ctx, f, "", "switchover", fleet.Cluster, "--to", target.Addr, "--timeout", "1500ms")
	out.want(t, 4, "rolled back", target.Addr)
	routed(t, ctx, f, primary.Addr)
	_, err = load.Back(ctx, time.Now())
	must(t, err)
	_, err = lock.ExecContext(ctx, "UNLOCK TABLES")
	must(t, err)
	must(t, f.Converged(ctx))

	if now, err := f.Primary(ctx); err != nil || now != primary {
		t.Errorf("the primary was %s and is %v (%v)", primary.Name, now, err)
	}
	w := load.Window(began, time.Now())
	t.Log(w)
	for _, e := range w.Failures {
		t.Errorf("a client saw it: %s", e)
	}
	if rec := newest(t, ctx, f); rec.Outcome != failover.RolledBack || !strings.Contains(rec.Error, target.Addr) {
		t.Errorf("it is recorded as %q, and the reason as %q", rec.Outcome, rec.Error)
	}
}

// anotherHand changes the writer of one proxy: once it closes it, once it sends writes to a replica.
func anotherHand(t *testing.T, ctx context.Context, f *fleet.Fleet, _ *lab.Load) {
	primary, err := f.Primary(ctx)
	must(t, err)
	others, err := replicas(ctx, f)
	must(t, err)
	hostgroup := fmt.Sprintf("FROM mysql_servers WHERE hostgroup_id=%d", fleet.WriterHostgroup)
	for _, change := range [][]string{
		{strings.Replace(hostgroup, "FROM mysql_servers", "UPDATE mysql_servers SET status='OFFLINE_HARD'", 1)},
		{"DELETE " + hostgroup, fmt.Sprintf("INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (%d, '%s', %d)", fleet.WriterHostgroup, others[0].Host, others[0].Port)},
	} {
		p := f.Proxies[1]
		for _, statement := range append(change, "LOAD MYSQL SERVERS TO RUNTIME") {
			_, err := p.Admin().ExecContext(ctx, statement)
			must(t, err)
		}
		drift := found(t, ctx, f, "ProxyDrift", "")
		if !strings.Contains(drift.Sentence, primary.Addr) || !strings.Contains(drift.Sentence, "node2") {
			t.Errorf("after %s the finding does not name node2 and %s: %s", change, primary.Addr, drift.Sentence)
		}
		opens(t, ctx, p, primary.Addr)
		eventually(t, ctx, "the finding to go", func() (bool, string) {
			c, err := state(ctx, f)
			return err == nil && !slices.ContainsFunc(c.Findings, func(f failover.Finding) bool { return f.Code == "ProxyDrift" }), c.Sentence
		})
	}
}

// proxyRestarts: a ProxySQL serves its disk the moment it starts. Its sidecar is frozen meanwhile, so that what is seen
// is the proxy's own doing.
func proxyRestarts(t *testing.T, ctx context.Context, f *fleet.Fleet, load *lab.Load) {
	i := follower(t, ctx, f)
	p, sidecar := f.Proxies[i], f.Sidecars[i]
	others, err := f.Lab.Load(ctx, lab.LoadOptions{Addrs: []string{f.Proxies[(i+1)%3].ClientAddr, f.Proxies[(i+2)%3].ClientAddr}, Writers: 2, Pace: 10 * time.Millisecond})
	must(t, err)
	began := time.Now()
	eventually(t, ctx, "the writer on the proxy's disk", func() (bool, string) {
		var n int
		err := p.Admin().QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) FROM disk.mysql_servers WHERE hostgroup_id=%d", fleet.WriterHostgroup)).Scan(&n)
		return err == nil && n > 0, fmt.Sprint(n, err)
	})
	must(t, sidecar.Freeze())
	must(t, p.Kill())
	must(t, p.Start(ctx))
	got, err := writers(ctx, p)
	must(t, err)
	if len(got) > 0 {
		t.Errorf("%s came back with the writer %v, and nobody told it that this is the writer now", p.Name, got)
	}
	must(t, sidecar.Thaw())
	primary, err := f.Primary(ctx)
	must(t, err)
	opens(t, ctx, p, primary.Addr)
	must(t, f.Converged(ctx))
	_, err = load.Back(ctx, time.Now()) // also through this one
	must(t, err)
	nothingLost(t, ctx, f, others)
	for _, e := range others.Window(began, time.Now()).Failures {
		t.Errorf("a client of another proxy saw it: %s", e)
	}
}

// follower is the number of a sidecar that does not lead.
func follower(t *testing.T, ctx context.Context, f *fleet.Fleet) int {
	t.Helper()
	leader, err := f.Leader(ctx)
	must(t, err)
	if f.Sidecars[0] == leader {
		return 1
	}
	return 0
}

// leaderDiesAtWork: with a sidecar frozen the failover has to wait for a lease, so it is surely not done when its leader
// is killed.
func leaderDiesAtWork(t *testing.T, ctx context.Context, f *fleet.Fleet, load *lab.Load) {
	list, err := f.Recoveries(ctx)
	must(t, err)
	before := len(list)
	frozen := f.Sidecars[follower(t, ctx, f)]
	leader, err := f.Leader(ctx)
	must(t, err)
	r, err := f.Blow(ctx, load, "leader at work", func(p *lab.Server) error {
		if err := frozen.Freeze(); err != nil {
			return err
		}
		said, err := os.ReadFile(leader.LogFile())
		if err != nil {
			return err
		}
		if err := p.Kill(); err != nil {
			return err
		}
		since := func() string {
			log, _ := os.ReadFile(leader.LogFile())
			return string(log[len(said):])
		}
		err = lab.Eventually(ctx, "the failover to begin", time.Millisecond, func() (bool, string) {
			return strings.Contains(since(), "msg=began "), since()
		})
		if err := errors.Join(err, leader.Kill(), frozen.Thaw()); err != nil {
			return err
		}
		if strings.Contains(since(), `step="commit route`) {
			return fmt.Errorf("the failover was done before its leader was killed:\n%s", since())
		}
		return nil
	}, func() error { return leader.Start(ctx) })
	must(t, err)
	t.Log(r)
	list, err = f.Recoveries(ctx)
	must(t, err)
	if len(list) != before+1 || list[0].Outcome != failover.Succeeded || string(list[0].Intent.From) != r.From.Addr {
		t.Errorf("%d recoveries were begun, the last one %s: the next leader was to finish the one", len(list)-before, list[0].Outcome)
	}
	_, err = f.Return(ctx, r.From)
	must(t, err)
}

// operator looks around, and then forces a failover of a primary that lives.
func operator(t *testing.T, ctx context.Context, f *fleet.Fleet, _ *lab.Load) {
	primary, err := f.Primary(ctx)
	must(t, err)
	others, err := replicas(ctx, f)
	must(t, err)

	out := remora(t, ctx, f, "", "status", "--json")
	out.want(t, 0)
	var s api.Status
	must(t, json.Unmarshal([]byte(out.stdout), &s))
	if len(s.Nodes) != len(f.Sidecars) || len(s.Clusters) != 1 || string(s.Clusters[0].Primary) != primary.Addr || s.Leader == "" {
		t.Errorf("the status is not that of the fleet: %s", out.stdout)
	}
	remora(t, ctx, f, "", "topology", fleet.Cluster).want(t, 0, primary.Addr, others[0].Addr, others[1].Addr)
	kept := remora(t, ctx, f, "", "snapshot", fleet.Cluster)
	kept.want(t, 0)
	remora(t, ctx, f, kept.stdout, "analyze", "-").want(t, 0, primary.Addr+" is primary", "nothing is begun")
	last := newest(t, ctx, f).Intent.ID
	remora(t, ctx, f, "", "recoveries").want(t, 0, last, "failover", "switchover", "rolled back")

	remora(t, ctx, f, "", "failover", fleet.Cluster).want(t, 3, "Expected loss", "not confirmed", "--yes")
	if now := newest(t, ctx, f); now.Intent.ID != last {
		t.Errorf("without --yes %s was begun", now.Intent.ID)
	}
	remora(t, ctx, f, "", "failover", fleet.Cluster, "--to", others[1].Addr, "--yes").want(t, 0, "Expected loss", others[1].Addr)
	rec := newest(t, ctx, f)
	if rec.Outcome != failover.Succeeded || !rec.Intent.Forced || string(rec.To) != others[1].Addr {
		t.Errorf("the failover is recorded as %s to %s, forced: %v", rec.Outcome, rec.To, rec.Intent.Forced)
	}
	remora(t, ctx, f, "", "recoveries", rec.Intent.ID).want(t, 0, primary.Addr, others[1].Addr, "promote")
	routed(t, ctx, f, others[1].Addr)
}
