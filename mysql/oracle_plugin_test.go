package mysql

import (
	"strings"
	"testing"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// TestWithoutItsPluginNothingIsBegun: what would have to be undone is not done before it is known that semi-sync can be set.
func TestWithoutItsPluginNothingIsBegun(t *testing.T) {
	only(t, lab.MySQL, "MariaDB has semi-sync built in")
	top := replication(t, lab.Spec{Servers: 3})
	leastPrivileges(t, top)
	replica := top.Servers[1]
	unlogged(t, replica, "UNINSTALL PLUGIN rpl_semi_sync_source", "UNINSTALL PLUGIN rpl_semi_sync_replica")
	if have, other := look(t, replica).SemiSync, look(t, top.Servers[2]).SemiSync; !have.NoSource || !have.NoReplica || other.NoSource || other.NoReplica {
		t.Errorf("its plugins are told as %+v, the other's as %+v", have, other)
	}
	s := servers(t, testConfig())
	acks := &failover.SemiSyncPlan{Replica: true}
	for _, step := range []failover.Step{
		{Do: failover.Repoint, Source: addr(top.Servers[2]), SemiSync: acks},
		{Do: failover.Repoint, Source: addr(top.Servers[0]), SemiSync: acks},
		{Do: failover.StartReplica, Source: addr(top.Servers[0]), SemiSync: acks},
		{Do: failover.SetSemiSync, SemiSync: acks},
		{Do: failover.Promote, SemiSync: &failover.SemiSyncPlan{Source: true, WaitCount: 1}},
	} {
		step.Target = addr(replica)
		err := s.Do(testContext(t), step)
		if err == nil || !strings.Contains(err.Error(), "its plugin is not installed") {
			t.Errorf("%s: %v", step, err)
		}
		if src := look(t, replica).Source(); src == nil || src.Addr != addr(top.Servers[0]) || src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes {
			t.Fatalf("after %s: %+v", step, src)
		}
	}
	// As one that does not acknowledge it follows.
	twice(t, s, failover.Step{Do: failover.Repoint, Target: addr(replica), Source: addr(top.Servers[2]), SemiSync: &failover.SemiSyncPlan{}})
}
