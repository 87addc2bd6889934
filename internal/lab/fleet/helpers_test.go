package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, generously.
func eventually(t *testing.T, ctx context.Context, what string, fn func() (done bool, state string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	must(t, lab.Eventually(ctx, what, 10*time.Millisecond, fn))
}

// state is that of the fleet's cluster.
func state(ctx context.Context, f *fleet.Fleet) (api.ClusterStatus, error) {
	s, err := f.Status(ctx)
	if err != nil {
		return api.ClusterStatus{}, err
	}
	for _, c := range s.Clusters {
		if c.Name == fleet.Cluster {
			return c, nil
		}
	}
	return api.ClusterStatus{}, fmt.Errorf("no cluster %s in the status", fleet.Cluster)
}

// found waits until a finding is in the status, of the instance where that is not empty.
func found(t *testing.T, ctx context.Context, f *fleet.Fleet, code failover.Code, instance string) (finding failover.Finding) {
	t.Helper()
	eventually(t, ctx, fmt.Sprintf("the finding %s %s", code, instance), func() (bool, string) {
		c, err := state(ctx, f)
		if err != nil {
			return false, err.Error()
		}
		i := slices.IndexFunc(c.Findings, func(f failover.Finding) bool {
			return f.Code == code && (instance == "" || string(f.Instance) == instance)
		})
		if i < 0 {
			return false, fmt.Sprintf("%s; findings: %v", c.Sentence, c.Findings)
		}
		finding = c.Findings[i]
		return true, ""
	})
	t.Log(finding.Sentence)
	return finding
}

// newest is the recovery that began last.
func newest(t *testing.T, ctx context.Context, f *fleet.Fleet) failover.Recovery {
	t.Helper()
	list, err := f.Recoveries(ctx)
	must(t, err)
	if len(list) == 0 {
		t.Fatal("no recovery is on record")
	}
	return list[0]
}

// writers are the servers that a proxy sends writes to now.
func writers(ctx context.Context, p *lab.Proxy) (addrs []string, err error) {
	rows, err := p.Admin().QueryContext(ctx, fmt.Sprintf(
		"SELECT hostname, port FROM runtime_mysql_servers WHERE hostgroup_id=%d AND status IN ('ONLINE', 'SHUNNED')", fleet.WriterHostgroup))
	if err != nil {
		return nil, fmt.Errorf("read the writers of %s: %w", p.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var host, port string
		if err := rows.Scan(&host, &port); err != nil {
			return nil, err
		}
		addrs = append(addrs, host+":"+port)
	}
	return addrs, rows.Err()
}

// routed waits until every proxy sends writes to one server and to no other.
func routed(t *testing.T, ctx context.Context, f *fleet.Fleet, addr string) {
	t.Helper()
	for _, p := range f.Proxies {
		opens(t, ctx, p, addr)
	}
}

// opens waits until a proxy sends writes to one server and to no other.
func opens(t *testing.T, ctx context.Context, p *lab.Proxy, addr string) {
	t.Helper()
	eventually(t, ctx, p.Name+" to send writes to "+addr, func() (bool, string) {
		got, err := writers(ctx, p)
		return slices.Equal(got, []string{addr}), fmt.Sprint(got, err)
	})
}

// neverRouted looks at every proxy again and again until the function that it returns is called; the test fails when
// one sends writes to the address.
func neverRouted(t *testing.T, ctx context.Context, f *fleet.Fleet, addr string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	looks := make([]int, len(f.Proxies))
	var looking sync.WaitGroup
	for i, p := range f.Proxies {
		looking.Go(func() {
			ticker := time.NewTicker(10 * time.Millisecond)
			defer ticker.Stop()
			for ; ctx.Err() == nil; looks[i]++ {
				got, err := writers(ctx, p)
				if ctx.Err() == nil && (err != nil || slices.Contains(got, addr)) {
					t.Errorf("%s sends writes to %v, never to be %s (%v)", p.Name, got, addr, err)
					return
				}
				select {
				case <-ctx.Done():
				case <-ticker.C:
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		cancel()
		looking.Wait()
		if slices.Min(looks) < 2 {
			t.Errorf("the proxies were looked at only %v times", looks)
		}
	})
}

// output is what a command said.
type output struct {
	code           int
	stdout, stderr string
}

// remora runs a command line against the fleet.
func remora(t *testing.T, ctx context.Context, f *fleet.Fleet, stdin string, args ...string) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, f.Binary, args...)
	cmd.Env = append(os.Environ(), "REMORA_NODES="+strings.Join(f.APIs, ","))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("remora %v: %v", args, err)
	}
	return output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want checks the exit code, and that stdout or stderr has all of the words.
func (o output) want(t *testing.T, code int, words ...string) {
	t.Helper()
	missing := slices.DeleteFunc(words, func(w string) bool { return strings.Contains(o.stdout+o.stderr, w) })
	if o.code != code || len(missing) > 0 {
		t.Errorf("exit code %d, want %d; missing: %q; stdout:\n%s\nstderr:\n%s", o.code, code, missing, o.stdout, o.stderr)
	}
}
