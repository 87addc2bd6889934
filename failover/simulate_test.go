package failover

import (
	"slices"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// effect does to the simulated cluster what a step does to a real one.
func (b *build) effect(s Step) {
	i := b.c.Snapshot.Instance(s.Target)
	if i != nil && s.Do != CommitRoute && s.Do != Retarget && s.Do != Pause && s.Do != Conclude && s.Do != RollBack {
		b.c.Snapshot.Taken = b.c.Snapshot.Taken.Add(time.Millisecond)
		i.Reach, i.ReadAt = topology.Up, b.c.Snapshot.Taken // the step ended well, so the server answers
	}
	if i != nil && refuses(i.State, s.SemiSync) {
		return
	}
	switch s.Do {
	case CloseProxies:
		for n := range b.c.Snapshot.Proxies {
			p := &b.c.Snapshot.Proxies[n]
			p.Epoch, p.Mode, p.Drained = max(p.Epoch, b.c.Intent.Epoch), s.Mode, true
		}
	case SetReadOnly:
		i.State.ReadOnly, i.State.SuperReadOnly = true, i.State.Flavor == "mysql"
	case StopReceiving:
		for n := range i.State.Sources {
			if i.State.Sources[n].Addr == s.Source {
				i.State.Sources[n].IO = topology.ThreadNo
			}
		}
	case SetSemiSync:
		setSemiSync(i.State, s.SemiSync)
	case SetWritable:
		i.State.ReadOnly, i.State.SuperReadOnly = false, false
	case CatchUp:
		b.catchUp(i, s)
	case Drain:
		i.State.Executed = i.State.Received()
		for n := range i.State.Sources {
			i.State.Sources[n].IO = topology.ThreadNo
		}
	case Retarget:
		b.c.Intent.To = s.Target
	case Pause:
		b.c.Intent.Regroup, b.c.Intent.Epoch = nil, b.c.Intent.Epoch+1
	case Promote:
		i.State.Sources, i.State.ReadOnly, i.State.SuperReadOnly = nil, false, false
		setSemiSync(i.State, s.SemiSync)
	case Repoint:
		b.repoint(i, s)
	case Locate:
		b.locate(i, s)
	case StartReplica:
		for n := range i.State.Sources {
			i.State.Sources[n].IO, i.State.Sources[n].SQL = topology.ThreadYes, topology.ThreadYes
		}
	case CommitRoute, RollBack:
		epoch := b.c.Snapshot.Route.Epoch
		b.c.Snapshot.Route = RouteTo(&b.c, s.Target)
		b.c.Snapshot.Route.Epoch = max(epoch, b.c.Intent.Epoch) + 1
		for n := range b.c.Snapshot.Proxies {
			p := &b.c.Snapshot.Proxies[n]
			p.Epoch, p.Writer, p.Mode = b.c.Snapshot.Route.Epoch, s.Target, topology.Open
		}
		if s.Do == RollBack {
			b.c.Intent = nil
		}
	case Conclude:
		b.c.Intent = nil
	}
}

func (b *build) catchUp(i *topology.Instance, s Step) {
	if !s.At.IsZero() {
		if source(i).IO == topology.ThreadYes && b.reaches(source(i).Addr) {
			source(i).ReadTo = logEnd
		}
		if source(i).Held().Compare(s.At) != gtid.Behind {
			source(i).AppliedTo = s.At
		}
		return
	}
	until := s.Until
	if until.Empty() {
		until = b.c.Snapshot.State(b.c.Intent.From).Executed
	}
	if src := i.State.Source(); src != nil && src.IO == topology.ThreadNo && !src.Received.Contains(until) {
		return // nothing comes any more
	}
	i.State.Executed = i.State.Executed.Union(until)
	for n := range i.State.Sources {
		i.State.Sources[n].Received = i.State.Sources[n].Received.Union(until)
	}
}

func (b *build) repoint(i *topology.Instance, s Step) {
	if !s.At.IsZero() {
		b.pointAt(i, s)
		return
	}
	i.State.Sources = []topology.Source{{
		Addr: s.Source, IO: topology.ThreadYes, SQL: topology.ThreadYes, GTID: true, Received: i.State.Executed, Lag: ptr(topology.Duration(0)),
		Delay: delayOf(i.State),
	}}
	setSemiSync(i.State, s.SemiSync)
}

// refuses says that a server cannot be set so, whereupon it does nothing of the step.
func refuses(st *topology.State, plan *SemiSyncPlan) bool {
	return plan.Unmet(st) != "" && (plan.Source && st.SemiSync.NoSource || plan.Replica && st.SemiSync.NoReplica)
}

func setSemiSync(st *topology.State, plan *SemiSyncPlan) {
	if plan != nil {
		st.SemiSync = topology.SemiSync{
			NoSource: st.SemiSync.NoSource, NoReplica: st.SemiSync.NoReplica,
			SourceEnabled: plan.Source, SourceActive: plan.Source, ReplicaEnabled: plan.Replica, ReplicaActive: plan.Replica,
			WaitCount: plan.WaitCount, Timeout: plan.Timeout, WaitPoint: afterSync, WaitsAlone: true,
		}
	}
}

func (b *build) perform(stage Stage) {
	for _, s := range stage {
		b.effect(s)
	}
}

// words are the plan, a line a stage.
func words(stages []Stage) []string {
	var lines []string
	for _, s := range stages {
		lines = append(lines, s.String())
	}
	return lines
}

func expectPlan(t *testing.T, got []Stage, want ...string) {
	t.Helper()
	if !slices.Equal(words(got), want) {
		t.Errorf("the plan is\n%s\nwant\n%s", indent(words(got)), indent(want))
	}
}

func indent(lines []string) string {
	text := ""
	for _, l := range lines {
		text += "  " + l + "\n"
	}
	return text
}

// interrupt performs a plan as a series of leaders would who each die after one
// stage: whoever plans again must come to exactly the rest.
func interrupt(t *testing.T, b *build) {
	t.Helper()
	for range 40 {
		stages := Remaining(&b.c)
		if stages == nil {
			return
		}
		if step := stages[0][0]; step.Do == Promote {
			b.cutShort(t, step)
		}
		b.perform(stages[0])
		expectPlan(t, Remaining(&b.c), words(stages[1:])...)
		b.oneWriter(t)
	}
	t.Fatal("the plan does not end")
}

// cutShort does the first half of a promotion, after which the target has no source
// and takes no writes: whoever plans again must come to the same.
func (b *build) cutShort(t interface {
	Helper()
	Fatalf(string, ...any)
}, s Step) {
	t.Helper()
	before := words(Remaining(&b.c))
	i := b.c.Snapshot.Instance(s.Target)
	i.State.Sources = nil
	i.ReadAt = b.c.Snapshot.Taken
	if after := words(Remaining(&b.c)); !slices.Equal(after, before) {
		t.Fatalf("%s was cut short when its source was forgotten; the plan was\n%sand is\n%s", s, indent(before), indent(after))
	}
}

// interruptSteps stops after every single step, in the middle of stages and of a
// promotion too.
func interruptSteps(t *testing.T, b *build) {
	t.Helper()
	for range 80 {
		stages := Remaining(&b.c)
		if stages == nil {
			return
		}
		step := stages[0][0]
		if step.Do == Promote {
			b.cutShort(t, step)
		}
		b.effect(step)
		b.oneWriter(t)
		for _, again := range Remaining(&b.c) {
			for _, s := range again {
				if s.String() == step.String() && step.Do != SetReadOnly && step.Do != Repoint {
					t.Errorf("%s is planned again after it was done", step)
				}
			}
		}
		b.c.Snapshot.Taken = b.c.Snapshot.Taken.Add(time.Millisecond)
	}
	t.Fatal("the plan does not end")
}

// oneWriter is invariant 1: two instances are never both writable and routed as
// writer by a proxy.
func (b *build) oneWriter(t interface {
	Helper()
	Fatalf(string, ...any)
}) {
	t.Helper()
	routed := map[topology.Addr]bool{}
	for _, p := range b.c.Snapshot.Proxies {
		if p.Mode == topology.Open && !p.LeaseOver && !p.Off() && b.c.Snapshot.State(p.Writer).Writable() {
			routed[p.Writer] = true
		}
	}
	for _, p := range b.c.Snapshot.Proxies {
		held := b.c.Intent != nil && p.Holds(b.c.Intent.Epoch)
		to := topology.Addr("")
		if b.c.Intent != nil {
			to = b.c.Intent.To
		}
		from := b.c.Snapshot.State(p.Writer)
		if b.c.Intent != nil && !held && p.Writer != to && from.Writable() && b.c.Snapshot.State(to).Writable() && !b.c.Snapshot.State(to).IsReplica() {
			t.Fatalf("%s is open while the proxy of %s still routes writes to %s", to, p.Node, p.Writer)
		}
	}
	if len(routed) > 1 {
		t.Fatalf("two writers are routed: %v", routed)
	}
}
