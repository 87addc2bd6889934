package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// recorded is what a server answered to the parts of a reading, see testdata/answers: "[part]" begins a row, or for names and
// values the whole result; each line is a column. The origin stands in comments.
func recorded(t *testing.T, file string) (version string, results map[string]result) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "answers", file+".txt"))
	must(t, err)
	results = map[string]result{partVariables: {}, partStatus: {}, partReplication: {}, partSets: {{}}}
	part := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, value, _ := strings.Cut(line, ": ")
		pairs := part == partVariables || part == partStatus
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			if part = strings.Trim(line, "[]"); part == partSets {
				results[part] = nil
			}
			if part != partVariables && part != partStatus {
				results[part] = append(results[part], row{})
			}
		case part == "":
			version = value
		case pairs:
			results[part] = append(results[part], row{"Variable_name": name, "Value": value})
		default:
			rows := results[part]
			rows[len(rows)-1][name] = value
		}
	}
	results[partVariables] = append(results[partVariables], row{"Variable_name": "version", "Value": version})
	return version, results
}

func readRecorded(t *testing.T, file string) *reading {
	t.Helper()
	version, results := recorded(t, file)
	d, err := dialectOf(version)
	must(t, err)
	r, err := d.parse(results)
	must(t, err)
	return r
}

func TestRecordedReplicas(t *testing.T) {
	for _, c := range []struct {
		file               string
		source             topology.Addr
		received, executed string // GTIDs
		position           string
		filters            string
		lag, tls           bool
	}{
		{file: "percona-8.0.20", source: "192.168.5.100:3306", position: "mysql-bin.000002:120506", lag: true,
			filters:  "ignore_table=bet.events_on_demand,bet.v_same_event",
			executed: "15ed3c14-d5d1-11ea-b8e6-5254004d77d3:1,b96e573b-d5d0-11ea-b8d9-5254004d77d3:1-39"},
		{file: "mysql-8.0", source: "10.0.26.101:3306", position: "mysql-bin.000001:94252", lag: true,
			received: "dbfed031-5754-11f0-9249-080027bb5920:40", executed: "dbfed031-5754-11f0-9249-080027bb5920:1-40"},
		{file: "mysql-8.4.7-tls", source: "192.168.80.129:3306", position: "mysql-bin.000006:198", lag: true, tls: true,
			executed: "30e3a66e-d6b2-11f0-855c-000c29467e5d:1-6,652ef6a5-d5b4-11f0-8255-000c290f7624:1-1035"},
		{file: "percona-8.0.46-new-words", source: "172.19.0.6:3306", position: "mysql-bin.000001:475",
			filters: "ignore_table=bet.events_on_demand,bet.v_same_event"},
	} {
		r := readRecorded(t, c.file)
		src, ch := r.state.Source(), r.channel()
		if src == nil {
			t.Errorf("%s: it is no replica", c.file)
			continue
		}
		if src.Addr != c.source || src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes || !src.GTID || src.Filters != c.filters ||
			src.Channel != "" || (src.Lag != nil) != c.lag || src.Untried || r.state.MultiSource() {
			t.Errorf("%s: %+v", c.file, src)
		}
		if ch.received != c.position || ch.executed != c.position || ch.user != "repl" || ch.tls != c.tls || c.lag && !ch.readAll() {
			t.Errorf("%s: %+v", c.file, ch)
		}
		if !src.Received.Equal(gtid.MustParse(c.received)) || !r.state.Executed.Equal(gtid.MustParse(c.executed)) || !r.state.HasApplied(src.Received) {
			t.Errorf("%s: received %s, executed %s", c.file, src.Received, r.state.Executed)
		}
	}
}

func TestRecordedSemiSyncOfTheOldPlugins(t *testing.T) {
	r := readRecorded(t, "mysql-8.0")
	s := r.state.SemiSync
	if !s.SourceEnabled || !s.SourceActive || s.Clients != 2 || s.WaitCount != 1 || !s.WaitsAlone || s.WaitPoint != "AFTER_SYNC" || s.ReplicaEnabled || s.ReplicaActive {
		t.Errorf("%+v", s)
	}
	if r.semiSync != (semiSyncWords{"master", "slave"}) {
		t.Errorf("%+v", r.semiSync)
	}
	if len(r.state.Replicas) != 1 || r.state.Replicas[0] != "node1:3306" {
		t.Errorf("%v", r.state.Replicas)
	}
	// Each side may have the other age's plugin (from 8.0.26 on).
	mixed, err := oracle{}.semiSync(&reading{semiSync: semiSyncWords{"source", "slave"}}, semiSyncPlan{source: true, waitCount: 1, timeout: "1"})
	must(t, err)
	want := "SET GLOBAL rpl_semi_sync_slave_enabled=0, GLOBAL rpl_semi_sync_source_wait_for_replica_count=1, GLOBAL rpl_semi_sync_source_timeout=1," +
		" GLOBAL rpl_semi_sync_source_wait_point='AFTER_SYNC', GLOBAL rpl_semi_sync_source_wait_no_replica=1, GLOBAL rpl_semi_sync_source_enabled=1"
	if mixed.sql != want {
		t.Error(mixed.sql)
	}
}

func TestARecordedMemberOfAClusterIsKnown(t *testing.T) {
	if r := readRecorded(t, "pxc-8.0"); r.state.Member != "galera" || r.state.IsReplica() {
		t.Errorf("%+v", r.state)
	}
}
