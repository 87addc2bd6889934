package templates_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-ha/remora/templates"
)

// A socket that is not there must not make HAProxy reload all the time.
func TestReloadsWithAWrongSocket(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	dir := t.TempDir()
	reloads := filepath.Join(dir, "reloads")
	b.cfg.Reload, b.cfg.ReloadTimeout = []string{"/bin/sh", "-c", "echo x >>" + reloads}, 100*time.Millisecond
	b.cfg.Socket = filepath.Join(dir, "socket")
	b.run()
	s := b.awaits(templates.NotReloaded)
	if !strings.Contains(s.Sentence, "socket") {
		t.Errorf("it says %s", s.Sentence)
	}
	begun := b.kv.sessions()
	b.until("some more tries", func() (bool, string) { return b.kv.sessions() >= begun+15, "" })
	text, err := os.ReadFile(reloads)
	must(t, err)
	if n := strings.Count(string(text), "x"); n > 7 {
		t.Errorf("it was reloaded %d times", n)
	}
	// Something new is loaded at once, and a socket that is there after all is used at once.
	before := len(text)
	b.kv.set("mysql/master/main/remora", second())
	b.until("another reload", func() (bool, string) {
		text, _ := os.ReadFile(reloads)
		return len(text) > before, string(text)
	})
	stats(t, b.cfg.Socket)
	b.awaits(templates.Rendered)
}

// stats is a socket of an HAProxy that is another process each time it is asked.
func stats(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	var pid atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			if strings.HasPrefix(line, "show info") {
				fmt.Fprintf(c, "Name: HAProxy\nPid: %d\n", pid.Add(1))
			}
			c.Close()
		}
	}()
}
