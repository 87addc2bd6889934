package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
)

func leading() *fakeNode { return &fakeNode{name: "r1", leads: true, status: healthyStatus()} }

// Every exit code by the commands that end with it.
func TestExitCodes(t *testing.T) {
	refusing := func(n *fakeNode) {
		n.refused = &api.RefusedError{Sentence: "no candidate is fit", Refusals: refusals(), Checks: wouldNot().Decision.Checks}
	}
	for name, c := range map[string]struct {
		node func(*fakeNode)
		args string
		code int
		text string
	}{
		"healthy":                 {args: "status", code: exitOK, text: "leader r1"},
		"finding calls":           {node: func(n *fakeNode) { n.status = troubledStatus() }, args: "status", code: exitUnhealthy, text: "DeadMaster a:3306 calls for a failover"},
		"no primary":              {node: func(n *fakeNode) { n.status.Clusters[0].Primary = "" }, args: "status", code: exitUnhealthy, text: "main has no primary"},
		"no leader":               {node: func(n *fakeNode) { n.leads, n.status.Leader = false, "" }, args: "status", code: exitUnhealthy, text: "no leader is known to r2"},
		"unhealthy as JSON":       {node: func(n *fakeNode) { n.status = troubledStatus() }, args: "status --json", code: exitUnhealthy, text: `"code": "DeadMaster"`},
		"topology":                {args: "topology main", code: exitOK, text: "primary a:3306"},
		"unknown cluster":         {args: "topology other", code: exitError, text: "topology of other"},
		"no leader for topology":  {node: func(n *fakeNode) { n.leads = false }, args: "topology main", code: exitError, text: "no leader is known to r1"},
		"no argument":             {args: "topology", code: exitError, text: "usage: remora topology CLUSTER"},
		"bad flag":                {args: "status --bogus", code: exitError, text: "see `remora status --help`"},
		"unknown command":         {args: "statsu", code: exitError, text: "status"},
		"unknown command below":   {args: "downtime stop", code: exitError, text: "it has begin and end"},
		"bad address":             {args: "switchover main --to ///", code: exitError, text: "--to"},
		"bad timeout":             {args: "status --timeout 0s", code: exitError, text: "give a time such as 5s"},
		"help topic":              {args: "help exit-codes", code: exitOK, text: "rolled back"},
		"version":                 {args: "version", code: exitOK, text: "remora devel"},
		"recoveries":              {node: func(n *fakeNode) { n.history = [][]failover.Recovery{{failedOver()}} }, args: "recoveries", code: exitOK, text: "F1"},
		"no recoveries as JSON":   {args: "recoveries --json", code: exitOK, text: "[]"},
		"one recovery":            {node: func(n *fakeNode) { n.history = [][]failover.Recovery{{failedOver()}} }, args: "recoveries F1", code: exitOK, text: "by alice"},
		"hooks":                   {args: "hooks main", code: exitOK, text: "may-fail-over main a"},
		"hooks of one point":      {args: "hooks main after_failover", code: exitOK, text: "No hooks"},
		"hooks' environment":      {args: "hooks main before_failover --env", code: exitOK, text: "ORC_FAILED_HOST=a"},
		"hooks as JSON":           {args: "hooks main before_failover --json", code: exitOK, text: `"REMORA_HOOK=before_failover"`},
		"no such hooks":           {args: "hooks main before_lunch", code: exitError, text: "there are on_detection, before_failover"},
		"unknown recovery":        {args: "recoveries F9", code: exitError, text: "F9"},
		"dry run would go":        {node: func(n *fakeNode) { n.reply = wouldGo() }, args: "switchover main --dry-run", code: exitOK, text: "✓ lag"},
		"dry run refused":         {node: func(n *fakeNode) { n.reply = wouldNot() }, args: "switchover main --dry-run", code: exitRefused, text: "✗ lag"},
		"dry run refused as JSON": {node: func(n *fakeNode) { n.reply = wouldNot() }, args: "switchover main --dry-run --json", code: exitRefused, text: `"rule": "anti_flap"`},
		"switched over":           {node: func(n *fakeNode) { n.history = [][]failover.Recovery{{switchedOver()}} }, args: "switchover main", code: exitOK, text: "main: a:3306 → b:3306, writes paused for 120 ms"},
		"rolled back": {node: func(n *fakeNode) { r := rolledBack(); r.Intent.ID = "S1"; n.history = [][]failover.Recovery{{r}} },
			args: "switchover main", code: exitRolledBack, text: "b:3306 did not catch up within 1s"},
		"stopped by a hook, after a lost answer": {node: func(n *fakeNode) { r := stopped(); r.Intent.ID = "S1"; n.history = [][]failover.Recovery{{r}} },
			args: "switchover main", code: exitRefused, text: "was stopped before it began, a:3306 is still the primary: hook before_failover 1 failed"},
		"refused":          {node: refusing, args: "switchover main", code: exitRefused, text: "what would change it: rebuild c:3306"},
		"refused as JSON":  {node: refusing, args: "switchover main --json", code: exitRefused, text: `"error": "no candidate is fit"`},
		"refused shows":    {node: refusing, args: "switchover main", code: exitRefused, text: "✗ lag"},
		"forced, no tty":   {node: func(n *fakeNode) { n.reply = forced() }, args: "failover main", code: exitRefused, text: "add --yes"},
		"forced, cannot":   {node: func(n *fakeNode) { n.reply = wouldNot() }, args: "failover main --yes", code: exitRefused, text: "no candidate is fit"},
		"acknowledged":     {args: "ack main --comment seen", code: exitOK, text: "acknowledged by alice"},
		"nothing to ack":   {node: refusing, args: "ack main", code: exitRefused, text: "acknowledging all recoveries of main"},
		"downtime":         {args: "downtime begin main b --for 1h --reason disks", code: exitOK, text: "b:3306 is excused"},
		"downtime ends":    {args: "downtime end main b:3306", code: exitOK, text: "has ended"},
		"no downtime":      {args: "downtime begin main b:3306 --for 0s", code: exitError, text: "give a time such as"},
		"leader":           {args: "leader transfer r2", code: exitOK, text: "r1 has handed the leadership to r2"},
		"best leader":      {args: "leader transfer", code: exitOK, text: "r1 has handed the leadership to r3"},
		"leads already":    {args: "leader transfer r1", code: exitOK, text: "r1 leads already"},
		"rejoin":           {args: "rejoin main d:3306", code: exitOK, text: "d:3306 follows the primary again"},
		"rejoin, dry":      {args: "rejoin main d:3306 --discard --dry-run", code: exitOK, text: "7 row changes would be undone"},
		"rejoin unasked":   {args: "rejoin main d:3306 --discard", code: exitRefused, text: "add --yes"},
		"rejoin, yes":      {args: "rejoin main d:3306 --discard --yes", code: exitOK, text: "d:3306 follows the primary again"},
		"rejoin refused":   {node: refusing, args: "rejoin main d:3306", code: exitRefused, text: "no candidate is fit"},
		"forgotten":        {args: "forget main d:3306", code: exitOK, text: "d:3306 is forgotten"},
		"node forgotten":   {args: "node forget proxy4", code: exitOK, text: "proxy4 is forgotten"},
		"node fenced":      {args: "node fenced proxy3", code: exitOK, text: "proxy3 counts as fenced"},
		"node heard":       {node: refusing, args: "node fenced proxy3", code: exitRefused, text: "no candidate is fit"},
		"run without file": {args: "run", code: exitError, text: "REMORA_CONFIG"},
		"config missing":   {args: "config check /nonexistent.yaml", code: exitError, text: "nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			node := leading()
			if c.node != nil {
				c.node(node)
			}
			cli{env: map[string]string{"REMORA_NODES": node.serve(t)}}.run(t, strings.Fields(c.args)...).want(t, c.code, c.text)
		})
	}
}

