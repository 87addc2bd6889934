package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

// semi changes the semi-sync state of a server.
func (b *build) semi(name string, change func(*topology.SemiSync)) *build {
	change(&b.inst(name).State.SemiSync)
	return b
}

func deaf(s *topology.SemiSync) { s.ReplicaEnabled, s.ReplicaActive = false, false }

func TestSemiSyncIsSetOnServersThatKeepTheirRoles(t *testing.T) {
	trio := func() *build { return primary("a").replica("b").replica("c").semiSync(1) }
	tests := []struct {
		name, want string
		b          *build
	}{
		{"all as it should be", "", trio()},
		{"a replica without semi-sync", "set semi-sync b:3306", trio().semi("b", deaf)},
		{"two: one after the other", "set semi-sync b:3306", trio().semi("b", deaf).semi("c", deaf)},
		{"a replica that would wait for others", "set semi-sync b:3306", trio().semi("b", func(s *topology.SemiSync) { s.SourceEnabled = true })},
		{"one that connected before it was on", "set semi-sync b:3306", trio().semi("b", func(s *topology.SemiSync) { s.ReplicaActive = false })},
		{"not while it lags", "", primary("a").replica("b", lag(time.Hour)).replica("c").semiSync(1).semi("b", deaf)},
		{"not while it is stopped", "", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadYes)).replica("c").semiSync(1).semi("b", deaf)},
		{"not in a downtime", "", trio().semi("b", deaf).downtime("b")},
		{"a primary without semi-sync", "set semi-sync a:3306", trio().semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false })},
		{"a time-out that ends", "set semi-sync a:3306", trio().semi("a", func(s *topology.SemiSync) { s.Timeout = topology.Duration(10 * time.Second) })},
		{"a commit that is seen too early", "set semi-sync a:3306", trio().semi("a", func(s *topology.SemiSync) { s.WaitPoint = "AFTER_COMMIT" })},
		{"waits for nobody without replicas", "set semi-sync a:3306", trio().semi("a", func(s *topology.SemiSync) { s.WaitsAlone = false })},
		{"not before anybody would acknowledge", "set semi-sync b:3306", trio().semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false }).semi("b", deaf).semi("c", deaf)},
		{"nor where nobody can", "", primary("a").replica("b", threads(topology.ThreadNo, topology.ThreadNo)).semiSync(1).semi("a", func(s *topology.SemiSync) { s.SourceEnabled = false })},
		{"unmanaged", "", trio().semi("b", deaf).policy(func(p *Policy) { p.SemiSync.Manage = false })},
		{"asynchronous", "", trio().semi("b", deaf).policy(func(p *Policy) { p.Durability = Async })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Stage(Repairs(&tt.b.c)).String(); got != tt.want {
				t.Errorf("repairs are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatIsSetIsFoundFirst(t *testing.T) {
	b := primary("a").replica("b").replica("c").semiSync(1).semi("b", deaf).
		semi("a", func(s *topology.SemiSync) {
			s.Timeout, s.WaitPoint, s.WaitsAlone = topology.Duration(10*time.Second), "AFTER_COMMIT", false
		})
	var text strings.Builder
	for _, x := range Analyze(&b.c) {
		if x.Code == "PolicyMismatch" {
			text.WriteString(x.Sentence + "\n")
		}
	}
	want := "primary a:3306 is not set as the policy says: it waits 10s for acknowledgements and not infinite, its wait point is AFTER_COMMIT and not AFTER_SYNC, it waits for nobody while too few replicas are attached\n" +
		"replica b:3306 is not set as the policy says: semi-sync as a replica is off\n"
	if text.String() != want {
		t.Errorf("found\n%swant\n%s", text.String(), want)
	}
}

func TestMySQLIsHeldToItsWaitCountAndMariaDBIsNot(t *testing.T) {
	plan := &SemiSyncPlan{Source: true, WaitCount: 2}
	st := &topology.State{Flavor: "mariadb", SemiSync: topology.SemiSync{SourceEnabled: true, WaitCount: 1}}
	if got := plan.Unmet(st); got != "" {
		t.Error(got)
	}
	st.Flavor = "mysql"
	if got := plan.Unmet(st); got != "it waits for 1 acknowledgements and not for 2" {
		t.Error(got)
	}
}

func TestATimeoutMayBeInfinite(t *testing.T) {
	var d AckTimeout
	for text, want := range map[string]AckTimeout{"infinite": Infinite, "10s": AckTimeout(10 * time.Second)} {
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want || d.String() != text {
			t.Errorf("%s is read as %s: %v", text, d, err)
		}
	}
	if err := d.UnmarshalText([]byte("never")); err == nil || !strings.Contains(err.Error(), "infinite") {
		t.Errorf("the error does not say what is allowed: %v", err)
	}
}
