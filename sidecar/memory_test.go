package sidecar

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

func TestMemoryOfFindings(t *testing.T) {
	var m memory
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	dead := failover.Finding{Code: "ReplicaDead", Instance: "b:3306"}
	lags := failover.Finding{Code: "ReplicaLagging", Instance: "c:3306"}

	appeared, gone := m.notice([]failover.Finding{dead, dead}, noon)
	if len(appeared) != 1 || len(gone) != 0 {
		t.Errorf("first: %v appeared, %v gone", appeared, gone)
	}
	held := m.noticed
	appeared, gone = m.notice([]failover.Finding{dead, lags}, noon.Add(time.Minute))
	if len(appeared) != 1 || appeared[0].Code != lags.Code || len(gone) != 0 {
		t.Errorf("then: %v appeared, %v gone", appeared, gone)
	}
	if m.noticed[0].Since != noon || m.noticed[1].Since != noon.Add(time.Minute) {
		t.Errorf("since when is wrong: %+v", m.noticed)
	}
	if len(held) != 1 {
		t.Errorf("a list that a case holds has changed: %+v", held)
	}
	_, gone = m.notice([]failover.Finding{lags}, noon.Add(2*time.Minute))
	if len(gone) != 1 || gone[0].Code != dead.Code {
		t.Errorf("at last: %v gone", gone)
	}
	m.notice([]failover.Finding{dead}, noon.Add(3*time.Minute))
	if m.noticed[0].Since != noon.Add(3*time.Minute) {
		t.Errorf("one that comes back is as old as before: %+v", m.noticed)
	}
}

func TestMemoryOfTheWriter(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	look := func(m *memory, writer topology.Addr, reach topology.Verdict, readOnly bool) topology.Addr {
		m.look(&topology.Snapshot{Route: topology.Route{Writer: writer}, Instances: []topology.Instance{
			{Addr: writer, Reach: reach, ReadAt: noon, State: &topology.State{ReadOnly: readOnly}},
		}})
		return m.watch.Writer
	}
	var m memory
	if got := look(&m, "a:3306", topology.Up, true) + look(&m, "a:3306", topology.Down, false); got != "" {
		t.Errorf("%s was seen open", got)
	}
	if got := look(&m, "a:3306", topology.Up, false); got != "a:3306" || !m.watch.Open.Equal(noon) {
		t.Errorf("%s was seen open at %s", got, m.watch.Open)
	}
	if got := look(&m, "b:3306", topology.Up, true); got != "a:3306" {
		t.Errorf("%s was seen open", got)
	}
}

// Its configuration closes a primary that restarts; who closes it later means it.
func TestAPrimaryIsOpenedOnceAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, failover.Hooks{})
		pass(time.Minute)
		s.born, s.wr[dbA] = time.Now(), false
		d, _ := s.lead(1)
		pass(5 * time.Second)
		s.want("acts", s.done(), "set writable a:3306")
		s.mu.Lock()
		s.wr[dbA] = false
		s.mu.Unlock()
		pass(time.Minute)
		s.want("acts", s.done(), "set writable a:3306")
		if f := d.lastVerdict().Findings; !slices.ContainsFunc(f, func(f failover.Finding) bool {
			return f.Code == "NoWriteableMaster" && strings.Contains(f.Sentence, "it took writes after its restart")
		}) {
			t.Errorf("found %v", f)
		}
	})
}

func TestMemoryOfRepairs(t *testing.T) {
	var m memory
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	policy := failover.DefaultPolicy().Repair
	try := func(target topology.Addr, after time.Duration, err string) int {
		step := failover.Step{Do: failover.StartReplica, Target: target}
		return m.tried(step, failover.StepResult{Step: step, Started: noon.Add(after), Took: topology.Duration(time.Second), Error: err}, policy)
	}
	try("b:3306", 0, "refused")
	held := m.tries
	if n := try("b:3306", time.Minute, ""); n != 2 {
		t.Errorf("the second attempt is number %d", n)
	}
	if n := try("c:3306", time.Minute, ""); n != 1 {
		t.Errorf("the first at another is number %d", n)
	}
	want := failover.Try{Step: "start replica b:3306", At: "b:3306", Count: 2, First: noon, Last: noon.Add(time.Minute + time.Second)}
	if m.tries[0] != want {
		t.Errorf("remembered as %+v", m.tries[0])
	}
	if held[0].Count != 1 {
		t.Errorf("a list that a case holds has changed: %+v", held)
	}
	if n := try("b:3306", policy.Window.D(), ""); n != 1 {
		t.Errorf("the first of a new window is number %d", n)
	}

	m.tries = nil
	try("b:3306", 0, "")
	came := func(back time.Duration) *topology.Snapshot { // b was started then and is read a minute later
		at := noon.Add(back + time.Minute)
		return &topology.Snapshot{Instances: []topology.Instance{{
			Addr: "b:3306", Reach: topology.Up, ReadAt: at, State: &topology.State{Uptime: topology.Duration(time.Minute)}, Views: []topology.View{{At: at}},
		}}}
	}
	m.look(came(-time.Hour))
	if n := try("b:3306", time.Minute, ""); n != 2 {
		t.Errorf("the second attempt at a server that runs on is number %d", n)
	}
	m.look(came(2 * time.Minute))
	if n := try("b:3306", 3*time.Minute, ""); n != 1 {
		t.Errorf("the first attempt at a server that has restarted is number %d", n)
	}
}
