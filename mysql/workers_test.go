package mysql

import (
	"testing"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// Of parallel workers that stop, the last to say so is not always the one that failed. Which is, is a
// race; so the server is asked as though it had named another.
func TestTheWorkerThatFailedFirstIsBelieved(t *testing.T) {
	only(t, lab.MySQL, "MariaDB shows what failed first")
	top := replication(t, lab.Spec{Servers: 2, Server: lab.ServerOptions{Appliers: 4}})
	leastPrivileges(t, top)
	primary, replica := top.Servers[0], top.Servers[1]
	unlogged(t, replica, "INSERT INTO lab.writes VALUES (1, 1)")
	write(t, primary, 1)
	eventually(t, "the applier to stop", func() (bool, string) {
		src := look(t, replica).Source()
		return src.SQL == topology.ThreadNo, src.SQLError
	})
	s, err := dial(testContext(t), addr(replica), testConfig())
	must(t, err)
	defer s.close()
	r, err := s.read(testContext(t))
	must(t, err)
	r.channels[0].SQLErrno = errWorkerBefore
	r.state.Sources[0].SQLErrno = errWorkerBefore
	s.unhide(testContext(t), r)
	if c, src := r.channels[0].SQLErrno, r.state.Source().SQLErrno; c != 1062 || src != 1062 {
		t.Errorf("errors %d and %d: %s", c, src, r.state.Source().SQLError)
	}
}
