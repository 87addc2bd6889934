package consul

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// newToken makes a token with a policy.
func newToken(t *testing.T, c *lab.Consul, name, rules string) string {
	t.Helper()
	for path, body := range map[string]any{"/v1/acl/policy": map[string]string{"Name": name, "Rules": rules}} {
		text, err := json.Marshal(body)
		must(t, err)
		if status, answer, err := c.Call(within(t), http.MethodPut, path, string(text)); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", path, status, answer, err)
		}
	}
	status, answer, err := c.Call(within(t), http.MethodPut, "/v1/acl/token", `{"Policies":[{"Name":"`+name+`"}]}`)
	var made struct{ SecretID string }
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(answer), &made) != nil || made.SecretID == "" {
		t.Fatalf("make a token: %d %s, %v", status, answer, err)
	}
	return made.SecretID
}

func TestAccessIsDenied(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{ACL: true})[0]
	page, err := os.ReadFile("../docs/consul.md")
	must(t, err)
	rules := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindSubmatch(page)
	if rules == nil {
		t.Fatal("docs/consul.md shows no policy")
	}
	d := open(7, "db1:3306")
	good := publisher(t, Config{Address: c.Addr, Token: newToken(t, c, "documented", string(rules[1]))})
	unknown := "11111111-2222-3333-4444-555555555555"
	denied := map[string]string{
		"no token": "", "an unknown token": unknown, "a token for other keys": newToken(t, c, "other", `key_prefix "other/" { policy = "write" }`),
		"a token that may not write":          newToken(t, c, "reader", `key_prefix "mysql/master/" { policy = "read" }`),
		"a token that may not write all keys": newToken(t, c, "half", `key_prefix "mysql/master/" { policy = "write" } key "mysql/master/main/port" { policy = "read" }`),
	}
	for _, when := range []string{"with nothing there", "with the keys there"} {
		for name, token := range denied {
			p := publisher(t, Config{Address: c.Addr, Token: token})
			_, err := p.Publish(within(t), open(8, "db2:3306"))
			if !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), unknown) {
				t.Errorf("%s, %s: %v", name, when, err)
			}
			if s := p.Check(within(t), []string{"main"}); !s.Denied || s.Error == "" || strings.Contains(s.Error, unknown) {
				t.Errorf("%s, %s, the check: %+v", name, when, s)
			}
			if err := p.Register(within(t), "main", []Service{{Name: "mysql", Addr: "db1:3306", Health: Passing}}); !errors.Is(err, ErrDenied) {
				t.Errorf("%s registers: %v", name, err)
			}
		}
		_, err := good.Publish(within(t), d)
		must(t, err)
		before := dump(t, c)
		if s := good.Check(within(t), []string{"main"}); s.Error != "" || s.Epochs["main"] != 7 {
			t.Errorf("the check with the documented policy: %+v", s)
		}
		if after := dump(t, c); !cmp.Equal(before, after, cmp.AllowUnexported(entry{})) {
			t.Errorf("the check wrote: %v became %v", before, after)
		}
	}
	if s := good.Check(within(t), []string{"main", "new"}); s.Error != "" || len(s.Epochs) != 1 {
		t.Errorf("a cluster without keys: %+v", s)
	}
	if s, err := publisher(t, Config{Address: c.Addr}).Show(within(t), d); !errors.Is(err, ErrDenied) {
		t.Errorf("what may not be seen is shown as %+v, %v", s, err)
	}
	part := newToken(t, c, "part", `key "mysql/master/main/remora" { policy = "read" }`)
	if s, err := publisher(t, Config{Address: c.Addr, Token: part}).Show(within(t), d); !errors.Is(err, ErrDenied) {
		t.Errorf("what may be seen in part is shown as %+v, %v", s, err)
	}
	if s, err := publisher(t, Config{Address: c.Addr, Token: denied["a token that may not write"]}).Show(within(t), d); err != nil || s.Epoch != 7 {
		t.Errorf("what may be seen is shown as %+v, %v", s, err)
	}
	drifts, _ := follow(t, good, func() topology.Document { return d })
	byHand(t, c, http.MethodDelete, keys.port(), "")
	if got := next(t, drifts); len(got) != 1 {
		t.Errorf("with the documented policy Watch sees %v", got)
	}
	must(t, good.Register(within(t), "main", []Service{{Name: "mysql", Addr: "db1:3306", Health: Passing}}))
	if m, err := good.Members(within(t), "mysql"); err != nil || len(m) != 1 {
		t.Errorf("members: %v, %v", m, err)
	}
}
