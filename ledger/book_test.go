package ledger

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	a topology.Addr = "a:3306"
	b topology.Addr = "b:3306"
	c topology.Addr = "c:3306"
	x topology.Addr = "x:3306" // never known
)

var epochZero = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// book applies commands one after the other, as the log would: through their
// bytes, at growing indexes, each with its own id and a clock that ticks.
type book struct {
	t *testing.T
	s *State
}

// routed is a book in which main consists of a, b and c, and a is the writer by
// the route of index 10; the next index is 11.
func routed(t *testing.T) *book {
	bk := &book{t: t, s: NewState()}
	bk.must(&Discover{Cluster: "main", Addrs: []topology.Addr{c, a, b}})
	bk.s.Index = 9
	bk.must(&SetRoute{Cluster: "main", Writer: a, Readers: readers(b, c)})
	return bk
}

// failingOver has the failover f from a to b open at epoch 11.
func failingOver(t *testing.T) *book {
	bk := routed(t)
	bk.must(begin("f", failover.KindFailover, 10))
	return bk
}

// failedOver has the route of f committed at epoch 12.
func failedOver(t *testing.T) *book {
	bk := failingOver(t)
	bk.must(&CommitRoute{Cluster: "main", IntentID: "f", Writer: b, Readers: readers(c)})
	return bk
}

func begin(id string, kind failover.Kind, expect uint64) *Begin {
	return &Begin{Expect: expect, Intent: failover.Intent{ID: id, Cluster: "main", Kind: kind, From: a, To: b, Reason: "test"}}
}

func readers(addrs ...topology.Addr) []topology.Reader {
	var list []topology.Reader
	for _, a := range addrs {
		list = append(list, topology.Reader{Addr: a, Weight: 1})
	}
	return list
}

// command wraps an operation.
func command(id string, at time.Time, op any) Command {
	cmd := Command{ID: id, At: at}
	switch op := op.(type) {
	case *RegisterNode:
		cmd.RegisterNode = op
	case *ForgetNode:
		cmd.ForgetNode = op
	case *Discover:
		cmd.Discover = op
	case *Forget:
		cmd.Forget = op
	case *SetRoute:
		cmd.SetRoute = op
	case *Begin:
		cmd.Begin = op
	case *Abort:
		cmd.Abort = op
	case *Retarget:
		cmd.Retarget = op
	case *Pause:
		cmd.Pause = op
	case *Anchor:
		cmd.Anchor = op
	case *CommitRoute:
		cmd.CommitRoute = op
	case *Conclude:
		cmd.Conclude = op
	case *Acknowledge:
		cmd.Acknowledge = op
	case *Rescue:
		cmd.Rescue = op
	case *SetDowntime:
		cmd.SetDowntime = op
	case *Decline:
		cmd.Decline = op
	case *RecordHook:
		cmd.RecordHook = op
	case *EndDowntime:
		cmd.EndDowntime = op
	default:
		panic(fmt.Sprintf("no such operation: %T", op))
	}
	return cmd
}

// now is the clock of the next command.
func (bk *book) now() time.Time {
	return epochZero.Add(time.Duration(bk.s.Index+1) * time.Second)
}

func (bk *book) apply(op any) Result {
	bk.t.Helper()
	return bk.send(command(fmt.Sprintf("c%d", bk.s.Index+1), bk.now(), op))
}

func (bk *book) send(cmd Command) Result {
	bk.t.Helper()
	data, err := cmd.Encode()
	if err != nil {
		bk.t.Fatal(err)
	}
	read, err := DecodeCommand(data)
	if err != nil {
		bk.t.Fatal(err)
	}
	return bk.s.Apply(bk.s.Index+1, read)
}

func (bk *book) must(op any) Result {
	bk.t.Helper()
	r := bk.apply(op)
	if err := r.Err(); err != nil {
		bk.t.Fatalf("%T: %v", op, err)
	}
	return r
}

// refuses checks the rule and the sentence of a refusal, and that nothing changed.
func (bk *book) refuses(op any, rule Rule, sentence string) {
	bk.t.Helper()
	before := bk.s.Clone()
	r := bk.apply(op)
	if r.Rule != rule || r.Refused != sentence {
		bk.t.Errorf("%T\n got %s: %s\nwant %s: %s", op, r.Rule, r.Refused, rule, sentence)
	}
	after := bk.s.Clone()
	after.Index, after.Recent = before.Index, before.Recent
	if diff := cmp.Diff(text(bk.t, before), text(bk.t, after)); diff != "" {
		bk.t.Errorf("%T was refused and changed the state:\n%s", op, diff)
	}
}

func (bk *book) main() Cluster { return bk.s.Clusters["main"] }

type fataler interface {
	Helper()
	Fatal(args ...any)
}

// text is the state's canonical form.
func text(t fataler, s *State) string {
	t.Helper()
	var w bytes.Buffer
	if err := s.Encode(&w); err != nil {
		t.Fatal(err)
	}
	return w.String()
}
