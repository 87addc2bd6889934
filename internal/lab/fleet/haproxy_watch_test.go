package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
	"github.com/remora-ha/remora/topology"
)

// version is one content of the cluster's document in Consul, and when it was seen first.
type version struct {
	topology.Document
	seen time.Time
}

// kvWatch remembers every version of the cluster's document that a blocking query gave. What is overwritten within the
// milliseconds between two queries is not among them.
type kvWatch struct {
	mu       sync.Mutex
	versions []version
}

// watchKV watches until the test ends.
func watchKV(t *testing.T, f *fleet.Fleet) *kvWatch {
	t.Helper()
	w := &kvWatch{}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { w.follow(ctx, f.Consul.Addr) })
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	return w
}

func (w *kvWatch) follow(ctx context.Context, consul string) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var index uint64
	for ctx.Err() == nil {
		v, next, err := query(ctx, client, fmt.Sprintf("http://%s/v1/kv/mysql/master/%s/remora?wait=2s&index=%d", consul, fleet.Cluster, index))
		if err != nil {
			hold(ctx, 20*time.Millisecond) // Consul may be frozen or away
			index = 0
			continue
		}
		if next != index {
			w.mu.Lock()
			w.versions = append(w.versions, v)
			w.mu.Unlock()
		}
		index = next
	}
}

// query waits for the next version of the document.
func query(ctx context.Context, client *http.Client, url string) (v version, index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return v, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return v, 0, err
	}
	defer resp.Body.Close()
	var pairs []struct {
		Value       []byte
		ModifyIndex uint64
	}
	if err := json.NewDecoder(resp.Body).Decode(&pairs); err != nil || len(pairs) != 1 {
		return v, 0, fmt.Errorf("%s: status %d, %d keys: %w", url, resp.StatusCode, len(pairs), err)
	}
	v.seen = time.Now()
	return v, pairs[0].ModifyIndex, json.Unmarshal(pairs[0].Value, &v.Document)
}

func (w *kvWatch) all() []version {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.versions[:len(w.versions):len(w.versions)]
}

// published is how long after the commit of a recovery's route Consul held its writer.
func (w *kvWatch) published(ctx context.Context, r failover.Recovery) (took time.Duration, err error) {
	bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = lab.Eventually(bounded, fmt.Sprintf("Consul to hold %s, routed at %s", r.To, r.Routed), 5*time.Millisecond, func() (bool, string) {
		list := w.all()
		for _, v := range list {
			if v.Epoch > r.Intent.Epoch && v.Writer != nil {
				took = v.seen.Sub(r.Routed)
				return v.Writer.Address == r.To, fmt.Sprintf("writer %s at epoch %d", v.Writer.Address, v.Epoch)
			}
		}
		return false, fmt.Sprintf("%d versions", len(list))
	})
	return took, err
}

// neverBack checks that no version had a lower epoch than the one before, and gives the last.
func (w *kvWatch) neverBack(t *testing.T) (last version) {
	t.Helper()
	list := w.all()
	if len(list) < 2 {
		t.Fatalf("only %d versions were seen", len(list))
	}
	for _, v := range list {
		if v.Epoch < last.Epoch {
			t.Errorf("Consul held epoch %d (%s) after %d", v.Epoch, v.Mode, last.Epoch)
		}
		last = v
	}
	t.Logf("%d versions of the document were seen, up to epoch %d", len(list), last.Epoch)
	return last
}
