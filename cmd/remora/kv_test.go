package main

import (
	"testing"

	"github.com/remora-ha/remora/topology"
)

func TestKV(t *testing.T) {
	held := topology.NewDocument(topology.Route{Cluster: "main", Epoch: 7, Writer: "db1:3306", Mode: topology.Open}, nil)
	well := topology.Stored{Store: "east", Epoch: 7, Document: &held}
	n := leading()
	n.stored = []topology.Stored{well}
	c := cli{env: map[string]string{"REMORA_NODES": n.serve(t)}}

	c.run(t, "kv", "show", "main").want(t, 0, "CLUSTER", "main", "east", "open", "db1:3306", "in line")
	c.run(t, "kv", "submit", "main").want(t, 0, "in line")
	if len(n.submits) != 2 || n.submits[0] || !n.submits[1] {
		t.Errorf("show and submit were %v", n.submits)
	}

	n.stored = []topology.Stored{
		{Store: "east", Epoch: 7, Document: &held, Changes: []topology.Change{{Cluster: "main", Key: "mysql/master/main", Have: "x:1", Want: "db1:3306"}}},
		{Store: "west", Error: "consul west (10.0.0.1:8500): read main: consul did not answer"},
	}
	c.run(t, "kv", "show", "main").want(t, exitUnhealthy, "1 keys differ", `east: mysql/master/main is "x:1", want "db1:3306"`, "consul did not answer")
	c.run(t, "kv", "show", "main", "--json").want(t, exitUnhealthy, `"cluster": "main"`, `"error": "consul west`)
}
