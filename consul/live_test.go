package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// follow runs a Watch that heals, and gives what it notices.
func follow(t *testing.T, p *Publisher, route func() topology.Document) (drift <-chan []topology.Change, trouble <-chan error) {
	t.Helper()
	drifts, troubles := make(chan []topology.Change, 100), make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Watch(ctx, func(drift []topology.Change, err error) {
			if err != nil {
				troubles <- err
				return
			}
			if len(drift) > 0 {
				_, err := p.Publish(ctx, route())
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
			drifts <- drift
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return drifts, troubles
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-within(t).Done():
		t.Fatal("nothing was noticed")
		panic("unreachable")
	}
}

func TestWhatOtherHandsChangeIsNoticedAndHealed(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	p := publisher(t, Config{Address: c.Addr})
	d := open(7, "db1:3306")
	var epoch atomic.Uint64
	epoch.Store(7)
	drifts, troubles := follow(t, p, func() topology.Document { return open(epoch.Load(), "db1:3306") })
	_, err := p.Publish(within(t), d)
	must(t, err)
	healthy := dump(t, c)
	for range 2 { // the same twice: healed once is not healed for ever
		for _, key := range keys.all() {
			byHand(t, c, http.MethodDelete, key, "")
			want := []topology.Change{{Cluster: "main", Key: key, Missing: true, Want: healthy[key].value}}
			if got := next(t, drifts); !cmp.Equal(got, want) {
				t.Fatalf("deleted: %v", cmp.Diff(want, got))
			}
			if got := next(t, drifts); len(got) > 0 {
				t.Fatalf("not healed: %v", got)
			}
			byHand(t, c, http.MethodPut, key, "by hand")
			want[0].Missing, want[0].Have = false, "by hand"
			if got := next(t, drifts); !cmp.Equal(got, want) {
				t.Fatalf("changed: %v", cmp.Diff(want, got))
			}
			if got := next(t, drifts); len(got) > 0 {
				t.Fatalf("not healed: %v", got)
			}
		}
	}
	byHand(t, c, http.MethodDelete, "mysql/master/main?recurse", "")
	if got := next(t, drifts); len(got) == 0 {
		t.Error("nothing is missing")
	}
	for len(next(t, drifts)) > 0 { // the folder may be seen half empty
	}
	after := dump(t, c)
	for key, e := range healthy {
		if after[key].value != e.value || after[key].flags != 7 {
			t.Errorf("%s is %+v", key, after[key])
		}
	}
	// What is no drift: other clusters' keys, our own publishing, a successor's.
	byHand(t, c, http.MethodPut, "mysql/master/other", "x")
	byHand(t, c, http.MethodPut, "mysql/master/main/note", "x")
	_, err = p.Publish(within(t), open(8, "db2:3306"))
	must(t, err)
	_, err = publisher(t, Config{Address: c.Addr}).Publish(within(t), open(9, "db1:3306"))
	must(t, err)
	byHand(t, c, http.MethodDelete, keys.port(), "")
	epoch.Store(10)
	_, err = p.Publish(within(t), open(10, "db1:3306"))
	must(t, err)
	byHand(t, c, http.MethodDelete, keys.ipv4(), "")
	if got := next(t, drifts); len(got) != 1 || got[0].Key != keys.ipv4() {
		t.Errorf("drift where there is none: %v", got)
	}
	if len(troubles) > 0 {
		t.Error(<-troubles)
	}
}

func TestARestartWithAnEmptyStore(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	p := publisher(t, Config{Address: c.Addr})
	d := open(7, "db1:3306")
	drifts, troubles := follow(t, p, func() topology.Document { return d })
	_, err := p.Publish(within(t), d)
	must(t, err)
	must(t, c.Kill())
	if err := next(t, troubles); !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "consul "+c.Addr+": watch mysql/master: ") {
		t.Errorf("watch: %v", err)
	}
	if _, err := p.Publish(within(t), d); !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "consul "+c.Addr+": publish main at epoch 7: ") {
		t.Errorf("publish: %v", err)
	}
	if _, err := p.Show(within(t), d); !errors.Is(err, ErrUnreachable) {
		t.Errorf("show: %v", err)
	}
	must(t, c.Start(within(t)))
	if got := next(t, drifts); len(got) != 6 {
		t.Errorf("an empty store is noticed as %v", got)
	}
	if got := next(t, drifts); len(got) > 0 {
		t.Errorf("not healed: %v", got)
	}
	if got := dump(t, c); len(got) != 6 || got[keys.document()].flags != 7 {
		t.Errorf("the new store holds %v", got)
	}
}

func TestAFrozenConsulHoldsUpNobody(t *testing.T) {
	t.Parallel()
	list := agents(t, lab.ConsulOptions{}, lab.ConsulOptions{Datacenter: "dc2"})
	frozen := publisher(t, Config{Name: "east", Address: list[0].Addr, Timeout: 300 * time.Millisecond, Wait: 100 * time.Millisecond})
	good := publisher(t, Config{Address: list[1].Addr, Datacenter: "dc2"})
	_, err := frozen.Publish(within(t), open(6, "db1:3306"))
	must(t, err)
	_, troubles := follow(t, frozen, func() topology.Document { return open(6, "db1:3306") })
	must(t, list[0].Freeze())
	begin := time.Now()
	_, err = frozen.Publish(within(t), open(7, "db2:3306"))
	if took := time.Since(begin); !errors.Is(err, ErrUnreachable) || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if want := fmt.Sprintf("consul east (%s): publish main at epoch 7: consul did not answer: ", list[0].Addr); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
	if err := next(t, troubles); !errors.Is(err, ErrUnreachable) {
		t.Errorf("watch: %v", err)
	}
	_, err = good.Publish(within(t), open(7, "db2:3306"))
	must(t, err)
	ctx, cancel := context.WithCancelCause(within(t))
	cancel(errors.New("no longer the leader"))
	if _, err := good.Publish(ctx, open(8, "db2:3306")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("with a context that has ended: %v", err)
	}
	must(t, list[0].Thaw())
	must(t, lab.Eventually(within(t), "the thawed Consul to be written", 20*time.Millisecond, func() (bool, string) {
		_, err := frozen.Publish(within(t), open(7, "db2:3306"))
		return err == nil, fmt.Sprint(err)
	}))
	good.Close()
	if _, err := good.Publish(within(t), open(8, "db2:3306")); err == nil || !strings.HasSuffix(err.Error(), "the publisher is closed") {
		t.Errorf("after Close: %v", err)
	}
	good.Watch(within(t), func([]topology.Change, error) { t.Error("a closed publisher notices something") })
}
