package templates_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/remora-ha/remora/templates"
)

const one, two = "writer 10.0.0.1:3306", "writer 10.0.0.2:3306"

func first() string  { return document("main", 42, "open", "10.0.0.1:3306") }
func second() string { return document("main", 43, "open", "10.0.0.2:3306") }

// script writes a shell script that a test can replace.
func (b *bench) script(name, text string) string {
	b.Helper()
	file := filepath.Join(b.TempDir(), name)
	must(b.T, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestFollowsConsul(t *testing.T) {
	b := newBench(t)
	reloads := filepath.Join(t.TempDir(), "reloads")
	b.cfg.Reload = []string{"/bin/sh", "-c", "cat $REMORA_FILE >>" + reloads}
	b.cfg.Permissions = 0o600
	b.run()
	s := b.awaits(templates.NoData)
	if !strings.Contains(s.Sentence, "mysql/master") {
		t.Errorf("it does not say where it looked: %s", s.Sentence)
	}
	b.kv.set("mysql/master/main/remora", first())
	b.contains(one)
	s = b.awaits(templates.Rendered)
	if len(s.File) != 1 || s.File[0] != (templates.Assignment{Cluster: "main", Epoch: 42, Writer: "10.0.0.1:3306"}) {
		t.Errorf("the status says %+v", s.File)
	}
	if info, err := os.Stat(b.cfg.Destination); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions: %v %v", info.Mode(), err)
	}
	b.kv.set("mysql/master/main/remora", document("main", 43, "fenced", "10.0.0.1:3306"))
	b.contains("epoch 43 writer none")
	b.kv.set("mysql/master/main/remora", document("main", 44, "open", "10.0.0.2:3306"))
	b.contains(two)
	b.until("the last reload", func() (bool, string) {
		text, _ := os.ReadFile(reloads)
		return strings.Contains(string(text), two), string(text)
	})
	b.leftovers()
}

// leftovers fails when there is more than the file in its directory.
func (b *bench) leftovers() {
	b.Helper()
	b.until("nothing but the file", func() (bool, string) {
		entries, err := os.ReadDir(filepath.Dir(b.cfg.Destination))
		must(b.T, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return len(names) == 1, strings.Join(names, " ")
	})
}

// A Consul that is away, denies, or comes back with an empty store changes nothing;
// what it says afterwards is followed.
func TestConsulComesAndGoes(t *testing.T) {
	b := newBench(t)
	b.kv.setAway(true)
	b.run()
	b.awaits(templates.NoConsul)
	b.kv.set("mysql/master/main/remora", first())
	b.kv.setAway(false)
	b.contains(one)
	b.awaits(templates.Rendered)
	b.kv.setAway(true)
	s := b.awaits(templates.NoConsul)
	if !strings.Contains(s.Sentence, "No cluster leader") || len(s.File) != 1 {
		t.Errorf("the status is %+v", s)
	}
	// It has lost its store, and counts from the beginning.
	b.kv.change(func(m map[string]string) { clear(m); b.kv.index = 1; b.kv.away = false })
	b.awaits(templates.NoData)
	if !strings.Contains(b.file(), one) {
		t.Errorf("the old file is gone:\n%s", b.file())
	}
	b.kv.set("mysql/master/main/remora", second())
	b.contains(two)
	b.awaits(templates.Rendered)
}

// The same index with other contents: a new store may count up to where the last one was.
func TestConsulWithANewStoreAtTheSameIndex(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	b.contains(one)
	b.kv.setAway(true)
	b.awaits(templates.NoConsul)
	b.kv.change(func(m map[string]string) {
		m["mysql/master/main/remora"] = second()
		b.kv.away, b.kv.index = false, 10 // change counts up to the index that was seen
	})
	b.contains(two)
}

func TestDenied(t *testing.T) {
	b := newBench(t)
	b.cfg.Consul.Token = "wrong" + token
	b.run()
	if s := b.awaits(templates.NoConsul); strings.Contains(s.Sentence, token) || !strings.Contains(s.Sentence, "403") {
		t.Errorf("it says %s", s.Sentence)
	}
}

func TestBadTemplate(t *testing.T) {
	for name, text := range map[string]string{
		"not parsed":                     "{{ if }}",
		"not executed":                   `{{ range safeTree "mysql/master/" }}{{ .Value | parseJSON }}{{ index .Value 999 }}{{ end }}`,
		"a function that is not allowed": `{{ "x" | plugin "/bin/true" }}`,
		"missing":                        "",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			must(t, os.WriteFile(b.cfg.Destination, []byte("old"), 0o600))
			b.cfg.Source = filepath.Join(t.TempDir(), "a.ctmpl")
			if text != "" {
				must(t, os.WriteFile(b.cfg.Source, []byte(text), 0o600))
			}
			b.kv.set("mysql/master/main/remora", first())
			b.run()
			if s := b.awaits(templates.BadTemplate); !strings.Contains(s.Sentence, "template") {
				t.Errorf("it says %s", s.Sentence)
			}
			if b.file() != "old" {
				t.Errorf("the old file became %s", b.file())
			}
			// Mended, it is taken up without a restart.
			must(t, os.WriteFile(b.cfg.Source, []byte(`{{ key "mysql/master/main/remora" }}`), 0o600))
			b.contains(`"epoch":42`)
		})
	}
}

