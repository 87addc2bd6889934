package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

func codes(b *build) []string {
	var list []string
	for _, x := range Analyze(&b.c) {
		code := string(x.Code)
		if x.Instance != "" {
			code += " " + x.Instance.Host()
		}
		list = append(list, code)
	}
	return list
}

func TestAnalyze(t *testing.T) {
	yes, no, connecting := topology.ThreadYes, topology.ThreadNo, topology.ThreadConnecting
	three := func() *build { return primary("a").replica("b").replica("c") }
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"all is well", three(), nil},
		{"a killed primary is dead", three().kill("a"), []string{"DeadMaster a"}},
		{"a frozen primary is dead when its replicas' heartbeats stay away", three().freeze("a", time.Second), []string{"DeadMaster a"}},
		{"until then it is unreachable", three().freeze("a", 900*time.Millisecond), []string{"UnreachableMaster a"}},
		{"one replica that receives is enough to keep it alive", primary("a").replica("b").replica("c", silent(time.Minute)).kill("a").replica("d"), []string{"UnreachableMaster a"}},
		{"a stopped SQL thread is no evidence", primary("a").replica("b", threads(yes, no)).replica("c", threads(yes, no)).freeze("a", 0), []string{"UnreachableMaster a", "ReplicationStopped b", "ReplicationStopped c"}},
		{"only SQL threads stopped", primary("a").replica("b", threads(yes, no)).replica("c", threads(yes, no)), []string{"AllMasterReplicasNotReplicating a", "ReplicationStopped b", "ReplicationStopped c"}},
		{"two of three sidecars are a majority", three().unreachable("a", "s1", "s2").kill("a"), []string{"DeadMaster a"}},
		{"one sidecar alone is its own problem", three().unreachable("a", "s1"), []string{"SidecarAlone a"}},
		{"a minority that is alone in seeing anything calls nothing dead", three().kill("a").silence("s2").silence("s3").partial("a"), []string{"UnreachableMaster a", "SidecarSilent", "SidecarSilent"}},
		{"the primary and some replicas are dead", primary("a").replica("b").replica("c").kill("a", "c"), []string{"DeadMasterAndSomeReplicas a", "ReplicaDead c"}},
		{"a replica that cannot be read says nothing", primary("a").replica("b").replica("c", gone()).kill("a"), []string{"DeadMasterAndSomeReplicas a"}},
		{"all are dead", three().kill("a", "b", "c"), []string{"DeadMasterAndReplicas a", "ReplicaDead b", "ReplicaDead c"}},
		{"alone and dead", primary("a").kill("a"), []string{"DeadMasterWithoutReplicas a"}},
		{"two primaries in a ring", ring().kill("a"), []string{"DeadCoMaster a"}},
		{"two primaries in a ring, a replica dead", ring().kill("a", "c"), []string{"DeadCoMasterAndSomeReplicas a", "ReplicaDead c"}},
		{"unreachable, and all lag", primary("a").replica("b", lag(time.Minute)).freeze("a", 0), []string{"UnreachableMasterWithLaggingReplicas a", "ReplicaLagging b"}},
		{"all connections taken", three().stuck("a", "Error 1040: Too many connections"), []string{"PrimaryTooManyConnections a"}},
		{"wrong credentials", three().stuck("a", "Error 1045: Access denied"), []string{"PrimaryStuck a"}},
		{"read-only", primary("a", with(func(st *topology.State) { st.ReadOnly = true })).replica("b"), []string{"NoWriteableMaster a"}},
		{"a writable replica", primary("a").replica("b", writable()), []string{"ReplicaIsWritable b"}},
		{"two writers", primary("a").replica("b").orphan("c", writable()), []string{"TwoWriters c"}},
		{"an old primary with transactions of its own", primary("b").replica("c").orphan("a", has("", "0-1-105")), []string{"OldPrimaryDiverged a"}},
		{"the only replica does not replicate", primary("a").replica("b", threads(no, no)), []string{"MasterSingleReplicaNotReplicating a", "ReplicationStopped b"}},
		{"the only replica is dead", primary("a").replica("b").kill("b"), []string{"MasterSingleReplicaDead a", "ReplicaDead b"}},
		{"none replicates, one is dead", primary("a").replica("b", threads(no, no)).replica("c").kill("c"), []string{"AllMasterReplicasNotReplicatingOrDead a", "ReplicaDead c", "ReplicationStopped b"}},
		{"a replica with wrong credentials", primary("a").replica("b").replica("c", threads(connecting, yes)), []string{"FirstTierReplicaFailingToConnectToMaster c"}},
		{"an errant transaction", primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")).replica("c"), []string{"ErrantGTIDStructureWarning b"}},
		{"received before the primary was read is not errant", primary("a").replica("b", has("0-1-103", "0-1-103")), nil},
		{"a dead intermediate", primary("a").replica("b").replica("c", under("b")).replica("d", under("b")).kill("b"), []string{"MasterSingleReplicaDead a", "DeadIntermediateMaster b", "ReplicaDead b"}},
		{"a dead intermediate with one replica", primary("a").replica("b").replica("c", under("b")).replica("d").kill("b"), []string{"DeadIntermediateMasterWithSingleReplicaFailingToConnect b", "ReplicaDead b"}},
		{"a replica of somebody else", primary("a").replica("b").replica("c", under("x")), []string{"ConnectedToWrongPrimary c"}},
		{"semi-sync: the next commit hangs", three().semiSync(1).change("a", func(st *topology.State) { st.SemiSync.Clients = 0 }), []string{"LockedSemiSyncMasterHypothesis a"}},
		{"semi-sync: commits hang", three().semiSync(1).change("a", func(st *topology.State) { st.SemiSync.Clients, st.SemiSync.Waiting = 0, 4 }), []string{"LockedSemiSyncMaster a", "PrimarySemiSyncBlocked a"}},
		{"semi-sync: attached and not received", primary("a").replica("b", silent(time.Minute)).semiSync(1).change("a", func(st *topology.State) { st.SemiSync.Waiting = 4 }), []string{"PrimarySemiSyncBlocked a", "NotEnoughValidSemiSyncReplicasStructureWarning a"}},
		{"semi-sync: off", three().policy(func(p *Policy) { p.Durability = SemiSync }), []string{"NotEnoughValidSemiSyncReplicasStructureWarning a", "PolicyMismatch a", "PolicyMismatch b", "PolicyMismatch c"}},
		{"different versions", primary("a").replica("b").replica("c", version("11.4.2-MariaDB")), []string{"MultipleMajorVersionsLoggingReplicasStructureWarning a"}},
		{"different formats", primary("a").replica("b").replica("c", with(func(st *topology.State) { st.BinlogFormat = "STATEMENT" })), []string{"StatementAndRowLoggingReplicasStructureWarning a"}},
		{"no binary logs", primary("a").replica("b", with(func(st *topology.State) { st.LogReplicaUpdates = false })), []string{"NoLoggingReplicasStructureWarning a"}},
		{"a silent sidecar", three().silence("s3"), []string{"SidecarSilent"}},
		{"a proxy behind", three().proxy("s2", func(p *topology.Proxy) { p.Epoch = 11 }), []string{"ProxyBehind"}},
		{"a proxy that ends what semi-sync waits for", three().semiSync(1).proxy("s2", func(p *topology.Proxy) { p.Kills = true }), []string{"ProxyKills"}},
		{"or nothing that matters", three().proxy("s2", func(p *topology.Proxy) { p.Kills = true }), nil},
		{"a proxy changed by another hand", three().proxy("s2", func(p *topology.Proxy) { p.Drift = []string{"a:3306 in hostgroup 1"} }), []string{"ProxyDrift"}},
		{"a proxy that somebody else manages", three().proxy("s2", func(p *topology.Proxy) { p.Conflict = "mysql_replication_hostgroups (1,2)" }), []string{"ProxyConflict"}},
		{"a store that lacks the newest route", three().store(topology.Publication{Store: "eu1", Epoch: 11, Error: "consul did not answer"}), []string{"KVBehind"}},
		{"a store changed by another hand", three().store(topology.Publication{Store: "eu1", Epoch: 12, Drift: []string{"a is missing"}, DriftAt: noon}), []string{"KVDrift"}},
		{"a store put back long ago", three().store(topology.Publication{Store: "eu1", Epoch: 12, Drift: []string{"a is missing"}, DriftAt: noon.Add(-2 * time.Minute)}), nil},
		{"a file that cannot be rendered", three().file(topology.File{Node: "s1", Destination: "/f", Sentence: "the check refused it"}), []string{"RenderFailed"}},
		{"a file as it should be", three().file(topology.File{Node: "s1", Destination: "/f", Good: true}), nil},
		{"a leader that cannot reach what others reach", three().unreachable("a", "s1").leads("s1"), []string{"LeaderCannotSee a", "SidecarAlone a"}},
		{"another than the leader", three().unreachable("a", "s2").leads("s1"), []string{"SidecarAlone a"}},
		{"a leader that reaches all", three().leads("s1"), nil},
		{"a disk that hangs", three().leads("s1", "its disk hangs, for 3s now"), []string{"SidecarDiskHung"}},
		{"an ignored server is nobody", three().replica("d", writable()).rule("d", ServerRule{Ignore: true}), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := codes(tt.b); !slices.Equal(got, tt.want) {
				t.Errorf("found %q\n want %q", got, tt.want)
				for _, x := range Analyze(&tt.b.c) {
					t.Log(x.Sentence)
				}
			}
		})
	}
}

