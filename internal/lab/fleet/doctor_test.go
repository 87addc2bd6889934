package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// labSettings are what the doctor says of every fleet in a lab, and is right in: servers
// there start small, do not replicate by themselves, and its accounts and proxies are the
// tests' own.
var labSettings = []string{"replica_start", "relay_log", "proxy_hold_time"}

// TestAFleetIsWell has the doctor look at a whole fleet, which is well but for what a lab
// is set to; then at one where a server and a proxy are set badly, which --fix mends.
func TestAFleetIsWell(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	f, err := fleet.Start(ctx, lab.ForTest(t, lab.Options{Logf: t.Logf}), fleet.Options{Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true}}})
	must(t, err)
	var r doctor.Report
	var code int
	eventually(t, ctx, "a fleet that is well", func() (bool, string) { // semi-sync is still being set up
		r, code = examined(t, ctx, f)
		i := slices.IndexFunc(r.Findings, func(x doctor.Finding) bool {
			return x.Severity != doctor.Advice && !slices.Contains(labSettings, x.Check)
		})
		if i < 0 {
			return true, ""
		}
		return false, fmt.Sprintf("%+v", r.Findings[i])
	})
	if r.Servers != 3 || r.Sidecars != 3 {
		t.Errorf("%d servers and %d sidecars were examined", r.Servers, r.Sidecars)
	}
	if code != 2 { // of a proxy's hold time: the lab has ProxySQL's own
		t.Errorf("exit code %d", code)
	}

	replica := f.DB.Replicas()[0]
	must(t, replica.Exec(ctx, "SET GLOBAL sync_binlog=0"))
	if r, code = examined(t, ctx, f); code != 2 || !saysOf(r, "durability", replica.Addr) || !saysOf(r, "proxy_hold_time", "node3's proxy") {
		t.Fatalf("exit code %d, %+v", code, r.Findings)
	}
	if r, _ = examined(t, ctx, f, "--fix", "--yes"); saysOf(r, "durability", replica.Addr) || saysOf(r, "proxy_hold_time", "") {
		t.Errorf("after --fix: %+v", r.Findings)
	}
	row, err := replica.Row(ctx, "SELECT @@sync_binlog AS n")
	must(t, err)
	if row["n"] != "1" {
		t.Errorf("after --fix sync_binlog is %s", row["n"])
	}

	// One that hangs is a line, in time; the rest is told all the same.
	must(t, replica.Freeze())
	began := time.Now()
	r, _ = examined(t, ctx, f)
	if took := time.Since(began); !saysOf(r, "server_unreadable", replica.Addr) || took > 30*time.Second {
		t.Errorf("with a frozen server, after %s: %+v", took, r.Findings)
	}
	must(t, replica.Thaw())
}

// examined runs the command at the last node, which need not lead.
func examined(t *testing.T, ctx context.Context, f *fleet.Fleet, args ...string) (r doctor.Report, code int) {
	t.Helper()
	o := remora(t, ctx, f, "", append([]string{"doctor", fleet.Cluster, "--json", "--node", f.APIs[2]}, args...)...)
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v: %v; %s %s", args, err, o.stdout, o.stderr)
	}
	var lines strings.Builder
	for _, x := range r.Findings {
		fmt.Fprintf(&lines, "\n%s %s %s: %s", x.Severity, x.Where, x.Check, x.Sentence)
	}
	t.Logf("doctor %v exits with %d:%s", args, o.code, lines.String())
	return r, o.code
}

func saysOf(r doctor.Report, check, where string) bool {
	return slices.ContainsFunc(r.Findings, func(x doctor.Finding) bool { return x.Check == check && (where == "" || x.Where == where) })
}
