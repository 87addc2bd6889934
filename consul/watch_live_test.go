package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

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
