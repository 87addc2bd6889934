package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-ha/remora/internal/lab"
)

func TestHAProxyReloads(t *testing.T) {
	t.Parallel()
	ctx, l := within(t), lab.ForTest(t, lab.Options{})
	port, err := l.Port()
	must(t, err)
	file := filepath.Join(l.Dir(), "haproxy.cfg")
	text := "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nlisten x\n bind 127.0.0.1:%d\n"
	must(t, os.WriteFile(file, fmt.Appendf(nil, text, port), 0o600))
	h, err := l.HAProxy(ctx, lab.HAProxyOptions{Name: "haproxy", File: file})
	must(t, err)
	before, pid := ask(t, h), h.PID()
	must(t, h.Reload(ctx))
	if now := ask(t, h); now == before || h.PID() != pid {
		t.Errorf("after a reload:\n%s\nbefore:\n%s", now, before)
	}
	must(t, h.Kill())
	must(t, h.Start(ctx))
	if h.PID() == pid {
		t.Error("it was not started again")
	}
}

func ask(t *testing.T, h *lab.HAProxy) string {
	t.Helper()
	answer, err := h.Ask(t.Context(), "show proc")
	must(t, err)
	return answer
}
