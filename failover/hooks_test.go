package failover

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/topology"
)

// failedOver is the occasion after a failover from a to b that c did not follow.
func failedOver() Occasion {
	b := primary("b").replica("d").orphan("c").orphan("a").downtime("a")
	rec := Recovery{
		Intent: Intent{
			ID: "main-12", Cluster: "main", Kind: KindFailover, From: at("a"), To: at("b"), Reason: "a:3306 is dead; nobody's there",
			Code: "DeadMaster", Replicas: []topology.Addr{at("b"), at("c"), at("d")}, Epoch: 13,
		},
		Outcome: Succeeded, To: at("b"),
	}
	return OccasionOf(&b.c, AfterFailover, &rec, "s1")
}

func TestExpand(t *testing.T) {
	after := failedOver()
	before := after
	before.Hook, before.Recovery.Outcome, before.Recovery.Intent.Epoch = BeforeFailover, "", 0
	asked := before
	asked.Recovery.Intent = Intent{ID: "r1", Cluster: "main", Kind: KindSwitchover, From: at("a"), To: at("b"), By: "ann", Reason: "ann asked"}
	failed := after
	failed.Hook, failed.Position = OnFailure, ""
	failed.Recovery.Outcome, failed.Recovery.To, failed.Recovery.Error = RolledBack, at("a"), "too late"
	hostile := after
	hostile.Recovery.Intent.Reason = "--x $(rm -rf /) `id` '\";|&<>\n\\ -y *"
	forced, chosen, ring := asked, asked, before
	forced.Recovery.Intent.Kind, forced.Recovery.Intent.Forced = KindFailover, true
	chosen.Recovery.Intent.Kind, chosen.Recovery.Intent.Forced, chosen.Recovery.Intent.Chosen = KindFailover, true, true
	ring.Recovery.Intent.Code = "DeadCoMasterAndSomeReplicas"
	for _, tt := range []struct {
		name, command, want string
		o                   Occasion
	}{
		{"nothing to replace", "echo up", "echo up", after},
		{"what failed", "x {failureType} {failedHost}:{failedPort} of {failureCluster} ({failureClusterAlias})", "x DeadMaster a:3306 of a:3306 (main)", after},
		{"in quotes", `x '{failureDescription}' "{recoveryUID}"`, `x 'a:3306 is dead_ nobody_s there' "main-12"`, after},
		{"who takes over", "{successorHost} {successorPort} {successorAlias} {successorBinlogCoordinates} {isSuccessful}", "b 3306 b 0-1-100 true", after},
		{"replicas", "{countReplicas} {replicaHosts} lost {countLostReplicas} {lostReplicas}", "3 b:3306,c:3306,d:3306 lost 1 c:3306", after},
		{"older spellings", "{countSlaves} {slaveHosts} {lostSlaves}", "3 b:3306,c:3306,d:3306 c:3306", after},
		{"what is set", "{isDowntimed} {autoMasterRecovery} {autoIntermediateMasterRecovery} {orchestratorHost}", "true true true s1", after},
		{"Remora's own", "{hook} {kind} {epoch} {outcome}", "after_failover failover 13 succeeded", after},
		{"before it begins", "{hook} {successorHost} {isSuccessful} [{epoch}{outcome}{error}]", "before_failover b false []", before},
		{"an operator asked", "{command} {failureType} {askedBy} {kind}", "graceful-master-takeover DeadMaster ann switchover", asked},
		{"an operator forced", "{command}", "force-master-failover", forced},
		{"and chose", "{command}", "force-master-takeover", chosen},
		{"a primary", "{instanceType} {isMaster} {isCoMaster}", "master true false", before},
		{"a co-primary", "{instanceType} {isMaster} {isCoMaster}", "co-master false true", ring},
		{"it failed", "{outcome}: {error} [{successorHost}{successorPort}] {isSuccessful}", "rolled back: too late [] false", failed},
		{"hostile values", "x {failureDescription}", "x _-x __rm _rf /_ _id_ _________ _y _", hostile},
		{"the shell's own braces", "x ${failedHost} { print } {a,b} ${HOME}", "x ${failedHost} { print } {a,b} ${HOME}", after},
		{"no domain", "[{failureClusterDomain}]", "[]", after},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.o.Expand(tt.command); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.command, got, tt.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	o := failedOver()
	want := []string{
		"ORC_FAILURE_TYPE=DeadMaster", "ORC_INSTANCE_TYPE=master", "ORC_IS_MASTER=true", "ORC_IS_CO_MASTER=false",
		"ORC_FAILURE_DESCRIPTION=a:3306 is dead; nobody's there", "ORC_COMMAND=",
		"ORC_FAILED_HOST=a", "ORC_FAILED_PORT=3306", "ORC_FAILURE_CLUSTER=a:3306", "ORC_FAILURE_CLUSTER_ALIAS=main", "ORC_FAILURE_CLUSTER_DOMAIN=",
		"ORC_COUNT_REPLICAS=3", "ORC_REPLICA_HOSTS=b:3306,c:3306,d:3306", "ORC_IS_DOWNTIMED=true",
		"ORC_AUTO_MASTER_RECOVERY=true", "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY=true", "ORC_ORCHESTRATOR_HOST=s1", "ORC_RECOVERY_UID=main-12",
		"ORC_IS_SUCCESSFUL=true", "ORC_SUCCESSOR_HOST=b", "ORC_SUCCESSOR_PORT=3306", "ORC_SUCCESSOR_ALIAS=b", "ORC_SUCCESSOR_BINLOG_COORDINATES=0-1-100",
		"ORC_LOST_REPLICAS=c:3306", "ORC_COUNT_LOST_REPLICAS=1",
		"REMORA_HOOK=after_failover", "REMORA_KIND=failover", "REMORA_EPOCH=13", "REMORA_OUTCOME=succeeded", "REMORA_ERROR=", "REMORA_ASKED_BY=",
	}
	if diff := cmp.Diff(want, o.Environment()); diff != "" {
		t.Error(diff)
	}
}

// Linux starts nothing with a variable or an argument over 128 KiB.
func TestLongValuesAreCut(t *testing.T) {
	o := failedOver()
	o.Position = strings.Repeat("0-1-100,", 20<<10)
	o.Recovery.Intent.Reason = "x" + strings.Repeat("é", 20<<10)
	for _, env := range o.Environment() {
		if len(env) > 17<<10 || !utf8.ValidString(env) {
			t.Errorf("%.40s has %d bytes", env, len(env))
		}
	}
	line := o.Expand("{successorBinlogCoordinates}{failureDescription}")
	if len(line) > 33<<10 || !strings.HasPrefix(line, "0-1-100,0-1-100,") || !strings.Contains(line, "...") {
		t.Errorf("the command has %d bytes: %.40s", len(line), line)
	}
}

// A finding that calls for a failover tells the hooks what the failover would be.
func TestDetected(t *testing.T) {
	b := primary("a").replica("b").replica("c").kill("a")
	findings := Analyze(&b.c)
	d := Decide(&b.c, findings)
	rec := Detected(&b.c, findings[0])
	if d.Intent == nil || rec.Intent.ID != d.Intent.ID || rec.Intent.From != d.Intent.From || !slices.Equal(rec.Intent.Replicas, d.Intent.Replicas) || len(rec.Intent.Replicas) != 2 {
		t.Errorf("detected %+v, decided %+v", rec.Intent, d.Intent)
	}
	o := OccasionOf(&b.c, OnDetection, &rec, "s1")
	if got := o.Expand("{failureType} {failedHost} {countReplicas} [{successorHost}]"); got != "DeadMaster a 2 []" {
		t.Error(got)
	}
}

func TestHooksAreValidated(t *testing.T) {
	hook := func(command string) []Hook { return []Hook{{Command: "true"}, {Command: command}} }
	for name, tt := range map[string]struct {
		change func(h *Hooks)
		want   string
	}{
		"all is well":              {func(h *Hooks) { h.AfterFailover = hook("x {failedHost} {slaveHosts} ${failedhost}") }, ""},
		"an unknown placeholder":   {func(h *Hooks) { h.AfterFailover = hook("x {failedhost}") }, "hooks.after_failover[1].command: {failedhost} is not allowed, want one of {failureType} {instanceType}"},
		"no command":               {func(h *Hooks) { h.OnDetection = hook("") }, `hooks.on_detection[1].command: "" is not allowed, want a line for /bin/sh`},
		"no time":                  {func(h *Hooks) { h.Timeout = 0 }, "hooks.timeout: 0s is not allowed, want more than 0s and at most 10m"},
		"too much time":            {func(h *Hooks) { h.BeforeFailover = []Hook{{Command: "x", Timeout: Duration(time.Hour)}} }, "hooks.before_failover[0].timeout: 1h0m0s is not allowed"},
		"no pause":                 {func(h *Hooks) { h.Retry = 0 }, "hooks.retry: 0s is not allowed, want more than 0s"},
		"nobody waits for it":      {func(h *Hooks) { h.OnFailure = []Hook{{Command: "x", MayFail: true}} }, "hooks.on_failure[0].may_fail: true is not allowed"},
		"before it may fail":       {func(h *Hooks) { h.BeforeSwitchover = []Hook{{Command: "x", MayFail: true}} }, ""},
		"more than anybody needs":  {func(h *Hooks) { h.AfterSwitchover = slices.Repeat(hook("x"), 5) }, "hooks.after_switchover: a list of 10 hooks is not allowed, want at most 8"},
		"every point is looked at": {func(h *Hooks) { h.BeforeSwitchover = hook("{x}") }, "hooks.before_switchover[1].command"},
	} {
		t.Run(name, func(t *testing.T) {
			p := DefaultPolicy()
			tt.change(&p.Hooks)
			err := p.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func stopped(ago time.Duration, id string) *Recovery {
	return &Recovery{Intent: Intent{ID: id, Kind: KindFailover, From: at("a")}, Outcome: Aborted, Ended: noon.Add(-ago), Error: "hook before_failover 1 failed on s1: it ended with exit code 3"}
}

// What a hook stopped is tried again after a while, under another id.
func TestAStoppedFailoverWaits(t *testing.T) {
	dead := func(r *Recovery) *build {
		b := primary("a").replica("b").kill("a")
		b.c.Stopped = r
		return b
	}
	d := decide(dead(stopped(3*time.Second, "main-12")))
	want := "failover main-12 was stopped 3.0s ago: hook before_failover 1 failed on s1: it ended with exit code 3; " +
		"it is tried again in 7.0s; `remora recoveries main-12` has the hook's output, and a forced failover goes on regardless"
	if d.Intent != nil || !slices.Equal(refused(d), []string{"hook"}) || d.Refusals[0].String() != want {
		t.Errorf("%s\nrefused by %v", d.Sentence, d.Refusals)
	}
	for tried, id := range map[string]string{"main-12": "main-12.2", "main-12.2": "main-12.3", "main-12.10": "main-12.11", "main-1": "main-12", "other": "main-12"} {
		if d := decide(dead(stopped(10*time.Second, tried))); d.Intent == nil || d.Intent.ID != id {
			t.Errorf("after %s: %s, %+v; want %s", tried, d.Sentence, d.Intent, id)
		}
	}
	b := dead(stopped(time.Second, "main-12")).ask(Request{ID: "r1", Kind: KindFailover, Force: true, By: "ann"})
	if d := decide(b); d.Intent == nil || d.Intent.ID != "r1" {
		t.Errorf("forced: %s", d.Sentence)
	}
	other := stopped(time.Second, "main-12")
	other.Intent.From = at("c")
	if d := decide(dead(other)); d.Intent == nil {
		t.Errorf("of another primary: %s", d.Sentence)
	}
}