func TestOperatorsRequestsArriveWhole(t *testing.T) {
	node := leading()
	node.history = [][]failover.Recovery{{switchedOver()}}
	c := cli{env: map[string]string{"REMORA_NODES": node.serve(t)}}
	c.run(t, "switchover", "main", "--to", "B", "--timeout", "7s", "--reason", "new kernel").want(t, exitOK)
	c.run(t, "ack", "main", "F1", "--comment", "seen").want(t, exitOK)
	c.run(t, "downtime", "begin", "main", "b:3306", "--for", "30m", "--reason", "disks").want(t, exitOK)
	c.run(t, "forget", "main", "d:3307").want(t, exitOK)

	want := failover.Request{ID: "S1", Kind: failover.KindSwitchover, To: "b:3306", By: "alice", Reason: "new kernel", Timeout: ms(7000)}
	if len(node.asked) != 1 || node.asked[0].Request != want {
		t.Errorf("asked %+v, want %+v once", node.asked, want)
	}
	if got, want := node.acks[0], (api.AcknowledgeRequest{Recovery: "F1", By: "alice", Comment: "seen"}); got != want {
		t.Errorf("acknowledged %+v, want %+v", got, want)
	}
	if got, want := node.downtimes[0], (api.DowntimeRequest{Instance: "b:3306", For: ms(1_800_000), Reason: "disks", By: "alice"}); got != want {
		t.Errorf("downtime %+v, want %+v", got, want)
	}
	if node.forgotten[0] != "d:3307" {
		t.Errorf("forgot %s", node.forgotten[0])
	}
}

