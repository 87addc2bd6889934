package ledger

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// What the ledger declines, in which situation, and in which words.
func TestRefusals(t *testing.T) {
	toC := func(id string) *Begin {
		op := begin(id, failover.KindFailover, 10)
		op.Intent.To = c
		return op
	}
	for name, tc := range map[string]struct {
		in       func(*testing.T) *book
		op       any
		rule     Rule
		sentence string
	}{
		"begin, another is open": {failingOver, toC("g"), RuleIntentOpen,
			"the failover g of cluster main is refused: failover f from a:3306 to b:3306 is open since 2026-03-01T12:00:11Z"},
		"begin, the route has moved on": {routed, begin("f", failover.KindFailover, 9), RuleStale,
			"the failover f of cluster main is refused: it was decided upon the route of epoch 9, and the committed one has epoch 10 with writer a:3306"},
		"begin, from another than the writer": {routed, &Begin{Expect: 10, Intent: failover.Intent{ID: "f", Cluster: "main", Kind: failover.KindFailover, From: c, To: b}}, RuleNotTheWriter,
			"the failover f of cluster main is refused: it would replace c:3306, and the writer is a:3306 at epoch 10"},
		"begin, nothing is routed": {unrouted, begin("f", failover.KindFailover, 0), RuleNotTheWriter,
			"the failover f of cluster main is refused: no writer is routed yet"},
		"begin, no such cluster": {empty, begin("f", failover.KindFailover, 0), RuleUnknown,
			`the failover f is refused: there is no cluster "main"; known are none`},
		"begin, to the writer itself": {routed, &Begin{Expect: 10, Intent: failover.Intent{ID: "f", Cluster: "main", Kind: failover.KindFailover, From: a, To: a}}, RuleCommand,
			"the failover f of cluster main is refused: a:3306 is the writer already"},
		"begin, to a stranger": {routed, &Begin{Expect: 10, Intent: failover.Intent{ID: "f", Cluster: "main", Kind: failover.KindFailover, From: a, To: x}}, RuleUnknown,
			"the failover f of cluster main is refused: its target x:3306 is not known; known are a:3306, b:3306 and c:3306"},
		"begin, without an id": {routed, begin("", failover.KindFailover, 10), RuleCommand,
			"an intent without an id is refused"},
		"begin, of no kind": {routed, begin("f", "coup", 10), RuleCommand,
			`intent f is refused: its kind is "coup", it must be failover or switchover`},
		"begin, once more after its end": {rolledBack, begin("f", failover.KindFailover, 12), RuleDone,
			"the failover f of cluster main is refused: it ended at 2026-03-01T12:00:12Z: rolled back, primary a:3306"},

		"set route, an intent is open": {failingOver, &SetRoute{Cluster: "main", Expect: 10, Writer: a}, RuleIntentOpen,
			"setting the route of cluster main is refused: failover f from a:3306 to b:3306 is open, only it sets the route"},
		"set route, the route has moved on": {routed, &SetRoute{Cluster: "main", Expect: 7, Writer: a}, RuleStale,
			"setting the route of cluster main is refused: it was decided upon the route of epoch 7, and the committed one has epoch 10 with writer a:3306"},
		"set route, another writer": {routed, &SetRoute{Cluster: "main", Expect: 10, Writer: b}, RuleOneWriter,
			"setting the route of cluster main to writer b:3306 is refused: a:3306 is the writer at epoch 10, and only a failover or a switchover changes it"},
		"set route, no writer any more": {routed, &SetRoute{Cluster: "main", Expect: 10}, RuleOneWriter,
			"setting the route of cluster main to writer none is refused: a:3306 is the writer at epoch 10, and only a failover or a switchover changes it"},
		"set route, a stranger writes": {unrouted, &SetRoute{Cluster: "main", Writer: x}, RuleUnknown,
			"setting the route of cluster main is refused: writer x:3306 is not known; known are a:3306, b:3306 and c:3306"},
		"set route, a stranger reads": {routed, &SetRoute{Cluster: "main", Expect: 10, Writer: a, Readers: readers(x)}, RuleUnknown,
			"setting the route of cluster main is refused: reader x:3306 is not known; known are a:3306, b:3306 and c:3306"},
		"set route, a reader twice": {routed, &SetRoute{Cluster: "main", Expect: 10, Writer: a, Readers: readers(b, c, b)}, RuleCommand,
			"setting the route of cluster main is refused: reader b:3306 is listed twice"},
		"set route, a reader without weight": {routed, &SetRoute{Cluster: "main", Expect: 10, Writer: a, Readers: []topology.Reader{{Addr: b}}}, RuleCommand,
			"setting the route of cluster main is refused: reader b:3306 has weight 0, the least is 1"},

		"retarget, none is open": {routed, &Retarget{Cluster: "main", IntentID: "f", To: c}, RuleIntentClosed,
			`retargeting f of cluster main is refused: intent "f" is not open, none is; the writer is a:3306 at epoch 10`},
		"retarget, after the route": {failedOver, &Retarget{Cluster: "main", IntentID: "f", To: c}, RuleRouted,
			"retargeting f of cluster main to c:3306 is refused: the route to b:3306 is committed at epoch 12"},
		"retarget, to the old writer": {failingOver, &Retarget{Cluster: "main", IntentID: "f", To: a}, RuleCommand,
			"retargeting f of cluster main is refused: a:3306 is the writer already"},

		"anchor, none is open": {routed, anchorOf(b), RuleIntentClosed,
			`the anchor of f of cluster main is refused: intent "f" is not open, none is; the writer is a:3306 at epoch 10`},
		"anchor, after the route": {failedOver, anchorOf(b), RuleRouted,
			"the anchor of f of cluster main is refused: the route to b:3306 is committed at epoch 12"},
		"anchor, of another": {failingOver, anchorOf(c), RuleCommand,
			"the anchor of f of cluster main is refused: it is at binlog.000002:5 of c:3306, from binlog.000009:7; b:3306 is to become the writer"},
		"anchor, nowhere": {failingOver, &Anchor{Cluster: "main", IntentID: "f", Anchor: failover.Anchor{Target: b}}, RuleCommand,
			"the anchor of f of cluster main is refused: it is at an unknown position of b:3306, from an unknown position; b:3306 is to become the writer"},

		"abort a failover": {failingOver, &Abort{Cluster: "main", IntentID: "f"}, RuleCommand,
			"aborting f of cluster main is refused: a failover cannot be rolled back"},
		"abort, after the route": {switchedOver, &Abort{Cluster: "main", IntentID: "s"}, RuleRouted,
			"aborting s of cluster main is refused: the route to b:3306 is committed at epoch 4"},
		"abort, none is open": {routed, &Abort{Cluster: "main", IntentID: "s"}, RuleIntentClosed,
			`aborting s of cluster main is refused: intent "s" is not open, none is; the writer is a:3306 at epoch 10`},

		"commit, another intent is open": {failingOver, &CommitRoute{Cluster: "main", IntentID: "g", Writer: b}, RuleIntentClosed,
			`committing the route of cluster main is refused: intent "g" is not open, failover f is`},
		"commit, another writer": {failingOver, &CommitRoute{Cluster: "main", IntentID: "f", Writer: c}, RuleNotTheWriter,
			"committing the route of cluster main with writer c:3306 is refused: failover f is to make b:3306 the writer"},
		"commit, a stranger reads": {failingOver, &CommitRoute{Cluster: "main", IntentID: "f", Writer: b, Readers: readers(x)}, RuleUnknown,
			"committing the route of cluster main is refused: reader x:3306 is not known; known are a:3306, b:3306 and c:3306"},

		"commit, before the writes are held": {regrouping, &CommitRoute{Cluster: "main", IntentID: "s", Writer: b}, RuleRouted,
			"committing the route of cluster main with writer b:3306 is refused: the proxies may still send writes to a:3306"},
		"begin, a failover that regroups": {routed, &Begin{Expect: 10, Intent: failover.Intent{ID: "f", Cluster: "main", Kind: failover.KindFailover, From: a, To: b, Regroup: []topology.Addr{c}}}, RuleCommand,
			"intent f is refused: a failover does not regroup, it closes the proxies at once"},
		"pause, none is open": {routed, &Pause{Cluster: "main", IntentID: "s"}, RuleIntentClosed,
			`pausing for s of cluster main is refused: intent "s" is not open, none is; the writer is a:3306 at epoch 10`},

		"conclude, before the route": {failingOver, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded}, RuleRouted,
			"concluding f of cluster main as succeeded is refused: the route to b:3306 is not committed, the writer is a:3306 at epoch 10"},
		"roll back, after the route": {failedOver, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.RolledBack}, RuleRouted,
			"concluding f of cluster main as rolled back is refused: the route to b:3306 is committed at epoch 12"},
		"conclude, in progress": {failingOver, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.InProgress}, RuleCommand,
			"concluding f of cluster main as in progress is refused: an intent ends as succeeded or rolled back"},
		"conclude, with another primary": {failedOver, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded, To: c}, RuleNotTheWriter,
			"concluding f of cluster main as succeeded with primary c:3306 is refused: the primary is b:3306 then"},
		"roll back, to another primary": {failingOver, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.RolledBack, To: b}, RuleNotTheWriter,
			"concluding f of cluster main as rolled back with primary b:3306 is refused: the primary is a:3306 then"},
		"conclude, as what it was not": {rolledBack, &Conclude{Cluster: "main", IntentID: "f", Outcome: failover.Succeeded}, RuleIntentClosed,
			`concluding f of cluster main is refused: intent "f" is not open, none is; the writer is a:3306 at epoch 12`},

		"forget the writer": {routed, &Forget{Cluster: "main", Addr: a}, RuleInUse,
			"forgetting a:3306 is refused: it is the writer of cluster main at epoch 10; switch over first"},
		"forget a reader": {routed, &Forget{Cluster: "main", Addr: b}, RuleInUse,
			"forgetting b:3306 is refused: it serves reads of cluster main at epoch 10; take it out of the route first"},
		"forget a stranger": {routed, &Forget{Cluster: "main", Addr: x}, RuleUnknown,
			"forgetting x:3306 is refused: cluster main does not know it; known are a:3306, b:3306 and c:3306"},
		"forget the open intent's target": {switchingToB, &Forget{Cluster: "main", Addr: b}, RuleIntentOpen,
			"forgetting b:3306 is refused: switchover s from a:3306 to b:3306 is open"},
		"discover nothing": {routed, &Discover{Cluster: "main"}, RuleCommand,
			"discovering nothing in cluster main is refused: no address is given"},
		"discover in no cluster": {routed, &Discover{Addrs: []topology.Addr{a}}, RuleCommand,
			"discovering a:3306 is refused: no cluster is named"},

		"acknowledge the open one": {failingOver, &Acknowledge{Cluster: "main", RecoveryID: "f"}, RuleIntentOpen,
			"acknowledging f is refused: it is still open"},
		"acknowledge what is not": {routed, &Acknowledge{Cluster: "main", RecoveryID: "f"}, RuleUnknown,
			"acknowledging f is refused: cluster main has no such recovery"},
		"acknowledge all of nothing": {routed, &Acknowledge{Cluster: "main"}, RuleDone,
			"acknowledging is refused: cluster main has no ended recovery that is not acknowledged"},

		"downtime of a stranger": {routed, &SetDowntime{Cluster: "main", Downtime: failover.Downtime{Instance: x, Until: epochZero.Add(time.Hour)}}, RuleUnknown,
			"downtime of x:3306 is refused: cluster main does not know it; known are a:3306, b:3306 and c:3306"},
		"downtime in the past": {routed, &SetDowntime{Cluster: "main", Downtime: failover.Downtime{Instance: b, Until: epochZero}}, RuleCommand,
			"downtime of b:3306 is refused: it would end at 2026-03-01T12:00:00Z and now is 2026-03-01T12:00:11Z"},
		"end a downtime that is not": {routed, &EndDowntime{Cluster: "main", Instance: b}, RuleDone,
			"ending the downtime of b:3306 is refused: it has none in cluster main"},

		"register nobody": {empty, &RegisterNode{}, RuleCommand,
			"registering a node without a name is refused"},
		"register with an absurd epoch": {empty, &RegisterNode{Node: Node{Name: "n1"}, Epoch: 1 << 60}, RuleCommand,
			"registering n1 is refused: it claims to have acknowledged epoch 1152921504606846976, which no cluster can reach"},
		"forget a node that is not": {empty, &ForgetNode{Name: "n1"}, RuleUnknown,
			`forgetting node "n1" is refused: it is not registered; registered are none`},
		"forget a proxy, an intent is open": {withProxy, &ForgetNode{Name: "n1"}, RuleInUse,
			"forgetting n1 is refused: failover f of cluster main is open and waits for every registered proxy"},
		"disown a proxy, an intent is open": {withProxy, &RegisterNode{Node: Node{Name: "n1"}}, RuleInUse,
			"taking the proxy of n1 out of account is refused: failover f of cluster main is open and waits for every registered proxy"},
	} {
		t.Run(name, func(t *testing.T) { tc.in(t).refuses(tc.op, tc.rule, tc.sentence) })
	}
}

