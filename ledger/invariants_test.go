package ledger

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// Random commands, sensible and not, in random order: the invariants hold after
// each, and the state is a function of the log.
func TestInvariants(t *testing.T) {
	carriedOut := map[string]int{}
	// The generator is worth nothing when what it makes is always refused: some
	// commands need a long history of sensible ones, so it gets several rounds.
	for range 20 {
		rapid.Check(t, func(t *rapid.T) {
			p := &play{t: t, s: NewState(), carriedOut: carriedOut}
			for range rapid.IntRange(1, 120).Draw(t, "commands") {
				p.step()
			}
			p.checkReaders()
			p.checkReplay()
		})
		if t.Failed() || len(missing(carriedOut)) == 0 {
			break
		}
	}
	if never := missing(carriedOut); len(never) > 0 {
		t.Errorf("%v were never carried out: %v", never, carriedOut)
	}
}

// missing are the operations that were never carried out.
func missing(carriedOut map[string]int) (never []string) {
	command := reflect.TypeFor[Command]()
	for f := range command.Fields() {
		if f.Type.Kind() == reflect.Pointer && carriedOut[f.Name] == 0 {
			never = append(never, f.Name)
		}
	}
	return never
}

// play is a log in the making.
type play struct {
	t          *rapid.T
	s          *State
	log        []logged
	readers    []reader
	carriedOut map[string]int
	top        uint64 // the highest epoch ever set
}

type logged struct {
	index  uint64
	cmd    Command
	result Result
}

// reader holds a state, and what it said when it was new.
type reader struct {
	s    *State
	text string
}

func (p *play) step() {
	before := p.s.Clone()
	index := before.Index + uint64(rapid.IntRange(1, 3).Draw(p.t, "gap")) // raft's own entries lie between
	cmd, repeated := p.command(index)
	sent := encoded(p.t, cmd)
	result := p.s.Apply(index, cmd)
	if encoded(p.t, cmd) != sent {
		p.t.Fatalf("applying %s changed the command itself", sent)
	}
	p.log = append(p.log, logged{index, cmd, result})
	if rapid.IntRange(0, 4).Draw(p.t, "read") == 0 {
		s := p.s.Clone()
		p.readers = append(p.readers, reader{s, text(p.t, s)})
	}
	if result.Refused != "" || repeated >= 0 {
		p.checkUntouched(before, cmd)
	} else {
		p.carriedOut[name(cmd)]++
	}
	if repeated >= 0 && p.log[repeated].result != result {
		p.t.Fatalf("%s again: first %+v, then %+v", cmd.ID, p.log[repeated].result, result)
	}
	for _, cluster := range p.s.ClusterNames() {
		p.checkCluster(before.Clusters[cluster], p.s.Clusters[cluster], cmd)
	}
	p.checkEpochs(before)
	p.checkChanged(before)
}

// checkChanged: what differs is among what is said to have changed.
func (p *play) checkChanged(before *State) {
	clusters, all := p.s.Changed(before)
	for _, name := range slices.Concat(before.ClusterNames(), p.s.ClusterNames()) {
		if !reflect.DeepEqual(before.Clusters[name], p.s.Clusters[name]) && !slices.Contains(clusters, name) {
			p.t.Fatalf("cluster %s changed, and only %v are said to have", name, clusters)
		}
	}
	if !all && (before.Base != p.s.Base || !reflect.DeepEqual(before.Nodes, p.s.Nodes)) {
		p.t.Fatal("nodes or the base changed, and nobody is told")
	}
}

// checkUntouched: a refused or repeated command changed nothing.
func (p *play) checkUntouched(before *State, cmd Command) {
	after := p.s.Clone()
	after.Index, after.Recent = before.Index, before.Recent
	if text(p.t, before) != text(p.t, after) {
		p.t.Fatalf("%s changed the state", cmd.ID)
	}
}

// checkEpochs: what is set is above everything that was ever set.
func (p *play) checkEpochs(before *State) {
	top := p.top
	for name, now := range p.s.Clusters {
		was := before.Clusters[name]
		for _, e := range [][2]uint64{{was.Route.Epoch, now.Route.Epoch}, {epoch(was.Intent), epoch(now.Intent)}} {
			if e[1] != 0 && e[1] != e[0] && e[1] <= top {
				p.t.Fatalf("epoch %d was set, %d before", e[1], top)
			}
			p.top = max(p.top, e[1])
		}
	}
}

func epoch(i *failover.Intent) uint64 {
	if i == nil {
		return 0
	}
	return i.Epoch
}

