package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/topology"
)

func TestRepairs(t *testing.T) {
	manual := func(p *Policy) { p.Rejoin = RejoinManual }
	tests := []struct {
		name string
		b    *build
		want string
	}{
		{"nothing to mend", primary("a").replica("b"), ""},
		{"a writable replica is closed", primary("a").replica("b", writable()), "set read only b:3306"},
		{"an old primary that comes back writable is closed first", primary("b").replica("c").orphan("a", writable()), "set read only a:3306"},
		{"and then follows", primary("b").replica("c").orphan("a"), "repoint a:3306 to b:3306"},
		{"unless its history is not contained", primary("b").replica("c").orphan("a", has("", "0-1-105")), "save extra a:3306"},
		{"or the policy leaves that to people", primary("b").replica("c").orphan("a").policy(manual), ""},
		{"closed even then", primary("b").replica("c").orphan("a", writable()).policy(manual), "set read only a:3306"},
		{"or it is in downtime", primary("b").replica("c").orphan("a").downtime("a"), ""},
		{"a replica of a dead former primary is moved", primary("b").replica("c", under("a")).orphan("a").kill("a"), "repoint c:3306 to b:3306"},
		{"with all that follow it", primary("b").replica("c", under("a")).replica("d", under("c")).orphan("a").kill("a"), "repoint c:3306 to b:3306"},
		{"not one that holds more", primary("b").replica("c", under("a"), has("0-1-105", "0-1-105")).orphan("a").kill("a"), "save extra c:3306"},
		{"a source outside of the cluster is left alone", primary("b").replica("c", under("x")), ""},
		{"the orphans of a dead intermediate", primary("a").replica("b").replica("c", under("b")).kill("b"), "repoint c:3306 to a:3306"},
		{"a repoint that was cut short is finished", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadNo), untried()).replica("c"), "repoint b:3306 to a:3306"},
		{"replication that somebody stopped is left alone", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadNo)).replica("c"), ""},
		{"one whose applier runs is at work", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadYes), untried()).replica("c"), ""},
		{"a read-only writer is not opened", primary("a", with(func(st *topology.State) { st.ReadOnly = true })).replica("b"), ""},
		{"nothing is moved under a primary that cannot be read", primary("b").replica("c").orphan("a").kill("b"), ""},
		{"under semi-sync a returned one acknowledges", primary("b").replica("c").orphan("a").policy(func(p *Policy) { p.Durability = SemiSync }), "repoint a:3306 to b:3306, set semi-sync c:3306 (replica)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
		})
	}
}

func readers(list []topology.Reader) string {
	var words []string
	for _, r := range list {
		words = append(words, fmt.Sprintf("%s*%d", r.Addr.Host(), r.Weight))
	}
	return strings.Join(words, " ")
}

// serving puts readers into the committed route.
func (b *build) serving(names ...string) *build {
	for _, n := range names {
		b.c.Snapshot.Route.Readers = append(b.c.Snapshot.Route.Readers, topology.Reader{Addr: at(n), Weight: 1})
	}
	return b
}

