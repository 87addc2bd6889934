package main

import (
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ms(n int) topology.Duration { return topology.Duration(time.Duration(n) * time.Millisecond) }

func at(n int) time.Time { return noon.Add(ms(n).D()) }

func some(d topology.Duration) *topology.Duration { return &d }

// healthyStatus is a fleet of two sidecars and a witness, and one cluster.
func healthyStatus() api.Status {
	return api.Status{
		Node: "r2", Version: "0.1.0", Leader: "r1", Term: 4, Index: 120, Taken: noon,
		Nodes: []api.NodeStatus{
			{Name: "r1", API: "r1:3030", Raft: "r1:3031", Role: "leader", Heard: some(ms(90)), Lease: some(ms(1900)), Proxy: "2.7.3", Applied: map[string]uint64{"main": 42}},
			{Name: "r2", API: "r2:3030", Raft: "r2:3031", Role: "follower", Heard: some(ms(130)), Lease: some(ms(1870)), Proxy: "2.7.3", Applied: map[string]uint64{"main": 42}},
			{Name: "r3", API: "r3:3030", Raft: "r3:3031", Role: "follower", Heard: some(ms(60)), Lease: some(ms(1940)), Witness: true},
		},
		Clusters: []api.ClusterStatus{{
			Name: "main", Epoch: 42, Primary: "a:3306", Mode: topology.Open,
			Sentence: "main is well: a:3306 is the primary, 2 replicas replicate",
			Instances: []api.InstanceStatus{
				{Addr: "a:3306", Role: "primary", Reach: topology.Up, Version: "10.11.8-MariaDB", Read: some(ms(70)), Watchers: []api.Watcher{
					{Node: "r1", Ago: ms(140), Reach: topology.Answered}, {Node: "r2", Ago: ms(70), Reach: topology.Answered}, {Node: "r3", Ago: ms(90), Reach: topology.Answered},
				}},
				{Addr: "b:3306", Role: "replica", Reach: topology.Up, ReadOnly: true, Source: "a:3306", IO: topology.ThreadYes, SQL: topology.ThreadYes, Lag: some(0), Reads: true, Version: "10.11.8-MariaDB"},
				{Addr: "long-name-of-a-host.example:3306", Role: "replica", Reach: topology.Up, ReadOnly: true, Source: "b:3306", IO: topology.ThreadYes, SQL: topology.ThreadYes, Lag: some(ms(4000)), Version: "10.11.8-MariaDB"},
			},
		}},
	}
}

// sharedStatus is a fleet where each instance is watched by some: one of them cannot reach b, and nobody tells of the last.
func sharedStatus() api.Status {
	s := healthyStatus()
	for n := range s.Nodes {
		s.Nodes[n].Shares = true
	}
	list := s.Clusters[0].Instances
	list[1].Read, list[1].Watchers = some(ms(4100)), []api.Watcher{{Node: "r1", Ago: ms(40), Reach: topology.TimedOut}, {Node: "r3", Ago: ms(610), Reach: topology.Answered}}
	list[2].Reach, list[2].Read = topology.Unclear, some(ms(7200))
	return s
}

// troubledStatus is a fleet that fails over, with a sidecar that is silent.
func troubledStatus() api.Status {
	s := healthyStatus()
	s.Nodes[0].Applied = map[string]uint64{"main": 44, "other": 7}
	s.Nodes[1].Trouble = []string{"ProxyDrift: two rows of hostgroup 10 were mended", "the admin interface answers slowly"}
	s.Nodes[2] = api.NodeStatus{Name: "r3", API: "r3:3030", Role: "silent", Heard: some(ms(12_000)), Lease: some(0), Proxy: "2.7.3", Applied: map[string]uint64{"main": 41}}
	c := &s.Clusters[0]
	c.Sentence = "failing over from a:3306 to b:3306: waiting for r3's lease"
	c.Mode = topology.Fenced
	c.Instances[0] = api.InstanceStatus{Addr: "a:3306", Role: "primary", Reach: topology.Down, Version: "10.11.8-MariaDB"}
	c.Instances[1].IO = topology.ThreadConnecting
	c.Instances[2] = api.InstanceStatus{Addr: "c:3306", Role: "unknown", Reach: topology.Unclear}
	c.Findings = []failover.Finding{deadPrimary(), {Code: "ReplicaIsWritable", Instance: "d:3306", Priority: 5, Sentence: "replica d:3306 takes writes"}}
	c.Recovery = &failover.Recovery{Intent: failedOver().Intent, Outcome: failover.InProgress, To: "b:3306"}
	c.Recovery.Intent.Epoch = 44
	s.Clusters = append(s.Clusters, api.ClusterStatus{
		Name: "other", Sentence: "no primary can be adopted: two servers are writable",
		Refusals: []failover.Refusal{{Rule: "two_writers", Subject: "x:3306", Sentence: "x:3306 and y:3306 are both writable", Change: "set one of them read-only"}},
	})
	return s
}

func deadPrimary() failover.Finding {
	return failover.Finding{
		Code: "DeadMaster", Instance: "a:3306", Priority: 1, Recovery: failover.KindFailover,
		Sentence: "primary a:3306 is dead: 3 of 3 sidecars cannot reach it and no replica receives from it",
		Evidence: []string{"r1: a:3306 refused the connection 0.1s ago", "b:3306: IO thread connecting\nto a:3306"},
	}
}

func steps() []failover.StepResult {
	return []failover.StepResult{
		{Step: failover.Step{Do: failover.CloseProxies, Mode: topology.Fenced}, Started: at(20), Took: ms(60), Node: "r1"},
		{Step: failover.Step{Do: failover.SetReadOnly, Target: "a:3306", Optional: true}, Started: at(20), Took: ms(5), Node: "r1", Error: "dial tcp a:3306: connection refused"},
		{Step: failover.Step{Do: failover.Promote, Target: "b:3306"}, Started: at(85), Took: ms(40), Node: "r1"},
		{Step: failover.Step{Do: failover.Repoint, Target: "c:3306", Source: "b:3306"}, Started: at(2600), Took: ms(12), Node: "r2"},
	}
}

func failedOver() failover.Recovery {
	return failover.Recovery{
		Intent: failover.Intent{
			ID: "F1", Cluster: "main", Kind: failover.KindFailover, From: "a:3306", To: "b:3306", Epoch: 44, At: noon,
			Code: "DeadMaster", Reason: "primary a:3306 is dead", Evidence: deadPrimary().Evidence,
		},
		Outcome: failover.Succeeded, To: "b:3306", Steps: steps(), Routed: at(130), Ended: at(2620),
		Lost:         []string{"0-1-77 was executed on a:3306 only"},
		Acknowledged: &failover.Acknowledgement{By: "alice", Comment: "disk replaced", At: at(3_600_000)},
	}
}

func switchedOver() failover.Recovery {
	return failover.Recovery{
		Intent: failover.Intent{
			ID: "S1", Cluster: "main", Kind: failover.KindSwitchover, From: "a:3306", To: "b:3306", Epoch: 43, At: noon,
			Reason: "asked for", By: "alice", Chosen: true,
		},
		Outcome: failover.Succeeded, To: "b:3306", Steps: steps()[2:3], Routed: at(120), Ended: at(200),
	}
}

func rolledBack() failover.Recovery {
	r := switchedOver()
	r.Intent.ID, r.Outcome, r.To, r.Routed = "S2", failover.RolledBack, "a:3306", time.Time{}
	r.Steps = []failover.StepResult{{Step: failover.Step{Do: failover.CatchUp, Target: "b:3306"}, Started: at(40), Took: ms(900), Node: "r1", Error: "timed out"}}
	r.Error = "b:3306 did not catch up within 1s"
	return r
}

// hooked is a switchover with hooks around it.
func hooked() failover.Recovery {
	r := switchedOver()
	r.Hooks = []failover.HookResult{
		{Hook: failover.BeforeSwitchover, Number: 1, Command: "may-switch main a", Started: at(-500), Took: ms(400), Node: "r1", Output: "asked\n\x1b[2Jyes"},
		{Hook: failover.AfterSwitchover, Number: 1, Command: "page 'a -> b'", Started: at(210), Took: ms(90), Node: "r1", Exit: 7, Output: "no such pager", Error: "it ended with exit code 7"},
	}
	r.Due = failover.AfterSwitchover
	return r
}

// stopped is a failover that a hook stopped.
func stopped() failover.Recovery {
	r := failedOver()
	r.Outcome, r.To, r.Steps, r.Routed, r.Lost, r.Acknowledged = failover.Aborted, "a:3306", nil, time.Time{}, nil, nil
	r.Intent.Epoch = 0
	r.Error = `hook before_failover 1 failed on r1: it ended with exit code 3; it said "not now"`
	r.Hooks = []failover.HookResult{{Hook: failover.BeforeFailover, Number: 1, Command: "may-fail-over main", Started: at(10), Took: ms(400), Node: "r1", Exit: 3, Output: "not now", Error: "it ended with exit code 3"}}
	return r
}

func refusals() []failover.Refusal {
	return []failover.Refusal{
		{Rule: "anti_flap", Sentence: "the last failover of main ended 3m ago", Change: "acknowledge it with `remora ack main`", Overridable: true},
		{Rule: "errant", Subject: "c:3306", Sentence: "c:3306 has 2 transactions that a:3306 lacks: 0-3-5", Change: "rebuild c:3306, or set errant: tolerate"},
	}
}

// wouldGo is the answer to a dry run that nothing stands against.
func wouldGo() api.RecoveryReply {
	in := switchedOver().Intent
	return api.RecoveryReply{
		Decision: failover.Decision{
			Sentence: "switching over to b:3306", Intent: &in,
			Checks: []failover.Check{
				{Name: "primary", OK: true, Sentence: "a:3306 answers and is writable"},
				{Name: "lag", OK: true, Sentence: "b:3306 lags 0s, at most 1s is allowed"},
			},
		},
		Plan: plan(),
	}
}

func plan() []failover.Stage {
	return []failover.Stage{
		{{Do: failover.CloseProxies, Mode: topology.Paused, Wait: ms(2000), Why: "writes are held while the primary changes"}},
		{{Do: failover.Promote, Target: "b:3306", Why: "b:3306 has all that a:3306 executed"}},
		{
			{Do: failover.Repoint, Target: "a:3306", Source: "b:3306", Why: "the old primary becomes a replica"},
			{Do: failover.Repoint, Target: "c:3306", Source: "b:3306", Wait: ms(500), Optional: true, Why: "c:3306 follows"},
		},
	}
}

// wouldNot is the answer to a dry run that is refused.
func wouldNot() api.RecoveryReply {
	return api.RecoveryReply{
		Decision: failover.Decision{
			Sentence: "no candidate is fit",
			Checks: []failover.Check{
				{Name: "primary", OK: true, Sentence: "a:3306 answers and is writable"},
				{Name: "lag", OK: false, Sentence: "b:3306 lags 40s, at most 1s is allowed"},
			},
			Candidates: candidates(), Refusals: refusals(),
		},
		Findings: []failover.Finding{{Code: "ErrantGTID", Instance: "c:3306", Priority: 6, Sentence: "c:3306 has transactions of its own"}},
	}
}

func candidates() []failover.Candidate {
	return []failover.Candidate{
		{Addr: "b:3306", Fit: true, Rank: []string{"has received the most", "same data centre"}},
		{Addr: "c:3306", Refusals: refusals()[1:]},
	}
}

// forced is the answer to a forced failover's dry run.
func forced() api.RecoveryReply {
	in := failedOver().Intent
	in.Forced, in.By = true, "alice"
	return api.RecoveryReply{
		Decision: failover.Decision{
			Sentence: "failing over to b:3306", Intent: &in, Candidates: candidates(), Refusals: refusals()[:1],
			Loss: []string{"12 transactions executed by primary a:3306 (read 3s ago) that b:3306 has not received: 0-1-88"},
		},
		Plan: plan(),
	}
}

func verdict() failover.Verdict {
	f := forced()
	return failover.Verdict{
		Cluster: "main", Findings: []failover.Finding{deadPrimary()}, Decision: f.Decision, Plan: f.Plan,
		Repairs: []failover.Step{{Do: failover.SetReadOnly, Target: "d:3306", Why: "replica d:3306 is writable"}},
	}
}
