package ledger

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// command is a new one, or, with its place in the log, one from before.
func (p *play) command(index uint64) (cmd Command, repeated int) {
	if len(p.log) > 0 && rapid.IntRange(0, 7).Draw(p.t, "repeat") == 0 {
		i := rapid.IntRange(0, len(p.log)-1).Draw(p.t, "which")
		return p.log[i].cmd, i
	}
	at := epochZero.Add(time.Duration(rapid.IntRange(-30, 120).Draw(p.t, "clock")) * time.Second)
	ops := []func() any{
		p.setRoute, p.begin, p.begin, p.decline, p.recordHook, p.retarget, p.anchor, p.pause, p.abort, p.commitRoute, p.commitRoute, p.conclude, p.conclude, p.acknowledge,
		func() any { return &Discover{Cluster: p.cluster(), Addrs: []topology.Addr{p.addr(), p.addr()}} },
		func() any { return &Forget{Cluster: p.cluster(), Addr: p.addr()} },
		func() any {
			return &RegisterNode{Node: Node{Name: p.pick("n1", "n2"), Proxy: rapid.Bool().Draw(p.t, "proxy")}, Epoch: rapid.SampledFrom([]uint64{0, 0, 20, 1000}).Draw(p.t, "acknowledged")}
		},
		func() any { return &ForgetNode{Name: p.pick("n1", "n2")} },
		func() any {
			return &SetDowntime{Cluster: p.cluster(), Downtime: failover.Downtime{Instance: p.addr(), Until: epochZero.Add(time.Minute)}}
		},
		func() any {
			return &Rescue{Cluster: p.cluster(), Rescued: failover.Rescued{Instance: p.addr(), Set: gtid.MustParse("0-1-5"), Node: "n1", File: "/f"}}
		},
		func() any { return &EndDowntime{Cluster: p.cluster(), Instance: p.addr()} },
	}
	op := rapid.SampledFrom(ops).Draw(p.t, "op")()
	return command(fmt.Sprintf("c%d", index), at, op), -1
}

func (p *play) pick(values ...string) string { return rapid.SampledFrom(values).Draw(p.t, "name") }

func (p *play) cluster() string { return p.pick("main", "main", "other") }

func (p *play) addr() topology.Addr {
	return rapid.SampledFrom([]topology.Addr{a, b, c, x}).Draw(p.t, "addr")
}

// mostly is the sensible value three times out of four.
func mostly[T any](p *play, sensible T, other func() T) T {
	if rapid.IntRange(0, 3).Draw(p.t, "sensible") > 0 {
		return sensible
	}
	return other()
}

func (p *play) expect(cluster string) uint64 {
	return mostly(p, p.s.Clusters[cluster].Route.Epoch, func() uint64 { return uint64(rapid.IntRange(0, 20).Draw(p.t, "expect")) })
}

func (p *play) assignment() []topology.Reader {
	var list []topology.Reader
	for range rapid.IntRange(0, 2).Draw(p.t, "readers") {
		list = append(list, topology.Reader{Addr: p.addr(), Weight: rapid.IntRange(0, 5).Draw(p.t, "weight")})
	}
	return list
}

func (p *play) intentID(cluster string) string {
	id := "none"
	if i := p.s.Clusters[cluster].Intent; i != nil {
		id = i.ID
	}
	return mostly(p, id, func() string { return p.pick("i1", "i2", "i3") })
}

func (p *play) setRoute() any {
	cluster := p.cluster()
	return &SetRoute{Cluster: cluster, Expect: p.expect(cluster), Writer: mostly(p, p.s.Clusters[cluster].Route.Writer, p.addr), Readers: p.assignment()}
}

func (p *play) begin() any {
	cluster := p.cluster()
	from := mostly(p, p.s.Clusters[cluster].Route.Writer, p.addr)
	kind := failover.Kind(p.pick(string(failover.KindFailover), string(failover.KindSwitchover)))
	id := p.pick("i1", "i2", "i3", fmt.Sprintf("i%d", p.s.Index), fmt.Sprintf("j%d", p.s.Index))
	var regroup []topology.Addr
	if rapid.Bool().Draw(p.t, "regroup") {
		regroup = []topology.Addr{p.addr()}
	}
	return &Begin{Expect: p.expect(cluster), Intent: failover.Intent{ID: id, Cluster: cluster, Kind: kind, From: from, To: p.addr(), Evidence: []string{"seen"}, Regroup: regroup}}
}

func (p *play) decline() any {
	b := p.begin().(*Begin)
	b.Intent.By = p.pick("", "ann")
	return &Decline{Intent: b.Intent, Error: "a hook stopped it", Hooks: []failover.HookResult{p.hook()}, Due: failover.OnFailure, Replaces: p.pick("", "i1", "i2")}
}

func (p *play) recordHook() any {
	cluster := p.cluster()
	h := p.hook()
	return &RecordHook{Cluster: cluster, RecoveryID: p.intentID(cluster), Result: &h, Done: rapid.Bool().Draw(p.t, "done")}
}

func (p *play) hook() failover.HookResult {
	point := rapid.SampledFrom(failover.HookPoints).Draw(p.t, "point")
	return failover.HookResult{Hook: point, Number: rapid.IntRange(1, 2).Draw(p.t, "number"), Output: "said"}
}

func (p *play) retarget() any {
	cluster := p.cluster()
	return &Retarget{Cluster: cluster, IntentID: p.intentID(cluster), To: p.addr()}
}

func (p *play) anchor() any {
	cluster := p.cluster()
	at := topology.Coordinates{File: "binlog.000001", Pos: uint64(rapid.IntRange(0, 2).Draw(p.t, "pos"))}
	return &Anchor{Cluster: cluster, IntentID: p.intentID(cluster), Anchor: failover.Anchor{Target: p.target(cluster), Source: at, At: at}}
}

func (p *play) pause() any {
	cluster := p.cluster()
	return &Pause{Cluster: cluster, IntentID: p.intentID(cluster)}
}

func (p *play) abort() any {
	cluster := p.cluster()
	return &Abort{Cluster: cluster, IntentID: p.intentID(cluster), Reason: "a step failed"}
}

func (p *play) target(cluster string) topology.Addr {
	if i := p.s.Clusters[cluster].Intent; i != nil {
		return mostly(p, i.To, p.addr)
	}
	return p.addr()
}

func (p *play) commitRoute() any {
	cluster := p.cluster()
	return &CommitRoute{Cluster: cluster, IntentID: p.intentID(cluster), Writer: p.target(cluster), Readers: p.assignment(), Steps: []failover.StepResult{{Node: "n1"}}}
}

func (p *play) conclude() any {
	cluster := p.cluster()
	outcome := failover.Outcome(p.pick(string(failover.Succeeded), string(failover.RolledBack)))
	return &Conclude{Cluster: cluster, IntentID: p.intentID(cluster), Outcome: outcome, Lost: []string{"one"}}
}

func (p *play) acknowledge() any {
	return &Acknowledge{Cluster: p.cluster(), RecoveryID: p.pick("", "i1", "i2"), Ack: failover.Acknowledgement{By: "ann"}}
}
