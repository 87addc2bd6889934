package fleet_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// TestAThawedPrimaryIsKeptOut: a primary that froze believes that it still is one when it goes on. It is closed before a
// proxy could send it anything, and follows the new primary only if that has all that it has.
func TestAThawedPrimaryIsKeptOut(t *testing.T) {
	clients := lab.LoadOptions{Writers: 6, Pace: 10 * time.Millisecond}
	ctx, f, load := start(t, measured, clients)

	t.Run("contained", func(t *testing.T) {
		nothingLost(t, ctx, f, load) // which ends the load: what clients sent to a frozen server, it does when it is thawed
		p, err := f.Primary(ctx)
		must(t, err)
		must(t, p.Freeze())
		eventually(t, ctx, "another primary", func() (bool, string) {
			c, err := state(ctx, f)
			return err == nil && c.Mode == "open" && string(c.Primary) != p.Addr, c.Sentence
		})
		clients.Addrs = f.ClientAddrs()
		load, err = f.Lab.Load(ctx, clients)
		must(t, err)
		stop := neverRouted(t, ctx, f, p.Addr)
		took, err := f.Return(ctx, p)
		must(t, err)
		stop()
		t.Logf("%s replicates %s after it was thawed", p.Name, took.Round(time.Millisecond))
	})
	t.Run("with transactions of its own", func(t *testing.T) {
		var alone gtid.Set
		r, err := f.Blow(ctx, load, "freeze", func(p *lab.Server) error {
			alone = freezeUnsent(t, ctx, f, p)
			return nil
		}, nil)
		must(t, err)
		t.Log(r)
		stop := neverRouted(t, ctx, f, r.From.Addr)
		must(t, r.From.Thaw())

		keptOut(t, ctx, f, r.From, alone)
		stop()
		nothingLost(t, ctx, f, load)
	})
}

// freezeUnsent freezes a primary while a client waits for the acknowledgement of what its replicas never got, and gives
// the first transaction of that.
func freezeUnsent(t *testing.T, ctx context.Context, f *fleet.Fleet, p *lab.Server) (alone gtid.Set) {
	t.Helper()
	others, err := replicas(ctx, f)
	must(t, err)
	must(t, each(ctx, others, (*lab.Server).StopReceiver))
	beyond := 0
	if p.Flavor() == lab.MySQL {
		beyond = 1 // what waits for an acknowledgement does not count as executed there
	}
	// A client may also wait for the acknowledgement of what was received just before the receivers stopped. They go on for a moment then,
	// for otherwise nobody would ever acknowledge it, and what comes after it waits behind.
	running := false
	eventually(t, ctx, "a client to wait for the acknowledgement of what no replica received", func() (bool, string) {
		if running {
			must(t, each(ctx, others, (*lab.Server).StopReceiver))
			running = false
		}
		pos, err := p.Position(ctx)
		must(t, err)
		alone = lastOf(t, ctx, p, pos, beyond)
		for _, s := range others {
			r, err := s.Replica(ctx)
			must(t, err)
			received, err := gtid.Parse(r.Received)
			must(t, err)
			if received.Contains(alone) {
				must(t, each(ctx, others, (*lab.Server).StartReceiver))
				running = true
				return false, fmt.Sprintf("%s received %s", s.Name, alone)
			}
		}
		n, err := p.AwaitingAcks(ctx)
		must(t, err)
		return n > 0, fmt.Sprint(n, " wait")
	})
	must(t, p.Freeze())
	must(t, each(ctx, others, (*lab.Server).StartReceiver))
	return alone
}

// keptOut checks that an old primary is closed, that nobody makes it a replica, and that a transaction which it alone
// has is listed.
func keptOut(t *testing.T, ctx context.Context, f *fleet.Fleet, old *lab.Server, alone gtid.Set) {
	t.Helper()
	sentence := found(t, ctx, f, "OldPrimaryDiverged", old.Addr).Sentence
	_, rest, _ := strings.Cut(sentence, "never received: ")
	text, _, _ := strings.Cut(rest, ";")
	extra, err := gtid.Parse(text)
	if err != nil || !extra.Contains(alone) {
		t.Errorf("%s is not listed (%v): %s", alone, err, sentence)
	}
	eventually(t, ctx, old.Name+" is closed", func() (bool, string) {
		closed, err := old.Closed(ctx)
		return closed, fmt.Sprint(err)
	})
	// Nothing is left to be done to it, and what was done before did not make it a replica.
	c := snapshot(t, ctx, f)
	for _, step := range failover.Repairs(&c) {
		if step.Do != failover.SetReadOnly && step.Do != failover.SaveExtra { // the snapshot may be older than that
			t.Errorf("it is not left alone: %s, for %s", step, step.Why)
		}
	}
	replica, err := old.Replica(ctx)
	must(t, err)
	if replica != nil {
		t.Errorf("%s was made a replica of port %d", old.Name, replica.SourcePort)
	}
}

// lastOf is the last transaction that a server wrote, of its position ("0-1-23", or "uuid:1-23,other-uuid:1-5"), or one
// beyond it.
func lastOf(t *testing.T, ctx context.Context, s *lab.Server, position string, beyond int) gtid.Set {
	t.Helper()
	if s.Flavor() == lab.MariaDB {
		last := strings.LastIndex(position, "-") + 1
		return gtid.MustParse(fmt.Sprintf("%s(%s)", position[:last], position[last:]))
	}
	row, err := s.Row(ctx, "SELECT @@server_uuid AS own")
	must(t, err)
	for entry := range strings.SplitSeq(position, ",") {
		if entry = strings.TrimSpace(entry); strings.HasPrefix(entry, row["own"]) {
			last, err := strconv.Atoi(entry[strings.LastIndexAny(entry, ":-")+1:])
			must(t, err)
			return gtid.MustParse(fmt.Sprintf("%s:%d", row["own"], last+beyond))
		}
	}
	t.Fatalf("%s wrote none of %s", s.Name, position)
	return gtid.Set{}
}

// each does something to several servers.
func each(ctx context.Context, servers []*lab.Server, do func(*lab.Server, context.Context) error) error {
	for _, s := range servers {
		if err := do(s, ctx); err != nil {
			return err
		}
	}
	return nil
}
