package sidecar

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// jobs runs a job that takes 100 ms each time, in virtual time, and notes why it was done; done is called when it has ended.
func jobs(t *testing.T, test func(j *job, done func() []reasons, running *sync.WaitGroup)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		var mu sync.Mutex
		var all []reasons
		var busy atomic.Bool
		j := &job{do: func(why reasons) {
			if busy.Swap(true) {
				t.Error("it is done twice at the same time")
			}
			<-time.After(100 * time.Millisecond)
			busy.Store(false)
			mu.Lock()
			all = append(all, why)
			mu.Unlock()
		}}
		var running sync.WaitGroup
		test(j, func() []reasons {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}, &running)
		j.end(nil)
		running.Wait()
	})
}

func TestAJobIsDoneOnceMoreForAllThatCameMeanwhile(t *testing.T) {
	jobs(t, func(j *job, done func() []reasons, running *sync.WaitGroup) {
		j.ask() // before its start nothing is done
		j.start(running)
		pass(time.Second)
		if got := done(); len(got) != 0 {
			t.Errorf("before its start it was done: %v", got)
		}
		j.wake()
		j.wake()
		pass(50 * time.Millisecond)
		j.wake()
		j.ask()
		pass(100 * time.Millisecond)
		j.ask()
		j.wake()
		pass(time.Second)
		want := []reasons{{due: true}, {asked: true, due: true}, {asked: true, due: true}}
		if got := done(); !slices.Equal(got, want) {
			t.Errorf("done for %v, want %v", got, want)
		}
		j.ask() // it has no goroutine now, and gets one
		pass(time.Second)
		if got := done(); len(got) != 4 {
			t.Errorf("after a rest it was done %d times, want once more than 3", len(got))
		}
	})
}

func TestAJobsTimeComesOnceAndAnewWhenItIsSetAgain(t *testing.T) {
	jobs(t, func(j *job, done func() []reasons, running *sync.WaitGroup) {
		j.start(running)
		j.in(time.Second)
		pass(900 * time.Millisecond)
		j.in(time.Second)
		pass(900 * time.Millisecond)
		if got := done(); len(got) != 0 {
			t.Errorf("its time was put off, and it was done for %v", got)
		}
		pass(100*time.Millisecond + 50*time.Millisecond)
		j.wake()
		j.in(time.Hour) // which comes instead of the time before, that has come meanwhile
		pass(10 * time.Second)
		if got := done(); !slices.Equal(got, []reasons{{due: true}}) {
			t.Errorf("done for %v, want once as its time came", got)
		}
	})
}

// What is to follow a job is done once, when nothing is under way, and nothing after it.
func TestAJobEndsOnce(t *testing.T) {
	for _, busy := range []bool{false, true} {
		jobs(t, func(j *job, done func() []reasons, running *sync.WaitGroup) {
			j.start(running)
			j.in(time.Second)
			if busy {
				j.ask()
				pass(50 * time.Millisecond)
				j.ask()
			}
			after, at := 0, 0
			end := func() { after, at = after+1, len(done()) }
			j.end(end)
			j.end(end)
			j.ask()
			j.in(time.Second)
			pass(time.Minute)
			want := 0
			if busy {
				want = 1
			}
			if after != 1 || at != want || len(done()) != want || !j.ended() {
				t.Errorf("busy %t: what follows was done %d times, after %d runs of %d; want once, after %d", busy, after, at, len(done()), want)
			}
		})
	}
}
