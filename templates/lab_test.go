package templates_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/templates"
)

// server answers each connection with its address, and keeps it open.
func server(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, l.Addr())
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// session is a client's connection through HAProxy.
type session struct {
	net.Conn
	server string
}

func dial(addr string) (*session, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil, err
	}
	s := &session{Conn: c}
	b := make([]byte, 64)
	if err = c.SetDeadline(time.Now().Add(5 * time.Second)); err == nil {
		var n int
		n, err = c.Read(b)
		s.server = strings.TrimSpace(string(b[:n]))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// alive says whether the session still gets an answer.
func (s *session) alive() bool {
	b := make([]byte, 1)
	if err := s.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return false
	}
	if _, err := s.Write([]byte("x")); err != nil {
		return false
	}
	_, err := s.Read(b)
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// world is an HAProxy that a runner keeps up to date.
type world struct {
	*bench
	lab     *lab.Lab
	proxy   *lab.HAProxy
	writer  string // where HAProxy listens
	a, b, c string // servers
	epoch   int
}

func newWorld(t *testing.T, withSocket bool) *world {
	t.Helper()
	w := &world{bench: newBench(t), lab: lab.ForTest(t, lab.Options{}), a: server(t), b: server(t), c: server(t), epoch: 41}
	var ports [3]int
	for i := range ports {
		var err error
		ports[i], err = w.lab.Port()
		must(t, err)
	}
	w.writer = "127.0.0.1:" + strconv.Itoa(ports[0])
	w.cfg.Env = map[string]string{
		"REMORA_HAPROXY_PORTS": fmt.Sprintf("main=%d/%d", ports[0], ports[1]), "REMORA_HAPROXY_STATS": fmt.Sprintf("127.0.0.1:%d", ports[2]),
		"REMORA_HAPROXY_SOCKET": filepath.Join(w.lab.Dir(), "stats.sock"),
	}
	w.cfg.Destination = filepath.Join(w.lab.Dir(), "haproxy.cfg")
	w.publish(w.a)
	w.once()
	var err error
	w.proxy, err = w.lab.HAProxy(w.ctx, lab.HAProxyOptions{Name: "haproxy", File: w.cfg.Destination})
	must(t, err)
	w.cfg.Check = []string{haproxyPath(t), "-c", "-f", "{file}"}
	w.cfg.Reload = w.proxy.ReloadCommand()
	if withSocket {
		w.cfg.Socket = w.proxy.Socket
	}
	w.run()
	w.awaits(templates.Rendered)
	return w
}

func (w *world) publish(writer string, readers ...string) {
	w.epoch++
	mode := "open"
	if writer == "" {
		mode = "fenced"
	}
	w.kv.set("mysql/master/main/remora", document("main", w.epoch, mode, writer, readers...))
}

// leads waits until new connections reach a server.
func (w *world) leads(want string) {
	w.Helper()
	w.until("connections to "+want, func() (bool, string) {
		s, err := dial(w.writer)
		if err != nil {
			return want == "", err.Error()
		}
		defer s.Close()
		return s.server == want, s.server
	})
}

func (w *world) open() *session {
	w.Helper()
	s, err := dial(w.writer)
	must(w.T, err)
	w.Cleanup(func() { s.Close() })
	return s
}

// reloaded makes the runner reload HAProxy with other readers and the same writer.
func (w *world) reloaded(writer string, readers ...string) {
	w.Helper()
	w.reloadedAfter(func() { w.publish(writer, readers...) })
}

func (w *world) reloadedAfter(f func()) {
	w.Helper()
	before := w.worker()
	f()
	w.until("a new worker", func() (bool, string) {
		now := w.worker()
		return now != "" && now != before, now
	})
}

// worker is the first line of a worker in what the master says.
func (w *world) worker() string {
	answer, err := w.proxy.Ask(w.ctx, "show proc")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(answer, "# workers\n")
	id, _, _ := strings.Cut(rest, " ")
	return id
}

func TestHAProxyFollows(t *testing.T) {
	w := newWorld(t, true)
	w.leads(w.a)
	good := w.open()
	w.reloaded(w.a, w.c)
	if !good.alive() {
		t.Error("a reload with the same writer ended a session")
	}
	young := w.open()
	// good is held by the worker from before the reload, young by the present one: both have to end.
	w.publish(w.b, w.c)
	w.leads(w.b)
	w.until("the sessions of the old writer to end", func() (bool, string) {
		return !good.alive() && !young.alive(), "alive"
	})
	w.contains("writer " + w.b)
	// In quick succession: HAProxy forgets a reload that comes during another one.
	for range 4 {
		w.publish(w.a)
		w.contains("writer " + w.a)
		w.publish(w.b)
		w.contains("writer " + w.b)
	}
	w.awaits(templates.Rendered)
	w.leads(w.b)
	w.publish("")
	w.leads("")
}

// By the socket alone, while Consul is away.
func TestSwitchWithoutConsul(t *testing.T) {
	w := newWorld(t, true)
	w.kv.setAway(true)
	w.awaits(templates.NoConsul)
	old := w.open()
	must(t, w.runner.Switch(w.ctx, templates.Assignment{Cluster: "main", Epoch: 50}))
	if old.alive() {
		t.Error("a session outlived the fence")
	}
	if s, err := dial(w.writer); err == nil {
		t.Errorf("a new session reached %s", s.server)
	}
	must(t, w.runner.Switch(w.ctx, templates.Assignment{Cluster: "main", Epoch: 51, Writer: w.b}))
	now := w.open()
	if now.server != w.b {
		t.Errorf("a new session reached %s, want %s", now.server, w.b)
	}
	must(t, w.runner.Switch(w.ctx, templates.Assignment{Cluster: "main", Epoch: 52, Writer: w.b}))
	if !now.alive() {
		t.Error("a switch to the same writer ended a session")
	}
	// The stats socket does it too.
	must(t, templates.Switch(w.ctx, w.cfg.Env["REMORA_HAPROXY_SOCKET"], "main", w.a))
	if s := w.open(); s.server != w.a || now.alive() {
		t.Errorf("a new session reached %s, want %s; the old one lives: %t", s.server, w.a, now.alive())
	}
}

// A sidecar that has lost its lease closes what it does not know any more.
func TestFenceClosesTheWriterUntilTheNextSwitch(t *testing.T) {
	w := newWorld(t, true)
	w.leads(w.a)
	now := templates.Assignment{Cluster: "main", Epoch: uint64(w.epoch), Writer: w.a}
	must(t, w.runner.Switch(w.ctx, now))
	old := w.open()
	must(t, w.runner.Fence(w.ctx, "main"))
	if old.alive() {
		t.Error("a session outlived the fence")
	}
	w.leads("")
	w.epoch-- // other readers at the same epoch: a file with the writer is loaded, and the writer closed again
	w.reloaded(w.a, w.c)
	w.awaits(templates.Rendered)
	w.leads("")
	must(t, w.runner.Switch(w.ctx, now))
	w.leads(w.a)
}

func TestSwitchSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t, true)
	for name, test := range map[string]struct {
		socket, cluster, writer string
		want                    error
	}{
		"no socket":      {filepath.Join(t.TempDir(), "none"), "main", w.a, templates.ErrSocket},
		"no backend":     {w.proxy.Socket, "other", w.a, templates.ErrNoBackend},
		"evil cluster":   {w.proxy.Socket, "main; disable server x", w.a, nil},
		"evil writer":    {w.proxy.Socket, "main", "127.0.0.1:3306 x", nil},
		"not an address": {w.proxy.Socket, "main", "localhost", nil},
	} {
		err := templates.Switch(w.ctx, test.socket, test.cluster, test.writer)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, w.proxy.Freeze())
	ctx, cancel := context.WithTimeout(w.ctx, 200*time.Millisecond)
	defer cancel()
	if err := templates.Switch(ctx, w.proxy.Socket, "main", w.b); !errors.Is(err, templates.ErrSocket) {
		t.Errorf("frozen: %v", err)
	}
}

