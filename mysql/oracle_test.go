package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// ofMySQL is why the tests of this file run on MySQL alone.
const ofMySQL = "MariaDB has no such thing"

func TestALongHistoryIsReadWhole(t *testing.T) {
	only(t, lab.MySQL, ofMySQL)
	s := alone(t, lab.ServerOptions{})
	var sets []string
	for i := range 60 {
		sets = append(sets, fmt.Sprintf("3e11fa47-71ca-11e1-9e33-c80aa94295%02d:1-%d", i, 1000+i))
	}
	tagged := "3e11fa47-71ca-11e1-9e33-c80aa9429500:billing:1-7"
	sets = append(sets, tagged)
	must(t, s.Exec(testContext(t), "SET GLOBAL gtid_purged='+"+strings.Join(sets, ",")+"'"))
	st := look(t, s)
	want := gtid.MustParse(strings.Join(sets, ","))
	if !st.Executed.Contains(want) || !st.Purged.Contains(want) || want.Contains(st.Executed) {
		t.Errorf("executed %s, purged %s", st.Executed, st.Purged)
	}
}

var _ = failover.Step{}
var _ = topology.Addr("")
var _ = time.Second
