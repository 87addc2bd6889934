package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// agents starts Consuls in a lab of the test's own.
func agents(t *testing.T, opts ...lab.ConsulOptions) []*lab.Consul {
	t.Helper()
	binary := lab.ConsulForTest(t)
	l := lab.ForTest(t, lab.Options{})
	var list []*lab.Consul
	for i, o := range opts {
		o.Name, o.Binary = fmt.Sprintf("consul%d", i+1), binary
		c, err := l.Consul(within(t), o)
		must(t, err)
		list = append(list, c)
	}
	return list
}

func publisher(t *testing.T, cfg Config) *Publisher {
	t.Helper()
	p, err := New(cfg)
	must(t, err)
	t.Cleanup(p.Close)
	// No name server takes part in a test.
	p.resolver.lookup = func(context.Context, string) ([]netipAddr, error) { return addrsOf("10.0.0.1", "10.0.0.9"), nil }
	return p
}

// dump is all that a Consul holds below mysql/master.
func dump(t *testing.T, c *lab.Consul) map[string]entry {
	t.Helper()
	status, text, err := c.Call(within(t), http.MethodGet, "/v1/kv/mysql/master?recurse", "")
	must(t, err)
	if status == http.StatusNotFound {
		return nil
	}
	var pairs []struct {
		Key                string
		Value              []byte
		Flags, ModifyIndex uint64
	}
	must(t, json.Unmarshal([]byte(text), &pairs))
	have := map[string]entry{}
	for _, p := range pairs {
		have[p.Key] = entry{string(p.Value), p.Flags, p.ModifyIndex}
	}
	return have
}

func byHand(t *testing.T, c *lab.Consul, method, key, value string) {
	t.Helper()
	status, text, err := c.Call(within(t), method, "/v1/kv/"+key, value)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: %d %s, %v", method, key, status, text, err)
	}
}

func open(epoch uint64, writer topology.Addr) topology.Document {
	return topology.NewDocument(route(epoch, writer, topology.Open), about)
}
