package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-ha/remora/internal/lab"
)

// reached tells how a connection from a host ends, with a wait that is long for a packet and short for a test.
func reached(t *testing.T, from *lab.Host, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(within(t), 500*time.Millisecond)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", addr)
	var network net.Error
	switch {
	case err == nil:
		_ = conn.Close()
		return "connected"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.As(err, &network) && network.Timeout():
		return "lost"
	default:
		return err.Error()
	}
}

func TestNetworkCuts(t *testing.T) {
	lab.NetworkForTest(t)
	ctx := within(t)
	l := lab.ForTest(t, lab.Options{})
	n, err := l.Network(ctx, "a", "b", "c")
	must(t, err)
	a, b, c := n.Hosts[0], n.Hosts[1], n.Hosts[2]
	s, err := l.Server(ctx, lab.ServerOptions{Flavor: lab.MariaDB, Name: "alone", Host: a, Writable: true})
	must(t, err)
	must(t, s.Exec(ctx, lab.CreateWrites...)) // the lab itself goes through no cable

	one, other := []*lab.Host{a}, []*lab.Host{b}
	for _, tc := range []struct {
		name       string
		cuts       []lab.Cut
		fromB      string
		fromOthers string
	}{
		{"whole", nil, "connected", "connected"},
		{"one way, towards the server", []lab.Cut{{From: other, To: one}}, "lost", "connected"},
		{"one way, from the server", []lab.Cut{{From: one, To: other}}, "lost", "connected"},
		{"both ways", lab.Apart(one, other), "lost", "connected"},
		{"rejected", []lab.Cut{{From: other, To: one, Reject: true}}, "refused", "connected"},
		{"rejected and lost", append(lab.Apart(one, []*lab.Host{c}), lab.Cut{From: other, To: one, Reject: true}), "refused", "lost"},
		{"from all others", lab.Apart(one, n.Others(a)), "lost", "lost"},
		{"whole again", nil, "connected", "connected"},
	} {
		must(t, n.Cut(ctx, tc.cuts...))
		if got := reached(t, b, s.Addr); got != tc.fromB {
			t.Errorf("%s: b %s, want %s", tc.name, got, tc.fromB)
		}
		if got := reached(t, c, s.Addr); got != tc.fromOthers {
			t.Errorf("%s: c %s, want %s", tc.name, got, tc.fromOthers)
		}
		if got := reached(t, a, s.Addr); got != "connected" {
			t.Errorf("%s: the server's own host %s", tc.name, got)
		}
	}
	must(t, n.Unplug(ctx, a))
	if got := reached(t, b, s.Addr); got == "connected" {
		t.Error("connected without a cable")
	}
	must(t, n.Plug(ctx, a))
	must(t, lab.Eventually(ctx, "the cable to be back", 10*time.Millisecond, func() (bool, string) {
		got := reached(t, b, s.Addr)
		return got == "connected", got
	}))
	addrs, err := net.InterfaceAddrs()
	must(t, err)
	for _, addr := range addrs {
		if strings.HasPrefix(addr.String(), "10.77.") {
			t.Errorf("the machine itself got the address %s", addr)
		}
	}
}

func TestAFullDisk(t *testing.T) {
	lab.NetworkForTest(t)
	ctx := within(t)
	l := lab.ForTest(t, lab.Options{})
	s, err := l.Server(ctx, lab.ServerOptions{Name: "small", Disk: 160 << 20, Writable: true})
	must(t, err)
	must(t, s.Exec(ctx, lab.CreateWrites...))
	if _, err := os.Stat(s.Dir() + "/data/ibdata1"); err == nil {
		t.Error("the disk is seen outside of the lab's processes")
	}
	load, err := l.Load(ctx, lab.LoadOptions{Addrs: []string{s.Addr}, Pace: time.Millisecond})
	must(t, err)
	must(t, s.Disk.Fill())
	must(t, lab.Eventually(ctx, "writes to stop", 20*time.Millisecond, func() (bool, string) {
		idle := load.Snapshot().Idle
		return idle > time.Second, idle.String()
	}))
	must(t, s.Disk.Free())
	must(t, s.Kill()) // by itself it looks for room once a minute
	must(t, s.Start(ctx))
	_, err = load.Back(ctx, time.Now())
	must(t, err)
	load.Stop()
	if v := verify(t, load, s); len(v.Lost) != 0 || v.Acked == 0 {
		t.Error(v)
	}

	rows := 0
	must(t, s.Binlogs(func(name string, log io.Reader) error {
		text, err := io.ReadAll(log)
		if !bytes.HasPrefix(text, []byte("\xfebin")) {
			t.Errorf("%s begins with %q", name, text[:min(4, len(text))])
		}
		rows += bytes.Count(text, []byte("\x03lab\x00\x06writes\x00")) // the table's name, once for each transaction
		return err
	}))
	if acked := load.Snapshot().Acked; rows < acked {
		t.Errorf("%d rows in the binary log, %d acknowledged", rows, acked)
	}
	must(t, s.Kill())
	must(t, s.Reset(ctx))
	must(t, s.Start(ctx))
	if row(t, s, "SHOW DATABASES LIKE 'lab'") != nil {
		t.Error("a fresh data directory holds the old database")
	}
}
