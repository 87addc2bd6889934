package mysql

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testLimit bounds each wait of a test; what is expected takes milliseconds.
const testLimit = 20 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	t.Cleanup(cancel)
	return ctx
}

// replication starts servers of which the first is the primary.
func replication(t *testing.T, spec lab.Spec) *lab.Topology {
	t.Helper()
	top, err := lab.ForTest(t, lab.Options{}).Topology(testContext(t), spec)
	must(t, err)
	return top
}

// alone starts one writable server.
func alone(t *testing.T, opts lab.ServerOptions) *lab.Server {
	t.Helper()
	opts.Name, opts.Writable = "alone", true
	s, err := lab.ForTest(t, lab.Options{}).Server(testContext(t), opts)
	must(t, err)
	must(t, s.Exec(testContext(t), lab.CreateWrites...))
	return s
}

// only skips a test that is about the other flavor's own words.
func only(t *testing.T, f lab.Flavor, why string) {
	t.Helper()
	if lab.DefaultFlavor() != f {
		t.Skipf("of %s alone: %s", f, why)
	}
}

// isOf says that a server of MySQL's is of a release or a later one, such as 80300 for 8.3.0: MYSQLD may name an older one.
func isOf(t *testing.T, s *lab.Server, release int) bool {
	t.Helper()
	return (&reading{state: look(t, s)}).release() >= release
}

// tagsSince is the first release whose GTIDs have tags.
const tagsSince = 80300

// in is what a server's flavor calls a thing.
func in(s *lab.Server, mariadb, mysql string) string {
	if s.Flavor() == lab.MySQL {
		return mysql
	}
	return mariadb
}

func addr(s *lab.Server) topology.Addr { return topology.Addr(s.Addr) }

func testConfig() Config {
	c := DefaultConfig()
	c.User, c.Password = lab.RemoraUser.Name, lab.RemoraUser.Password
	c.ReplicationUser, c.ReplicationPassword = lab.ReplUser.Name, lab.ReplUser.Password
	return c
}

// prober makes a prober whose breaks are counted in a channel.
func prober(t *testing.T, a topology.Addr, cfg Config) (*Prober, <-chan time.Time) {
	t.Helper()
	broke := make(chan time.Time, 16)
	p := NewProber(a, cfg, "tester", func() { broke <- time.Now() })
	t.Cleanup(p.Close)
	return p, broke
}

// probeWithin probes with a deadline and fails when the probe outlives it.
func probeWithin(t *testing.T, p *Prober, limit time.Duration) topology.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	v := p.Probe(ctx)
	if took := time.Since(start); took > limit+2*time.Second {
		t.Errorf("a probe with %v took %v", limit, took)
	}
	return v
}

// look is a probe that must be answered.
func look(t *testing.T, s *lab.Server) *topology.State {
	t.Helper()
	p := NewProber(addr(s), testConfig(), "tester", nil)
	defer p.Close()
	v := probeWithin(t, p, 5*time.Second)
	if v.Reach != topology.Answered {
		t.Fatalf("%s: %s: %s", s.Name, v.Reach, v.Error)
	}
	return v.State
}

// servers makes the executor of acts.
func servers(t *testing.T, cfg Config) *Servers {
	t.Helper()
	s := NewServers(cfg, slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(s.Close)
	return s
}

// twice does a step two times: every act is idempotent.
func twice(t *testing.T, s *Servers, step failover.Step) {
	t.Helper()
	for _, turn := range []string{"first", "second"} {
		start := time.Now()
		if err := s.Do(testContext(t), step); err != nil {
			t.Fatalf("%s, the %s time: %v", step, turn, err)
		}
		t.Logf("%s, the %s time: %v", step, turn, time.Since(start).Round(10*time.Microsecond))
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b[:len(b)-1])
	return len(b), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, fn func() (bool, string)) {
	t.Helper()
	must(t, lab.Eventually(testContext(t), what, 5*time.Millisecond, fn))
}
