package mysql

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// awaitHeard waits until what was hailed is heard.
func awaitHeard(t *testing.T, p *Prober) (sent time.Time) {
	t.Helper()
	must(t, lab.Eventually(testContext(t), "an answer to a hail", time.Millisecond, func() (ok bool, _ string) {
		sent, ok = p.Heard()
		return ok, ""
	}))
	return sent
}

// A hail is answered without anybody waiting for it, and mixes with nothing that is asked after it.
func TestAHailIsHeardOrWaitedFor(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, broke := prober(t, addr(s), testConfig())
	if _, ok := p.Heard(); p.Hail() || ok {
		t.Error("hailed without a connection")
	}
	first := probeWithin(t, p, testLimit)
	began := time.Now()
	for range 3 {
		if !p.Hail() {
			t.Fatal("a server that answers cannot be hailed")
		}
		if p.Hail() {
			t.Error("hailed again before the answer was heard")
		}
		if sent := awaitHeard(t, p); sent.Before(began) {
			t.Errorf("heard what was sent at %s", sent)
		}
		if _, ok := p.Heard(); ok {
			t.Error("heard twice")
		}
	}
	p.Hail()
	if v := probeWithin(t, p, testLimit); v.Reach != topology.Answered || !v.StateAt.After(first.StateAt) {
		t.Errorf("a reading after a hail: %+v", v)
	}
	read := p.stateAt
	p.Hail()
	ctx := testContext(t)
	if v := p.Ping(ctx); v.Reach != topology.Answered || !v.StateAt.Equal(read) {
		t.Errorf("a ping after a hail: %+v", v)
	}

	must(t, s.Freeze())
	if !p.Hail() {
		t.Error("a frozen server, of which nothing is known yet, cannot be hailed")
	}
	bounded, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if v := p.Ping(bounded); v.Reach != topology.TimedOut || v.Failures != 1 {
		t.Errorf("a frozen server is waited for: %+v", v)
	}
	if _, ok := p.Heard(); ok || p.Hail() {
		t.Error("a frozen server is heard, or hailed once more on a connection that was given up")
	}
	must(t, s.Thaw())
	if v := probeWithin(t, p, testLimit); v.Reach != topology.Answered {
		t.Fatalf("after the thaw: %+v", v)
	}
	p.Hail()
	must(t, s.Kill())
	<-broke
	if v := p.Ping(ctx); v.Reach != topology.Refused {
		t.Errorf("a killed server that was hailed: %+v", v)
	}
	if _, ok := p.Heard(); ok {
		t.Error("a killed server is heard")
	}
}

// Where not all may be read, or another probe is under way, the whole way is gone.
func TestWhatCannotBeHailedIsPinged(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	p, _ := prober(t, addr(s), testConfig())
	probeWithin(t, p, testLimit)
	p.session.denied = map[string]error{"something": errGarbled}
	if p.Hail() {
		t.Error("hailed though a part of the reading is denied, which is told with each view")
	}
	p.session.denied = nil
	<-p.turn
	if p.Hail() {
		t.Error("hailed while another probe is under way")
	}
	p.turn <- struct{}{}
	if !p.Hail() {
		t.Error("not hailed afterwards")
	}
	awaitHeard(t, p)
}

// A kept connection goes without the driver once that has logged in: what it reads, asks one by one where something is denied, and says
// at its end is the same, on the same connection.
func TestAKeptConnectionHasNoDriver(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	ctx := testContext(t)
	conn, err := dial(ctx, addr(s), rootConfig())
	must(t, err)
	defer conn.close()
	aborted := func() string {
		results, err := conn.query(ctx, "SHOW GLOBAL STATUS LIKE 'Aborted_clients'")
		must(t, err)
		return results[0].first()["Value"]
	}
	before := aborted()
	p, broke := prober(t, addr(s), testConfig())
	probeWithin(t, p, testLimit)
	id := p.session.id
	if p.session.conn != nil {
		t.Error("it keeps the driver")
	}
	results, err := p.session.query(ctx, "SELECT CONNECTION_ID() AS id; SELECT 2 AS two")
	if err != nil || len(results) != 2 || results[0].first().integer("id") != int(id) || results[1].first()["two"] != "2" {
		t.Errorf("asked without the driver, connection %d says %v: %v", id, results, err)
	}
	if v := probeWithin(t, p, testLimit); v.Reach != topology.Answered || p.session.id != id {
		t.Errorf("the next reading is over connection %d and not %d: %+v", p.session.id, id, v)
	}
	p.Close()
	must(t, lab.Eventually(ctx, "the end of the connection", 10*time.Millisecond, func() (bool, string) {
		results, err := conn.query(ctx, fmt.Sprintf("SELECT COUNT(*) AS n FROM information_schema.processlist WHERE id = %d", id))
		return err == nil && results[0].first()["n"] == "0", fmt.Sprint(results, err)
	}))
	if after := aborted(); after != before {
		t.Errorf("the server counts %s connections that ended without a word, and %s before", after, before)
	}
	select {
	case <-broke:
		t.Error("its end is told as a break")
	default:
	}
}