// ring is two co-primaries, a routed, and a replica of a.
func ring() *build {
	b := primary("a").replica("b").replica("c")
	b.inst("a").State.Sources = []topology.Source{{Addr: at("b"), IO: topology.ThreadYes, SQL: topology.ThreadYes, GTID: true, Received: b.inst("b").State.Executed, Lag: ptr(topology.Duration(0))}}
	return b
}

func (b *build) change(name string, change func(*topology.State)) *build {
	change(b.inst(name).State)
	return b
}

func (b *build) proxy(node string, change func(*topology.Proxy)) *build {
	for n := range b.c.Snapshot.Proxies {
		if b.c.Snapshot.Proxies[n].Node == node {
			change(&b.c.Snapshot.Proxies[n])
		}
	}
	return b
}

func (b *build) store(p topology.Publication) *build {
	b.c.Snapshot.Publications = append(b.c.Snapshot.Publications, p)
	return b
}

func (b *build) file(x topology.File) *build {
	b.c.Snapshot.Files = append(b.c.Snapshot.Files, x)
	return b
}

func (b *build) stuck(name, text string) *build {
	i := b.inst(name)
	i.Reach = topology.Stuck
	for n := range i.Views {
		i.Views[n].Reach, i.Views[n].Error = topology.Denied, text
	}
	return b
}

