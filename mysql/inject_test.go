package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
)

func TestEachID(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"
	got := eachID(gtid.MustParse(a + ":3-5:9:tag:1-2," + b + ":7"))
	want := []string{a + ":3", a + ":4", a + ":5", a + ":9", a + ":tag:1", a + ":tag:2", b + ":7"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := eachID(gtid.Set{}); len(got) != 0 {
		t.Errorf("of none: %q", got)
	}
}

func TestAReplicasOwnTransactionsAreInjected(t *testing.T) {
	top := replication(t, lab.Spec{Servers: 3})
	leastPrivileges(t, top)
	primary, errant, other := top.Servers[0], top.Servers[1], top.Servers[2]
	whileOpen(t, errant, "INSERT INTO lab.writes VALUES (9, 1)", "INSERT INTO lab.writes VALUES (9, 2)")
	extra := look(t, errant).Executed.Subtract(look(t, primary).Executed)
	step := failover.Step{Do: failover.Inject, Target: addr(primary), Until: extra}
	sv := servers(t, testConfig())
	if primary.Flavor() == lab.MariaDB {
		if err := sv.Do(testContext(t), step); err == nil || !strings.Contains(err.Error(), "cannot be given transactions") {
			t.Errorf("%v", err)
		}
		return
	}
	twice(t, sv, step)
	write(t, primary, 1)
	hasWritten(t, other, 1)
	hasWritten(t, errant, 1)
	if st := look(t, other); !st.Executed.Contains(extra) {
		t.Errorf("the other replica has %s and not %s", st.Executed, extra)
	}
	must(t, primary.SetWritable(testContext(t), false))
	if err := sv.Do(testContext(t), step); err == nil || !strings.Contains(err.Error(), "takes no writes") {
		t.Errorf("of a closed server: %v", err)
	}
}
