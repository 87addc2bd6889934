package mysql

import (
	"context"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab/endpoints"
	"github.com/remora-ha/remora/topology"
)

// simulated starts endpoints: a primary and two replicas in each cluster.
func simulated(tb testing.TB, clusters int) *endpoints.Fleet {
	tb.Helper()
	sizes := make([]int, clusters)
	for i := range sizes {
		sizes[i] = 3
	}
	f, err := endpoints.Start(sizes)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	return f
}

func endpointConfig() Config {
	return Config{User: "remora", Password: "secret", ReplicationUser: "repl", ReplicationPassword: "secret"}
}

// TestEndpointsAreReadAndActedOnLikeServers keeps the simulated servers in line with what is sent to real ones: a failover's
// acts find all their statements understood.
func TestEndpointsAreReadAndActedOnLikeServers(t *testing.T) {
	f := simulated(t, 1)
	c := f.Clusters()[0]
	primary, next, other := c.Instances[0], c.Instances[1], c.Instances[2]
	f.Write(7)
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	p := NewProber(topology.Addr(next.Addr), endpointConfig(), "n1", nil)
	defer p.Close()
	st := p.Probe(ctx).State
	if st == nil || st.Source() == nil || st.Source().IO != topology.ThreadYes || st.Writable() || st.Source().Heartbeat.D() != 500*time.Millisecond ||
		!st.HasApplied(st.Source().Received) || st.Executed.Empty() {
		t.Fatalf("the replica: %+v", st)
	}
	servers := NewServers(endpointConfig(), nil)
	defer servers.Close()
	do := func(s failover.Step) {
		t.Helper()
		if err := servers.Do(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	primary.Kill()
	if src := p.Probe(ctx).State.Source(); src.IO != topology.ThreadConnecting || src.IOErrno == 0 {
		t.Errorf("the replica of a dead source: %+v", src)
	}
	do(failover.Step{Do: failover.StopReceiving, Target: topology.Addr(next.Addr), Source: topology.Addr(primary.Addr)})
	do(failover.Step{Do: failover.Drain, Target: topology.Addr(next.Addr)})
	do(failover.Step{Do: failover.Promote, Target: topology.Addr(next.Addr)})
	do(failover.Step{Do: failover.Repoint, Target: topology.Addr(other.Addr), Source: topology.Addr(next.Addr)})
	primary.Revive()
	do(failover.Step{Do: failover.Repoint, Target: topology.Addr(primary.Addr), Source: topology.Addr(next.Addr)})
	do(failover.Step{Do: failover.SetReadOnly, Target: topology.Addr(next.Addr)})
	do(failover.Step{Do: failover.SetWritable, Target: topology.Addr(next.Addr)})
	if !next.Writable() || other.Writable() || primary.Source() != next.Addr || other.Source() != next.Addr {
		t.Errorf("after the failover: writable %t, %s follows %s, %s follows %s", next.Writable(), primary.Addr, primary.Source(), other.Addr, other.Source())
	}
	for _, text := range f.Unknown() {
		t.Errorf("no endpoint understands %s", text)
	}
}

// BenchmarkProbeOfAnEndpoint is one reading over a kept connection, of a replica whose GTIDs and counters move.
func BenchmarkProbeOfAnEndpoint(b *testing.B) {
	f := simulated(b, 1)
	p := NewProber(topology.Addr(f.Clusters()[0].Instances[1].Addr), endpointConfig(), "n1", nil)
	defer p.Close()
	ctx := context.Background()
	if v := p.Probe(ctx); v.Reach != topology.Answered {
		b.Fatalf("%+v", v)
	}
	before := f.Counts()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%3 == 0 {
			f.Write(1)
		}
		if v := p.Probe(ctx); v.Reach != topology.Answered {
			b.Fatalf("%+v", v)
		}
	}
	after := f.Counts()
	b.ReportMetric(float64(after.Out-before.Out+after.In-before.In)/float64(after.Readings-before.Readings), "wire-B/op")
}

// TestAPingAsksForASignOfLifeAlone: it reads nothing where the server answers, and says what the matter is where it does not.
func TestAPingAsksForASignOfLifeAlone(t *testing.T) {
	f := simulated(t, 1)
	in := f.Clusters()[0].Instances[0]
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	p := NewProber(topology.Addr(in.Addr), endpointConfig(), "n1", nil)
	defer p.Close()
	first := p.Ping(ctx)
	if first.Reach != topology.Answered || first.State == nil || f.Counts().Readings != 1 {
		t.Fatalf("the first ping reads: %+v", first)
	}
	if v := p.Ping(ctx); v.Reach != topology.Answered || v.State != first.State || !v.StateAt.Equal(first.StateAt) || !v.At.After(first.At) || f.Counts().Readings != 1 {
		t.Errorf("after %d readings a ping says %+v", f.Counts().Readings, v)
	}
	if v := p.Probe(ctx); v.Reach != topology.Answered || !v.StateAt.After(first.StateAt) {
		t.Errorf("what follows a ping on its connection is read as %+v", v)
	}
	in.Kill()
	if v := p.Ping(ctx); v.Reach != topology.Refused || v.Failures != 1 {
		t.Errorf("a ping of a dead server: %+v", v)
	}
	in.Revive()
	if v := p.Ping(ctx); v.Reach != topology.Answered || v.Failures != 0 || !v.StateAt.After(first.StateAt) {
		t.Errorf("a server that is back is read: %+v", v)
	}
}

// BenchmarkPingOfAnEndpoint is what a sign of life costs over a kept connection.
func BenchmarkPingOfAnEndpoint(b *testing.B) {
	f := simulated(b, 1)
	p := NewProber(topology.Addr(f.Clusters()[0].Instances[0].Addr), endpointConfig(), "n1", nil)
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Ping(context.Background()); v.Reach != topology.Answered {
			b.Fatalf("%+v", v)
		}
	}
}
