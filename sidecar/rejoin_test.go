package sidecar

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/hooks"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/mysql"
	"github.com/remora-ha/remora/topology"
)

// SaveTransactions and Discard make the stage a Rescuer.
func (s *stage) SaveTransactions(_ context.Context, a topology.Addr, want gtid.Set, w io.Writer, _ int) (mysql.Saved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, "read "+want.String()+" of "+string(a))
	if s.down[dbA] {
		return mysql.Saved{}, errors.New("grant BINLOG MONITOR")
	}
	_, err := io.WriteString(w, "INSERT INTO t VALUES (1);\n")
	saved := mysql.Saved{Transactions: 5, Changes: 6}
	if s.purged {
		saved.Purged = gtid.MustParse("0-1-(101)")
	}
	return saved, err
}

func (s *stage) Discard(_ context.Context, a topology.Addr, extra gtid.Set, dry bool) (mysql.Discarded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !dry {
		s.acts = append(s.acts, "discard "+extra.String())
		delete(s.has, a)
	}
	return mysql.Discarded{Transactions: 5, Rows: 6}, nil
}

// diverged is a stage on which b follows nobody and has five transactions of its own.
func diverged(t *testing.T, change func(*failover.Policy)) *stage {
	t.Helper()
	s := newStage(t, failover.Hooks{})
	s.has, s.of = map[topology.Addr]string{dbB: "0-1-105"}, map[topology.Addr]topology.Addr{}
	s.ports.Rescuers = map[string]Rescuer{"main": s}
	s.cfg.DataDir = t.TempDir()
	c := s.cfg.Clusters["main"]
	change(&c.Policy)
	s.cfg.Clusters["main"] = c
	return s
}

func rejoin(discard, clone, dry bool) api.RejoinRequest {
	return api.RejoinRequest{RejoinRequest: failover.RejoinRequest{Instance: dbB, Discard: discard, Clone: clone, By: "ann"}, DryRun: dry}
}

func TestWhatAServerHasBeyondThePrimaryIsSavedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := diverged(t, func(*failover.Policy) {})
		s.purged = true
		d, end := s.lead(1)
		pass(5 * time.Second)
		s.want("acts", s.done(), "read 0-1-(101..105) of b:3306")
		files, err := filepath.Glob(filepath.Join(s.cfg.DataDir, "rescued", "*"))
		if err != nil || len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), "main-b_3306-") || !strings.HasSuffix(files[0], ".sql") {
			t.Fatalf("the files are %q (%v)", files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"b:3306, cluster main, that primary a:3306 does not have", "-- 0-1-(101..105)", "INSERT INTO t", "-- The end: 5 transactions, 6 changes. 0-1-(101) are missing: their binary logs were purged"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the file lacks %q:\n%s", want, text)
			}
		}
		if got := s.main().Rescued; len(got) != 1 || got[0].File != files[0] || got[0].Node != "n1" || !strings.Contains(got[0].Note, "purged") {
			t.Errorf("recorded is %+v", got)
		}
		if said := d.lastVerdict().Findings[0].Sentence; !strings.Contains(said, files[0]) {
			t.Errorf("the finding says %q", said)
		}
		end()
		s.lead(2) // the next leader knows it from the ledger
		pass(5 * time.Second)
		s.want("acts", s.done(), "read 0-1-(101..105) of b:3306")
	})
}

func TestRoomForSavedTransactions(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name       string
		used, free int64
		want       int
	}{
		{"a whole saving", 0, 100 << 30, 256 * mib},
		{"what is left of the directory's", 2<<30 - 5*mib, 100 << 30, 5 * mib},
		{"what is left of the disk", 0, 260 * mib, 4 * mib},
		{"a full directory", 2 << 30, 100 << 30, 0},
		{"a full disk", 0, 200 * mib, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			room, err := roomFor("dir", tt.used, tt.free)
			if room != tt.want || (err == nil) != (tt.want > 0) || err != nil && !strings.Contains(err.Error(), "move files away") {
				t.Errorf("%d bytes, %v", room, err)
			}
		})
	}
	if room, err := rescueRoom(t.TempDir()); err != nil || room < mib {
		t.Errorf("%d bytes, %v", room, err)
	}
}

// Nothing is read from a server when there is no room for it.
func TestAFullDirectoryOfSavedTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := diverged(t, func(*failover.Policy) {})
		dir := filepath.Join(s.cfg.DataDir, "rescued")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "old.sql"), nil, 0o600), os.Truncate(filepath.Join(dir, "old.sql"), rescuedLimit)); err != nil {
			t.Fatal(err)
		}
		s.lead(1)
		pass(5 * time.Second)
		s.want("acts", s.done())
	})
}

func TestARejoinByDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := diverged(t, func(p *failover.Policy) { p.Rejoin = failover.RejoinManual })
		d, _ := s.lead(1)
		pass(5 * time.Second)
		_, err := d.rejoin(context.Background(), rejoin(false, false, false))
		var refused *api.RefusedError
		if !errors.As(err, &refused) || refused.Refusals[0].Rule != "divergent" {
			t.Errorf("plain: %v", err)
		}
		reply, err := d.rejoin(context.Background(), rejoin(true, false, true))
		if err != nil || reply.Rows != 6 || failover.Stage(reply.Plan).String() != "discard b:3306" {
			t.Errorf("dry: %+v, %v", reply, err)
		}
		reply, err = d.rejoin(context.Background(), rejoin(true, false, false))
		if err != nil || len(reply.Steps) != 2 {
			t.Errorf("%+v, %v", reply, err)
		}
		s.want("acts", s.done(), "read 0-1-(101..105) of b:3306", "discard 0-1-(101..105)", "repoint b:3306 to a:3306")
		pass(time.Second)
		if f := d.lastVerdict().Findings; len(f) > 1 || f[0].Code != "PolicyMismatch" { // the stage's heartbeat
			t.Errorf("found afterwards: %v", f)
		}
	})
}

