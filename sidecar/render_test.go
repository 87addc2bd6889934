package sidecar

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/templates"
)

// fakeRenderer writes down what it was told.
type fakeRenderer struct {
	mu     sync.Mutex
	fences int
	told   []templates.Assignment
	err    error // of Switch
}

func (r *fakeRenderer) Run(ctx context.Context) { <-ctx.Done() }
func (r *fakeRenderer) Switch(_ context.Context, a templates.Assignment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, a)
	return r.err
}

func (r *fakeRenderer) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *fakeRenderer) Fence(context.Context, string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fences++
	return nil
}

func (r *fakeRenderer) Status() templates.Status {
	return templates.Status{Destination: "/h.cfg", State: templates.BadCheck, Sentence: "the check refused it", Output: "line 3"}
}

func (r *fakeRenderer) closed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fences
}

func (r *fakeRenderer) last() (a templates.Assignment, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n = len(r.told); n > 0 {
		a = r.told[n-1]
	}
	return a, n
}

func TestARendererIsToldEachEpochOnceAndOnlyUnderALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		r := &fakeRenderer{}
		f.ports.Renderers = []Renderer{r}
		f.peer.set(false)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		defer func() {
			stop()
			<-ended
		}()
		f.routed(t)
		<-time.After(3 * time.Second)
		if a, n := r.last(); n != 0 {
			t.Errorf("without a lease it was told %v", a)
		}
		if r.closed() != 1 {
			t.Errorf("without a lease it was closed %d times, want once", r.closed())
		}
		f.peer.set(true)
		<-time.After(time.Second)
		if a, n := r.last(); n != 1 || a.Writer != string(dbA) || a.Epoch == 0 {
			t.Errorf("it was told %d times, last %v", n, a)
		}
		if r.closed() != 1 {
			t.Error("under a lease it was closed")
		}
		r.set(errors.New("the socket is broken"))
		f.begin(t, failover.KindFailover)
		synctest.Wait()
		if a, n := r.last(); n != 2 || a.Writer != "" {
			t.Errorf("a fenced writer: told %d times, last %v", n, a)
		}
		<-time.After(4 * lookEvery)
		if a, n := r.last(); n < 4 || n > 7 || a.Writer != "" {
			t.Errorf("with a broken socket: told %d times, last %v", n, a)
		}
		r.set(nil)
		<-time.After(5 * lookEvery / 2) // between two tries, not at the same instant as one
		_, before := r.last()
		<-time.After(tellEvery - 3*lookEvery)
		if _, n := r.last(); n != before {
			t.Errorf("with the socket mended it was told again, %d times after %d", n, before)
		}
		f.peer.mu.Lock()
		defer f.peer.mu.Unlock()
		files := f.peer.beats[len(f.peer.beats)-1].Files
		if len(files) != 1 || files[0].Good || files[0].Output != "line 3" || files[0].Node != "n1" {
			t.Errorf("the leader hears of the file %+v", files)
		}
	})
}
