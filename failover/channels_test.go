package failover

import (
	"slices"
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// alsoFrom gives a replica a second source, outside of the cluster.
func alsoFrom(name string) option {
	return with(func(st *topology.State) {
		zero := topology.Duration(0)
		st.Sources = append(st.Sources, topology.Source{
			Channel: "billing", Addr: at(name), IO: topology.ThreadYes, SQL: topology.ThreadYes, GTID: true,
			Received: gtid.MustParse("7-9-30"), Lag: &zero, Heartbeat: st.Sources[0].Heartbeat, Silence: &zero,
		})
		st.Executed = st.Executed.Union(gtid.MustParse("7-9-30"))
	})
}

func TestAReplicaOfSeveralSourcesIsTold(t *testing.T) {
	b := primary("a").replica("b").replica("c", alsoFrom("x"))
	found := Analyze(&b.c)
	if !slices.ContainsFunc(found, func(f Finding) bool {
		return f.Code == "MultiSourceReplica" && f.Instance == at("c") &&
			strings.Contains(f.Sentence, "a:3306 on the default channel, x:3306 on channel billing")
	}) {
		t.Errorf("it is not told: %v", found)
	}
	if slices.ContainsFunc(found, func(f Finding) bool { return f.Code == "ErrantGTIDStructureWarning" }) {
		t.Errorf("what came from its other source is called errant: %v", found)
	}
}

func TestAReplicaOfSeveralSourcesIsNotPromoted(t *testing.T) {
	b := primary("a").replica("c", alsoFrom("x")).kill("a")
	d := Decide(&b.c, Analyze(&b.c))
	if d.Intent != nil {
		t.Fatalf("it became the target: %s", d.Sentence)
	}
	if !slices.ContainsFunc(d.Refusals, func(r Refusal) bool { return r.Rule == "channels" && r.Overridable }) {
		t.Errorf("%+v", d.Refusals)
	}
	b = primary("a").replica("b").replica("c", alsoFrom("x")).kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent == nil || d.Intent.To != at("b") {
		t.Errorf("%+v", d)
	}
}

func TestTheChannelsOfAReplicaAreLeftAlone(t *testing.T) {
	touched := func(steps []Step) bool {
		return slices.ContainsFunc(steps, func(s Step) bool { return s.Target == at("c") && s.Do != StopReceiving })
	}
	for name, b := range map[string]*build{
		"that follows the wrong source": primary("a").replica("b").orphan("d").replica("c", under("d"), alsoFrom("x")),
		"that is stopped":               primary("a").replica("b").replica("c", threads(topology.ThreadNo, topology.ThreadNo), alsoFrom("x")),
		"that was cut short":            primary("a").replica("b").replica("c", threads(topology.ThreadNo, topology.ThreadNo), untried(), alsoFrom("x")),
	} {
		b.repair(func(r *Repair) { r.WrongSource, r.Stopped, r.Grace = true, StoppedStart, 0 })
		if steps := Repairs(&b.c); touched(steps) {
			t.Errorf("one %s is repaired: %v", name, steps)
		}
	}
	b := primary("a").replica("b").replica("c", alsoFrom("x")).kill("a").begin()
	b.inst("b").State.Sources, b.inst("b").State.ReadOnly = nil, false
	for _, stage := range Remaining(&b.c) {
		if touched(stage) {
			t.Errorf("a failover moves it: %v", stage)
		}
	}
	if _, refusal := PlanRejoin(&b.c, RejoinRequest{Instance: at("c")}); refusal == nil {
		t.Error("it is rejoined")
	}
}

func TestARollBackStartsTheChannelAgainThatTheFenceStopped(t *testing.T) {
	b := primary("a").replica("b").replica("d").replica("c", alsoFrom("x")).semiSync(1).kill("a").begin()
	source(b.inst("c")).IO = topology.ThreadNo
	p := planner{facts: newFacts(&b.c), in: b.c.Intent}
	if steps := p.receiveAgain(); len(steps) != 1 || steps[0].Target != at("c") || steps[0].Do != StartReplica || steps[0].Source != at("a") {
		t.Errorf("%+v", steps)
	}
}

func TestAReplicaThatIsNotRepointedAcknowledgesNothingLater(t *testing.T) {
	ours := with(func(st *topology.State) { st.Executed, st.Sources[1].Received = gtid.MustParse("0-1-100"), gtid.Set{} })
	b := primary("a").replica("b").replica("c", alsoFrom("x"), ours).semiSync(1).kill("a")
	if d := Decide(&b.c, Analyze(&b.c)); d.Intent != nil {
		t.Errorf("it is counted on: %s", d.Sentence)
	}
}

func TestAServerThatWouldBootOpenIsTold(t *testing.T) {
	b := primary("a").replica("b", with(func(st *topology.State) { st.PersistedOpen = []string{"read_only"} }))
	if found := Analyze(&b.c); !slices.ContainsFunc(found, func(f Finding) bool {
		return f.Code == "OpenAtBoot" && f.Instance == at("b") && strings.Contains(f.Sentence, "read_only=OFF")
	}) {
		t.Errorf("%v", found)
	}
}
