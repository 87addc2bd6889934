package mysql

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// errantReplica is a primary with a replica that has transactions of its own.
func errantReplica(t *testing.T, own ...string) (primary, replica *lab.Server, extra gtid.Set) {
	t.Helper()
	top := replication(t, lab.Spec{Servers: 2})
	for _, s := range top.Servers {
		mayRescue(t, s, true)
	}
	primary, replica = top.Servers[0], top.Servers[1]
	write(t, primary, 1)
	hasWritten(t, replica, 1)
	base := look(t, replica).Executed
	whileOpen(t, replica, own...)
	return primary, replica, since(t, replica, base)
}

func TestWhatArrivesMeanwhileIsKept(t *testing.T) {
	only(t, lab.MySQL, "on MariaDB what arrives is in gtid_slave_pos, which stays")
	primary, replica, extra := errantReplica(t, "INSERT INTO lab.writes VALUES (9, 9)")
	sv := servers(t, testConfig())
	var once sync.Once
	sv.Confirm = func(context.Context) error {
		once.Do(func() {
			write(t, primary, 2)
			hasWritten(t, replica, 2)
		})
		return nil
	}
	done, err := sv.Discard(testContext(t), addr(replica), extra, false)
	must(t, err)
	has, st := look(t, primary).Executed, look(t, replica)
	if !st.Executed.Equal(has) || !done.From.Equal(has) {
		t.Errorf("it stands at %s (%s), and has the rows of %s", st.Executed, done.From, has)
	}
}

func TestARefusedDiscardLeavesReplicationRunning(t *testing.T) {
	_, replica, extra := errantReplica(t, "CREATE TABLE lab.own (a INT)")
	_, err := servers(t, testConfig()).Discard(testContext(t), addr(replica), extra, false)
	if err == nil || !strings.Contains(err.Error(), "it is a statement") || !strings.Contains(err.Error(), "was stopped for it and started again") {
		t.Errorf("it says %v", err)
	}
	eventually(t, "its threads to run", func() (bool, string) {
		src := look(t, replica).Source()
		return src.IO == topology.ThreadYes && src.SQL == topology.ThreadYes, fmt.Sprintf("%+v", src)
	})
}

func TestWhatWasReceivedIsNotTakenBack(t *testing.T) {
	only(t, lab.MariaDB, "MySQL has one history")
	primary, replica, _ := errantReplica(t, "DO 1")
	base := look(t, replica).Executed
	write(t, primary, 2)
	hasWritten(t, replica, 2)
	extra := since(t, replica, base)
	_, err := servers(t, testConfig()).Discard(testContext(t), addr(replica), extra, false)
	if err == nil || !strings.Contains(err.Error(), "it received "+extra.String()+" by replication") {
		t.Errorf("it says %v", err)
	}
	hasWritten(t, replica, 2)
	if st := look(t, replica); !st.Executed.Contains(extra) {
		t.Errorf("it stands at %s", st.Executed)
	}
}

func TestWhatIsInNoBinaryLogIsMissed(t *testing.T) {
	s := newStage(t)
	s.exec("INSERT INTO lab.writes VALUES (1, 2)", in(s.Server,
		"SET GLOBAL gtid_slave_pos=CONCAT(@@gtid_binlog_pos, ',7-70-700')",
		"SET GLOBAL gtid_purged='+3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3'"))
	extra, lost := since(t, s.Server, s.base), in(s.Server, "7-70-700", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3")
	s.close()
	sv := servers(t, testConfig())
	var b bytes.Buffer
	saved, err := sv.SaveTransactions(testContext(t), addr(s.Server), extra, &b, 1<<20)
	must(t, err)
	if got := gtid.MustParse(lost).Ends(); saved.Transactions != 1 || saved.NotMet.Empty() || !saved.NotMet.Contains(got) {
		t.Errorf("saved are %+v of %s", saved, extra)
	}
	before := s.rows()
	if _, err := sv.Discard(testContext(t), addr(s.Server), extra, false); err == nil || !strings.Contains(err.Error(), "its binary logs do not have them") {
		t.Errorf("it says %v", err)
	}
	if now := s.rows(); now != before {
		t.Errorf("it changed\n%s\ninto\n%s", before, now)
	}
}