// consul-template itself makes the same bytes of the same template.
func TestStockConsulTemplate(t *testing.T) {
	cmd := exec.Command("../scripts/consul-template")
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	switch {
	case err == nil:
	case os.Getenv("REMORA_LAB") == "required":
		t.Fatalf("NOT RUN: no consul-template: %v", err)
	default:
		t.Skipf("NOT RUN: no consul-template: %v", err)
	}
	for _, source := range []string{"haproxy.cfg.ctmpl", "proxysql.cnf.ctmpl"} {
		b := newBench(t)
		b.kv.change(fleet)
		b.kv.set("mysql/master/bad/remora", "not JSON")
		t.Setenv("REMORA_PROXYSQL_ADMIN", "admin:secret")
		b.cfg.Source = templates.Embedded + source
		ours := b.once()
		stock := filepath.Join(t.TempDir(), "stock")
		ct := exec.CommandContext(b.ctx, strings.TrimSpace(string(path)), "-once", "-consul-addr", b.kv.addr(), "-consul-token", token, "-template", source+":"+stock)
		if out, err := ct.CombinedOutput(); err != nil {
			t.Fatalf("consul-template: %v\n%s", err, out)
		}
		theirs, err := os.ReadFile(stock)
		must(t, err)
		if string(theirs) != ours {
			t.Errorf("%s: consul-template makes\n%s\nof it, Remora\n%s", source, theirs, ours)
		}
	}
}

func TestRealConsul(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: it may have to build Consul, which takes minutes")
	}
	b := newBench(t)
	l := lab.ForTest(t, lab.Options{})
	c, err := l.Consul(b.ctx, lab.ConsulOptions{Name: "consul", Binary: lab.ConsulForTest(t), ACL: true})
	must(t, err)
	b.cfg.Consul = templates.Consul{Address: c.Addr, TokenFile: writeFile(t, c.Token+"\n")}
	put := func(text string) {
		t.Helper()
		status, answer, err := c.Call(b.ctx, http.MethodPut, "/v1/kv/mysql/master/main/remora", text)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	b.run()
	b.awaits(templates.NoData)
	put(first())
	b.contains(one)
	must(t, c.Kill())
	b.awaits(templates.NoConsul)
	must(t, c.Start(b.ctx)) // with an empty store
	b.awaits(templates.NoData)
	put(second())
	b.contains(two)
	if strings.Contains(b.log.String(), c.Token) {
		t.Error("the token was logged")
	}
}
