package templates_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/templates"
)

const token = "a0b1c2d3-secret-of-the-test"

// kv is a stand-in for Consul's KV: recursive reads that block, a token, and being
// away.
type kv struct {
	*httptest.Server
	mu      sync.Mutex
	changed chan struct{}
	closing chan struct{}
	index   int
	keys    map[string]string
	away    bool
	frozen  bool // it takes requests, and answers none
	started int  // requests that wait for no change: one for each session
	waiting int  // requests that got no answer yet
}

func newKV(t *testing.T) *kv {
	k := &kv{changed: make(chan struct{}), closing: make(chan struct{}), index: 10, keys: map[string]string{}}
	k.Server = httptest.NewServer(http.HandlerFunc(k.serve))
	t.Cleanup(func() {
		close(k.closing) // a reader that was given up by consul-template still waits
		k.Close()
	})
	return k
}

func (k *kv) addr() string { return strings.TrimPrefix(k.URL, "http://") }

// change edits the store and wakes all readers.
func (k *kv) change(edit func(keys map[string]string)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	edit(k.keys)
	k.index++
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *kv) set(key, value string) { k.change(func(m map[string]string) { m[key] = value }) }

func (k *kv) setAway(away bool) { k.change(func(map[string]string) { k.away = away }) }

func (k *kv) setFrozen(frozen bool) { k.change(func(map[string]string) { k.frozen = frozen }) }

// sessions is how many have begun.
func (k *kv) sessions() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.started
}

func (k *kv) serve(w http.ResponseWriter, r *http.Request) {
	index, _ := strconv.Atoi(r.URL.Query().Get("index"))
	k.mu.Lock()
	defer k.mu.Unlock()
	if index == 0 {
		k.started++
	}
	k.waiting++
	defer func() { k.waiting-- }()
	for k.frozen || index == k.index && !k.away {
		changed := k.changed
		k.mu.Unlock()
		gone := false
		select {
		case <-changed:
		case <-r.Context().Done():
			gone = true
		case <-k.closing:
			gone = true
		}
		k.mu.Lock()
		if gone {
			return
		}
	}
	if r.Header.Get("X-Consul-Token") != token {
		http.Error(w, "ACL not found", http.StatusForbidden)
		return
	}
	if k.away {
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	}
	type pair struct {
		Key   string
		Value []byte
	}
	var list []pair
	for key, value := range k.keys {
		if strings.HasPrefix(key, strings.TrimPrefix(r.URL.Path, "/v1/kv/")) {
			list = append(list, pair{key, []byte(value)})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	w.Header().Set("X-Consul-Index", strconv.Itoa(k.index))
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(list)
}

// document is what Remora publishes for a cluster.
func document(cluster string, epoch int, mode, writer string, readers ...string) string {
	server := func(addr string) string {
		i := strings.LastIndex(addr, ":")
		return fmt.Sprintf(`{"host":%q,"port":%s,"address":%q,"data_center":"","weight":1,"lag":"ok"}`, addr[:i], addr[i+1:], addr)
	}
	w, p := "null", "null"
	if writer != "" {
		p = server(writer)
		if mode == "open" {
			w = p
		}
	}
	var list []string
	for _, r := range readers {
		list = append(list, server(r))
	}
	return fmt.Sprintf(`{"version":1,"cluster":%q,"epoch":%d,"mode":%q,"writer":%s,"primary":%s,"readers":[%s],"time":"2026-01-02T03:04:05Z"}`,
		cluster, epoch, mode, w, p, strings.Join(list, ","))
}

// bench is a runner with what it talks to.
type bench struct {
	*testing.T
	ctx    context.Context
	kv     *kv
	cfg    templates.Config
	log    *safeBuffer
	runner *templates.Runner
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	b := &bench{T: t, ctx: ctx, kv: newKV(t), log: &safeBuffer{}}
	b.cfg = templates.Config{
		Source: templates.HAProxy, Destination: filepath.Join(t.TempDir(), "haproxy.cfg"), Retry: 50 * time.Millisecond,
		Consul: templates.Consul{Address: b.kv.addr(), Token: token},
		Log:    slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return b
}

// run starts the runner; it ends with the test.
func (b *bench) run() *bench {
	b.Helper()
	var err error
	b.runner, err = templates.New(b.cfg)
	must(b.T, err)
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.runner.Run(ctx)
	}()
	b.Cleanup(func() {
		cancel()
		<-ended
		if text := b.log.String(); strings.Contains(text, token) || strings.Contains(text, "final config") {
			b.Errorf("the token or the whole configuration was logged:\n%s", text)
		}
	})
	return b
}

// once renders once and gives the file.
func (b *bench) once() string {
	b.Helper()
	must(b.T, templates.Render(b.ctx, b.cfg, true, false, nil))
	return b.file()
}

func (b *bench) file() string {
	text, err := os.ReadFile(b.cfg.Destination)
	if err != nil {
		return ""
	}
	return string(text)
}

// awaits waits for a state of the runner.
func (b *bench) awaits(state templates.State) templates.Status {
	b.Helper()
	b.until(string(state), func() (bool, string) {
		s := b.runner.Status()
		return s.State == state, fmt.Sprintf("%+v", s)
	})
	return b.runner.Status()
}

// contains waits until the file holds a text.
func (b *bench) contains(text string) {
	b.Helper()
	b.until("the file to contain "+text, func() (bool, string) {
		return strings.Contains(b.file(), text), fmt.Sprintf("%s\n%+v", b.file(), b.runner.Status())
	})
}

func (b *bench) until(what string, f func() (bool, string)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	must(b.T, lab.Eventually(ctx, what, 5*time.Millisecond, f))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