func TestAFollowerForwards(t *testing.T) {
	leader := leading()
	leader.history = [][]failover.Recovery{{switchedOver()}}
	follower := &fakeNode{name: "r2", leader: leader.serve(t)}
	cli{env: map[string]string{"REMORA_NODES": follower.serve(t)}}.run(t, "switchover", "main").want(t, exitOK, "a:3306 → b:3306")
	if len(leader.asked) != 1 || len(follower.asked) != 0 {
		t.Errorf("the leader was asked %d times, the follower %d times", len(leader.asked), len(follower.asked))
	}
}

// The answer of the first node is lost after it took the request: the second
// one gets the same id, so it is one switchover.
func TestALostAnswerIsAskedForWithTheSameID(t *testing.T) {
	leader := leading()
	leader.history = [][]failover.Recovery{{switchedOver()}}
	c := cli{transport: wire{"r1:3030": losing(1, leader.handler()), "r2:3030": leader.handler()}}
	c.run(t, "switchover", "main", "--node", "r1", "--node", "r2").want(t, exitOK, "a:3306 → b:3306")
	if len(leader.asked) != 2 || leader.asked[0] != leader.asked[1] {
		t.Errorf("asked %+v, want the same request twice", leader.asked)
	}
}

// A rejoin has no id: who may have taken it is not asked again, nor is another.
func TestARejoinIsSentOnce(t *testing.T) {
	for name, fails := range map[string]error{
		"its answer is lost": nil,
		"it failed halfway":  errors.New("bringing d:3306 back failed on its way"),
	} {
		t.Run(name, func(t *testing.T) {
			leader := leading()
			leader.rejoinFails = fails
			whole, lossy := leader.handler(), losing(1000, leader.handler())
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(leader.rejoins) == 0 || fails != nil {
					whole.ServeHTTP(w, r)
					return
				}
				lossy.ServeHTTP(w, r)
			})
			cli{transport: wire{"r1:3030": h, "r2:3030": h}}.run(t, "rejoin", "main", "d:3306", "--clone", "--yes", "--node", "r1", "--node", "r2").
				want(t, exitUnknown, "look there before you ask again")
			if len(leader.rejoins) != 2 {
				t.Errorf("it was sent %d times with its dry run, want 2: %+v", len(leader.rejoins), leader.rejoins)
			}
		})
	}
}

// After a lost answer, a refusal may be due to the request's own first arrival.
func TestARefusalAfterALostAnswerIsLookedThrough(t *testing.T) {
	leader := leading()
	leader.history = [][]failover.Recovery{{switchedOver()}}
	leader.refused = &api.RefusedError{Sentence: "switchover S1 is open"}
	c := cli{transport: wire{"r1:3030": losing(1, leader.handler()), "r2:3030": leader.handler()}}
	c.run(t, "switchover", "main", "--node", "r1", "--node", "r2").want(t, exitOK, "a:3306 → b:3306")
}

func TestProgressShowsEachStepOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, half, done := failedOver(), failedOver(), failedOver()
		begun.Intent.ID, half.Intent.ID, done.Intent.ID = "S1", "S1", "S1"
		begun.Outcome, begun.Steps = failover.InProgress, nil
		half.Outcome, half.Steps = failover.InProgress, half.Steps[:2]
		leader := leading()
		leader.reply = forced()
		// A new leader does not know the steps that were not committed.
		leader.history = [][]failover.Recovery{{}, {begun}, {begun}, {half}, {begun}, {half}, {done}}
		o := cli{transport: wire{"127.0.0.1:3030": leader.handler()}}.run(t, "failover", "main", "--yes")
		o.want(t, exitOK)
		golden(t, "cli_failover", o.out)
	})
}

func TestWaitingEnds(t *testing.T) {
	open := switchedOver()
	open.Outcome = failover.InProgress
	running := leading()
	running.history = [][]failover.Recovery{{open}}
	headless := &fakeNode{name: "r1"}
	for name, c := range map[string]struct {
		net  wire
		code int
		text string
	}{
		"nobody listens":      {wire{}, exitError, "is a sidecar running there?"},
		"no leader":           {wire{"r1:3030": headless.handler()}, exitUnknown, "no leader is known to r1"},
		"all answers lost":    {wire{"r1:3030": losing(1000, leading().handler())}, exitUnknown, "`remora recoveries S1` before you send another"},
		"it never ends":       {wire{"r1:3030": running.handler()}, exitUnknown, "`remora recoveries S1` tells how it went"},
		"it cannot be looked": {wire{"r1:3030": leading().handler()}, exitUnknown, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				cli{transport: c.net}.run(t, "switchover", "main", "--wait", "30s", "--node", "r1", "--node", "r2").want(t, c.code, c.text)
				if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
					t.Errorf("it took %s, want 30s", took)
				}
			})
		})
	}
}

func TestAForcedFailoverAsks(t *testing.T) {
	for _, c := range []struct {
		typed string
		code  int
		text  string
		times int
	}{
		{"main\n", exitOK, "routed after 130 ms", 3},
		{"yes\n", exitRefused, "not confirmed, nothing was done", 2},
		{"", exitRefused, "not confirmed, nothing was done", 2},
	} {
		t.Run(c.typed, func(t *testing.T) {
			node := leading()
			node.reply = forced()
			done := failedOver()
			done.Intent.ID = "S1"
			node.history = [][]failover.Recovery{{done}}
			o := cli{in: c.typed, asks: true, env: map[string]string{"REMORA_NODES": node.serve(t)}}.run(t, "failover", "main")
			o.want(t, c.code, c.text, "Expected loss", "12 transactions", "Type the cluster's name (main)")
			if len(node.asked) != c.times {
				t.Errorf("the node was asked %d times, want %d", len(node.asked), c.times)
			}
		})
	}
}

func TestWatchGoesOnUntilInterrupted(t *testing.T) {
	for name, live := range map[string]bool{"watch_file": false, "watch_terminal": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
				defer cancel()
				node := leading()
				began, h := time.Now(), node.handler()
				net := wire{"r1:3030": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if time.Since(began) > 1500*time.Millisecond {
						w.WriteHeader(lost)
						return
					}
					h.ServeHTTP(w, r)
				})}
				o := cli{ctx: ctx, live: live, transport: net}.run(t, "topology", "main", "--watch", "--node", "r1:3030")
				o.want(t, exitOK)
				golden(t, name, o.out)
			})
		})
	}
}

func TestWatchAsJSONIsOneLineAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		o := cli{ctx: ctx, transport: wire{"r1:3030": leading().handler()}}.run(t, "status", "--watch", "--json", "--node", "r1")
		o.want(t, exitOK)
		lines := strings.Split(strings.TrimSpace(o.out), "\n")
		if len(lines) != 3 {
			t.Errorf("%d lines in 2.5s, want 3", len(lines))
		}
		for _, line := range lines {
			var s api.Status
			if err := json.Unmarshal([]byte(line), &s); err != nil || s.Leader != "r1" {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}

// A node that is cut off answers with its own view: one that knows a leader is
// believed instead.
func TestStatusPrefersANodeThatKnowsALeader(t *testing.T) {
	cutOff := &fakeNode{name: "r3", status: api.Status{Node: "r3"}}
	net := wire{"r3:3030": cutOff.handler(), "r1:3030": leading().handler()}
	cli{transport: net}.run(t, "status", "--node", "r3", "--node", "r9", "--node", "r1").want(t, exitOK, "leader r1")
	cli{transport: net}.run(t, "status", "--node", "r9", "--node", "r3").want(t, exitUnhealthy, "no leader is known to r3")
}

func TestNodesAndTokenAreFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "remora.yaml")
	secret := filepath.Join(t.TempDir(), "token")
	text := strings.Replace(exampleYAML, "node: r1", "node: r2\napi: {token: {file: "+secret+"}}", 1)
	for path, text := range map[string]string{file: text, secret: "s3cret\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		flags flags
		env   map[string]string
		nodes string
		token string
	}{
		"default":       {nodes: "127.0.0.1:3030"},
		"environment":   {env: map[string]string{"REMORA_NODES": "a, b:99,", "REMORA_TOKEN": "t"}, nodes: "a:3030 b:99", token: "t"},
		"flags win":     {flags: flags{nodes: []string{"c"}, tokenFile: secret}, env: map[string]string{"REMORA_NODES": "a", "REMORA_TOKEN": "t"}, nodes: "c:3030", token: "s3cret"},
		"configuration": {flags: flags{config: file}, nodes: "r2:3030 r1:3030 r3:3030", token: "s3cret"},
		"its place":     {env: map[string]string{"REMORA_CONFIG": file, "REMORA_TOKEN": "t"}, nodes: "r2:3030 r1:3030 r3:3030", token: "t"},
		"IPv6 and URL":  {flags: flags{nodes: []string{"::1", "[::1]:9", "https://x/"}}, nodes: "[::1]:3030 [::1]:9 https://x/"},
	} {
		t.Run(name, func(t *testing.T) {
			c.flags.timeout = time.Second
			a := &app{flags: c.flags, getenv: func(key string) string { return c.env[key] }}
			f, err := a.fleet()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(f.nodes, " "); got != c.nodes || f.token != c.token {
				t.Errorf("nodes %q, token %q; want %q, %q", got, f.token, c.nodes, c.token)
			}
		})
	}
}

func TestAllNodesSayWhyTheyCouldNotAnswer(t *testing.T) {
	headless := &fakeNode{name: "r1"}
	o := cli{transport: wire{"r1:3030": headless.handler()}}.run(t, "topology", "main", "--node", "r1", "--node", "r2")
	o.want(t, exitError)
	golden(t, "cli_no_node", o.err)
}

func TestAnalyzeReadsWhatSnapshotWrites(t *testing.T) {
	node := leading()
	c := cli{env: map[string]string{"REMORA_NODES": node.serve(t)}}
	snap := c.run(t, "snapshot", "main")
	snap.want(t, exitOK, `"version": 1`)
	c.in = snap.out
	c.run(t, "analyze", "-").want(t, exitOK, "Findings")
	var v failover.Verdict
	if err := json.Unmarshal([]byte(c.run(t, "analyze", "-", "--json").out), &v); err != nil {
		t.Error(err)
	}
}

func TestConfigCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "remora.yaml")
	if err := os.WriteFile(file, []byte(exampleYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	cli{}.run(t, "config", "check", file).want(t, exitOK, "OK", "semi_sync, a commit waits for 1 acknowledgement")
	cli{}.run(t, "config", "check", file, "--json").want(t, exitOK, `"ok": true`)
	cli{}.run(t, "config", "show", file).want(t, exitOK, "anti_flap: 10m0s")
	cli{}.run(t, "config", "show", file, "--json").want(t, exitOK, `"anti_flap": "10m0s"`)
	bad := strings.Replace(strings.Replace(exampleYAML, "data_dir", "datadir", 1), "seeds", "seed", 1)
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	cli{}.run(t, "config", "check", file).want(t, exitError, "datadir is not a key", "clusters.main.seed is not a key")
}
