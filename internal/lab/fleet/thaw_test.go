package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

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
		var only string
		r, err := f.Blow(ctx, load, "freeze", func(p *lab.Server) (err error) {
			only, err = freezeUnsent(ctx, f, p)
			return err
		}, nil)
		must(t, err)
		t.Log(r)
		stop := neverRouted(t, ctx, f, r.From.Addr)
		must(t, r.From.Thaw())

		kept := found(t, ctx, f, "OldPrimaryDiverged", r.From.Addr)
		lists(t, kept.Sentence, only)
		eventually(t, ctx, r.From.Name+" is read-only", func() (bool, string) {
			row, err := r.From.Row(ctx, "SELECT @@read_only AS r")
			return err == nil && row["r"] == "1", ""
		})
		row, err := r.From.Row(ctx, "SHOW SLAVE STATUS")
		must(t, err)
		if row != nil {
			t.Errorf("it was made a replica of port %s, and has what no other has: %s", row["Master_Port"], only)
		}
		stop()
		nothingLost(t, ctx, f, load)
	})
}

// freezeUnsent freezes a primary while a client waits for the acknowledgement of what its replicas never got, and gives
// the last such transaction.
func freezeUnsent(ctx context.Context, f *fleet.Fleet, p *lab.Server) (last string, err error) {
	others, err := replicas(ctx, f)
	if err != nil {
		return "", err
	}
	if err := each(ctx, others, "STOP SLAVE IO_THREAD"); err != nil {
		return "", err
	}
	err = lab.Eventually(ctx, "a client to wait for an acknowledgement", 10*time.Millisecond, func() (bool, string) {
		row, err := p.Row(ctx, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_wait_sessions'")
		if err != nil {
			return false, err.Error()
		}
		return row["Value"] != "0", row["Value"] + " wait"
	})
	if err != nil {
		return "", err
	}
	row, err := p.Row(ctx, "SELECT @@gtid_binlog_pos AS pos")
	if err != nil {
		return "", err
	}
	if err := p.Freeze(); err != nil {
		return "", err
	}
	return row["pos"], each(ctx, others, "START SLAVE IO_THREAD")
}

// lists checks that the finding of a diverged server lists a transaction, "0-1-23".
func lists(t *testing.T, sentence, id string) {
	t.Helper()
	_, rest, _ := strings.Cut(sentence, "never received: ")
	text, _, _ := strings.Cut(rest, ";")
	extra, err := gtid.ParseMariaDB(text)
	last := strings.LastIndex(id, "-") + 1
	if alone := fmt.Sprintf("%s(%s)", id[:last], id[last:]); err != nil || !extra.Contains(gtid.MustParse(alone)) {
		t.Errorf("%s is not listed (%v): %s", alone, err, sentence)
	}
}

// each executes a statement on several servers.
func each(ctx context.Context, servers []*lab.Server, statement string) error {
	for _, s := range servers {
		if err := s.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
