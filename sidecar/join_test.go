package sidecar

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/topology"
)

const joining = `node: a
consul: [{name: east, addresses: ["127.0.0.1:8500"]}]
join: {service: remora, expect: 3, raft: "10.0.0.1:3031", api: "10.0.0.1:3030"}
proxysql: {admin: "127.0.0.1:6032"}
clusters: {main: {seeds: ["db1:3306"], hostgroups: {writer: 10, reader: 20}}}
`

func member(name, host string, more ...string) consul.Member {
	return consul.Member{Addr: topology.Addr(host + ":3030"), Tags: append([]string{"node=" + name, "raft=" + host + ":3031"}, more...)}
}

func TestSidecarsFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := parse(t, joining)
		cfg.DataDir = t.TempDir()
		dead, alive := newFakeStore(), newFakeStore()
		dead.down = true
		alive.members = []consul.Member{member("b", "10.0.0.2")}
		time.AfterFunc(10*time.Second, func() {
			alive.mu.Lock()
			defer alive.mu.Unlock()
			alive.members = append(alive.members, member("a", "10.0.0.1"), member("c", "10.0.0.3", "witness"), member("c", "10.0.0.3", "witness"))
		})
		began := time.Now()
		nodes, err := join(t.Context(), &cfg, []Publisher{dead, alive}, slog.New(slog.DiscardHandler))
		if err != nil || len(nodes) != 3 || nodes[1].Raft != "10.0.0.2:3031" || !nodes[2].Witness {
			t.Fatalf("found %+v, %v", nodes, err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("it took %s", took)
		}
		if len(alive.known) != 1 || alive.known[0].Addr != "10.0.0.1:3030" {
			t.Errorf("it registered as %+v", alive.known)
		}
		// From now on it asks nobody.
		cfg.Nodes = nodes
		if err := remember(&cfg); err != nil {
			t.Fatal(err)
		}
		again, err := join(t.Context(), &cfg, nil, slog.New(slog.DiscardHandler))
		if err != nil || len(again) != 3 {
			t.Errorf("after a restart it knows %+v, %v", again, err)
		}
	})
}

func TestJoiningThatCannotSucceedSaysWhy(t *testing.T) {
	store := newFakeStore()
	store.members = []consul.Member{member("a", "10.0.0.1"), member("b", "10.0.0.2"), member("c", "10.0.0.3"), member("x", "10.0.0.9")}
	cfg := parse(t, joining)
	quiet := slog.New(slog.DiscardHandler)
	if _, err := join(t.Context(), &cfg, []Publisher{store}, quiet); err == nil || !strings.Contains(err.Error(), "x (10.0.0.9:3030)") {
		t.Errorf("one too many: %v", err)
	}
	store.set(true)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := join(ended, &cfg, []Publisher{store}, quiet); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("nobody answers: %v", err)
	}
	cfg.DataDir = t.TempDir()
	file := filepath.Join(cfg.DataDir, "nodes.json")
	for text, want := range map[string]string{
		"[{":                                 "remove the file to join anew",
		`[{"Name":"a","Raft":"10.9.9.9:1"}]`: "does not list a with the addresses of `join`",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := join(t.Context(), &cfg, nil, quiet); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestJoinIsChecked(t *testing.T) {
	for from, want := range map[string]string{
		"expect: 3":        "join.expect",
		"service: remora,": "nodes",
	} {
		text := strings.Replace(joining, from, map[string]string{"expect: 3": "expect: 0", "service: remora,": ""}[from], 1)
		if _, err := ParseConfig("r.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %q: %v", from, err)
		}
	}
	if _, err := ParseConfig("r.yaml", []byte(joining+`nodes: [{name: a, raft: "10.0.0.1:3031", api: "10.0.0.1:3030"}]`)); err == nil || !strings.Contains(err.Error(), "keep one of the two") {
		t.Errorf("with nodes: %v", err)
	}
	if _, err := ParseConfig("r.yaml", []byte(strings.Replace(joining, "expect: 3", "expect: 3, consul: west", 1))); err == nil || !strings.Contains(err.Error(), `"west" is none of consul's names`) {
		t.Errorf("another Consul: %v", err)
	}
}