func (p *play) checkCluster(was, now Cluster, cmd Command) {
	if now.Intent != nil && (now.Recovery == nil || !reflect.DeepEqual(now.Recovery.Intent, *now.Intent)) || now.Intent == nil && now.Recovery != nil {
		p.t.Fatalf("intent %+v and recovery %+v differ", now.Intent, now.Recovery)
	}
	if was.Intent != nil && now.Intent != nil && was.Intent.ID != now.Intent.ID {
		p.t.Fatalf("intent %s was replaced by %s", was.Intent.ID, now.Intent.ID)
	}
	if w := was.Route.Writer; w != "" && now.Route.Writer != w &&
		(cmd.CommitRoute == nil || was.Intent == nil || was.Intent.From != w || was.Intent.To != now.Route.Writer) {
		p.t.Fatalf("the writer changed from %s to %s by %s while the intent was %+v", w, now.Route.Writer, name(cmd), was.Intent)
	}
	p.checkDesired(was.Desired(), now.Desired())
	if !slices.IsSorted(now.Known) || now.Route.Writer != "" && !now.knows(now.Route.Writer) {
		p.t.Fatalf("known are %v, the writer is %s", now.Known, now.Route.Writer)
	}
	for _, r := range now.Route.Readers {
		if !now.knows(r.Addr) {
			p.t.Fatalf("reader %s is not known", r.Addr)
		}
	}
}

// checkDesired: no proxy is told something else under an epoch that it has
// acknowledged, and a writer is replaced only after it was closed.
func (p *play) checkDesired(was, now topology.Route) {
	same := was.Writer == now.Writer && was.Mode == now.Mode && slices.Equal(was.Readers, now.Readers)
	if now.Epoch < was.Epoch || !same && now.Epoch == was.Epoch {
		p.t.Fatalf("desired went from %+v to %+v", was, now)
	}
	if was.Writer != "" && was.Writer != now.Writer && was.Mode == topology.Open {
		p.t.Fatalf("writer %s was open when %s replaced it", was.Writer, now.Writer)
	}
}

// checkReaders: what was handed out has not changed since.
func (p *play) checkReaders() {
	for _, r := range p.readers {
		if got := text(p.t, r.s); got != r.text {
			p.t.Fatalf("a reader's state changed\nfrom %s\nto   %s", r.text, got)
		}
	}
}

// checkReplay: the log gives the same state again, also from a snapshot taken
// anywhere in it.
func (p *play) checkReplay() {
	want := text(p.t, p.s)
	cut := rapid.IntRange(0, len(p.log)).Draw(p.t, "snapshot after")
	s := NewState()
	for i, l := range p.log {
		if i == cut {
			read, err := Decode(strings.NewReader(text(p.t, s)))
			if err != nil {
				p.t.Fatal(err)
			}
			s = read
		}
		cmd, err := DecodeCommand([]byte(encoded(p.t, l.cmd)))
		if err != nil {
			p.t.Fatal(err)
		}
		if got := s.Apply(l.index, cmd); got != l.result {
			p.t.Fatalf("replayed %s: %+v, first %+v", cmd.ID, got, l.result)
		}
	}
	if got := text(p.t, s); got != want {
		p.t.Fatalf("replayed\n%s\nfirst\n%s", got, want)
	}
}

func encoded(t *rapid.T, cmd Command) string {
	data, err := cmd.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// name is the operation of a command.
func name(cmd Command) string {
	op, err := cmd.operation()
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", op), "*ledger.")
}

// Applying the same commands to two states one after the other never shows in
// the other one: their maps are their own.
func TestCloneIsIndependent(t *testing.T) {
	bk := failingOver(t)
	clone := bk.s.Clone()
	bk.must(&Discover{Cluster: "other", Addrs: []topology.Addr{a}})
	bk.must(&RegisterNode{Node: Node{Name: "n1"}})
	bk.must(&Retarget{Cluster: "main", IntentID: "f", To: c})
	if len(clone.Nodes) != 0 || !slices.Equal(slices.Collect(maps.Keys(clone.Clusters)), []string{"main"}) || clone.Clusters["main"].Intent.To != b {
		t.Errorf("the clone changed: %+v", clone)
	}
}

// Two clones that go different ways do not write into each other's history.
func TestClonesGoDifferentWays(t *testing.T) {
	bk := routed(t)
	for range 20 { // room to append in place comes and goes
		one, other := bk.s.Clone(), bk.s.Clone()
		index := bk.s.Index + 1
		one.Apply(index, command("one", epochZero, &ForgetNode{}))
		other.Apply(index, command("other", epochZero, &ForgetNode{}))
		if got := one.Recent[len(one.Recent)-1].ID; got != "one" {
			t.Fatalf("at index %d one's last command is %q", index, got)
		}
		bk.apply(&ForgetNode{})
	}
}
