package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

// order lists the candidates: "b", or "-b log_bin" for one that is refused.
func order(b *build) []string {
	var list []string
	for _, c := range Candidates(&b.c) {
		word := c.Addr.Host()
		if !c.Fit {
			word = "-" + word
			for _, r := range c.Refusals {
				word += " " + r.Rule
			}
		}
		list = append(list, word)
	}
	return list
}

func TestCandidates(t *testing.T) {
	two := func(opts ...option) *build { return primary("a").replica("b", opts...).replica("c") }
	tests := []struct {
		name string
		b    *build
		want []string
	}{
		{"equal ones by address", two(), []string{"b", "c"}},
		{"who received more goes first, applied or not", two(has("0-1-90", "0-1-90")).change("c", func(st *topology.State) { has("0-1-95", "0-1-80")(nil, &topology.Instance{State: st}) }), []string{"c", "b"}},
		{"received goes before the promotion rule", two(has("0-1-90", "0-1-90")).rule("b", ServerRule{Promotion: Must}), []string{"c", "b"}},
		{"of equal ones the promotion rule decides", two().rule("c", ServerRule{Promotion: Prefer}), []string{"c", "b"}},
		{"then the data centre", two().rule("a", ServerRule{DataCenter: "x"}).rule("b", ServerRule{DataCenter: "y"}).rule("c", ServerRule{DataCenter: "x"}).policy(func(p *Policy) { p.DataCenter.Cross = Allow }), []string{"c", "b"}},
		{"another data centre is the last resort, even for one that received more", two(has("0-1-90", "0-1-90")).rule("a", ServerRule{DataCenter: "x"}).rule("b", ServerRule{DataCenter: "x"}).rule("c", ServerRule{DataCenter: "y"}), []string{"b", "c"}},
		{"or forbidden", two().rule("a", ServerRule{DataCenter: "x"}).rule("b", ServerRule{DataCenter: "y"}).policy(func(p *Policy) { p.DataCenter.Cross = Forbid }), []string{"c", "-b data_center"}},
		{"a region", two().rule("a", ServerRule{Region: "x"}).rule("b", ServerRule{Region: "y"}), []string{"c", "-b region"}},
		{"then the lag", two(lag(3 * time.Second)), []string{"c", "b"}},
		{"then who has less to apply", two(has("0-1-100", "0-1-90")).change("c", func(st *topology.State) { has("0-1-100", "0-1-95")(nil, &topology.Instance{State: st}) }), []string{"c", "b"}},
		{"must_not", two().rule("b", ServerRule{Promotion: MustNot}), []string{"c", "-b must_not"}},
		{"an ignored one does not appear", two().rule("b", ServerRule{Ignore: true}), []string{"c"}},
		{"no binary log", two(with(func(st *topology.State) { st.LogBin = false })), []string{"c", "-b log_bin"}},
		{"no log of replicated writes", two(with(func(st *topology.State) { st.LogReplicaUpdates = false })), []string{"c", "-b log_bin"}},
		{"a stale reading", two(gone()), []string{"c", "-b stale"}},
		{"filters", two(func(_ *build, i *topology.Instance) { source(i).Filters = "replicate_do_db=x" }), []string{"c", "-b filters"}},
		{"delayed", two(delay(time.Hour)), []string{"c", "-b delayed"}},
		{"errant", two(has("0-1-100", "0-1-100,0-2-101")), []string{"c", "-b errant"}},
		{"errant, and nobody is left to acknowledge", two(has("0-1-100", "0-1-100,0-2-101")).semiSync(1), []string{"-b errant", "-c durability"}},
		{"errant, tolerated", two(has("0-1-100", "0-1-100,0-2-101")).policy(func(p *Policy) { p.Errant = ErrantTolerate }), []string{"b", "c"}},
		{"no GTID positioning", two(func(_ *build, i *topology.Instance) { source(i).GTID = false }), []string{"c", "-b gtid"}},
		{"it cannot apply what it received", two(has("0-1-100", "0-1-90"), sqlError("1062 duplicate key")), []string{"c", "-b sql_error"}},
		{"a stopped SQL thread without an error can be started", two(has("0-1-100", "0-1-90"), threads(topology.ThreadYes, topology.ThreadNo)), []string{"c", "b"}},
		{"newer than most", primary("a").replica("b", version("11.4.2-MariaDB")).replica("c").replica("d"), []string{"c", "d", "-b version"}},
		{"where most are newer, a newer one is preferred", primary("a").replica("b").replica("c", version("11.4.2-MariaDB")).replica("d", version("11.4.2-MariaDB")), []string{"c", "d", "b"}},
		{"rows over statements", primary("a").replica("b").replica("c", with(func(st *topology.State) { st.BinlogFormat = "STATEMENT" })), []string{"c", "-b binlog_format"}},
		{"Group Replication chooses for itself", two(with(func(st *topology.State) { st.Member = "group_replication" })), []string{"c", "-b member"}},
		{"not of this cluster", two(under("x")), []string{"c", "-b no_replica"}},
		{"no replica at all", primary("a").replica("c").orphan("b"), []string{"c", "-b no_replica"}},
		{"one that lags too much", two(lag(time.Minute)), []string{"c", "-b lag"}},
		{"all lag: they stay, the policy waits", primary("a").replica("b", lag(time.Minute)).replica("c", lag(2*time.Minute)), []string{"b", "c"}},
		{"all lag: the policy fails", primary("a").replica("b", lag(time.Minute)).replica("c", lag(2*time.Minute)).policy(func(p *Policy) { p.Lag.WhenAll = WhenAllFail }), []string{"-b lag", "-c lag"}},
		{"semi-sync: nobody to acknowledge", primary("a").replica("b").semiSync(1), []string{"-b durability"}},
		{"in downtime", two().downtime("b"), []string{"c", "-b downtime"}},
		{"the other one of a ring", ring().rule("c", ServerRule{Promotion: Prefer}), []string{"b", "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.b.kill("a")
			if got := order(tt.b); !slices.Equal(got, tt.want) {
				t.Errorf("the order is %q, want %q", got, tt.want)
			}
		})
	}
}

