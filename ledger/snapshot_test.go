package ledger

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The document as it lies on disks: a change of it needs a new Version, or old
// nodes stop and old snapshots are lost.
func TestSnapshotFormat(t *testing.T) {
	bk := succeeded(t)
	bk.must(&RegisterNode{Node: Node{Name: "n1", Raft: "n1:7001", API: "n1:7000", Proxy: true}})
	bk.must(&RegisterNode{Node: Node{Name: "n2", Proxy: true, TTL: 2e9, FenceTime: 5e8, Holds: []string{"main"}}})
	bk.must(&SetDowntime{Cluster: "main", Downtime: failover.Downtime{Instance: c, Until: epochZero.Add(time.Hour), Reason: "disk", By: "ann"}})
	bk.must(&Acknowledge{Cluster: "main", Ack: failover.Acknowledgement{By: "ann"}})
	in := begin("s", failover.KindSwitchover, 12)
	in.Intent.From, in.Intent.To = b, c
	bk.must(in)
	got := text(t, bk.s)
	golden := filepath.Join("testdata", "state.golden.json")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the snapshot's format has changed (-update rewrites %s):\n%s", golden, diff)
	}
	read, err := Decode(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, text(t, read)); diff != "" {
		t.Errorf("read back:\n%s", diff)
	}
}

func TestASnapshotOfNodesWithoutSettingsIsRead(t *testing.T) {
	s, err := Decode(strings.NewReader(`{"version":1,"index":7,"nodes":{"n1":{"name":"n1","proxy":true,"since":"2027-01-08T03:00:00Z"}},"clusters":{}}`))
	if err != nil || !s.Nodes["n1"].Proxy || s.Nodes["n1"].TTL != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ document, want string }{
		"a newer version":  {`{"version":2,"index":7,"galaxies":{}}`, "state of format version 2, this Remora reads up to 1: written by a newer version of Remora"},
		"no version":       {`{"nodes":{},"clusters":{}}`, "decode the state: version is 0, the first was 1"},
		"an unknown field": {`{"version":1,"index":7,"nodes":{},"clusters":{},"galaxies":{}}`, `decode the state: json: unknown field "galaxies"`},
		"a torn document":  {`{"version":1,"ind`, "decode the state: unexpected end of JSON input"},
		"no clusters":      {`{"version":1,"index":7,"nodes":{},"clusters":null}`, "decode the state: nodes or clusters are null"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Decode(strings.NewReader(tc.document))
			if err == nil || err.Error() != tc.want || s != nil {
				t.Errorf("got %v, %v\nwant %s", s, err, tc.want)
			}
			if errors.Is(err, ErrNewerVersion) != (name == "a newer version") {
				t.Errorf("ErrNewerVersion: %v", err)
			}
		})
	}
}

// A command that could not be read back must not get into the log: it would stop
// every node.
func TestEncodeRefusesWhatCannotBeRead(t *testing.T) {
	negative := failover.StepResult{Took: -1}
	for name, tc := range map[string]struct {
		op   any
		want string
	}{
		"a malformed address": {&Forget{Cluster: "main", Addr: "a; drop table"}, `decode command i: address "a; drop table": "a; drop table" is not a host name or an IP address`},
		"a negative duration": {&Conclude{Steps: []failover.StepResult{negative}}, `decode command i: "-1ns" is negative; a duration here is at least 0s`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := command("i", epochZero, tc.op).Encode(); err == nil || err.Error() != tc.want {
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
	if _, err := DecodeCommand([]byte(`{"id":"i","at":"2026-03-01T12:00:00Z","forget":{"cluster":"main","addr":"a:1","why":"?"}}`)); err == nil {
		t.Error("an unknown field was skipped")
	}
}