func TestFailingCheck(t *testing.T) {
	b := newBench(t)
	check := b.script("check", "exit 0")
	b.cfg.Check = []string{"/bin/sh", check, "{file}"}
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	b.contains(one)
	must(t, os.WriteFile(check, []byte(`grep -c writer "$1"; test "$1" = "$REMORA_FILE"; echo "line 7: not good" >&2; exit 3`), 0o600))
	b.kv.set("mysql/master/main/remora", second())
	s := b.awaits(templates.BadCheck)
	if !strings.Contains(s.Sentence, "exit status 3") || !strings.Contains(s.Output, "line 7: not good") {
		t.Errorf("the finding is %+v", s)
	}
	if !strings.Contains(b.file(), one) {
		t.Errorf("the old file is gone:\n%s", b.file())
	}
	b.leftovers()
	must(t, os.WriteFile(check, []byte("exit 0"), 0o600))
	b.contains(two)
	b.awaits(templates.Rendered)
}

func TestHangingReload(t *testing.T) {
	b := newBench(t)
	pid := filepath.Join(t.TempDir(), "pid")
	reload := b.script("reload", "sleep 600 & echo $! >"+pid+"; yes | head -c 100000; wait")
	b.cfg.Reload, b.cfg.ReloadTimeout = []string{"/bin/sh", reload}, 200*time.Millisecond
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	s := b.awaits(templates.NotReloaded)
	if !strings.Contains(s.Sentence, "longer than 200ms") || len(s.Output) < 4000 || len(s.Output) > 5000 {
		t.Errorf("the finding is %s, with %d bytes of output", s.Sentence, len(s.Output))
	}
	text, err := os.ReadFile(pid)
	must(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	b.until("the command's child to be gone", func() (bool, string) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z "), string(stat)
	})
	// The file is there, nothing is lost, and what comes next is followed.
	b.contains(one)
	must(t, os.WriteFile(reload, []byte("exit 0"), 0o600))
	b.awaits(templates.Rendered)
	b.leftovers()
}

// A reload that was due when the process ended is not forgotten.
func TestReloadIsDueAfterARestart(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.cfg.Reload = []string{"/bin/false"}
	if err := templates.Render(b.ctx, b.cfg, true, false, nil); err == nil || !strings.Contains(err.Error(), "reload failed") {
		t.Fatalf("a failed reload gives %v", err)
	}
	done := filepath.Join(t.TempDir(), "done")
	b.cfg.Reload = []string{"/bin/sh", "-c", "echo x >>" + done}
	for range 3 {
		b.once()
	}
	if text, err := os.ReadFile(done); err != nil || string(text) != "x\n" {
		t.Errorf("it was reloaded %q times: %v", text, err)
	}
}

func TestUnwritableDestination(t *testing.T) {
	b := newBench(t)
	dir := filepath.Join(t.TempDir(), "missing")
	b.cfg.Destination = filepath.Join(dir, "haproxy.cfg")
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	if s := b.awaits(templates.NotWritten); !strings.Contains(s.Sentence, dir) {
		t.Errorf("it says %s", s.Sentence)
	}
	must(t, os.Mkdir(dir, 0o700))
	b.contains(one)
}

// What is committed wins over what Consul says.
func TestHoldsBackWhatIsOlder(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	b.contains(one)
	must(t, b.runner.Switch(b.ctx, templates.Assignment{Cluster: "main", Epoch: 43, Writer: "10.0.0.2:3306"}))
	b.kv.set("mysql/master/main/remora", document("main", 42, "open", "10.0.0.9:3306"))
	if s := b.awaits(templates.Held); !strings.Contains(s.Sentence, "10.0.0.2:3306 at epoch 43 is committed") {
		t.Errorf("it says %s", s.Sentence)
	}
	b.kv.set("mysql/master/main/remora", "garbage")
	b.until("the garbage", func() (bool, string) {
		s := b.runner.Status()
		return s.State == templates.Held && strings.Contains(s.Sentence, "no writer at epoch 0"), s.Sentence
	})
	if !strings.Contains(b.file(), one) {
		t.Errorf("the old file is gone:\n%s", b.file())
	}
	b.kv.set("mysql/master/main/remora", second())
	b.contains(two)
	if err := b.runner.Switch(b.ctx, templates.Assignment{Cluster: "main", Epoch: 42}); err == nil {
		t.Error("an older epoch was taken")
	}
}

