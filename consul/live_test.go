package consul

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	p := publisher(t, Config{Address: c.Addr})
	d := open(7, "db1:3306")
	if s, err := p.Show(within(t), d); err != nil || s.Epoch != 0 || len(s.Changes) != 6 || !s.Changes[0].Missing {
		t.Fatalf("before: %+v, %v", s, err)
	}
	if r, err := p.Publish(within(t), d); err != nil || !r.Changed || r.Drift != nil {
		t.Fatalf("first: %+v, %v", r, err)
	}
	have := dump(t, c)
	values := map[string]string{}
	for key, e := range have {
		values[strings.TrimPrefix(key, "mysql/master/")] = e.value
		if e.index != have[keys.document()].index {
			t.Errorf("%s was not written in the transaction of the document", key)
		}
	}
	if diff := cmp.Diff(map[string]string{"main": "db1:3306", "main/hostname": "db1", "main/port": "3306", "main/ipv4": "10.0.0.1", "main/ipv6": "", "main/remora": encode(d)}, values); diff != "" {
		t.Error(diff)
	}
	later := d
	later.Time = d.Time.Add(time.Minute)
	if r, err := p.Publish(within(t), later); err != nil || r.Changed || r.Drift != nil {
		t.Errorf("again: %+v, %v", r, err)
	}
	if s, err := p.Show(within(t), later); err != nil || s.Epoch != 7 || s.Changes != nil || !cmp.Equal(s.Document, &d) {
		t.Errorf("show: %+v, %v", s, err)
	}
	if after := dump(t, c); !cmp.Equal(have, after, cmp.AllowUnexported(entry{})) {
		t.Error("publishing the same again wrote something")
	}
	// While fenced the document has no writer, and orchestrator's keys stay.
	_, err := p.Publish(within(t), topology.NewDocument(route(8, "db1:3306", topology.Fenced), about))
	must(t, err)
	s, err := p.Show(within(t), open(9, "db2:3306"))
	if err != nil || s.Document.Writer != nil || s.Document.Primary == nil || dump(t, c)["mysql/master/main"].value != "db1:3306" {
		t.Errorf("fenced: %+v, %v", s, err)
	}
}

func TestALowerEpochIsRefused(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	leader, deposed := publisher(t, Config{Address: c.Addr}), publisher(t, Config{Address: c.Addr})
	refused := func(when string) {
		t.Helper()
		before := dump(t, c)
		_, err := deposed.Publish(within(t), open(6, "db1:3306"))
		if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "publish main at epoch 6: consul holds a newer epoch, 7") {
			t.Errorf("%s: %v", when, err)
		}
		if !cmp.Equal(before, dump(t, c), cmp.AllowUnexported(entry{})) {
			t.Errorf("%s: it wrote", when)
		}
	}
	_, err := deposed.Publish(within(t), open(5, "db1:3306"))
	must(t, err)
	_, err = leader.Publish(within(t), open(7, "db2:3306"))
	must(t, err)
	refused("after the newer one")
	byHand(t, c, http.MethodDelete, keys.document(), "")
	refused("with the document deleted by hand")
	byHand(t, c, http.MethodPut, keys.document(), "nonsense")
	refused("with nonsense in the document")
	_, err = leader.Publish(within(t), open(7, "db2:3306"))
	must(t, err)
	byHand(t, c, http.MethodPut, keys.address(), "db9:1")
	byHand(t, c, http.MethodDelete, keys.hostname(), "")
	refused("with the other keys changed by hand")
}

// TestALateWriteFails holds a transaction up after its publisher has read, as a
// SIGSTOP would, and lets it go on when a successor has published.
func TestALateWriteFails(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	arrived, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	target, err := url.Parse("http://" + c.Addr)
	must(t, err)
	through := httputil.NewSingleHostReverseProxy(target)
	wire := &http.Transport{}
	through.Transport = wire
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/txn" {
			once.Do(func() {
				close(arrived)
				<-goOn
			})
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { proxy.Close(); wire.CloseIdleConnections() })

	for _, first := range []bool{true, false} { // into an empty store, and upon an older document
		if !first {
			once, arrived, goOn = sync.Once{}, make(chan struct{}), make(chan struct{})
		}
		epoch := dump(t, c)[keys.document()].flags
		leader, deposed := publisher(t, Config{Address: c.Addr}), publisher(t, Config{Address: proxy.URL, Timeout: 30 * time.Second})
		result := make(chan error)
		go func() {
			_, err := deposed.Publish(within(t), open(epoch+1, "db1:3306"))
			result <- err
		}()
		<-arrived
		_, err = leader.Publish(within(t), open(epoch+2, "db2:3306"))
		must(t, err)
		before := dump(t, c)
		close(goOn)
		if err := <-result; !errors.Is(err, ErrStale) {
			t.Errorf("the late write: %v", err)
		}
		if !cmp.Equal(before, dump(t, c), cmp.AllowUnexported(entry{})) {
			t.Error("the late write changed something")
		}
	}
}

// TestTheHighestEpochWins has publishers race with random epochs while a reader
// checks that the stored epoch never goes back and that the keys are always of one
// transaction.
func TestTheHighestEpochWins(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	writer := func(epoch uint64) topology.Addr { return topology.Addr(fmt.Sprintf("db%d:3306", epoch)) }
	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	done, checked := make(chan struct{}), make(chan int)
	go func() {
		var last uint64
		n := 0
		defer func() { checked <- n }()
		for {
			have := dump(t, c)
			d, ok := decode(have[keys.document()].value)
			if len(have) > 0 && (!ok || d.Epoch < last || have[keys.address()].value != string(writer(d.Epoch)) || have[keys.hostname()].flags != d.Epoch) {
				t.Errorf("after epoch %d: %v", last, have)
			}
			last = d.Epoch
			n++
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	var group sync.WaitGroup
	var mu sync.Mutex
	var highest uint64
	wins := 0
	for i := range 6 {
		p := publisher(t, Config{Address: c.Addr, Timeout: 20 * time.Second})
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		group.Go(func() {
			for round := range 25 {
				epoch := uint64(1 + round*4 + random.IntN(40))
				_, err := p.Publish(within(t), open(epoch, writer(epoch)))
				switch {
				case err == nil:
					mu.Lock()
					highest, wins = max(highest, epoch), wins+1
					mu.Unlock()
				case !errors.Is(err, ErrStale) && !errors.Is(err, ErrConflict):
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	close(done)
	if n := <-checked; n < 3 || wins < 3 {
		t.Errorf("%d readings and %d writes show little", n, wins)
	}
	if d, _ := decode(dump(t, c)[keys.document()].value); d.Epoch != highest {
		t.Errorf("epoch %d is stored, the highest that was published is %d", d.Epoch, highest)
	}
}