func (b *build) partial(name string) *build {
	b.inst(name).Reach = topology.Partial
	return b
}

func (b *build) silence(observer string) *build {
	for n := range b.c.Snapshot.Instances {
		views := b.c.Snapshot.Instances[n].Views
		b.c.Snapshot.Instances[n].Views = slices.DeleteFunc(views, func(v topology.View) bool { return v.Observer == observer })
	}
	return b
}

func TestAFindingSaysWhoSawWhat(t *testing.T) {
	found := Analyze(&primary("a").replica("b").replica("c", gone()).kill("a").c)[0]
	for _, want := range []string{
		"s1: a:3306 refused the connection 0.1s ago: connection refused",
		"b:3306: IO thread connecting",
		"c:3306: not readable (unknown), last read 1m0s ago",
	} {
		if !slices.Contains(found.Evidence, want) {
			t.Errorf("no evidence %q in %q", want, found.Evidence)
		}
	}
	unreachable := Analyze(&primary("a").replica("b", silent(0)).freeze("a", 400*time.Millisecond).c)[0]
	if want := "b:3306 last heard from it 0.4s ago: it is dead when nothing comes for another 0.6s"; !strings.Contains(unreachable.Sentence, want) {
		t.Errorf("%q does not say %q", unreachable.Sentence, want)
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	seen := map[Code]bool{}
	for _, p := range Catalogue() {
		switch {
		case seen[p.Code]:
			t.Errorf("%s is listed twice", p.Code)
		case p.Explain == "" || !strings.HasSuffix(p.Explain, "."):
			t.Errorf("%s is not explained by a sentence", p.Code)
		case p.Priority < urgent || p.Priority > advice:
			t.Errorf("%s has priority %d", p.Code, p.Priority)
		}
		seen[p.Code] = true
	}
	if p, ok := Explain("DeadMaster"); !ok || p.Recovery != KindFailover {
		t.Error("DeadMaster is not acted upon")
	}
}