// A stranger's key below the prefix does not make an empty store a reason to forget the clusters.
func TestHoldsBackAFileWithoutClusters(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	b.contains(one)
	must(t, b.runner.Switch(b.ctx, templates.Assignment{Cluster: "main", Epoch: 42, Writer: "10.0.0.1:3306"}))
	b.kv.change(func(m map[string]string) {
		clear(m)
		m["mysql/master/other/haproxy/writer_port"] = "7000"
	})
	if s := b.awaits(templates.Held); !strings.Contains(s.Sentence, "no cluster at all") || !strings.Contains(b.file(), one) {
		t.Errorf("it says %s, and the file is\n%s", s.Sentence, b.file())
	}
	must(t, os.Remove(b.cfg.Destination))
	b.contains("cluster other has no ports")
}

func TestDryRun(t *testing.T) {
	b := newBench(t)
	must(t, os.WriteFile(b.cfg.Destination, []byte("old"), 0o600))
	b.kv.set("mysql/master/main/remora", first())
	b.cfg.Reload = []string{"/bin/sh", "-c", "echo reloaded >" + b.cfg.Destination}
	b.cfg.Check = []string{"/bin/grep", "-q", one, "{file}"}
	var out bytes.Buffer
	must(t, templates.Render(b.ctx, b.cfg, true, true, &out))
	if !strings.Contains(out.String(), one) || b.file() != "old" {
		t.Errorf("it wrote\n%s\nand the file is %s", out.String(), b.file())
	}
	b.cfg.Check = []string{"/bin/false"}
	if err := templates.Render(b.ctx, b.cfg, true, true, &out); err == nil {
		t.Error("a failing check passed")
	}
	b.leftovers()
}

func TestOnceEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	b.kv.setAway(true)
	ctx, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
	defer cancel()
	if err := templates.Render(ctx, b.cfg, true, false, nil); err == nil || !strings.Contains(err.Error(), "No cluster leader") {
		t.Errorf("without Consul: %v", err)
	}
}

func TestCommandsSeeNoSecrets(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_ADDR", "CONSUL_X", "REMORA_TOKEN", "REMORA_API_TOKEN", "REMORA_MYSQL_PASSWORD", "REMORA_GIVEN_PASSWORD"} {
		t.Setenv(name, "hidden")
	}
	t.Setenv("SOME_NAME", "x"+token)
	t.Setenv("REMORA_HARMLESS", "shown")
	b.cfg.Env = map[string]string{"REMORA_GIVEN_PASSWORD": "given"}
	b.kv.set("mysql/master/main/remora", first())
	b.cfg.Check = []string{"/bin/sh", "-c", "env; exit 1"}
	err := templates.Render(b.ctx, b.cfg, true, false, nil)
	if err == nil || strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "hidden") {
		t.Fatalf("the command saw %v", err)
	}
	for _, want := range []string{"PATH=", "REMORA_HARMLESS=shown", "REMORA_GIVEN_PASSWORD=given", "REMORA_FILE="} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if strings.Contains(b.log.String(), token) {
		t.Error("the token was logged")
	}
}

// The environment's credentials are for another Consul.
func TestNoCredentialsOfTheEnvironment(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"CONSUL_HTTP_TOKEN", "CONSUL_TOKEN", "CONSUL_HTTP_AUTH"} {
		t.Setenv(name, "user:leaked")
	}
	t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
	asked := make(chan http.Header, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer server.Close()
	b.cfg.Consul = templates.Consul{Address: strings.TrimPrefix(server.URL, "http://")}
	b.run()
	b.awaits(templates.NoConsul)
	head := <-asked
	_, password, _ := (&http.Request{Header: head}).BasicAuth()
	if head.Get("X-Consul-Token") != "anonymous" || password != "" || strings.Contains(fmt.Sprint(head), "leaked") {
		t.Errorf("it was sent %v", head)
	}
}

// Sentences may quote what strangers wrote, and what tools say.
func TestSentencesAreBoundAndRedacted(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.cfg.Check = []string{"/bin/sh", "-c", "exit 1", strings.Repeat("ü", 400), token, strings.Repeat("x", 5000)}
	b.run()
	s := b.awaits(templates.BadCheck)
	if n := utf8.RuneCountInString(s.Sentence); n > 501 || strings.Contains(s.Sentence, token) || !strings.Contains(s.Sentence, "***") {
		t.Errorf("%d characters: %s", n, s.Sentence)
	}
}

func TestFilesOfOthersStay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: it needs root")
	}
	b := newBench(t)
	must(t, os.WriteFile(b.cfg.Destination, []byte("old"), 0o600))
	must(t, os.Chmod(b.cfg.Destination, 0o640))
	must(t, os.Chown(b.cfg.Destination, 1234, 2345))
	b.kv.set("mysql/master/main/remora", first())
	b.once()
	info, err := os.Stat(b.cfg.Destination)
	must(t, err)
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 1234 || s.Gid != 2345 || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is now of %d:%d, %v", s.Uid, s.Gid, info.Mode())
	}
}
