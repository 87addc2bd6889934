package templates_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/templates"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fleet is a store with what the templates have to tell apart.
func fleet(m map[string]string) {
	m["mysql/master/main"] = "10.0.0.1:3306"
	m["mysql/master/main/hostname"] = "10.0.0.1"
	m["mysql/master/main/remora"] = document("main", 42, "open", "10.0.0.1:3306", "10.0.0.2:3306", "fd00::3:3307", "db4.example:3306")
	m["mysql/master/fenced/remora"] = document("fenced", 50, "fenced", "10.0.1.1:3306", "10.0.1.2:3306")
	m["mysql/master/fenced/haproxy/writer_port"] = "6456\n"
	m["mysql/master/fenced/haproxy/reader_port"] = "6457"
	m["mysql/master/old"] = "10.0.2.1:3306"
	m["mysql/master/old/haproxy/writer_port"] = "6466"
	m["mysql/master/old/haproxy/reader_port"] = "6467"
	m["mysql/master/portless/remora"] = document("portless", 7, "open", "10.0.3.1:3306")
	m["mysql/master/same/remora"] = document("same", 8, "open", "10.0.4.1:3306")
	m["mysql/master/same/haproxy/writer_port"] = "6446"
	m["mysql/master/same/haproxy/reader_port"] = "6500"
	m["mysql/master-other/main/remora"] = document("main", 99, "open", "10.9.9.9:3306")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", file, diff)
	}
}

