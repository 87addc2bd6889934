package consensus

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/remora-ha/remora/ledger"
)

// All nodes stop and come back: nothing is forgotten.
func TestRestartFromDisk(t *testing.T) {
	c := newCluster(t, 3, nil).onDisk().start()
	_, before := c.leader()
	c.apply(discover(1))
	route := c.apply(ledger.Command{ID: "route", SetRoute: &ledger.SetRoute{Cluster: "main", Writer: host(1)}})
	for _, p := range c.peers {
		c.stop(p.Name)
	}
	c.start()
	leader, term := c.leader()
	if got := leader.State().Clusters["main"].Route; got.Epoch != route.Epoch || got.Writer != host(1) {
		t.Errorf("the route is %+v, it was set at epoch %d", got, route.Epoch)
	}
	if term.Number <= before.Number {
		t.Errorf("term %d after %d", term.Number, before.Number)
	}
}

// small takes a snapshot of everything and leaves nothing to replay.
func small(c *Config) { c.SnapshotThreshold, c.TrailingLogs = 1, 1 }

// A node without its memory, or without its disk, gets the state from the others:
// from their log, or, where that no longer reaches back, from their snapshot.
func TestLostNodeComesBack(t *testing.T) {
	for name, tc := range map[string]struct{ disk, snapshot bool }{
		"memory, by log": {false, false}, "memory, by snapshot": {false, true},
		"disk, by log": {true, false}, "disk, by snapshot": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, small)
			if tc.disk {
				c.onDisk()
			}
			c.start()
			leader, _ := c.leader()
			for i := range 5 {
				c.apply(discover(i))
			}
			lost := c.followers(leader)[0].cfg.Name
			c.stop(lost)
			if tc.snapshot {
				for _, n := range c.nodes {
					knows(t, n, host(4))
					if err := n.raft.Snapshot().Error(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if tc.disk {
				removeAll(t, c.dirs[lost])
			}
			c.start(lost)
			knows(t, c.nodes[lost], host(0))
			knows(t, c.nodes[lost], host(4))
		})
	}
}

// A node restarts from its own snapshot, and applies what came after it.
func TestSnapshotAndLog(t *testing.T) {
	c := newCluster(t, 1, small).onDisk().start()
	c.leader()
	c.apply(discover(1))
	if err := c.nodes["n1"].raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.apply(discover(2))
	c.stop("n1")
	c.start("n1")
	if got := c.nodes["n1"].State().Clusters["main"].Known; len(got) != 1 {
		t.Errorf("the snapshot holds %v", got)
	}
	c.leader()
	knows(t, c.nodes["n1"], host(2))
}

// A node keeps its identity and its log when it moves to another address.
func TestMovedNode(t *testing.T) {
	c := newCluster(t, 3, nil).onDisk().start()
	c.leader()
	c.apply(discover(1))
	for _, p := range c.peers {
		c.stop(p.Name)
	}
	for i := range c.peers {
		c.peers[i].Addr = freeAddr(t)
	}
	c.start()
	leader, _ := c.leader()
	c.apply(discover(2))
	for _, n := range c.nodes {
		knows(t, n, host(2))
	}
	if got := leader.Stats().Peers; len(got) != 3 || got[0].Addr != c.peers[0].Addr {
		t.Errorf("peers are %+v", got)
	}
}

// A snapshot that a newer version wrote is refused by name and left as it is.
func TestNewerSnapshot(t *testing.T) {
	c := newCluster(t, 1, nil).onDisk()
	cfg := c.config("n1").Defaults()
	s, err := openStores(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, wire := raft.NewInmemTransport("")
	sink, err := s.Snapshots.Create(raft.SnapshotVersionMax, 9, 2, cfg.servers(), 1, wire)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write([]byte(`{"version":99,"galaxies":{}}`)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sink.Close(), s.close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Start(c.config("n1")); !errors.Is(err, ledger.ErrNewerVersion) || !errors.Is(err, ErrHalted) {
			t.Fatalf("got %v", err)
		}
	}
	states, err := filepath.Glob(filepath.Join(c.dirs["n1"], "snapshots", "*", "state.bin"))
	if err != nil || len(states) != 1 {
		t.Fatalf("snapshots on disk: %v, %v", states, err)
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	c := newCluster(t, 1, nil).onDisk().start()
	cfg := c.config("n1")
	cfg.Bind = freeAddr(t)
	_, err := Start(cfg)
	if !errors.Is(err, ErrDirInUse) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("got %v", err)
	}
}

// A directory that is not this node's, or whose log is damaged, is refused and
// left as it is.
func TestUnusableDirectory(t *testing.T) {
	mine := `{"version":1,"node":"n1"}`
	for name, tc := range map[string]struct {
		files map[string]string
		err   error
		want  string
	}{
		"another node's":       {map[string]string{identityFile: `{"version":1,"node":"n7"}`}, ErrForeignDir, `it belongs to node "n7" (format 1), this is node "n1"`},
		"a newer format":       {map[string]string{identityFile: `{"version":2,"node":"n1"}`}, ErrForeignDir, `it belongs to node "n1" (format 2), this is node "n1"`},
		"a torn identity":      {map[string]string{identityFile: `{"ver`}, ErrForeignDir, "unexpected end of JSON input"},
		"a log without a name": {map[string]string{logFile: "log"}, ErrForeignDir, "it has no node.json and holds raft.db"},
		"something else":       {map[string]string{"ibdata1": "tables"}, ErrForeignDir, "it has no node.json and holds ibdata1"},
		"a damaged log":        {map[string]string{identityFile: mine, logFile: strings.Repeat("this is no database\n", 4096)}, ErrDamagedDir, "move the directory away"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, nil).onDisk()
			dir := c.dirs["n1"]
			for file, content := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Start(c.config("n1"))
			if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
			for file, content := range tc.files {
				if left, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(left) != content {
					t.Errorf("%s was changed: %v", file, err)
				}
			}
		})
	}
}

// A start that fails leaves nothing running and nothing locked.
func TestStartRollsBack(t *testing.T) {
	c := newCluster(t, 2, nil).onDisk()
	other := c.config("n2")
	taken, err := Start(other)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes["n2"] = taken
	cfg := c.config("n1")
	cfg.Bind = other.Peers[1].Addr
	if _, err := Start(cfg); err == nil || !strings.Contains(err.Error(), cfg.Bind) {
		t.Fatalf("got %v", err)
	}
	c.start("n1") // the directory is free
}