func empty(t *testing.T) *book { return &book{t: t, s: NewState()} }

func unrouted(t *testing.T) *book {
	bk := empty(t)
	bk.must(&Discover{Cluster: "main", Addrs: []topology.Addr{a, b, c}})
	return bk
}

func rolledBack(t *testing.T) *book {
	bk := failingOver(t)
	bk.must(&Conclude{Cluster: "main", IntentID: "f", Outcome: failover.RolledBack})
	return bk
}

// switchingToB has no readers, and the switchover s from a to b open.
func switchingToB(t *testing.T) *book {
	bk := unrouted(t)
	r := bk.must(&SetRoute{Cluster: "main", Writer: a})
	bk.must(begin("s", failover.KindSwitchover, r.Epoch))
	return bk
}

// switchedOver has the route of s committed.
func switchedOver(t *testing.T) *book {
	bk := switchingToB(t)
	bk.must(&CommitRoute{Cluster: "main", IntentID: "s", Writer: b})
	return bk
}

// regrouping has begun a switchover that moves replicas before it holds writes.
func regrouping(t *testing.T) *book {
	bk := routed(t)
	in := begin("s", failover.KindSwitchover, 10)
	in.Intent.Regroup = []topology.Addr{c}
	bk.must(in)
	return bk
}

// What the proxies do changes with the end of the regrouping and not before, at an epoch
// of its own.
func TestTheProxiesGoOnWhileReplicasAreMoved(t *testing.T) {
	bk := regrouping(t)
	before := routed(t).main().Desired()
	if diff := cmp.Diff(before, bk.main().Desired()); diff != "" {
		t.Errorf("the proxies were told something: %s", diff)
	}
	r := bk.must(&Pause{Cluster: "main", IntentID: "s"})
	want := bk.main().Desired()
	if want.Mode != topology.Paused || want.Epoch != r.Epoch || want.Epoch != bk.s.Index || want.Writer != a {
		t.Errorf("then they are told %+v, and the answer was %+v", want, r)
	}
	if again := bk.must(&Pause{Cluster: "main", IntentID: "s"}); again.Epoch != r.Epoch || bk.main().Desired().Epoch != r.Epoch {
		t.Errorf("paused again by a leader that did not know: epoch %d, then %d", r.Epoch, again.Epoch)
	}
	bk.must(&CommitRoute{Cluster: "main", IntentID: "s", Writer: b})
}

func withProxy(t *testing.T) *book {
	bk := unrouted(t)
	bk.must(&RegisterNode{Node: Node{Name: "n1", Proxy: true}})
	r := bk.must(&SetRoute{Cluster: "main", Writer: a})
	bk.must(begin("f", failover.KindFailover, r.Epoch))
	return bk
}

func anchorOf(target topology.Addr) *Anchor {
	return &Anchor{Cluster: "main", IntentID: "f", Anchor: failover.Anchor{
		Target: target, Source: topology.Coordinates{File: "binlog.000009", Pos: 7}, At: topology.Coordinates{File: "binlog.000002", Pos: 5},
	}}
}

// A sentence names a few of thousands of clusters.
func TestASentenceNamesAFewOfThousands(t *testing.T) {
	for n, want := range map[int]string{0: "none", 2: "c, c", 21: strings.Repeat("c, ", 20) + "c", 3000: strings.Repeat("c, ", 19) + "c and 2980 more"} {
		if got := list(slices.Repeat([]string{"c"}, n)); got != want {
			t.Errorf("%d names are %q", n, got)
		}
	}
}