// valid has HAProxy check a file.
func valid(t *testing.T, file string) {
	t.Helper()
	if out, err := exec.Command(haproxyPath(t), "-c", "-f", file).CombinedOutput(); err != nil {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
}

func haproxyPath(t *testing.T) string {
	t.Helper()
	path := "/usr/sbin/haproxy"
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err := exec.LookPath("haproxy")
	switch {
	case err == nil:
	case os.Getenv("REMORA_LAB") == "required":
		t.Fatal("NOT RUN: it needs the Debian package haproxy")
	default:
		t.Skip("NOT RUN: it needs the Debian package haproxy")
	}
	return path
}

func TestShippedTemplates(t *testing.T) {
	b := newBench(t)
	b.kv.change(fleet)
	b.cfg.Env = map[string]string{"REMORA_HAPROXY_CHECK_USER": "haproxy", "REMORA_HAPROXY_HARD_STOP_AFTER": "10s"}
	golden(t, "haproxy.cfg", b.once())
	valid(t, writeFile(t, strings.ReplaceAll(b.file(), "db4.example", "127.0.0.4")))

	b.cfg.Source, b.cfg.Destination = "embedded:proxysql.cnf.ctmpl", filepath.Join(t.TempDir(), "proxysql.cnf")
	b.cfg.Env = map[string]string{"REMORA_PROXYSQL_ADMIN": `admin:pa"ss`, "REMORA_PROXYSQL_HOSTGROUPS": "main=10/20,fenced=30/40"}
	golden(t, "proxysql.cnf", b.once())
}

// Whoever can write to Consul must not be able to write HAProxy's configuration.
func TestHostileContents(t *testing.T) {
	doc := func(old, with string) string {
		return strings.ReplaceAll(document("main", 42, "open", "10.0.0.1:3306"), old, with)
	}
	for name, value := range map[string]string{
		"not JSON":             "10.0.0.1:3306",
		"cut":                  doc("}", ""),
		"another type":         `["main"]`,
		"a text":               `"main"`,
		"empty":                "",
		"null":                 "null",
		"of another cluster":   doc(`"cluster":"main"`, `"cluster":"other"`),
		"of another version":   doc(`"version":1`, `"version":2`),
		"no epoch":             doc(`"epoch":42,`, ""),
		"an epoch in letters":  doc(`"epoch":42`, `"epoch":"42\nX"`),
		"a negative epoch":     doc(`"epoch":42`, `"epoch":-42`),
		"a broken epoch":       doc(`"epoch":42`, `"epoch":42.5`),
		"a host with a line":   doc(`"host":"10.0.0.1"`, `"host":"10.0.0.1\n    server evil 6.6.6.6:3306"`),
		"a host with a blank":  doc(`"host":"10.0.0.1"`, `"host":"10.0.0.1 evil"`),
		"a host with an end":   doc(`"host":"10.0.0.1"`, `"host":"10.0.0.1\n"`),
		"a host of a variable": doc(`"host":"10.0.0.1"`, `"host":"${PATH}"`),
		"a host of a socket":   doc(`"host":"10.0.0.1"`, `"host":"/run/evil"`),
		"no host":              doc(`"host":"10.0.0.1"`, `"host":""`),
		"a host in a list":     doc(`"host":"10.0.0.1"`, `"host":["10.0.0.1"]`),
		"a port in letters":    doc(`"port":3306`, `"port":"3306"`),
		"port 0":               doc(`"port":3306`, `"port":0`),
		"a high port":          doc(`"port":3306`, `"port":65536`),
		"a broken port":        doc(`"port":3306`, `"port":3306.5`),
		"an endless port":      doc(`"port":3306`, `"port":1e300`),
		"a writer as a text":   doc(`"writer":{`, `"writer":"10.0.0.1:3306","w":{`),
		"an unknown mode":      doc(`"open"`, `"opened"`),
		"readers as a text":    `{"version":1,"cluster":"main","epoch":42,"mode":"paused","writer":null,"readers":"evil"}`,
		"evil readers":         `{"version":1,"cluster":"main","epoch":42,"mode":"paused","writer":null,"readers":[1,"evil",null,{"host":"e\nvil","port":1}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.kv.set("mysql/master/main/remora", value)
			got := b.once()
			for _, bad := range []string{"evil", "3306", "10.0.0.1", "PATH"} {
				if strings.Contains(got, bad) {
					t.Errorf("%q reached the configuration:\n%s", bad, got)
				}
			}
			if !strings.Contains(got, "server writer 127.0.0.1:1 check disabled") {
				t.Errorf("the writer backend is not empty:\n%s", got)
			}
			valid(t, b.cfg.Destination)
		})
	}
}

func TestHostileKeys(t *testing.T) {
	b := newBench(t)
	b.kv.change(func(m map[string]string) {
		m["mysql/master/ma in\n    bind :1/remora"] = document("x", 1, "open", "10.0.0.1:3306")
		m["mysql/master/two/remora"] = document("two", 1, "open", "10.0.0.2:3306")
		m["mysql/master/two/haproxy/writer_port"] = "6500\n    bind :1"
		m["mysql/master/two/haproxy/reader_port"] = "6501"
		m["mysql/master/three/remora"] = document("three", 1, "open", "10.0.0.3:3306", "10.0.0.4:3306", "10.0.0.4:3306")
		m["mysql/master/three/haproxy/writer_port"] = "6600"
		m["mysql/master/three/haproxy/reader_port"] = "6601"
	})
	got := b.once()
	if strings.Contains(got, "\n    bind :1") || strings.Contains(got, "10.0.0.1") || strings.Contains(got, "10.0.0.2") {
		t.Errorf("a key reached the configuration:\n%s", got)
	}
	if !strings.Contains(got, "server writer 10.0.0.3:3306 check\n") {
		t.Errorf("the good cluster is missing:\n%s", got)
	}
	valid(t, b.cfg.Destination)
}

// They are no names of the DNS, but of many containers.
func TestHostsWithUnderscores(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", document("main", 1, "open", "db_1:3306", "db_2.example:3306"))
	got := b.once()
	for _, want := range []string{"epoch 1 writer db_1:3306\n", "server writer db_1:3306 check\n", "server db_2.example:3306 db_2.example:3306 check"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	b.cfg.Source, b.cfg.Destination = templates.ProxySQL, filepath.Join(t.TempDir(), "proxysql.cnf")
	b.cfg.Env = map[string]string{"REMORA_PROXYSQL_ADMIN": "admin:pass"}
	if got := b.once(); !strings.Contains(got, `address="db_1"`) || !strings.Contains(got, `address="db_2.example"`) {
		t.Errorf("the hosts are missing in\n%s", got)
	}
}

func TestWeightsAndLag(t *testing.T) {
	b := newBench(t)
	text := document("main", 1, "open", "10.0.0.1:3306", "10.0.0.2:3306", "10.0.0.3:3306")
	text = strings.Replace(text, `"weight":1,"lag":"ok"}]`, `"weight":1000,"lag":"lagging"}]`, 1)
	b.kv.set("mysql/master/main/remora", text)
	got := b.once()
	for _, want := range []string{
		"    server 10.0.0.2:3306 10.0.0.2:3306 check weight 1\n",
		"    server 10.0.0.3:3306 10.0.0.3:3306 check weight 256 backup\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	valid(t, b.cfg.Destination)
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}