func TestReaders(t *testing.T) {
	no, yes, connecting := topology.ThreadNo, topology.ThreadYes, topology.ThreadConnecting
	sec := time.Second
	tests := []struct {
		name string
		b    *build
		want string
	}{
		{"healthy replicas by weight", primary("a").replica("b").replica("c").rule("c", ServerRule{Weight: 5}), "b*1 c*5"},
		{"a new one has to be well within the limit", primary("a").replica("b", lag(15*sec)).replica("c", lag(16*sec)), "b*1"},
		{"one that serves stays up to the limit", primary("a").replica("b", lag(30*sec)).replica("c", lag(31*sec)).serving("b", "c"), "b*1"},
		{"a stopped thread takes it away", primary("a").replica("b", threads(yes, no)).replica("c", threads(no, yes)).replica("d").serving("b", "c", "d"), "d*1"},
		{"a lost source does not", primary("a").replica("b").replica("c").kill("a").serving("b", "c"), "b*1 c*1"},
		{"but is no start", primary("a").replica("b", threads(connecting, yes)).replica("c"), "c*1"},
		{"death does", primary("a").replica("b").replica("c").kill("b").serving("b", "c"), "c*1"},
		{"one that cannot be read for a moment stays", primary("a").replica("b", gone()).serving("b"), "b*1"},
		{"the writer as fallback", primary("a").replica("b", threads(no, no)), "a*1"},
		{"the writer never", primary("a").policy(func(p *Policy) { p.Readers.Writer = WriterNever }), ""},
		{"the writer always", primary("a").replica("b").policy(func(p *Policy) { p.Readers.Writer = WriterAlways }), "a*1 b*1"},
		{"who follows somebody else does not serve", primary("a").replica("b", under("x")).replica("c").serving("b", "c"), "c*1"},
		{"nor an orphan", primary("a").replica("c").orphan("b").serving("b", "c"), "c*1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := readers(ReadersOf(&tt.b.c)); got != tt.want {
				t.Errorf("readers are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheRouteOfAFailoverKeepsTheReadersThatMove(t *testing.T) {
	b := primary("a").replica("b").replica("c", threads(topology.ThreadNo, topology.ThreadYes)).serving("b", "c").kill("a").begin()
	r := RouteTo(&b.c, at("b"))
	want := topology.Route{Cluster: "main", Writer: at("b"), Mode: topology.Open, At: noon,
		Readers: []topology.Reader{{Addr: at("c"), Weight: 1}}, Known: []topology.Addr{at("a"), at("b"), at("c")}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
}

func TestAdopt(t *testing.T) {
	closedPrimary := with(func(st *topology.State) { st.ReadOnly = true })
	tests := []struct {
		name    string
		b       *build
		want    topology.Addr
		refusal string
	}{
		{"one primary with its replicas", primary("a").replica("b").replica("c", under("b")), at("a"), ""},
		{"one alone", primary("a"), at("a"), ""},
		{"a dead replica, another testifies", primary("a").replica("b").replica("c").kill("c"), at("a"), ""},
		{"nobody testifies", primary("a").replica("b").kill("b"), "", "no replica says that a:3306 is the primary"},
		{"none takes writes", primary("a", closedPrimary).replica("b"), "", "no instance of cluster main takes writes"},
		{"two take writes", primary("a").replica("b").orphan("c", writable()), "", "a:3306 and c:3306 all take writes"},
		{"one follows nobody", primary("a").replica("b").orphan("c"), "", "c:3306 does not replicate from it"},
		{"one cannot be read", primary("a").replica("b", gone()), "", "b:3306 cannot be read"},
		{"the writable one is a replica", primary("a", closedPrimary).replica("b", writable()), "", "b:3306 takes writes, but it replicates from a:3306"},
		{"managed elsewhere", primary("a", with(func(st *topology.State) { st.Member = "galera" })), "", "a:3306 is managed by galera"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.b.c.Snapshot.Route = topology.Route{}
			route, refusal := Adopt(&tt.b.c)
			if route.Writer != tt.want || (refusal == nil) != (tt.refusal == "") {
				t.Fatalf("adopted %q, refusal %v", route.Writer, refusal)
			}
			if refusal != nil && (!strings.Contains(refusal.Sentence, tt.refusal) || refusal.Change == "") {
				t.Errorf("%s does not say %q", refusal, tt.refusal)
			}
			if d := decide(tt.b); d.Intent != nil || len(d.Refusals) != 1 || d.Refusals[0].Rule != "route" {
				t.Errorf("without a route nothing is begun: %+v", d)
			}
		})
	}
}

func TestTheDefaultPolicyIsValid(t *testing.T) {
	p := DefaultPolicy()
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEachBadKey(t *testing.T) {
	p := DefaultPolicy()
	p.Failover, p.Lag.WhenAll, p.Detection.Beats, p.WaitCount = "maybe", "hope", 0.5, 0
	p.Detection.Fresh, p.Switchover.Drain = 1, p.Switchover.Timeout
	p.Servers = []ServerRule{{Match: "db-*"}, {Match: "[", Promotion: "love", Weight: -1}}
	want := []string{
		`detection.beats: 0.5 is not allowed, want at least 1: between two heartbeats silence means nothing`,
		`detection.fresh: 1ns is not allowed, want at least detection.interval + detection.timeout (750ms), or a slow answer is never fresh`,
		`failover: "maybe" is not allowed, want automatic, manual`,
		`lag.when_all: "hope" is not allowed, want wait, fail, promote`,
		`switchover.drain: 10s is not allowed, want less than switchover.timeout (10s), or no time is left to switch`,
		`wait_count: 0 is not allowed, want at least 1`,
		`servers[1].match: "[" is not allowed, want a shell pattern of host or host:port, such as db-*.example.org`,
		`servers[1].promotion: "love" is not allowed, want must, prefer, neutral, prefer_not, must_not`,
		`servers[1].weight: -1 is not allowed, want at least 1, or nothing`,
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), fmt.Sprint(p.Validate())); diff != "" {
		t.Error(diff)
	}
}
