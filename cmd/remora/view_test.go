package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/sidecar"
	"github.com/remora-ha/remora/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; go test ./cmd/remora -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, go test ./cmd/remora -update\n%s", file, diff)
	}
}

func TestViews(t *testing.T) {
	healthy, troubled, shared, empty := healthyStatus(), troubledStatus(), sharedStatus(), api.Status{Node: "r1", Version: "0.1.0", Taken: noon}
	wouldGo, wouldNot, forced, verdict := wouldGo(), wouldNot(), forced(), verdict()
	over, back, fail := switchedOver(), rolledBack(), failedOver()
	hooked, stopped := hooked(), stopped()
	nothing := failover.Verdict{Cluster: "main", Decision: failover.Decision{Sentence: "main is well"}}
	waiting := failover.Verdict{Cluster: "main", Decision: failover.Decision{Sentence: "main: all replicas lag", Wait: true}}
	tree := api.TopologyReply{
		Cluster: "main", Lines: []string{"a:3306 [0s,up,10.11,rw]", "+ b:3306 [0s,up,10.11,ro]"},
		Snapshot: topology.Snapshot{Cluster: "main", Taken: noon, Route: topology.Route{Epoch: 42, Writer: "a:3306", Mode: topology.Open}},
	}
	for name, view := range map[string]func(*page){
		"status_healthy":         func(p *page) { viewStatus(p, &healthy, false) },
		"status_troubled":        func(p *page) { viewStatus(p, &troubled, false) },
		"status_troubled_color":  func(p *page) { p.color = true; viewStatus(p, &troubled, false) },
		"status_empty":           func(p *page) { viewStatus(p, &empty, false) },
		"status_watchers":        func(p *page) { viewStatus(p, &healthy, true) },
		"status_shared":          func(p *page) { viewStatus(p, &shared, false) },
		"topology":               func(p *page) { viewTopology(p, &tree) },
		"recoveries":             func(p *page) { viewRecoveries(p, []failover.Recovery{back, over, fail}) },
		"recoveries_none":        func(p *page) { viewRecoveries(p, nil) },
		"recovery_failover":      func(p *page) { viewRecovery(p, &fail) },
		"recovery_switchover":    func(p *page) { viewRecovery(p, &over) },
		"recovery_rolled_back":   func(p *page) { viewRecovery(p, &back) },
		"recovery_hooks":         func(p *page) { viewRecovery(p, &hooked) },
		"recovery_aborted":       func(p *page) { viewRecovery(p, &stopped) },
		"end_hooks":              func(p *page) { viewEnd(p, &hooked) },
		"end_aborted":            func(p *page) { viewEnd(p, &stopped) },
		"end_switchover":         func(p *page) { viewEnd(p, &over) },
		"end_failover":           func(p *page) { viewEnd(p, &fail) },
		"end_rolled_back":        func(p *page) { viewEnd(p, &back) },
		"dry_run_would_go":       func(p *page) { viewDryRun(p, "main", &wouldGo) },
		"dry_run_refused":        func(p *page) { viewDryRun(p, "main", &wouldNot) },
		"dry_run_forced":         func(p *page) { viewDryRun(p, "main", &forced) },
		"verdict_failover":       func(p *page) { viewVerdict(p, &verdict) },
		"verdict_failover_color": func(p *page) { p.color = true; viewVerdict(p, &verdict) },
		"verdict_nothing":        func(p *page) { viewVerdict(p, &nothing) },
		"verdict_wait":           func(p *page) { viewVerdict(p, &waiting) },
		"config":                 func(p *page) { c := exampleConfig(t); viewConfig(p, "remora.yaml", &c) },
	} {
		t.Run(name, func(t *testing.T) {
			p := &page{zone: time.UTC}
			view(p)
			golden(t, name, p.b.String())
		})
	}
}

const exampleYAML = `
node: r1
data_dir: /var/lib/remora
nodes:
  - {name: r1, raft: "r1:3031", api: "r1:3030"}
  - {name: r2, raft: "r2:3031", api: "r2:3030"}
  - {name: r3, raft: "r3:3031", api: "r3:3030", witness: true}
mysql: {user: remora}
proxysql: {admin: "127.0.0.1:6032"}
clusters:
  main:
    seeds: ["a:3306"]
    hostgroups: {writer: 10, reader: 20}
    policy:
      durability: semi_sync
      servers:
        - {match: "a*", promotion: prefer, data_center: east}
        - {match: "backup*", ignore: true}
`

func exampleConfig(t *testing.T) sidecar.Config {
	t.Helper()
	c, err := sidecar.ParseConfig("remora.yaml", []byte(exampleYAML))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a server says must not move the terminal's cursor.
func TestControlCharactersNeverReachTheTerminal(t *testing.T) {
	p := &page{zone: time.UTC}
	p.say(0, plain, "a\x1b[2Jb\nc")
	p.row(0, cell{"x\x07", plain})
	p.table(0, &table{head: []string{"H"}, rows: [][]cell{{{"y\r", plain}}}})
	if diff := cmp.Diff("a [2Jb c\nx \nH\ny \n", p.b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", -time.Second: "0 ms", 300 * time.Microsecond: "<1 ms", 120 * time.Millisecond: "120 ms",
		1500 * time.Millisecond: "1.5 s", 42 * time.Second: "42 s", 250 * time.Second: "4m10s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}
