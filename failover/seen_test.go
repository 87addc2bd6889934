package failover

import (
	"testing"
	"time"
)

// A leader whose clock is an hour behind takes over from one whose clock was right.
func behind(b *build) *build {
	b.c.Intent.At = b.c.Intent.At.Add(time.Hour)
	if !b.c.Intent.Deadline.IsZero() {
		b.c.Intent.Deadline = b.c.Intent.Deadline.Add(time.Hour)
	}
	b.c.Seen.Intent = b.c.Snapshot.Taken
	return b
}

func TestADeadlineHoldsByTheClockOfWhoLeads(t *testing.T) {
	begun := func() *build {
		return behind(primary("a").replica("b").replica("c").ask(Request{ID: "s", Kind: KindSwitchover, To: at("b")}).begin())
	}
	timeout := DefaultPolicy().Switchover.Timeout.D()
	b := begun().pass(timeout - time.Millisecond)
	if got := Remaining(&b.c)[0][0].Do; got != CloseProxies {
		t.Errorf("before its time the plan is %s", got)
	}
	expectPlan(t, Remaining(&begun().pass(timeout).c), "roll back a:3306")
	ahead := primary("a").replica("b").ask(Request{ID: "s", Kind: KindSwitchover, To: at("b")}).begin().pass(time.Hour)
	ahead.c.Seen.Intent = ahead.c.Snapshot.Taken // it may have been open that long
	expectPlan(t, Remaining(&ahead.c), "roll back a:3306")
}

func TestReadingsCountByTheClockOfWhoLeads(t *testing.T) {
	b := behind(stale()).acknowledge().stop("b", "c").pass(promptly)
	if first := Remaining(&b.c)[0]; first[0].Do == CloseProxies {
		t.Errorf("it waits: %s", first[0].Why)
	}
	b.c.Seen.Intent = b.c.Snapshot.Taken // a leader that saw it only now has read nobody since
	if first := Remaining(&b.c)[0]; first[0].Do != CloseProxies {
		t.Errorf("it goes on: %s", first)
	}
}

func TestTheLastReadingOfAPrimaryCountsByTheClockOfWhoLeads(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1)
	b.c.Snapshot.Route.At = noon.Add(time.Hour)
	b.c.Seen.Route = noon.Add(-time.Minute)
	b.kill("a")
	if newFacts(&b.c).reference() == nil {
		t.Error("the primary counts as never read")
	}
	b.inst("a").ReadAt = noon.Add(-time.Hour)
	if newFacts(&b.c).reference() != nil {
		t.Error("a reading from before this leader saw the route counts")
	}
}
