package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A Consul with one cluster's document, whose primary is fenced.
func TestRender(t *testing.T) {
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		if r.URL.Query().Get("index") == "7" {
			return // nothing new, as after a long wait
		}
		_, _ = w.Write([]byte(`[{"Key":"db/main/remora","Value":"bnVsbA=="}]`))
	}))
	defer consul.Close()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	args := []string{
		"render", "--template", "embedded:haproxy.cfg.ctmpl", "--destination", file, "--consul", strings.TrimPrefix(consul.URL, "http://"),
		"--prefix", "db", "--env", "REMORA_HAPROXY_PORTS=main=7001/7002", "--permissions", "0600",
	}
	run := func(more ...string) (code int, out, text string) {
		t.Helper()
		a := newApp()
		var o, e strings.Builder
		a.out, a.err = &o, &e
		code = a.run(t.Context(), append(append([]string{}, args...), more...))
		return code, o.String(), e.String()
	}

	code, out, text := run("--dry-run", "--check", "exit 0")
	if code != exitOK || !strings.Contains(out, "bind 127.0.0.1:7001") {
		t.Errorf("dry run: %d\n%s\n%s", code, out, text)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a dry run wrote the file")
	}
	if code, _, text := run("--once", "--check", `grep -c nonsense "$REMORA_FILE"`); code != exitError || !strings.Contains(text, "the old file stays") {
		t.Errorf("failing check: %d\n%s", code, text)
	}
	if code, _, text := run("--once", "--reload", `echo >>"$REMORA_FILE"`); code != exitOK {
		t.Errorf("once: %d\n%s", code, text)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.HasSuffix(string(b), "\n\n") {
		t.Errorf("the file is %q, %v", b, err)
	}
	if code, _, text := run("--once", "--permissions", "9"); code != exitError || !strings.Contains(text, "octal") {
		t.Errorf("bad permissions: %d\n%s", code, text)
	}
	if code, _, text := run("--once", "--template", "embedded:other"); code != exitError || !strings.Contains(text, "embedded:haproxy.cfg.ctmpl") {
		t.Errorf("unknown template: %d\n%s", code, text)
	}
}

// The variables of Consul's own tools count for this command alone.
func TestRenderTakesConsulFromTheEnvironment(t *testing.T) {
	var token atomic.Value
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token.Store(r.Header.Get("X-Consul-Token"))
		w.Header().Set("X-Consul-Index", "7")
		_, _ = w.Write([]byte(`[{"Key":"mysql/master/main/remora","Value":"bnVsbA=="}]`))
	}))
	defer consul.Close()
	t.Setenv("CONSUL_HTTP_ADDR", strings.TrimPrefix(consul.URL, "http://"))
	t.Setenv("CONSUL_HTTP_TOKEN", "of the environment")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, more := range map[string][]string{"of the environment": nil, "of the file": {"--consul-token-file", file}} {
		a := newApp()
		var o, e strings.Builder
		a.out, a.err = &o, &e
		args := append([]string{"render", "--template", "embedded:haproxy.cfg.ctmpl", "--destination", filepath.Join(t.TempDir(), "haproxy.cfg"), "--dry-run"}, more...)
		if code := a.run(t.Context(), args); code != exitOK || token.Load() != want {
			t.Errorf("exit %d with token %v, want %q\n%s", code, token.Load(), want, e.String())
		}
	}
}
