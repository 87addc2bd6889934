package lab_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
)

func isMySQL(err error, target **mysql.MySQLError) bool { return errors.As(err, target) }

func startLoad(t *testing.T) (*lab.Server, *lab.Load) {
	t.Helper()
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(within(t), lab.ServerOptions{Name: "alone", Writable: true})
	must(t, err)
	must(t, s.Exec(within(t), lab.CreateWrites...))
	load, err := l.Load(within(t), lab.LoadOptions{Addrs: []string{s.Addr}, Writers: 3, Pace: 5 * time.Millisecond})
	must(t, err)
	return s, load
}

func verify(t *testing.T, load *lab.Load, s *lab.Server) lab.Verdict {
	t.Helper()
	v, err := load.Verify(within(t), s.DB())
	must(t, err)
	return v
}

func TestLoadMeasuresAnOutage(t *testing.T) {
	t.Parallel()
	s, load := startLoad(t)
	from := time.Now()
	must(t, s.Freeze())
	frozen := time.Now()
	<-time.After(400 * time.Millisecond)
	thawed := time.Now()
	must(t, s.Thaw())
	back, err := load.Back(within(t), thawed)
	must(t, err)
	to := time.Now()

	w := load.Window(from, to)
	t.Log(w)
	// A client may read an answer from before the freeze a little after it, hence half of it; nothing can be
	// acknowledged in the rest, and the window bounds it from above.
	if least, most := thawed.Sub(frozen)/2, to.Sub(from); w.Outage.Duration() < least || w.Outage.Duration() > most {
		t.Errorf("outage of %v, want %v to %v", w.Outage.Duration(), least, most)
	}
	if w.Outage.To.Before(thawed) {
		t.Errorf("the outage ended before the freeze did: %+v", w.Outage)
	}
	if w.LongestGap() < w.Outage.Duration() || w.MedianGap() < w.Outage.Duration() || w.MedianGap() > w.LongestGap() {
		t.Errorf("longest gap %v, median %v, outage %v", w.LongestGap(), w.MedianGap(), w.Outage.Duration())
	}
	if back.Before(thawed) || len(w.Failures) != 0 || w.Acked < 3 {
		t.Errorf("writes back %v after the thaw, %v", back.Sub(thawed), w)
	}
	if before := load.Window(from.Add(-50*time.Millisecond), from); before.Outage.Duration() >= w.Outage.Duration() {
		t.Errorf("the window before has the outage too: %v", before)
	}
	load.Stop()
	if v := verify(t, load, s); len(v.Lost) != 0 || v.Acked == 0 || v.Doubled != 0 {
		t.Error(v)
	}
}

func TestLoadSurvivesAKill(t *testing.T) {
	t.Parallel()
	s, load := startLoad(t)
	from := time.Now()
	must(t, s.Kill())
	killed := time.Now()
	must(t, s.Start(within(t)))
	must(t, s.Exec(within(t), "SET GLOBAL read_only=0"))
	_, err := load.Back(within(t), killed)
	must(t, err)
	w := load.Window(from, time.Now())
	t.Log(w)
	if w.Count(lab.ConnectionLost) == 0 {
		t.Errorf("no writer noticed: %v", w)
	}
	if s := load.Snapshot(); s.Errors < len(w.Failures) || s.Acked == 0 || s.PerSecond == 0 || s.Idle > 10*time.Second {
		t.Errorf("%+v", s)
	}
	load.Stop()
	after := load.Snapshot().Acked
	if v := verify(t, load, s); len(v.Lost) != 0 || v.Acked != after || v.Unknown == 0 || v.Present > v.Unknown {
		t.Error(v)
	}
}

func TestVerifyFindsALostRow(t *testing.T) {
	t.Parallel()
	s, load := startLoad(t)
	load.Stop()
	if v := verify(t, load, s); len(v.Lost) != 0 {
		t.Fatal(v)
	}
	must(t, s.Exec(within(t), "DELETE FROM lab.writes WHERE writer=2 AND seq=1"))
	v := verify(t, load, s)
	if len(v.Lost) != 1 || v.Lost[0].Writer != 2 || v.Lost[0].Seq != 1 {
		t.Errorf("lost: %v", v.Lost)
	}
	if !strings.Contains(v.String(), "1 lost") {
		t.Error(v)
	}
}

func TestLoadTellsErrorsApart(t *testing.T) {
	t.Parallel()
	s, load := startLoad(t)
	from := time.Now()
	count := func(class lab.Class, cause ...string) {
		must(t, s.Exec(within(t), cause...))
		must(t, lab.Eventually(within(t), string(class), 10*time.Millisecond, func() (bool, string) {
			w := load.Window(from, time.Now())
			return w.Count(class) > 0, w.String()
		}))
	}
	count(lab.Doubled, "INSERT INTO lab.writes SELECT writer, MAX(seq)+100 FROM lab.writes GROUP BY writer")
	count(lab.ServerError, "RENAME TABLE lab.writes TO lab.elsewhere")
	must(t, s.Exec(within(t), "RENAME TABLE lab.elsewhere TO lab.writes"))
	load.Stop()
	v := verify(t, load, s)
	if v.Doubled == 0 || len(v.Lost) != 0 || v.Present < v.Doubled {
		t.Error(v)
	}
	if samples := load.Window(from, time.Now()).Samples(5); len(samples) < 2 {
		t.Errorf("samples: %q", samples)
	}
}