func (b *build) downtime(name string) *build {
	b.c.Downtime = append(b.c.Downtime, Downtime{Instance: at(name), Until: noon.Add(time.Hour), Reason: "disk", By: "ann"})
	return b
}

func TestErrantTransactions(t *testing.T) {
	const a, b, x = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-000000000001"
	mysql := func(uuid string) option {
		return with(func(st *topology.State) { st.Flavor, st.Version, st.ServerUUID = "mysql", "8.4.3", uuid })
	}
	old := func(_ *build, i *topology.Instance) { i.ReadAt = noon.Add(-2 * time.Hour) } // before it became primary
	tests := []struct {
		name string
		b    *build
		want string
	}{
		{"nothing", primary("a", mysql(a), has("", a+":1-100")).replica("b", mysql(b)), ""},
		{"what the primary wrote after it was read", primary("a", mysql(a), has("", a+":1-100")).replica("b", mysql(b), has(a+":1-103", a+":1-101")), ""},
		{"what the replica wrote", primary("a", mysql(a), has("", a+":1-100")).replica("b", mysql(b), has(a+":1-100", a+":1-100,"+b+":1-2")), b + ":1-2"},
		{"what a third server wrote and the primary lacks", primary("a", mysql(a), has("", a+":1-100")).replica("b", mysql(b), has(a+":1-100", a+":1-100,"+x+":7")), x + ":7"},
		{"what a former primary wrote and the primary has", primary("a", mysql(a), has("", a+":1-100,"+x+":1-50")).replica("b", mysql(b)), ""},
		{"without a reading of the primary: what only it has", primary("a", mysql(a), old, has("", a+":1-100")).replica("b", mysql(b), has(a+":1-100", a+":1-100,"+b+":1-2")).replica("c", mysql(x)), b + ":1-2"},
		{"without it, from elsewhere: the benefit of the doubt", primary("a", mysql(a), old, has("", a+":1-100")).replica("b", mysql(b), has(a+":1-100", a+":1-100,"+x+":7")).replica("c", mysql("c")), ""},
		{"MariaDB: a head of its own", primary("a").replica("b", has("0-1-100", "0-1-100,0-2-101")), "0-2-101"},
		{"MariaDB: hidden behind a later head", primary("a").replica("b", has("0-1-105", "0-1-100,0-2-101")), "0-2-101"},
		{"MariaDB: an old server that the restored primary does not know", primary("a").replica("b", has("0-1-100", "0-1-100,0-9-50")), ""},
		{"the co-primary's own", ring().change("b", func(st *topology.State) { has("0-1-100", "0-1-100,0-2-101")(nil, &topology.Instance{State: st}) }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFacts(&tt.b.c)
			if got := f.errant(f.s.Instance(at("b"))).String(); got != tt.want {
				t.Errorf("errant is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestARefusalIsASentenceAndSaysWhatWouldChangeIt(t *testing.T) {
	for _, r := range rules {
		if r.change == "" || r.name == "" {
			t.Errorf("rule %q does not say what would change it", r.name)
		}
	}
	c := Candidates(&primary("a").replica("b", delay(time.Hour)).kill("a").c)[0]
	if got := c.Refusals[0].String(); !strings.Contains(got, "b:3306 is delayed by 1h0m0s on purpose; remove its delay") {
		t.Error(got)
	}
}
