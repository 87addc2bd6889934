package lab_test

import (
	"net/http"
	"testing"

	"github.com/remora-ha/remora/internal/lab"
)

func TestConsul(t *testing.T) {
	t.Parallel()
	binary := lab.ConsulForTest(t)
	for _, opts := range []lab.ConsulOptions{{Name: "memory"}, {Name: "disk", Persistent: true}, {Name: "guarded", ACL: true}, {Name: "both", Persistent: true, ACL: true}} {
		t.Run(opts.Name, func(t *testing.T) {
			l := lab.ForTest(t, lab.Options{})
			opts.Binary = binary
			c, err := l.Consul(within(t), opts)
			must(t, err)
			status, text, err := c.Call(within(t), http.MethodPut, "/v1/kv/k", "v")
			must(t, err)
			if status != http.StatusOK || text != "true" {
				t.Fatalf("a write was answered %d %q", status, text)
			}
			must(t, c.Kill())
			must(t, c.Start(within(t)))
			want := http.StatusNotFound
			if opts.Persistent {
				want = http.StatusOK
			}
			if status, text, err = c.Call(within(t), http.MethodGet, "/v1/kv/k?raw", ""); err != nil || status != want {
				t.Errorf("after a new start the key is answered %d %q, %v; want %d", status, text, err, want)
			}
			must(t, c.Freeze())
			must(t, c.Thaw())
			c.Token = ""
			want = http.StatusOK
			if opts.ACL {
				want = http.StatusForbidden
			}
			if status, text, err = c.Call(within(t), http.MethodPut, "/v1/kv/k", "w"); err != nil || status != want {
				t.Errorf("without a token the write is answered %d %q, %v; want %d", status, text, err, want)
			}
		})
	}
}
