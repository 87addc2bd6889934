package sidecar

import (
	"sync"
	"time"
)

// job is work that is done whenever there is a reason to, one run after the other. It has a goroutine only while there is something
// to do, for there are thousands. It is safe for concurrent use.
type job struct {
	do func(why reasons)

	mu      sync.Mutex
	running *sync.WaitGroup // its goroutine is among them; nil before start
	timer   *time.Timer     // until its time comes
	next    reasons
	busy    bool
	over    bool
	after   func() // to be done when all is done
}

// reasons are why work is done.
type reasons struct {
	asked bool // somebody asked, or something happened
	due   bool // its time has come
}

// start lets there be work; what runs for it is among running.
func (j *job) start(running *sync.WaitGroup) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running = running
}

// ask has the work done at once, or once more after the run that is under way.
func (j *job) ask() { j.begin(reasons{asked: true}) }

// wake has the work done, likewise, because its time has come.
func (j *job) wake() { j.begin(reasons{due: true}) }

func (j *job) begin(why reasons) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running == nil || j.over {
		return
	}
	j.next.asked, j.next.due = j.next.asked || why.asked, j.next.due || why.due
	if !j.busy {
		j.busy = true
		j.running.Go(j.run)
	}
}

// in has the work done when a time has passed, which begins anew when it is called again: a time that came since counts no more.
func (j *job) in(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next.due = false
	switch {
	case j.over:
	case j.timer == nil:
		j.timer = time.AfterFunc(d, j.wake)
	default:
		j.timer.Reset(d)
	}
}

// end lets there be no more work, and has something done when no more is under way; nothing where it is nil.
func (j *job) end(after func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return
	}
	j.over, j.after = true, after
	if j.timer != nil {
		j.timer.Stop()
	}
	if !j.busy && j.running != nil && after != nil {
		j.running.Go(after)
	}
}

// ended says that there is no more work.
func (j *job) ended() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.over
}

// run works as long as there is a reason to.
func (j *job) run() {
	for why, more := j.take(); more; why, more = j.take() {
		j.do(why)
	}
}

// take takes why to work, where there is more to do.
func (j *job) take() (why reasons, more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over && j.after != nil {
		j.running.Go(j.after)
	}
	if !j.over {
		why, j.next = j.next, reasons{}
	}
	j.busy = why != reasons{}
	return why, j.busy
}