// What is not saved whole is not given up without a word for it.
func TestARejoinOfWhatIsSavedInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := diverged(t, func(p *failover.Policy) { p.Rejoin = failover.RejoinManual })
		s.purged = true
		d, _ := s.lead(1)
		pass(5 * time.Second)
		_, err := d.rejoin(context.Background(), rejoin(true, false, false))
		if err == nil || !strings.Contains(err.Error(), "not all saved as SQL") || !strings.Contains(err.Error(), "0-1-(101) are missing") {
			t.Errorf("it says %v", err)
		}
		const read = "read 0-1-(101..105) of b:3306"
		s.want("acts", s.done(), read, read)
		if files, err := filepath.Glob(filepath.Join(s.cfg.DataDir, "rescued", "*.sql")); err != nil || len(files) != 2 {
			t.Errorf("the first file may have been the better one: %q (%v)", files, err)
		}
		r := rejoin(true, false, false)
		r.Unsaved = true
		if _, err := d.rejoin(context.Background(), r); err != nil {
			t.Error(err)
		}
		s.want("acts", s.done(), read, read, read, "discard 0-1-(101..105)", "repoint b:3306 to a:3306")
	})
}

func TestACloneByCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := diverged(t, func(p *failover.Policy) {
			p.Rejoin, p.Clone.Command, p.Clone.Timeout = failover.RejoinManual, "copy {donor} {instance}", topology.Duration(time.Hour)
		})
		fails := true
		s.answers(func(string) (hooks.Result, time.Duration) {
			if fails {
				return hooks.Result{Exit: 1, Output: "no space", Err: errors.New("it ended with exit code 1")}, 10 * time.Minute
			}
			delete(s.has, dbB)
			return hooks.Result{}, 10 * time.Minute
		})
		d, _ := s.lead(1)
		pass(5 * time.Second)
		found := func(want string) {
			t.Helper()
			pass(time.Second)
			var said []string
			for _, f := range d.lastVerdict().Findings {
				said = append(said, string(f.Code)+": "+f.Sentence)
			}
			if !strings.Contains(strings.Join(said, "\n"), want) {
				t.Errorf("found %q, want %q", said, want)
			}
		}

		patient, hangUp := context.WithTimeout(context.Background(), time.Minute)
		defer hangUp()
		if _, err := d.rejoin(patient, rejoin(false, true, false)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who hangs up is told: %v", err)
		}
		found("RejoinUnderWay: b:3306 is being brought back: clone b:3306 from a:3306, since")
		if _, err := d.rejoin(context.Background(), rejoin(false, true, false)); err == nil || !strings.Contains(err.Error(), "clone b:3306 from a:3306 since") {
			t.Errorf("a second one: %v", err)
		}
		if under := d.rejoinUnderWay(); !strings.Contains(under, "b:3306 of cluster main is being brought back: clone b:3306 from a:3306") {
			t.Errorf("under way is %q", under)
		}
		_, err := d.chooseLeader(api.LeaderRequest{})
		if refused := (*api.RefusedError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "clone b:3306 from a:3306") {
			t.Errorf("handing over meanwhile: %v", err)
		}
		if d.mayHandOver(&fitness{blind: []topology.Addr{dbA}}) || !d.mayHandOver(&fitness{trouble: []string{"the disk hangs"}}) {
			t.Error("a clone is cut down, or keeps the leadership on a node whose disk hangs")
		}
		pass(10 * time.Minute)
		if under := d.rejoinUnderWay(); under != "" || !d.mayHandOver(&fitness{}) {
			t.Errorf("afterwards %q is under way", under)
		}
		found("RejoinFailed: b:3306 could not be brought back")
		found("no space")

		_, err = d.rejoin(context.Background(), rejoin(false, true, false))
		if refused := (*api.RefusedError)(nil); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "failed on its way") {
			t.Errorf("a clone that failed halfway: %v", err)
		}
		fails = false
		if _, err := d.rejoin(context.Background(), rejoin(false, true, false)); err != nil {
			t.Errorf("%v", err)
		}
		s.want("commands", s.lines(), "copy a:3306 b:3306", "copy a:3306 b:3306", "copy a:3306 b:3306")
		s.want("acts", s.done(), "read 0-1-(101..105) of b:3306", "repoint b:3306 to a:3306")
		pass(time.Second)
		if f := d.lastVerdict().Findings; len(f) > 1 || f[0].Code != "PolicyMismatch" { // the stage's heartbeat
			t.Errorf("found afterwards: %v", f)
		}
	})
}

func TestACloneByPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := diverged(t, func(p *failover.Policy) {
			p.Rejoin, p.Clone.Command = failover.RejoinClone, "copy {donor} {instance}"
		})
		s.answers(func(string) (hooks.Result, time.Duration) {
			delete(s.has, dbB)
			return hooks.Result{}, time.Minute
		})
		s.lead(1)
		pass(2 * time.Minute)
		s.want("commands", s.lines(), "copy a:3306 b:3306")
		s.want("acts", s.done(), "read 0-1-(101..105) of b:3306", "repoint b:3306 to a:3306")
	})
}
