package lab_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

func TestProxyServesClients(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(ctx, lab.ServerOptions{Name: "alone", Writable: true})
	must(t, err)
	must(t, s.Exec(ctx, lab.CreateWrites...))
	p, err := l.Proxy(ctx, lab.ProxyOptions{
		Name: "proxy", Servers: []lab.ProxyServer{{Hostgroup: 10, Addr: s.Addr}},
		Variables: map[string]string{"mysql-connect_timeout_server_max": "9000"},
	})
	if errors.Is(err, lab.ErrNoGo) {
		t.Skipf("NOT RUN: there is neither a ProxySQL nor a way to build its stand-in: %v", err)
	}
	must(t, err)
	t.Log("the proxy is", p.Kind())

	var value string
	const query = "SELECT variable_value FROM runtime_global_variables WHERE variable_name='mysql-connect_timeout_server_max'"
	must(t, p.Admin().QueryRowContext(ctx, query).Scan(&value))
	if value != "9000" {
		t.Errorf("mysql-connect_timeout_server_max is %s", value)
	}
	load, err := l.Load(ctx, lab.LoadOptions{Addrs: []string{p.ClientAddr}, Pace: 5 * time.Millisecond})
	must(t, err)
	must(t, p.Kill())
	killed := time.Now()
	must(t, p.Start(ctx)) // with what is on its disk
	_, err = load.Back(ctx, killed)
	must(t, err)
	must(t, p.Freeze())
	must(t, p.Thaw())
	must(t, p.Restart(ctx))
	load.Stop()
	if v := verify(t, load, s); len(v.Lost) != 0 || v.Doubled != 0 {
		t.Error(v)
	}
}

func TestSidecarReadsItsConfiguration(t *testing.T) {
	t.Parallel()
	l, err := lab.New(t.Context(), lab.Options{Dir: t.TempDir()})
	must(t, err)
	defer l.Close()
	sidecar, err := l.Sidecar(within(t), lab.SidecarOptions{Name: "a", Binary: "/bin/cat", Config: "node: a\n", Args: []string{"-n"}})
	must(t, err)
	<-sidecar.Ended()
	if log := sidecar.LogTail(1); !strings.Contains(log, "node: a") {
		t.Error(log)
	}
}
